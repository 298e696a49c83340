/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_arrivals.c - the order in which connections of several users are served. */
#include <check.h>

#include "link_mgr/rpc/arrivals.h"
#include "tests/unit/suite.h"

static struct arrivals arrivals;

static void add_one(uint32_t uid, int fd)
{
    ck_assert(arrivals_add(&arrivals, uid, fd));
}

static void assert_next(uint32_t uid, int fd)
{
    uint32_t got;
    ck_assert_int_eq(arrivals_next(&arrivals, &got), fd);
    ck_assert_uint_eq(got, uid);
}

static void assert_none(void)
{
    uint32_t uid;
    ck_assert_int_eq(arrivals_next(&arrivals, &uid), -1);
    ck_assert_uint_eq(arrivals.count, 0);
    ck_assert_uint_eq(arrivals.users, 0);
}

START_TEST(one_user_in_order)
{
    arrivals_init(&arrivals);
    assert_none();
    for (int fd = 0; fd < 5; fd++)
        add_one(7, fd);
    ck_assert_uint_eq(arrivals.count, 5);
    ck_assert_uint_eq(arrivals.users, 1);
    for (int fd = 0; fd < 5; fd++)
        assert_next(7, fd);
    assert_none();
}
END_TEST

/* The uids share a bucket. */
START_TEST(users_take_turns)
{
    const uint32_t a = 3, b = 3 + ARRIVALS_BUCKETS, c = 3 + 2 * ARRIVALS_BUCKETS;
    arrivals_init(&arrivals);
    for (int fd = 10; fd < 14; fd++)
        add_one(a, fd);
    add_one(b, 20);
    add_one(b, 21);
    assert_next(a, 10);
    add_one(c, 30);
    ck_assert_uint_eq(arrivals.users, 3);
    assert_next(b, 20);
    assert_next(a, 11);
    assert_next(c, 30);
    assert_next(b, 21);
    ck_assert_uint_eq(arrivals.users, 1);
    add_one(b, 22); /* it begins anew, behind a */
    assert_next(a, 12);
    assert_next(b, 22);
    assert_next(a, 13);
    assert_none();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("arrivals");
    TCase *tests = tcase_create("arrivals");
    tcase_add_test(tests, one_user_in_order);
    tcase_add_test(tests, users_take_turns);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
