/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the name of a failed far end has no room for is kept for idc.reason (rpc/refusals.h). */
#include "link_mgr/rpc/refusals.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/connecting.h"
#include "common/handover.h"
#include "tests/unit/suite.h"

static struct rpc_refusals refusals;

/* Fails an attempt, and returns what its program finds. */
static uint64_t refuse_attempt(const char *why)
{
    int pair[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    ck_assert_uint_eq(connecting_cut_number(pair[0], false), 0);
    ck_assert_int_eq(connecting_fail(pair[1], EACCES, why), 0);
    uint64_t number = connecting_cut_number(pair[1], true);
    rpc_refusals_note(&refusals, pair[1], 1000, EACCES, why);
    close(pair[1]);
    ck_assert_uint_eq(connecting_cut_number(pair[0], false), number);
    close(pair[0]);
    return number;
}

START_TEST(what_is_whole_is_not_kept)
{
    ck_assert_uint_eq(refuse_attempt("domain 3: policy does not allow it"), 0);
    ck_assert_uint_eq(refusals.next, 0);
    ck_assert_ptr_null(rpc_refusals_find(&refusals, 0));
}
END_TEST

START_TEST(what_is_cut_is_kept)
{
    char why[300];
    memset(why, 'x', sizeof(why));
    why[sizeof(why) - 1] = '\0';
    uint64_t number = refuse_attempt(why);
    ck_assert_uint_gt(number, 1ULL << HANDOVER_SERIAL_BITS); /* and so no connection's */
    ck_assert_uint_le(number, INT64_MAX);
    const struct rpc_refusal *refusal = rpc_refusals_find(&refusals, number);
    ck_assert_ptr_nonnull(refusal);
    ck_assert_str_eq(refusal->why, why);
    ck_assert_int_eq(refusal->error, EACCES);
    ck_assert_uint_eq(refusal->uid, 1000);
    for (int i = 1; i < REFUSALS_MAX; i++)
        refuse_attempt(why);
    ck_assert_ptr_nonnull(rpc_refusals_find(&refusals, number));
    uint64_t latest = refuse_attempt(why);
    ck_assert_ptr_null(rpc_refusals_find(&refusals, number));
    ck_assert_ptr_nonnull(rpc_refusals_find(&refusals, latest));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("refusals");
    TCase *tests = tcase_create("all");
    tcase_add_test(tests, what_is_whole_is_not_kept);
    tcase_add_test(tests, what_is_cut_is_kept);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
