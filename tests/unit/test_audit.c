/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_audit.c - lines of the audit (hub/audit.h) as journald gets them, or as stderr does. The
 * test is journald: it has its socket, reads it, or lets it fill.
 */
#include <check.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "link_mgr/base/journal.h"
#include "link_mgr/base/timer.h"
#include "link_mgr/hub/audit.h"
#include "tests/unit/suite.h"

#define FLOOD 5000
#define BURST 20      /* refusals at once (audit_limit.c) */
#define BURST_ALL 500 /* lines of any kind */
#define TELLS_MOST 33 /* lines about what was left out, at a time */

static char directory[] = "/tmp/idc-audit-XXXXXX";
static char path[64];
static int journald = -1, lines = -1; /* what journald reads, and what stderr has */
static struct event_base *base;
static struct audit audit;

/* ---- the two ends of the log ---- */

static void stderr_is_a_pipe(void)
{
    int fds[2];
    ck_assert_int_eq(pipe2(fds, O_NONBLOCK), 0);
    fcntl(fds[1], F_SETPIPE_SZ, 1 << 20);
    ck_assert_int_eq(dup2(fds[1], STDERR_FILENO), STDERR_FILENO);
    close(fds[1]);
    lines = fds[0];
}

static void say_that_stderr_is_the_journal(unsigned wrong)
{
    struct stat status;
    char stream[64];
    ck_assert_int_eq(fstat(STDERR_FILENO, &status), 0);
    snprintf(stream, sizeof(stream), "%ju:%ju", (uintmax_t)status.st_dev,
             (uintmax_t)status.st_ino + wrong);
    setenv("JOURNAL_STREAM", stream, 1);
}

static void audit_setup(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    ck_assert_ptr_nonnull(mkdtemp(directory));
    snprintf(path, sizeof(path), "%s/socket", directory);
    strcpy(address.sun_path, path);
    journald = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    ck_assert_int_eq(bind(journald, (struct sockaddr *)&address, sizeof(address)), 0);
    stderr_is_a_pipe();
    say_that_stderr_is_the_journal(0);
    journal_open(path);
    base = event_base_new();
    ck_assert_int_eq(timer_spares_begin(base), 0);
    audit_begin(&audit, base);
    audit.domid = 7;
}

static void audit_teardown(void)
{
    event_del(&audit.tick);
    journal_close();
    timer_spares_end();
    event_base_free(base);
    close(journald);
    unlink(path);
    rmdir(directory);
}

/* ---- what journald reads ---- */

struct read_entry {
    size_t length;
    char bytes[JOURNAL_BYTES_MAX];
};

static bool entry_read(struct read_entry *entry)
{
    ssize_t got = recv(journald, entry->bytes, sizeof(entry->bytes), 0);
    entry->length = got > 0 ? (size_t)got : 0;
    return got > 0;
}

/* The value of the only field of that name, as journald takes the entry apart; "": there is none.
 * Every field has to be one of the long form. */
static const char *entry_field(const struct read_entry *entry, const char *wanted)
{
    static char value[JOURNAL_BYTES_MAX];
    const char *at = entry->bytes, *end = entry->bytes + entry->length;
    value[0] = '\0';
    while (at < end) {
        const char *name = at, *newline = memchr(at, '\n', (size_t)(end - at));
        uint64_t length = 0;
        ck_assert_ptr_nonnull(newline);
        ck_assert_ptr_null(memchr(name, '=', (size_t)(newline - name)));
        for (unsigned i = 0; i < 8; i++)
            length |= (uint64_t)(uint8_t)newline[1 + i] << 8 * i;
        at = newline + 9;
        ck_assert_uint_lt(length, (uint64_t)(end - at));
        ck_assert_int_eq(at[length], '\n');
        if (strlen(wanted) == (size_t)(newline - name) &&
            memcmp(name, wanted, strlen(wanted)) == 0) {
            ck_assert_str_eq(value, "");
            memcpy(value, at, length);
            value[length] = '\0';
        }
        at += length + 1;
    }
    return value;
}

static void expect_field(const struct read_entry *entry, const char *name, const char *value)
{
    const char *found = entry_field(entry, name);
    ck_assert_msg(strcmp(found, value) == 0, "%s is \"%s\", not \"%s\"", name, found, value);
}

