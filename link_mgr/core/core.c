/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The parts of core.h that no single peer owns. Policy nodes come in here, and make and remove
 * peers. Events find their peer here, and peers get their turns and deadlines.
 */
#include "link_mgr/core/core.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "common/text_cut.h"
#include "link_mgr/core/judge.h"
#include "link_mgr/core/link.h"
#include "link_mgr/core/pace.h"
#include "link_mgr/core/rule_use.h"
#include "link_mgr/core/rules_force.h"
#include "link_mgr/core/tell.h"

void core_log(struct core *core, int priority, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    text_mark_cut(text, sizeof(text), vsnprintf(text, sizeof(text), format, args));
    va_end(args);
    core->host->log(core->host, &core->log_limit, priority, text);
}

/* ---- life ---- */

int core_watch_policy(struct core *core, bool begin)
{
    char path[PLATFORM_PATH_MAX + 1];
    const struct platform_ops *ops = core->host->ops;
    snprintf(path, sizeof(path), "/local/domain/%d/idc/policy", core->domid);
    return begin ? ops->subscribe(core->host->platform, path)
                 : ops->unsubscribe(core->host->platform, path);
}

/* Takes its place in the store: cleans up after an earlier run, and asks for the policy. */
static int core_begin(struct core *core)
{
    char path[PLATFORM_PATH_MAX + 1];
    const struct platform_ops *ops = core->host->ops;
    core->domid = ops->domid(core->host->platform);
    core->policy_known = false;
    core->rules_settled = false;
    core->tell = (struct tell){.asked = 0};
    rules_store_init(&core->rules_store);
    do
        core->epoch = core->host->random64(core->host);
    while (core->epoch == 0);
    snprintf(path, sizeof(path), "/local/domain/%d/data/idc", core->domid);
    int error = ops->retract(core->host->platform, path);
    if (error && error != -ENOENT)
        core_log(core, LOG_WARNING, "cannot remove what an earlier run left in %s: %s", path,
                 strerror(-error));
    return core_watch_policy(core, true);
}

static void core_end(struct core *core, enum reason reason)
{
    struct peer *peer;
    while ((peer = TAILQ_FIRST(&core->peers)))
        peer_free(peer, reason);
    core_watch_policy(core, false);
    rules_end(core);
}

struct core *core_new(struct host *host, const struct core_config *config)
{
    struct core *core = calloc(1, sizeof(*core));
    if (!core)
        return NULL;
    core->host = host;
    core->config = *config;
    core->deadline = core->lent_due = core->rules_due = UINT64_MAX;
    core->judge_left = RULES_JUDGE_TURN;
    TAILQ_INIT(&core->peers);
    TAILQ_INIT(&core->busy);
    listener_table_init(&core->listeners, (uint32_t)host->random64(host));
    if (core_begin(core)) {
        free(core);
        return NULL;
    }
    return core;
}

void core_free(struct core *core)
{
    char path[PLATFORM_PATH_MAX + 1];
    struct host *host = core->host;
    core_end(core, REASON_SHUTDOWN);
    snprintf(path, sizeof(path), "/local/domain/%d/data/idc", core->domid);
    host->ops->retract(host->platform, path);
    free(core);
}

/* ---- store events ---- */

/* Reads the domid at text in a path, which a slash or the end must follow. Returns what follows, or
 * NULL. */
static const char *parse_domid(const char *text, int *domid)
{
    const char *rest = text;
    uint32_t number = 0;
    for (; *rest >= '0' && *rest <= '9'; rest++) {
        number = 10 * number + (uint32_t)(*rest - '0');
        if (number >= IDC_DOMID_SELF)
            return NULL;
    }
    if (rest == text || (*rest != '\0' && *rest != '/'))
        return NULL;
    *domid = (int)number;
    return rest;
}

static void policy_event(struct core *core, const char *rest, const struct store_event *event)
{
    int domid;
    struct peer *peer, *next;
    core->policy_known = true;
    if (*rest != '\0' && *rest != '/')
        return;
    if (strncmp(rest, "/rules/", 7) == 0) {
        rules_event(core, rest + 6, event->present ? event->value : NULL);
        return;
    }
    if (strcmp(rest, "/ask") == 0) {
        tell_event(core, event->present ? event->value : NULL);
        return;
    }
    if (*rest == '\0') { /* the directory itself */
        if (!event->present)
            tell_event(core, NULL);
        if (!event->present)
            rules_event(core, NULL, NULL);
        for (peer = TAILQ_FIRST(&core->peers); peer && !event->present; peer = next) {
            next = TAILQ_NEXT(peer, all);
            peer_set_policy(peer, NULL);
        }
        return;
    }
    rest = parse_domid(rest + 1, &domid);
    if (!rest || *rest != '\0' || domid == core->domid)
        return;
    peer = core->by_domid[domid];
    if (!peer && event->present)
        peer = peer_new(core, domid);
    if (peer)
        peer_set_policy(peer, event->present ? event->value : NULL);
}

