/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whose data the link takes next. The ring is the bottleneck here, credit has no limit, and
 * programs always have more. So only the order of turns keeps one from taking everything.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "link_mgr/core/link_private.h"
#include "tests/lone/lone.h"
#include "tests/unit/suite.h"

#define CONNECTIONS 8
#define ENDLESS (1u << 29)
#define IN_RING ((int)(LONE_RING / WIRE_FRAME_MIN))

static struct lone lone;

static void link_turns_begin(void)
{
    uint8_t payload[WIRE_CONNECT_REQ + IDC_SERVICE_MAX];
    lone_start(&lone);
    for (uint32_t id = 0; id < CONNECTIONS; id++) {
        uint32_t length =
            wire_put_connect_req(payload, &(struct wire_connect_req){.id = 1 + id,
                                                                     .source_port = 5 + id,
                                                                     .port = LONE_PORT,
                                                                     .uid = 9,
                                                                     .type = IDC_STREAM});
        lone_send(&lone,
                  &(struct wire_frame){
                      .type = WIRE_TYPE_CONNECT_REQ, .length = length, .credit = ENDLESS},
                  payload);
        lone_run(&lone);
    }
    ck_assert_msg(lone.end_count == CONNECTIONS, "%s", lone.last_log);
}

/* The program of connection number writes. */
static void link_turns_written(int number, uint32_t bytes)
{
    lone.ends[number].readable += bytes;
    conn_readable(lone.ends[number].conn);
}

/* Which connection the next data in the ring are of; *length of them. As soon as there is room the
 * core goes on. */
static int next_data(uint32_t *length)
{
    struct wire_frame frame;
    uint8_t payload[16];
    do {
        ck_assert(lone_receive(&lone, &frame, payload, sizeof(payload)));
        peer_channel_event(lone.core->by_domid[2]);
        lone_run(&lone);
    } while (frame.type != WIRE_TYPE_DATA);
    *length = frame.length;
    return (int)frame.connection - 1;
}

START_TEST(all_in_turn)
{
    int before[CONNECTIONS], got;
    uint32_t length;
    link_turns_begin();
    memset(before, 0, sizeof(before));
    for (int i = 0; i < CONNECTIONS; i++)
        link_turns_written(i, ENDLESS);
    for (int i = 1; i <= 100 * CONNECTIONS; i++) {
        got = next_data(&length);
        /* the first one filled the ring before the others had written */
        if (i > IN_RING + CONNECTIONS)
            ck_assert_msg(i - before[got] == CONNECTIONS, "connection %d again after %d", got,
                          i - before[got]);
        before[got] = i;
    }
    lone_stop(&lone);
}
END_TEST

START_TEST(one_that_never_pauses_delays_others_by_one_frame)
{
    uint32_t length;
    link_turns_begin();
    link_turns_written(0, ENDLESS);
    for (int i = 0; i < 200; i++) {
        int waited = 0, other = 1 + i % (CONNECTIONS - 1);
        for (int k = 0; k < i % 30; k++)
            ck_assert_int_eq(next_data(&length), 0);
        link_turns_written(other, 10);
        while (next_data(&length) != other)
            waited++;
        ck_assert_uint_eq(length, 10);
        /* what was in the ring already, and one */
        ck_assert_msg(waited <= IN_RING + 1, "%d frames later", waited);
    }
    lone_stop(&lone);
}
END_TEST

/* It does not wait for all the others' turns. */
START_TEST(one_that_had_nothing_goes_first)
{
    uint32_t length;
    link_turns_begin();
    for (int i = 1; i < CONNECTIONS; i++)
        link_turns_written(i, ENDLESS);
    for (int i = 0; i < 200; i++) {
        int waited = 0;
        for (int k = 0; k < CONNECTIONS + i % 30; k++)
            ck_assert_int_ne(next_data(&length), 0);
        link_turns_written(0, 10);
        while (next_data(&length) != 0)
            waited++;
        ck_assert_msg(waited <= IN_RING + 1, "%d frames later", waited);
    }
    lone_stop(&lone);
}
END_TEST

/* It writes again as soon as it has nothing left: that it is fresh each time gives it no more than
 * one turn of all. */
START_TEST(one_that_writes_little_by_little_gets_its_share)
{
    int turns = 0;
    uint32_t length;
    link_turns_begin();
    for (int i = 1; i < CONNECTIONS; i++)
        link_turns_written(i, ENDLESS);
    for (int i = 0; i < 100 * CONNECTIONS; i++) {
        if (lone.ends[0].readable == 0)
            link_turns_written(0, 1);
        turns += next_data(&length) == 0;
    }
    ck_assert_msg(turns >= 90 && turns <= 101, "%d turns", turns);
    lone_stop(&lone);
}
END_TEST

/* While small requests come, bulk flows fill only a part of the ring; afterwards all of it again.
 */
START_TEST(small_requests_find_little_before_them)
{
    uint32_t length;
    link_turns_begin();
    for (int i = 1; i < CONNECTIONS; i++)
        link_turns_written(i, ENDLESS);
    link_turns_written(0, 10);
    for (int i = 0; i < 50; i++) {
        int before = 0;
        while (next_data(&length) != 0)
            before += (int)(WIRE_HEADER + length);
        ck_assert_uint_eq(length, 10);
        if (i > 0) /* the first one found the ring full */
            ck_assert_msg(before <=
                              (int)LINK_BULK_SHARE(LONE_RING) + (int)(WIRE_HEADER + LINK_SMALL),
                          "%d bytes", before);
        for (int k = 0; k < IN_RING; k++)
            ck_assert_int_ne(next_data(&length), 0);
        link_turns_written(0, 10);
    }
    while (next_data(&length) != 0)
        continue;
    lone.now += LINK_SMALL_MS + 1;
    for (int i = 0; i < 2 * IN_RING; i++)
        next_data(&length);
    int64_t full = ring_ready(&lone.theirs.in);
    ck_assert_msg(full > (int)LINK_BULK_SHARE(LONE_RING) + (int)(WIRE_HEADER + LINK_SMALL),
                  "%lld bytes", (long long)full);
    lone_stop(&lone);
}
END_TEST

/* Frames that cost the peer nothing: however many there are, others have their turn. */
START_TEST(few_frames_are_taken_in_a_turn)
{
    const struct wire_frame skipped = {.type = 200};
    uint32_t sent = 0;
    link_turns_begin();
    while (lone_send(&lone, &skipped, NULL))
        sent += WIRE_HEADER;
    ck_assert_uint_gt(sent, 2 * LINK_TURN_FRAMES * WIRE_HEADER);
    for (int turn = 1; turn <= 2; turn++) {
        ck_assert(core_turn(lone.core));
        int64_t left = LONE_RING - ring_space(&lone.theirs.out);
        ck_assert_int_ge(left, (int64_t)sent - turn * LINK_TURN_FRAMES * (int64_t)WIRE_HEADER);
    }
    lone_run(&lone);
    ck_assert_int_eq(ring_space(&lone.theirs.out), LONE_RING);
    lone_stop(&lone);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("turns of a link");
    TCase *tests = tcase_create("tests");
    tcase_add_test(tests, all_in_turn);
    tcase_add_test(tests, one_that_never_pauses_delays_others_by_one_frame);
    tcase_add_test(tests, one_that_had_nothing_goes_first);
    tcase_add_test(tests, one_that_writes_little_by_little_gets_its_share);
    tcase_add_test(tests, small_requests_find_little_before_them);
    tcase_add_test(tests, few_frames_are_taken_in_a_turn);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