/* ---- what stderr has ---- */

static char stderr_text[1 << 20];

/* Puts it there. Returns how many lines it has. */
static unsigned lines_read(void)
{
    unsigned count = 0;
    ssize_t got = read(lines, stderr_text, sizeof(stderr_text) - 1);
    stderr_text[got > 0 ? got : 0] = '\0';
    for (const char *at = stderr_text; (at = strchr(at, '\n')); at++)
        count++;
    return count;
}

/* ---- events ---- */

static struct audit_event refusal_from(uint32_t domid)
{
    return (struct audit_event){.kind = AUDIT_REFUSED,
                                .incoming = true,
                                .domid = domid,
                                .name = "web",
                                .port = 80,
                                .service = "org.example.upper",
                                .type = IDC_STREAM,
                                .uid = 1000,
                                .peer_uid = 33,
                                .pid = getpid(),
                                .rule = "/etc/idc/policy:12",
                                .reason = "policy does not allow it"};
}

static void note_many(const struct audit_event *event, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        audit_note(&audit, event);
}

static unsigned entries_count(uint64_t *left_out)
{
    struct read_entry entry;
    unsigned count = 0;
    *left_out = 0;
    while (entry_read(&entry)) {
        if (strcmp(entry_field(&entry, "IDC_EVENT"), "left-out") == 0)
            *left_out += strtoull(entry_field(&entry, "IDC_COUNT"), NULL, 10);
        else
            count++;
    }
    return count;
}

/* ---- the tests ---- */

START_TEST(each_field)
{
    static const char *const fields[][2] = {{"PRIORITY", "5"},
                                            {"SYSLOG_IDENTIFIER", "link_mgr"},
                                            {"IDC_EVENT", "refused"},
                                            {"IDC_DIRECTION", "in"},
                                            {"IDC_DOMID", "7"},
                                            {"IDC_PEER", "3"},
                                            {"IDC_PEER_NAME", "web"},
                                            {"IDC_PEER_UID", "33"},
                                            {"IDC_SERVICE", "org.example.upper"},
                                            {"IDC_PORT", "80"},
                                            {"IDC_TYPE", "stream"},
                                            {"IDC_UID", "1000"},
                                            {"IDC_PROGRAM", "some server"},
                                            {"IDC_SERIAL", ""},
                                            {"IDC_DECIDED_BY", "self"},
                                            {"IDC_RULE", "/etc/idc/policy:12"},
                                            {"IDC_REASON", "policy does not allow it"}};
    struct read_entry entry;
    char message[512], pid[16];
    const struct audit_event event = refusal_from(3);
    prctl(PR_SET_NAME, "some server");
    audit_note(&audit, &event);
    ck_assert(entry_read(&entry));
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
        expect_field(&entry, fields[i][0], fields[i][1]);
    snprintf(pid, sizeof(pid), "%d", getpid());
    expect_field(&entry, "IDC_PID", pid);
    snprintf(message, sizeof(message),
             "refused: from domain 3 (web) uid 33 to port 80 service org.example.upper uid 1000 "
             "pid %d (some server): policy does not allow it [/etc/idc/policy:12]",
             getpid());
    expect_field(&entry, "MESSAGE", message);
    ck_assert(!entry_read(&entry));
    ck_assert_uint_eq(lines_read(), 0);
}
END_TEST

START_TEST(a_connect_of_ours)
{
    struct read_entry entry;
    struct audit_event event = refusal_from(3);
    event.incoming = false;
    event.kind = AUDIT_REVOKED;
    event.by_peer = true;
    event.pid = 0;
    event.rule = event.name = NULL;
    event.serial = 77;
    event.peer_uid = UINT32_MAX;
    event.type = IDC_SEQPACKET;
    audit_note(&audit, &event);
    ck_assert(entry_read(&entry));
    expect_field(&entry, "IDC_EVENT", "revoked");
    expect_field(&entry, "IDC_DIRECTION", "out");
    expect_field(&entry, "IDC_UID", "1000");
    expect_field(&entry, "IDC_PEER_UID", "");
    expect_field(&entry, "IDC_PEER_NAME", "");
    expect_field(&entry, "IDC_PID", "");
    expect_field(&entry, "IDC_PROGRAM", "");
    expect_field(&entry, "IDC_RULE", "");
    expect_field(&entry, "IDC_SERIAL", "77");
    expect_field(&entry, "IDC_TYPE", "seqpacket");
    expect_field(&entry, "IDC_DECIDED_BY", "peer");
    expect_field(&entry, "MESSAGE",
                 "revoked: from uid 1000 to domain 3 port 80 service org.example.upper: policy "
                 "does not allow it, says domain 3");
}
END_TEST

