/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the hub remembers of connections: those that are there, and the latest HUB_REASONS that have
 * ended. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/handover.h"
#include "link_mgr/hub/hub_private.h"
#include "tests/unit/suite.h"

#define FIRST (HUB_BUCKETS - 7) /* serials that share a bucket come into being */
#define OPEN 3000
#define OWNER 1000
#define OTHER 4242
#define ENDING (2 * HUB_REASONS + 100)

static struct hub *hub;
static struct conn conns[OPEN + ENDING];

/* What is answered to uid, that shows fd: the end, or why there is no answer. */
static int answer_to(uint32_t uid, int fd, uint64_t serial)
{
    char why[HUB_WHY_MAX] = "";
    const struct hub_question question = {.caller.uid = uid, .serial = serial, .shown = fd};
    int end = 0, error = hub_reason(hub, &question, &end, why);
    ck_assert_str_ne(why, "");
    ck_assert_int_eq(hub_unsent(hub, &question), error);
    return error < 0 ? error : end;
}

static int reason_of(uint64_t serial)
{
    return answer_to(OWNER, -1, serial);
}

static void hub_records_begin(unsigned number)
{
    conns[number] = (struct conn){.serial = FIRST + number, .end = REASON_OK};
    ck_assert_int_eq(hub_record_begin(hub, &conns[number], OWNER), 0);
}

START_TEST(the_latest_ends_are_remembered)
{
    hub = calloc(1, sizeof(*hub));
    hub_records_init(hub);
    for (unsigned i = 0; i < OPEN + ENDING; i++)
        hub_records_begin(i);
    conns[17].end = REASON_REVOKED; /* broken, but its program has not taken everything yet */
    for (unsigned i = 0; i < ENDING; i++)
        hub_record_end(hub, FIRST + OPEN + i, i % 2 ? REASON_LINK_LOST : REASON_REVOKED);
    for (unsigned i = 0; i < OPEN; i++)
        ck_assert_int_eq(reason_of(FIRST + i), i == 17 ? -EACCES : 0);
    for (unsigned i = 0; i < ENDING; i++) {
        int expected = i % 2 ? -ECONNRESET : -EACCES;
        ck_assert_int_eq(reason_of(FIRST + OPEN + i),
                         i < ENDING - HUB_REASONS ? -ENOENT : expected);
    }
    ck_assert_int_eq(reason_of(0), -ENOENT);
    ck_assert_int_eq(reason_of(UINT64_MAX), -ENOENT);
    hub_record_cancel(hub, FIRST + 5);
    ck_assert_int_eq(reason_of(FIRST + 5), -ENOENT);
    hub_records_free(hub);
    free(hub);
}
END_TEST

/* A pair whose other end has the name of connection number 1. */
static void named_pair(int pair[2])
{
    struct handover_name name = {.serial = FIRST + 1};
    name.local.port = name.peer.port = 80;
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    ck_assert_int_eq(handover_bind(pair[1], &name), 0);
}

/* The same name, made by another process that wants to know what is not its own. */
static int forged_end(void)
{
    int ends[2], forged = -1, count = 1;
    char byte;
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    pid_t child = fork();
    if (child == 0) {
        int pair[2];
        named_pair(pair);
        _exit(handover_send(ends[1], "", 1, pair, 2, 0) == 1 ? 0 : 1);
    }
    ck_assert_int_eq(waitpid(child, NULL, 0), child);
    ck_assert_int_eq(handover_recv(ends[0], &byte, 1, &forged, &count, 0), 1);
    close(ends[0]);
    close(ends[1]);
    return forged;
}

START_TEST(who_may_ask)
{
    int pair[2];
    hub = calloc(1, sizeof(*hub));
    hub_records_init(hub);
    hub_records_begin(1);
    hub_records_begin(2);
    hub_record_end(hub, FIRST + 1, REASON_LINK_LOST);
    ck_assert_int_eq(answer_to(OWNER, -1, FIRST + 1), -ECONNRESET);
    ck_assert_int_eq(answer_to(0, -1, FIRST + 1), -ECONNRESET);
    ck_assert_int_eq(answer_to(OTHER, -1, FIRST + 1), -EACCES);
    ck_assert_int_eq(answer_to(HUB_NOBODY, -1, FIRST + 1), -EACCES);
    int forged = forged_end();
    ck_assert_int_eq(answer_to(OTHER, forged, FIRST + 1), -EACCES);
    close(forged);
    named_pair(pair);
    ck_assert_int_eq(answer_to(OTHER, pair[0], FIRST + 1), -ECONNRESET);
    ck_assert_int_eq(answer_to(OTHER, pair[0], FIRST + 2), -EACCES);
    ck_assert_int_eq(answer_to(OTHER, pair[1], FIRST + 1), -EACCES);
    close(pair[0]);
    close(pair[1]);
    hub_records_free(hub);
    free(hub);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("hub records");
    TCase *tests = tcase_create("tests");
    tcase_add_test(tests, the_latest_ends_are_remembered);
    tcase_add_test(tests, who_may_ask);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