static void rendezvous_event(struct core *core, int domid, const char *rest,
                             const struct store_event *event)
{
    struct peer *peer = core->by_domid[domid];
    if (peer && (*rest == '/' || *rest == '\0'))
        peer_store_event(peer, *rest == '/' ? rest + 1 : NULL,
                         event->present ? event->value : NULL);
}

/* The domain has got another domid. Everything begins again, but the listeners stay. */
static void core_domid_changed(struct core *core)
{
    core_log(core, LOG_NOTICE, "this domain was domain %d and is domain %d now", core->domid,
             core->host->ops->domid(core->host->platform));
    core_end(core, REASON_LINK_LOST);
    if (core_begin(core))
        core_log(core, LOG_ERR, "cannot watch the policy of the new domid");
}

void core_store_event(struct core *core, const struct store_event *event)
{
    static const char prefix[] = "/local/domain/";
    char policy[32], data[32];
    int domid;
    if (strcmp(event->path, "domid") == 0) {
        core_domid_changed(core);
        return;
    }
    if (strncmp(event->path, prefix, sizeof(prefix) - 1) != 0)
        return;
    const char *rest = parse_domid(event->path + sizeof(prefix) - 1, &domid);
    int policy_length = snprintf(policy, sizeof(policy), "/idc/policy");
    int data_length = snprintf(data, sizeof(data), "/data/idc/%d", core->domid);
    if (rest && domid == core->domid && strncmp(rest, policy, (size_t)policy_length) == 0)
        policy_event(core, rest + policy_length, event);
    else if (rest && strncmp(rest, data, (size_t)data_length) == 0)
        rendezvous_event(core, domid, rest + data_length, event);
}

int core_take_store_events(struct core *core)
{
    static struct store_event event; /* 4 KiB, used here only */
    struct host *host = core->host;
    int result = 1;
    for (int i = 0; i < CORE_STORE_EVENTS && result > 0; i++) {
        result = host->ops->next_event(host->platform, &event);
        if (result > 0)
            core_store_event(core, &event);
    }
    core->store_more = result > 0;
    return result > 0 ? 1 : result;
}

void core_channel_event(struct core *core, void *token)
{
    (void)core;
    peer_channel_event(token);
}

/* ---- programs ---- */

void core_count_refused(struct core *core)
{
    core->count.connects++;
    core->count.refused++;
}

/* The peer that the policy allows now. It may not be one yet: the clock may be ahead of the timer
 * that looks at rules again, or may have been set, and memory may have been missing. */
static struct peer *core_allowed_peer(struct core *core, uint32_t domid)
{
    struct peer *peer = core->by_domid[domid];
    if (!peer)
        peer = peer_new(core, (int)domid);
    if (peer && !peer->allowed)
        peer_judge_again(peer);
    return peer;
}

static struct conn *core_begin_connect(struct core *core, const struct core_request *request,
                                       enum reason *reason)
{
    const struct judge_question question = {.direction = JUDGE_OUT,
                                            .domid = request->domid,
                                            .port = request->port,
                                            .name = request->name,
                                            .type = request->type,
                                            .uid = request->uid};
    struct judge_verdict verdict;
    judge_ask(core, &question, &verdict);
    *reason = REASON_POLICY;
    if (!verdict.allowed)
        return NULL;
    struct peer *peer = core_allowed_peer(core, request->domid);
    *reason = peer ? REASON_OK : REASON_NO_RESOURCES;
    if (peer && !verdict.rules.perhaps)
        *reason = rule_use_check(peer, verdict.rules.rule, request->port, true);
    if (*reason != REASON_OK)
        return NULL;
    struct conn *conn = conn_new(peer, request->type);
    *reason = REASON_NO_RESOURCES;
    if (!conn)
        return NULL;
    conn->cookie = request->cookie;
    conn->rule = verdict.rules.rule;
    if (!pace_follow(conn)) {
        conn->phase = CONN_ENDING;
        conn_settle(conn);
        return NULL;
    }
    conn->uid = request->uid;
    conn->local_port =
        request->local_port ? request->local_port : listener_ephemeral_port(&core->listeners);
    conn->peer_port = request->port;
    conn->peer_timeout_ms = request->peer_timeout_ms;
    if (!verdict.rules.perhaps)
        rule_use_enter(conn);
    strcpy(conn->name, request->name);
    core->count.connects++;
    peer_request(peer, conn);
    return conn;
}

