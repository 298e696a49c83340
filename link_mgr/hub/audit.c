/* SPDX-License-Identifier: GPL-2.0-or-later */
/* audit.c - see audit.h. */
#include "link_mgr/hub/audit.h"
#include "common/shown.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>

#include "link_mgr/base/clock.h"
#include "link_mgr/base/journal.h"
#include "link_mgr/base/program_name.h"
#include "link_mgr/base/timer.h"

#define AUDIT_TEXT_MAX 512
#define AUDIT_LINE_MAX 2048
#define AUDIT_TELLS 32 /* counts that are told at a time, each on a line of its own */

static const char *const names[AUDIT_KINDS] = {
    [AUDIT_REFUSED] = "refused", [AUDIT_ACCEPTED] = "accepted", [AUDIT_REVOKED] = "revoked"};

/* An event with all texts made plain. */
struct audit_words {
    const struct audit_event *event;
    char program[PROGRAM_NAME_MAX];
    char own_name[AUDIT_TEXT_MAX], near_rule[AUDIT_TEXT_MAX];
    char name[AUDIT_TEXT_MAX], service[AUDIT_TEXT_MAX], rule[AUDIT_TEXT_MAX],
        reason[AUDIT_TEXT_MAX];
};

static void words_copy(char out[AUDIT_TEXT_MAX], const char *text)
{
    shown_text(out, AUDIT_TEXT_MAX, text ? text : "", text ? strlen(text) : 0,
               SHOWN_ASCII | SHOWN_BACKSLASH);
}

static void words_make(struct audit_words *words, const struct audit_event *event)
{
    words->event = event;
    program_name(event->pid, words->program);
    words_copy(words->name, event->name);
    words_copy(words->service, event->service);
    words_copy(words->rule, event->rule);
    words_copy(words->near_rule, event->near_rule);
    words_copy(words->own_name, event->own_name);
    words_copy(words->reason, event->reason);
}

/* ---- the line for people ---- */

struct audit_line {
    size_t length;
    char text[AUDIT_LINE_MAX];
};

