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
#include "link_mgr/core/peer.h"
#include "link_mgr/hub/hub_private.h"
#include "tests/unit/suite.h"

#define FIRST (HUB_BUCKETS - 7) /* serials that share a bucket come into being */
#define OPEN 3000
#define OWNER 1000
#define OTHER 4242
#define ENDING (2 * HUB_REASONS + 100)

static struct hub *hub;
static struct conn conns[OPEN + ENDING];
static struct quota users;

static void test_users_begin(void)
{
    struct user_limits limits;
    users_usual(&limits);
    limits.each[USER_CONNECTIONS] = QUOTA_NO_LIMIT;
    users_init(&users, &limits);
    hub->users = &users;
}

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

/* An open connection has not ended, cleanly or otherwise, and the text says so. */
START_TEST(the_text_tells_open_from_ended)
{
    char why[HUB_WHY_MAX] = "";
    const struct hub_question question = {.caller.uid = OWNER, .serial = FIRST, .shown = -1};
    int end = -1;
    hub = calloc(1, sizeof(*hub));
    test_users_begin();
    hub_records_init(hub);
    hub_records_begin(0);
    conns[0].phase = CONN_OPEN;
    ck_assert_int_eq(hub_reason(hub, &question, &end, why), 0);
    ck_assert_int_eq(end, 0);
    ck_assert_str_eq(why, "the connection is open");
    conns[0].phase = CONN_ENDING;
    ck_assert_int_eq(hub_reason(hub, &question, &end, why), 0);
    ck_assert_str_eq(why, "ended cleanly");
    hub_record_end(hub, FIRST, REASON_OK);
    ck_assert_int_eq(hub_reason(hub, &question, &end, why), 0);
    ck_assert_int_eq(end, 0);
    ck_assert_str_eq(why, "ended cleanly");
    hub_records_free(hub);
    free(hub);
}
END_TEST

START_TEST(the_latest_ends_are_remembered)
{
    hub = calloc(1, sizeof(*hub));
    test_users_begin();
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

#define SHARED 100 /* connections that OWNER may have */

static int share_next;

/* So many more connections of that user of that domain to OWNER's services can come. */
static int share_takes(struct peer *peer, uint32_t uid)
{
    for (int count = 0;; count++) {
        struct conn *conn = &conns[share_next];
        *conn = (struct conn){
            .serial = FIRST + (unsigned)share_next, .incoming = true, .uid = uid, .peer = peer};
        int error = hub_record_begin(hub, conn, OWNER);
        if (error) {
            ck_assert_int_eq(error, -EUSERS);
            return count;
        }
        share_next++;
    }
}

/* Whoever comes later finds something, and there is nothing left of shares at the end. */
START_TEST(each_domain_and_user_has_a_share)
{
    struct peer domains[3] = {{.domid = 1}, {.domid = 2}, {.domid = 32751}};
    hub = calloc(1, sizeof(*hub));
    test_users_begin();
    users.limits[USER_CONNECTIONS].each = SHARED;
    hub_records_init(hub);
    ck_assert_int_eq(share_takes(&domains[0], 7), 34);
    ck_assert_int_eq(share_takes(&domains[0], 0), 11);   /* another user of it */
    ck_assert_int_ge(share_takes(&domains[1], 7), 10);   /* the same uid elsewhere */
    ck_assert_int_ge(share_takes(&domains[2], 1000), 8); /* some are for everybody */
    for (uint32_t uid = 1; uid < 9; uid++)
        share_takes(&domains[1], uid);
    uint64_t of_first = 34 + 11;
    for (int i = 0; i < share_next; i++)
        of_first -= conns[i].peer == &domains[0];
    ck_assert_uint_eq(of_first, 0); /* it got no more meanwhile */
    for (int i = 0; i < share_next; i++)
        hub_record_end(hub, FIRST + (unsigned)i, REASON_OK);
    for (int i = 0; i < QUOTA_BUCKETS; i++)
        ck_assert(LIST_EMPTY(&hub->shares.buckets[i]));
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
    test_users_begin();
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
    tcase_add_test(tests, each_domain_and_user_has_a_share);
    tcase_add_test(tests, the_text_tells_open_from_ended);
    tcase_add_test(tests, the_latest_ends_are_remembered);
    tcase_add_test(tests, who_may_ask);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