struct conn *core_connect(struct core *core, const struct core_request *request,
                          enum reason *reason)
{
    struct conn *conn = core_begin_connect(core, request, reason);
    if (!conn)
        core_count_refused(core);
    return conn;
}

void core_catch_up(struct core *core)
{
    struct peer *peer;
    TAILQ_FOREACH (peer, &core->peers, all)
        peer_catch_up(peer);
}

void core_unlisten(struct core *core, struct listener *listener)
{
    struct peer *peer;
    struct conn *conn, *next;
    TAILQ_FOREACH (peer, &core->peers, all) {
        for (conn = TAILQ_FIRST(&peer->conns); conn; conn = next) {
            next = TAILQ_NEXT(conn, of_peer);
            if (conn->listener != listener)
                continue;
            conn_reset(conn, REASON_LISTENER_CLOSED);
            conn_settle(conn);
        }
    }
    core->host->unlistened(core->host, listener);
    listener_remove(listener);
}

void core_break_off(struct core *core, bool (*among)(const struct conn *conn), enum reason reason)
{
    struct peer *peer;
    struct conn *conn, *next;
    TAILQ_FOREACH (peer, &core->peers, all) {
        for (conn = TAILQ_FIRST(&peer->conns); conn; conn = next) {
            next = TAILQ_NEXT(conn, of_peer);
            if (!conn->incoming || !among(conn))
                continue;
            conn_reset(conn, reason);
            conn_settle(conn);
        }
    }
}

/* ---- memory of those that get no more links ---- */

static void core_watch_lent(struct core *core)
{
    struct platform_lent lent;
    core->host->ops->lent(core->host->platform, PLATFORM_LENT_ALL, &lent);
    core->lent_due = PEER_NO_DEADLINE;
    if (!lent.unwanted)
        return;
    core->lent_due = core->host->now(core->host) + core->lent_pause;
    core->lent_pause = core->lent_pause < PEER_LENT_MS / 2 ? 2 * core->lent_pause : PEER_LENT_MS;
}

/* An honest peer lets go in a moment. */
void core_part(struct core *core, int domid)
{
    core->host->ops->part(core->host->platform, domid);
    core->lent_pause = PEER_PART_MS;
    core_watch_lent(core);
    if (core->lent_due < core->deadline)
        core->deadline = core->lent_due;
}

/* ---- turns ---- */

/* What is due, and the earliest of the rest. */
static void core_expire(struct core *core)
{
    uint64_t now = core->host->now(core->host);
    struct peer *peer, *next;
    if (now < core->deadline)
        return;
    if (core->lent_due <= now)
        core_watch_lent(core);
    if (core->rules_due <= now)
        rules_due(core);
    core->deadline = core->lent_due < core->rules_due ? core->lent_due : core->rules_due;
    if (tell_deadline(core) < core->deadline)
        core->deadline = tell_deadline(core);
    for (peer = TAILQ_FIRST(&core->peers); peer; peer = next) {
        next = TAILQ_NEXT(peer, all);
        if (peer->deadline <= now)
            peer_expired(peer);
        if (peer->deadline < core->deadline)
            core->deadline = peer->deadline;
    }
}

/* A peer that the policy no longer names, and that nothing refers to. */
static void forget_if_over(struct peer *peer)
{
    if (!peer->allowed && !peer->channel && peer->conn_count == 0)
        peer_free(peer, REASON_REVOKED);
}

bool core_turn(struct core *core)
{
    struct peer_list busy;
    struct peer *peer;
    rules_judge(core);
    rules_turn(core);
    tell_turn(core);
    core_expire(core);
    /* Peers that become busy meanwhile have their turn after the next batch of events. */
    TAILQ_INIT(&busy);
    TAILQ_CONCAT(&busy, &core->busy, busy);
    while ((peer = TAILQ_FIRST(&busy))) {
        TAILQ_REMOVE(&busy, peer, busy);
        /* it still counts as busy, because what it does itself need not wake it again */
        bool more = peer_turn(peer);
        peer->is_busy = false;
        if (more)
            peer_wake(peer);
        else
            forget_if_over(peer);
    }
    return !TAILQ_EMPTY(&core->busy) || core->judging;
}

uint64_t core_deadline(const struct core *core)
{
    return core->deadline;
}