static void line_add(struct audit_line *line, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void line_add(struct audit_line *line, const char *format, ...)
{
    va_list args;
    size_t room = sizeof(line->text) - line->length;
    va_start(args, format);
    int length = vsnprintf(line->text + line->length, room, format, args);
    va_end(args);
    line->length += length < 0 ? 0 : (size_t)length < room ? (size_t)length : room - 1;
}

/* "uid 1000, pid 4711 (curl)" */
static void line_add_local(struct audit_line *line, const struct audit_words *words)
{
    const struct audit_event *event = words->event;
    if (event->uid != UINT32_MAX)
        line_add(line, " uid %" PRIu32, event->uid);
    if (event->pid > 0)
        line_add(line, " pid %d", event->pid);
    if (words->program[0])
        line_add(line, " (%s)", words->program);
}

static void line_add_peer(struct audit_line *line, const struct audit_words *words)
{
    line_add(line, " domain %" PRIu32, words->event->domid);
    if (words->name[0])
        line_add(line, " (%s)", words->name);
    if (words->event->peer_uid != UINT32_MAX)
        line_add(line, " uid %" PRIu32, words->event->peer_uid);
}

static void line_add_place(struct audit_line *line, const struct audit_words *words)
{
    if (words->event->port != 0)
        line_add(line, " port %" PRIu32, words->event->port);
    if (words->service[0])
        line_add(line, " service %s", words->service);
}

static void line_make(struct audit_line *line, const struct audit_words *words)
{
    const struct audit_event *event = words->event;
    line_add(line, "%s: from", names[event->kind]);
    if (event->incoming)
        line_add_peer(line, words);
    else
        line_add_local(line, words);
    line_add(line, " to");
    if (!event->incoming)
        line_add_peer(line, words);
    line_add_place(line, words);
    if (event->incoming)
        line_add_local(line, words);
    if (words->reason[0])
        line_add(line, ": %s", words->reason);
    if (event->by_peer)
        line_add(line, ", says domain %" PRIu32, event->domid);
    if (words->rule[0])
        line_add(line, " [%s]", words->rule);
    else if (words->near_rule[0])
        line_add(line, " [nearly: %s]", words->near_rule);
}

/* ---- the fields for programs ---- */

static void fields_add_number(struct journal_entry *entry, const char *name, uint64_t value,
                              uint64_t unknown)
{
    if (value != unknown)
        journal_number(entry, name, value);
}

static void fields_add_key(struct journal_entry *entry, const struct audit *audit,
                           const char *event, const struct audit_key *key)
{
    journal_text(entry, "IDC_EVENT", event);
    journal_text(entry, "IDC_DIRECTION", key->incoming ? "in" : "out");
    journal_number(entry, "IDC_DOMID", (unsigned)audit->domid);
    if (!key->shared)
        journal_number(entry, "IDC_PEER", key->domid);
    if (!key->shared && !key->incoming)
        journal_number(entry, "IDC_UID", key->uid);
}

static void fields_add(struct journal_entry *entry, const struct audit_words *words)
{
    const struct audit_event *event = words->event;
    journal_text(entry, "IDC_NAME", words->own_name);
    journal_text(entry, "IDC_PEER_NAME", words->name);
    fields_add_number(entry, "IDC_PEER_UID", event->peer_uid, UINT32_MAX);
    journal_text(entry, "IDC_SERVICE", words->service);
    fields_add_number(entry, "IDC_PORT", event->port, 0);
    journal_text(entry, "IDC_TYPE", event->type == IDC_STREAM ? "stream" : "seqpacket");
    if (event->incoming) /* otherwise it is in the key */
        fields_add_number(entry, "IDC_UID", event->uid, UINT32_MAX);
    fields_add_number(entry, "IDC_PID", (uint64_t)event->pid, 0);
    journal_text(entry, "IDC_PROGRAM", words->program);
    fields_add_number(entry, "IDC_SERIAL", event->serial, 0);
    journal_text(entry, "IDC_DECIDED_BY", event->by_peer ? "peer" : "self");
    journal_text(entry, "IDC_RULE", words->rule);
    journal_text(entry, "IDC_NEAR_RULE", words->near_rule);
    journal_text(entry, "IDC_REASON", words->reason);
}

static void audit_write(const struct audit *audit, const struct audit_key *key,
                        const struct audit_event *event)
{
    struct audit_words words;
    struct audit_line line = {.length = 0};
    struct journal_entry entry;
    words_make(&words, event);
    line_make(&line, &words);
    journal_begin(&entry, LOG_NOTICE, line.text);
    fields_add_key(&entry, audit, names[event->kind], key);
    fields_add(&entry, &words);
    journal_send(&entry);
}

/* ---- what was left out ---- */

struct audit_rest {
    const struct audit *audit;
    unsigned told;
    uint64_t untold;
};

static void rest_write(const struct audit_rest *rest, const struct audit_key *key, uint64_t count)
{
    struct audit_line line = {.length = 0};
    struct journal_entry entry;
    const char *way = key->incoming ? "from" : "to";
    line_add(&line, "left out: %" PRIu64 " more lines \"%s\"", count, names[key->kind]);
    if (key->shared)
        line_add(&line, " %s several domains", way);
    else if (key->incoming)
        line_add(&line, " from domain %" PRIu32, key->domid);
    else
        line_add(&line, " from uid %" PRIu32 " to domain %" PRIu32, key->uid, key->domid);
    journal_begin(&entry, LOG_NOTICE, line.text);
    fields_add_key(&entry, rest->audit, "left-out", key);
    journal_text(&entry, "IDC_LEFT_OUT", names[key->kind]);
    journal_number(&entry, "IDC_COUNT", count);
    journal_send(&entry);
}

static void rest_tell(void *arg, const struct audit_key *key, uint64_t left_out)
{
    struct audit_rest *rest = arg;
    if (rest->told++ < AUDIT_TELLS)
        rest_write(rest, key, left_out);
    else
        rest->untold += left_out;
}

static void audit_tell(struct audit *audit)
{
    struct audit_rest rest = {.audit = audit};
    struct audit_line line = {.length = 0};
    struct journal_entry entry;
    audit_limit_tell(&audit->limit, rest_tell, &rest);
    if (rest.untold == 0)
        return;
    line_add(&line, "left out: %" PRIu64 " more lines about others", rest.untold);
    journal_begin(&entry, LOG_NOTICE, line.text);
    journal_text(&entry, "IDC_EVENT", "left-out");
    journal_number(&entry, "IDC_DOMID", (unsigned)audit->domid);
    journal_number(&entry, "IDC_COUNT", rest.untold);
    journal_send(&entry);
}

/* ---- the outside ---- */

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    audit_tell(arg);
}

void audit_begin(struct audit *audit, struct event_base *base)
{
    evtimer_assign(&audit->tick, base, on_tick, audit);
}

void audit_end(struct audit *audit)
{
    event_del(&audit->tick);
    audit_tell(audit);
}

void audit_note(struct audit *audit, const struct audit_event *event)
{
    const struct audit_key key = {.kind = event->kind,
                                  .incoming = event->incoming,
                                  .domid = event->domid,
                                  .uid = event->incoming ? 0 : event->uid};
    if (audit_limit_admit(&audit->limit, &key, clock_now_ms()))
        audit_write(audit, &key, event);
    else if (!event_pending(&audit->tick, EV_TIMEOUT, NULL))
        timer_set(&audit->tick, AUDIT_TELL_MS);
}
