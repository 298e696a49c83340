/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The share that each channel has of a process's descriptors (channels/share.h). */
#include "channels/share.h"

#include <limits.h>
#include <stdlib.h>

#include "tests/unit/suite.h"

#define MEMBERS 10

static struct shares shares;
static struct share members[MEMBERS];

static void begin_shares(unsigned descriptors, unsigned count)
{
    shares_begin(&shares, descriptors);
    for (unsigned i = 0; i < count; i++)
        share_join(&members[i], &shares, 4);
}

/* As many as it may have, and no more. */
static unsigned flood_share(struct share *share)
{
    for (; share_has_room(share) && share->used < 1000000; share_take(share))
        ;
    return share->used;
}

static unsigned all_used(void)
{
    unsigned used = 0;
    const struct share *one;
    LIST_FOREACH (one, &shares.all, entry)
        used += one->used;
    return used;
}

START_TEST(one_takes_no_more_than_it_may)
{
    begin_shares(1000, 4);
    ck_assert_uint_eq(shares_total(&shares), (1000 - 64 - 16) / 2);
    ck_assert_uint_eq(flood_share(&members[0]), 57 + 116); /* its own, and half of the other 232 */
    ck_assert_uint_eq(flood_share(&members[1]), 57 + 58);
    ck_assert_uint_eq(flood_share(&members[2]), 57 + 29);
    ck_assert(!share_has_room(&members[0]));
    share_give(&members[2]);
    ck_assert(share_has_room(&members[2]));
    ck_assert(!share_has_room(&members[1])); /* it has more than is left */
    ck_assert_uint_ge(flood_share(&members[3]), 57);
}
END_TEST

/* Whatever the others have taken before. */
START_TEST(each_has_its_own)
{
    for (unsigned descriptors = 200; descriptors < 3000; descriptors += 17) {
        begin_shares(descriptors, MEMBERS);
        unsigned own = shares_total(&shares) / 2 / MEMBERS;
        for (int i = 0; i < MEMBERS; i++)
            ck_assert_uint_ge(flood_share(&members[i]), own);
        ck_assert_uint_le(all_used(), shares_total(&shares));
    }
}
END_TEST

START_TEST(by_chance)
{
    srand((unsigned)_i);
    begin_shares(150 + (unsigned)rand() % 500, MEMBERS);
    for (int i = 0; i < 20000; i++) {
        struct share *one = &members[rand() % (1 + rand() % MEMBERS)];
        if (rand() % 3 == 0 && one->used > 0)
            share_give(one);
        else if (share_has_room(one))
            share_take(one);
        ck_assert_uint_le(all_used(), shares_total(&shares));
    }
}
END_TEST

/* What one has stays, and the others' own is there as soon as it is given back. */
START_TEST(there_are_more_channels_later)
{
    begin_shares(1000, 1);
    unsigned before = flood_share(&members[0]);
    for (int i = 1; i < MEMBERS; i++)
        share_join(&members[i], &shares, 4);
    ck_assert_uint_eq(members[0].used, before);
    ck_assert(!share_has_room(&members[0]));
    ck_assert_uint_ge(flood_share(&members[1]), shares_total(&shares) / 2 / MEMBERS);
    share_leave(&members[0]);
    ck_assert_uint_eq(shares.count, MEMBERS - 1);
    ck_assert(share_has_room(&members[1]));
}
END_TEST

/* One that has more keeps it, and what the process needs stays free all the same. */
START_TEST(there_are_many_more_channels_later)
{
    begin_shares(300, 1);
    unsigned before = flood_share(&members[0]);
    for (int i = 1; i < MEMBERS; i++)
        share_join(&members[i], &shares, 4);
    for (int i = 1; i < MEMBERS; i++)
        flood_share(&members[i]);
    ck_assert_uint_eq(members[0].used, before);
    ck_assert_uint_le(all_used(), shares_total(&shares));
    ck_assert(shares_are_used_up(&shares));
}
END_TEST

START_TEST(few_descriptors_or_no_bound)
{
    begin_shares(28, 3);
    ck_assert_uint_eq(shares_total(&shares), 0);
    for (int i = 0; i < 3; i++)
        ck_assert_uint_eq(flood_share(&members[i]), 0); /* else the listeners would have none */
    ck_assert_uint_eq(shares_needed(&shares), 64 + 3 * 4 + 3 * 2);
    begin_shares(64, 3);
    ck_assert_uint_eq(shares_total(&shares), (64 - 28 - 12) / 2);
    for (int i = 0; i < 3; i++)
        ck_assert_uint_ge(flood_share(&members[i]), 2);
    ck_assert_uint_eq(shares_needed(&shares), 0);
    shares_begin(&shares, 260);
    for (int i = 0; i < 3; i++)
        share_join(&members[i], &shares, 66);
    ck_assert_uint_eq(shares_total(&shares), (260 - 198 - 28) / 2); /* not 64 of 62 */
    begin_shares(0, 3);
    ck_assert_uint_eq(flood_share(&members[0]), 1000000);
}
END_TEST

/* Each may have one while there are any, and no one takes them all. */
START_TEST(more_channels_than_connections)
{
    begin_shares(28 + MEMBERS * 4 + 14, MEMBERS);
    unsigned total = shares_total(&shares), with_one = 0;
    ck_assert_uint_gt(total, 1);
    ck_assert_uint_lt(total, MEMBERS);
    for (int i = 0; i < MEMBERS; i++)
        with_one += flood_share(&members[i]);
    for (int i = 0; i < MEMBERS; i++)
        ck_assert_uint_le(members[i].used, 1);
    ck_assert_uint_eq(with_one, total);
    unsigned needed = shares_needed(&shares);
    begin_shares(needed, MEMBERS);
    ck_assert_uint_eq(shares_needed(&shares), 0);
    for (int i = 0; i < MEMBERS; i++)
        ck_assert_uint_ge(flood_share(&members[i]), 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("share");
    TCase *tests = tcase_create("all");
    tcase_add_test(tests, one_takes_no_more_than_it_may);
    tcase_add_test(tests, each_has_its_own);
    tcase_add_loop_test(tests, by_chance, 0, 20);
    tcase_add_test(tests, there_are_more_channels_later);
    tcase_add_test(tests, there_are_many_more_channels_later);
    tcase_add_test(tests, more_channels_than_connections);
    tcase_add_test(tests, few_descriptors_or_no_bound);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