/* Whatever a program, a domain or a service is called, it makes no field and no line. */
START_TEST(nothing_is_forged)
{
    struct read_entry entry;
    struct audit_event event = refusal_from(3);
    prctl(PR_SET_NAME, "a\nIDC_UID=0\n\033[");
    event.name = "web\nIDC_PEER=0";
    event.service = "x\nMESSAGE\n\1\1\1";
    event.rule = "\xff\n<0>all is well";
    audit_note(&audit, &event);
    ck_assert(entry_read(&entry));
    ck_assert_ptr_null(strchr(entry_field(&entry, "MESSAGE"), '\n'));
    expect_field(&entry, "IDC_UID", "1000");
    expect_field(&entry, "IDC_PEER", "3");
    expect_field(&entry, "IDC_PROGRAM", "a\\x0aIDC_UID=0\\x0a\\x1b[");
    expect_field(&entry, "IDC_PEER_NAME", "web\\x0aIDC_PEER=0");
    expect_field(&entry, "IDC_SERVICE", "x\\x0aMESSAGE\\x0a\\x01\\x01\\x01");
    expect_field(&entry, "IDC_RULE", "\\xff\\x0a<0>all is well");
}
END_TEST

START_TEST(texts_of_any_length)
{
    static char endless[100000];
    struct read_entry entry;
    struct audit_event event = refusal_from(3);
    memset(endless, '\n', sizeof(endless) - 1);
    event.name = event.service = event.rule = event.reason = endless;
    audit_note(&audit, &event);
    ck_assert(entry_read(&entry));
    expect_field(&entry, "IDC_PEER", "3");
    ck_assert_uint_gt(strlen(entry_field(&entry, "MESSAGE")), 1000);
}
END_TEST

/* _i: what stderr is said to be. 0: nothing is said; 1: another stream. 2: it is the journal, but
 * journald is not there. */
START_TEST(stderr_elsewhere)
{
    const struct audit_event event = refusal_from(3);
    struct read_entry entry;
    journal_close();
    unsetenv("JOURNAL_STREAM");
    if (_i == 2)
        unlink(path);
    if (_i > 0)
        say_that_stderr_is_the_journal(_i == 1);
    journal_open(path);
    audit_note(&audit, &event);
    ck_assert_uint_eq(lines_read(), 1);
    ck_assert_ptr_nonnull(strstr(stderr_text, "refused: from domain 3 (web) uid 33 to port 80"));
    ck_assert(!entry_read(&entry));
}
END_TEST

/* journald is there, and reads nothing. Nobody waits, and what it has no room for is on stderr. */
START_TEST(journald_is_stuck)
{
    static char endless[10000];
    uint64_t left_out;
    struct audit_event event = refusal_from(3);
    memset(endless, 'x', sizeof(endless) - 1);
    event.service = event.name = event.rule = endless; /* so that few fill its socket */
    for (event.domid = 0; event.domid < BURST_ALL / BURST; event.domid++)
        note_many(&event, BURST);
    unsigned on_stderr = lines_read(), read_late = entries_count(&left_out);
    ck_assert_uint_gt(on_stderr, 0);
    ck_assert_uint_gt(read_late, 0);
    audit_end(&audit);
    ck_assert_uint_eq(entries_count(&left_out), 0);
    ck_assert_uint_eq(on_stderr + read_late + left_out, BURST_ALL);
    ck_assert_uint_lt(left_out, BURST_ALL / 2);
}
END_TEST

