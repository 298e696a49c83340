/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What each holder may have (link_mgr/base/quota.h). */
#include <check.h>

#include "link_mgr/base/quota.h"
#include "tests/unit/suite.h"

static struct quota quota;

static void quota_of(uint64_t each, uint64_t all, bool root_apart)
{
    const struct quota_limit limits[QUOTA_KINDS] = {{each, all}, {QUOTA_NO_LIMIT, QUOTA_NO_LIMIT}};
    quota_init(&quota, limits, root_apart);
}

static uint64_t take_all(uint64_t holder)
{
    uint64_t count = 0, before = quota_held(&quota, holder, 0);
    while (quota_take(&quota, holder, 0, 1))
        count++;
    ck_assert_uint_eq(quota_held(&quota, holder, 0), before + count);
    return count;
}

START_TEST(each_has_a_limit)
{
    quota_of(10, QUOTA_NO_LIMIT, false);
    ck_assert_uint_eq(take_all(5), 10);
    ck_assert_uint_eq(take_all(6), 10);
    quota_give(&quota, 5, 0, 3);
    ck_assert_uint_eq(quota_held(&quota, 5, 0), 7);
    ck_assert(!quota_take(&quota, 5, 0, 4));
    ck_assert(quota_take(&quota, 5, 0, 3));
    ck_assert(!quota_take(&quota, 7, 0, 11));
    ck_assert(!quota_take(&quota, 7, 0, UINT64_MAX));
    ck_assert_uint_eq(quota_held(&quota, 7, 0), 0);
    quota_end(&quota);
}
END_TEST

START_TEST(who_comes_later_finds_something)
{
    quota_of(QUOTA_NO_LIMIT, 64, false);
    ck_assert_uint_eq(take_all(1), 32);
    ck_assert_uint_eq(take_all(2), 16);
    ck_assert_uint_eq(take_all(3), 8);
    ck_assert_uint_eq(take_all(4), 4);
    ck_assert_uint_eq(take_all(1), 0);
    quota_give(&quota, 1, 0, 32);
    ck_assert_uint_eq(take_all(5), 18);
    quota_end(&quota);
}
END_TEST

START_TEST(root_is_counted_and_not_limited)
{
    quota_of(10, 20, true);
    for (int i = 0; i < 100; i++)
        ck_assert(quota_take(&quota, 0, 0, 1));
    ck_assert_uint_eq(quota_held(&quota, 0, 0), 100);
    quota_give(&quota, 0, 0, 100);
    ck_assert_uint_eq(take_all(1), 10);
    quota_end(&quota);
}
END_TEST

START_TEST(kinds_are_apart)
{
    quota_of(1, 2, false);
    ck_assert(quota_take(&quota, 9, 1, (uint64_t)1 << 40));
    ck_assert(quota_take(&quota, 9, 0, 1));
    quota_give(&quota, 9, 0, 1);
    ck_assert_uint_eq(quota_held(&quota, 9, 1), (uint64_t)1 << 40);
    quota_give(&quota, 9, 1, (uint64_t)1 << 40);
    for (int i = 0; i < QUOTA_BUCKETS; i++)
        ck_assert(LIST_EMPTY(&quota.buckets[i]));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("quota");
    TCase *tests = tcase_create("quota");
    tcase_add_test(tests, each_has_a_limit);
    tcase_add_test(tests, who_comes_later_finds_something);
    tcase_add_test(tests, root_is_counted_and_not_limited);
    tcase_add_test(tests, kinds_are_apart);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
