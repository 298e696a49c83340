/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What closed programs have left to a peer that takes nothing: it ends after a time, or at once if
 * it is very much. */
#include <check.h>
#include <string.h>

#include "tests/lone/lone.h"
#include "tests/unit/suite.h"

#define CONNS 8

static struct lone lone;
static struct budget *budget;
static struct conn *conns[CONNS];

/* They have credit for a little, and are connected, with programs that have closed. */
static void left_begin(void)
{
    uint8_t bytes[WIRE_CONNECT_REQ + IDC_SERVICE_MAX], payload[128];
    struct wire_frame frame;
    lone_start(&lone);
    struct peer *peer = lone.core->by_domid[2];
    budget = &peer->budget;
    for (uint32_t i = 0; i < CONNS; i++) {
        const struct wire_connect_req req = {
            .id = 9 + i, .source_port = 5 + i, .port = LONE_PORT, .uid = 1, .type = IDC_STREAM};
        frame = (struct wire_frame){.type = WIRE_TYPE_CONNECT_REQ,
                                    .length = wire_put_connect_req(bytes, &req),
                                    .credit = 4096};
        ck_assert(lone_send(&lone, &frame, bytes));
        lone_run(&lone);
        conns[i] = TAILQ_LAST(&peer->conns, conn_list);
        ck_assert_int_eq(conns[i]->phase, CONN_OPEN);
        while (lone_receive(&lone, &frame, payload, sizeof(payload)))
            ;
        conn_taken(conns[i]);
    }
    ck_assert_int_eq(lone.end_count, CONNS);
}

static bool is_open(int i)
{
    return lone.ends[i].open;
}

static void each_leaves(uint64_t bytes)
{
    for (int i = 0; i < CONNS; i++) {
        conn_left(conns[i], bytes);
        conn_settle(conns[i]);
    }
}

static int open_count(void)
{
    int open = 0;
    for (int i = 0; i < CONNS; i++)
        open += is_open(i);
    return open;
}

static void left_end(void)
{
    lone_stop(&lone); /* asserts that nothing is charged */
}

START_TEST(little_may_stay)
{
    left_begin();
    each_leaves(budget->kernel / CONNS);
    lone_pass(&lone, 100 * CONN_LEFT_MS);
    ck_assert_int_eq(open_count(), CONNS);
    left_end();
}
END_TEST

START_TEST(much_may_stay_for_a_time)
{
    left_begin();
    each_leaves(budget->kernel / 4);
    uint64_t since = lone.now;
    lone_pass(&lone, CONN_LEFT_MS - 1);
    ck_assert_int_eq(open_count(), CONNS);
    ck_assert_uint_le(core_deadline(lone.core), since + CONN_LEFT_MS);
    lone_pass(&lone, 1);
    ck_assert_int_eq(open_count(), 4); /* the first ones have gone */
    for (int i = 0; i < CONNS; i++)
        ck_assert_int_eq(is_open(i), i >= 4);
    ck_assert_int_eq(lone.ends[0].reason, REASON_NO_RESOURCES);
    ck_assert_ptr_nonnull(strstr(lone.last_log, "was reset: its program has closed"));
    ck_assert_uint_eq(budget->left, budget->kernel);
    lone_pass(&lone, 100 * CONN_LEFT_MS);
    ck_assert_int_eq(open_count(), 4);
    left_end();
}
END_TEST

/* One that the peer takes something of has more time. */
START_TEST(progress_gives_time)
{
    left_begin();
    each_leaves(budget->kernel / 4);
    lone_pass(&lone, CONN_LEFT_MS / 2);
    lone.ends[0].readable = 1000;
    conn_readable(conns[0]);
    lone_run(&lone);
    ck_assert_uint_eq(lone.ends[0].readable, 0);
    ck_assert_uint_eq(conns[0]->left, budget->kernel / 4 - 1000);
    lone_pass(&lone, CONN_LEFT_MS - CONN_LEFT_MS / 2);
    ck_assert(is_open(0));
    ck_assert(!is_open(1));
    left_end();
}
END_TEST

START_TEST(very_much_ends_at_once)
{
    left_begin();
    each_leaves((budget->kernel + BUDGET_LEFT_BURST) / 4);
    ck_assert_int_eq(open_count(), 4);
    ck_assert(!is_open(0));
    ck_assert(is_open(CONNS - 1));
    ck_assert_uint_le(budget->left, budget->kernel + BUDGET_LEFT_BURST);
    conn_left(conns[CONNS - 1], budget->kernel + BUDGET_LEFT_BURST + 1); /* alone too much */
    conn_settle(conns[CONNS - 1]);
    ck_assert_int_eq(open_count(), 0);
    ck_assert_uint_eq(budget->left, 0);
    left_end();
}
END_TEST

START_TEST(the_end_gives_it_back)
{
    left_begin();
    each_leaves(1000000);
    ck_assert_uint_eq(budget->left, CONNS * 1000000);
    conn_reset(conns[3], REASON_PROGRAM_RESET);
    conn_settle(conns[3]);
    ck_assert_uint_eq(budget->left, (CONNS - 1) * 1000000);
    lone.channel_dead = true;
    peer_channel_event(lone.core->by_domid[2]);
    lone_run(&lone);
    ck_assert_int_eq(open_count(), 0);
    ck_assert_uint_eq(budget->left, 0);
    left_end();
}
END_TEST

/* The program is not told again and again: what was told last counts. */
START_TEST(the_last_word_counts)
{
    left_begin();
    conn_left(conns[0], 5000);
    conn_left(conns[0], 3000);
    ck_assert_uint_eq(budget->left, 3000);
    conn_left(conns[0], 0);
    ck_assert_uint_eq(budget->left, 0);
    conn_reset(conns[1], REASON_PROGRAM_RESET);
    conn_left(conns[1], 3000); /* it has ended */
    ck_assert_uint_eq(budget->left, 0);
    conn_settle(conns[1]);
    left_end();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("what closed programs have left");
    TCase *tcase = tcase_create("all");
    tcase_add_test(tcase, little_may_stay);
    tcase_add_test(tcase, much_may_stay_for_a_time);
    tcase_add_test(tcase, progress_gives_time);
    tcase_add_test(tcase, very_much_ends_at_once);
    tcase_add_test(tcase, the_end_gives_it_back);
    tcase_add_test(tcase, the_last_word_counts);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