/* A peer that is refused again and again hides nobody, and each refusal counts. */
START_TEST(a_flood_is_bounded_and_counted)
{
    uint64_t left_out;
    struct audit_event flood = refusal_from(3), other = refusal_from(4), ours = refusal_from(3),
                       mine;
    struct read_entry entry;
    unsigned count = 0;
    int size = 1 << 20;
    setsockopt(journald, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    for (unsigned i = 0; i < FLOOD; i++) {
        audit_note(&audit, &flood);
        while (entry_read(&entry))
            count++;
    }
    ck_assert_uint_ge(count, BURST);
    ck_assert_uint_lt(count, FLOOD / 10); /* 2 more in a second */
    ours.incoming = false;
    mine = ours;
    mine.uid = 1001;
    const struct audit_event *const others[] = {&other, &ours, &mine};
    for (unsigned i = 0; i < 3; i++) {
        audit_note(&audit, others[i]);
        ck_assert(entry_read(&entry));
    }
    audit_end(&audit);
    ck_assert_uint_eq(entries_count(&left_out), 0);
    ck_assert_uint_eq(count + left_out, FLOOD);
}
END_TEST

/* Nor can many peers, or one user who connects to many. */
START_TEST(a_flood_of_many)
{
    struct read_entry entry;
    struct audit_event event = refusal_from(0);
    unsigned count = 0, tells = 0;
    uint64_t left_out = 0;
    event.incoming = _i == 0;
    for (event.domid = 0; event.domid < FLOOD; event.domid++)
        for (unsigned i = 0; i < 2; i++) {
            audit_note(&audit, &event);
            while (entry_read(&entry))
                count++;
        }
    ck_assert_uint_ge(count, BURST);
    ck_assert_uint_lt(count, FLOOD); /* 100 more in a second */
    audit_end(&audit);
    for (; entry_read(&entry); tells++)
        left_out += strtoull(entry_field(&entry, "IDC_COUNT"), NULL, 10);
    /* the socket may have had no room for all of them: then they are on stderr */
    ck_assert_uint_le(tells + lines_read(), TELLS_MOST);
    ck_assert(stderr_text[0] != '\0' || count + left_out == 2 * FLOOD);
}
END_TEST

/* On a slow machine more than the burst may be written, so what was written is counted. */
START_TEST(what_was_left_out_is_told_in_time)
{
    struct read_entry entry;
    const struct audit_event event = refusal_from(3);
    unsigned left = 0;
    char count[16], message[80];
    for (unsigned i = 0; i < BURST + 50; i++) { /* journald's queue may have room for ten only */
        audit_note(&audit, &event);
        if (entry_read(&entry))
            ck_assert_str_eq(entry_field(&entry, "IDC_EVENT"), "refused");
        else
            left++;
    }
    ck_assert(event_pending(&audit.tick, EV_TIMEOUT, NULL));
    ck_assert_uint_gt(left, 1);
    event_active(&audit.tick, EV_TIMEOUT, 0);
    event_base_loop(base, EVLOOP_NONBLOCK);
    ck_assert(entry_read(&entry));
    expect_field(&entry, "IDC_EVENT", "left-out");
    expect_field(&entry, "IDC_LEFT_OUT", "refused");
    expect_field(&entry, "IDC_DIRECTION", "in");
    expect_field(&entry, "IDC_PEER", "3");
    snprintf(count, sizeof(count), "%u", left);
    expect_field(&entry, "IDC_COUNT", count);
    snprintf(message, sizeof(message), "left out: %u more lines \"refused\" from domain 3", left);
    expect_field(&entry, "MESSAGE", message);
    ck_assert(!entry_read(&entry));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("audit");
    TCase *tests = tcase_create("audit");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, audit_setup, audit_teardown);
    tcase_add_test(tests, each_field);
    tcase_add_test(tests, a_connect_of_ours);
    tcase_add_test(tests, nothing_is_forged);
    tcase_add_test(tests, texts_of_any_length);
    tcase_add_loop_test(tests, stderr_elsewhere, 0, 3);
    tcase_add_test(tests, journald_is_stuck);
    tcase_add_test(tests, a_flood_is_bounded_and_counted);
    tcase_add_loop_test(tests, a_flood_of_many, 0, 2);
    tcase_add_test(tests, what_was_left_out_is_told_in_time);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
