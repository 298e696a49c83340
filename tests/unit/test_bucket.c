/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The token bucket: what it earns, at its smallest and its largest, and after a long time. */
#include <check.h>

#include "link_mgr/core/bucket.h"
#include "tests/unit/suite.h"

static const uint64_t rates[] = {1, 7, 999, 1000, 1000000, 1000000000, 1000000000000, BUCKET_MAX};
#define RATES ((int)(sizeof(rates) / sizeof(rates[0])))

static uint64_t bucket_test_drain(struct bucket *bucket, uint64_t now)
{
    bucket_earn(bucket, now);
    uint64_t bytes = bucket_bytes(bucket);
    bucket_take(bucket, (int64_t)bytes);
    return bytes;
}

START_TEST(earns_its_rate)
{
    struct bucket bucket;
    uint64_t rate = rates[_i], sum = 0;
    bucket_init(&bucket, rate, rate < BUCKET_MAX ? 2 * rate : rate, 5);
    bucket_test_drain(&bucket, 5);
    for (uint64_t now = 5; now < 10005;)
        sum += bucket_test_drain(&bucket, now += 1 + now % 7);
    ck_assert_uint_ge(sum, 10 * rate);
    ck_assert_uint_le(sum, 10 * rate + rate / 100 + 1);
}
END_TEST

START_TEST(holds_no_more_than_its_burst)
{
    struct bucket bucket;
    uint64_t rate = rates[_i];
    bucket_init(&bucket, rate, 1 + rate / 10, 0);
    bucket_test_drain(&bucket, 0);
    ck_assert_uint_eq(bucket_test_drain(&bucket, UINT64_MAX / 2), 1 + rate / 10);
    ck_assert(!bucket_full(&bucket));
    bucket_take(&bucket, -(int64_t)(1 + rate / 10) * 2);
    ck_assert(bucket_full(&bucket));
}
END_TEST

START_TEST(says_when)
{
    struct bucket bucket;
    uint64_t rate = rates[_i];
    bucket_init(&bucket, rate, rate, 77);
    bucket_test_drain(&bucket, 77);
    uint64_t when = bucket_when(&bucket, rate);
    ck_assert_uint_eq(when, 77 + 1000);
    bucket_earn(&bucket, when - 1);
    ck_assert_uint_lt(bucket_bytes(&bucket), rate);
    bucket_earn(&bucket, when);
    ck_assert_uint_eq(bucket_bytes(&bucket), rate);
    /* what never fits comes when it is full */
    ck_assert_uint_eq(bucket_when(&bucket, 2 * rate), when);
}
END_TEST

START_TEST(debts)
{
    struct bucket bucket;
    uint64_t rate = rates[_i];
    bucket_init(&bucket, rate, rate, 0);
    bucket_take(&bucket, 1ll << 50);
    ck_assert_uint_eq(bucket_bytes(&bucket), 0);
    uint64_t when = bucket_when(&bucket, 1);
    bucket_earn(&bucket, when - 1);
    ck_assert_uint_eq(bucket_bytes(&bucket), 0);
    bucket_earn(&bucket, when);
    ck_assert_uint_ge(bucket_bytes(&bucket), 1);
    ck_assert_uint_le(bucket_bytes(&bucket), 1 + rate / 1000);
    bucket_take(&bucket, 1ll << 50);
    bucket_change(&bucket, 1, 1, when);
    ck_assert_uint_eq(bucket_when(&bucket, 1), when + 1000);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("token bucket");
    TCase *tests = tcase_create("tests");
    tcase_add_loop_test(tests, earns_its_rate, 0, RATES);
    tcase_add_loop_test(tests, holds_no_more_than_its_burst, 0, RATES);
    tcase_add_loop_test(tests, says_when, 0, RATES);
    tcase_add_loop_test(tests, debts, 0, RATES);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
