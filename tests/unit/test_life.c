/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A peer that hangs is noticed by those connections that ask for it, in their time, and by no
 * others. A peer that is slow, or does not know PING, is left alone; and a link that nobody asks
 * about carries no frame more than before.
 */
#include <check.h>
#include <string.h>

#include "link_mgr/core/life.h"
#include "link_mgr/core/link.h"
#include "tests/lone/lone.h"
#include "tests/unit/suite.h"

#define LIFE_TIME 3000u
#define STEP 1 /* ms: so often the core has a turn */

static struct lone lone;
static uint32_t core_id; /* of the latest connection */

static void life_begin(uint64_t features, uint32_t ms)
{
    lone_start_with(&lone, features);
    listener_by_port(&lone.core->listeners, LONE_PORT)->peer_timeout_ms = ms;
}

/* Takes what the core has sent; how many frames of that type there were. */
static unsigned life_read(uint8_t type)
{
    struct wire_frame frame;
    uint8_t payload[WIRE_FRAME_MIN];
    unsigned count = 0;
    while (lone_receive(&lone, &frame, payload, sizeof(payload))) {
        if (frame.type == WIRE_TYPE_CONNECT_RSP)
            core_id = wire_get_u32(payload + 4);
        count += frame.type == type;
    }
    peer_channel_event(lone.core->by_domid[2]);
    return count;
}

static struct endpoint *life_connect(uint32_t id)
{
    uint8_t payload[WIRE_CONNECT_REQ + IDC_SERVICE_MAX];
    uint32_t length = wire_put_connect_req(
        payload, &(struct wire_connect_req){
                     .id = id, .source_port = 5, .port = LONE_PORT, .uid = 9, .type = IDC_STREAM});
    lone_send(
        &lone,
        &(struct wire_frame){.type = WIRE_TYPE_CONNECT_REQ, .length = length, .credit = 1u << 20},
        payload);
    lone_run(&lone);
    life_read(0);
    lone_run(&lone);
    return &lone.ends[lone.end_count - 1];
}

static void life_tell(uint8_t type)
{
    ck_assert(lone_send(&lone, &(struct wire_frame){.type = type}, NULL));
}

static void life_pass(uint64_t ms)
{
    for (; ms > STEP; ms -= STEP)
        lone_pass(&lone, STEP);
    lone_pass(&lone, ms);
}

static uint64_t life_status(void)
{
    return link_silence(lone.core->by_domid[2]->link, lone.now);
}

START_TEST(nobody_asks)
{
    life_begin(WIRE_FEATURES, 0);
    struct endpoint *end = life_connect(1);
    life_pass(100 * LIFE_TIME);
    ck_assert(end->open);
    ck_assert_int_eq(ring_ready(&lone.theirs.in), 0);
    ck_assert_uint_eq(life_status(), 0);
    lone_stop(&lone);
}
END_TEST

START_TEST(a_peer_that_answers)
{
    life_begin(WIRE_FEATURES, LIFE_TIME);
    struct endpoint *end = life_connect(1);
    for (int i = 0; i < 20; i++) {
        life_pass(LIFE_TIME / LIFE_ASK_PART - 2 * STEP);
        ck_assert_uint_eq(life_read(WIRE_TYPE_PING), 0);
        life_pass(4 * STEP);
        ck_assert_uint_eq(life_read(WIRE_TYPE_PING), 1);
        life_tell(WIRE_TYPE_PONG);
        lone_run(&lone);
        ck_assert_uint_eq(life_status(), 0);
    }
    ck_assert(end->open);
    lone_stop(&lone);
}
END_TEST

START_TEST(a_peer_that_hangs)
{
    struct wire_frame frame;
    uint8_t payload[WIRE_FRAME_MIN];
    life_begin(WIRE_FEATURES, LIFE_TIME);
    struct endpoint *watched = life_connect(1);
    listener_by_port(&lone.core->listeners, LONE_PORT)->peer_timeout_ms = 0;
    struct endpoint *other = life_connect(2);
    listener_by_port(&lone.core->listeners, LONE_PORT)->peer_timeout_ms = 3 * LIFE_TIME;
    struct endpoint *patient = life_connect(3);
    life_pass(LIFE_TIME - STEP);
    ck_assert(watched->open);
    ck_assert_uint_ge(life_status(), LIFE_TIME - 3 * STEP);
    life_pass(2 * STEP);
    ck_assert(!watched->open);
    ck_assert_int_eq(watched->reason, REASON_SILENT);
    ck_assert_ptr_nonnull(strstr(lone.last_log, "has not moved for"));
    ck_assert(other->open && patient->open);
    life_pass(2 * LIFE_TIME - 4 * STEP);
    ck_assert(patient->open);
    life_pass(6 * STEP);
    ck_assert(!patient->open && other->open);
    do
        ck_assert(lone_receive(&lone, &frame, payload, sizeof(payload)));
    while (frame.type != WIRE_TYPE_DISCONNECT);
    ck_assert_uint_eq(frame.flags, WIRE_RESET | WIRE_LAST);
    ck_assert_uint_eq(wire_get_u32(payload), REASON_SILENT);
    lone_stop(&lone);
}
END_TEST

/* One that goes on in time keeps everything, and has the whole time again. */
START_TEST(a_peer_that_hangs_for_a_while)
{
    life_begin(WIRE_FEATURES, LIFE_TIME);
    struct endpoint *end = life_connect(1);
    for (int i = 0; i < 3; i++) {
        life_pass(LIFE_TIME - 5 * STEP);
        ck_assert_uint_gt(life_status(), 0);
        life_tell(WIRE_TYPE_PONG);
        lone_run(&lone);
        ck_assert_uint_eq(life_status(), 0);
    }
    ck_assert(end->open);
    lone_stop(&lone);
}
END_TEST

/* Whatever comes is a sign of life: then it is not even asked. */
START_TEST(a_peer_that_talks)
{
    life_begin(WIRE_FEATURES, LIFE_TIME);
    struct endpoint *end = life_connect(1);
    for (int i = 0; i < 50; i++) {
        life_pass(LIFE_TIME / 4);
        life_tell(200); /* a type that nobody knows */
        lone_run(&lone);
        ck_assert_uint_eq(life_read(WIRE_TYPE_PING), 0);
        lone_run(&lone);
    }
    ck_assert(end->open);
    lone_stop(&lone);
}
END_TEST

/* It sends nothing, and takes a little now and then; the ring is full all the time. */
START_TEST(a_slow_peer)
{
    struct wire_frame frame;
    uint8_t payload[WIRE_FRAME_MIN];
    life_begin(WIRE_FEATURES, LIFE_TIME);
    struct endpoint *end = life_connect(1);
    end->readable = end->endless = 1u << 20;
    conn_readable(end->conn);
    conn_settle(end->conn);
    for (int i = 0; i < 10; i++) {
        life_pass(LIFE_TIME / 2);
        ck_assert(lone_receive(&lone, &frame, payload, sizeof(payload)));
        peer_channel_event(lone.core->by_domid[2]);
        lone_run(&lone);
    }
    ck_assert(end->open);
    life_pass(LIFE_TIME + 2 * STEP);
    ck_assert(!end->open); /* when it takes nothing, a PING has no room, and it hangs */
    ck_assert_int_eq(end->reason, REASON_SILENT);
    lone_stop(&lone);
}
END_TEST

START_TEST(this_side_stood_still)
{
    life_begin(WIRE_FEATURES, LIFE_TIME);
    struct endpoint *end = life_connect(1);
    /* before it was asked, and after. The time until a look that comes late counts */
    for (int i = 0; i < LIFE_LOOK_PART / 2; i++) {
        lone_pass(&lone, 20 * LIFE_TIME);
        ck_assert_msg(end->open, "stop %d", i);
    }
    life_tell(WIRE_TYPE_PONG);
    lone_run(&lone);
    life_pass(LIFE_TIME / 2);
    ck_assert(end->open);
    life_pass(LIFE_TIME);
    ck_assert(!end->open);
    lone_stop(&lone);
}
END_TEST

static const uint64_t old_features[] = {0, WIRE_LISTENER_UID | WIRE_RULES, ~(uint64_t)WIRE_PING};

START_TEST(a_peer_that_does_not_know_it)
{
    life_begin(old_features[_i], LIFE_TIME);
    struct endpoint *end = life_connect(1);
    life_pass(20 * LIFE_TIME);
    ck_assert(end->open);
    ck_assert_int_eq(ring_ready(&lone.theirs.in), 0);
    /* to it, the types mean something else */
    uint8_t payload[8] = {0};
    lone_send(&lone, &(struct wire_frame){.type = WIRE_TYPE_PING, .flags = 1, .length = 8},
              payload);
    lone_run(&lone);
    ck_assert(lone.channel_open);
    ck_assert_int_eq(ring_ready(&lone.theirs.in), 0);
    lone_stop(&lone);
}
END_TEST

/* As many as a turn takes are answered by one. */
START_TEST(a_flood)
{
    life_begin(WIRE_FEATURES, 0);
    life_connect(1);
    for (int i = 0; i < 32; i++)
        life_tell(WIRE_TYPE_PING);
    lone_run(&lone);
    ck_assert_uint_eq(life_read(WIRE_TYPE_PONG), 1);
    life_tell(WIRE_TYPE_PONG); /* means nothing */
    lone_run(&lone);
    ck_assert_uint_eq(life_read(WIRE_TYPE_PONG), 0);
    ck_assert(lone.channel_open);
    lone_stop(&lone);
}
END_TEST

static const struct wire_frame wrong_pings[] = {
    {.type = WIRE_TYPE_PING, .length = 4}, {.type = WIRE_TYPE_PING, .flags = 1},
    {.type = WIRE_TYPE_PING, .credit = 1}, {.type = WIRE_TYPE_PING, .connection = 1},
    {.type = WIRE_TYPE_PONG, .length = 1}, {.type = WIRE_TYPE_PONG, .flags = 0x80},
};

START_TEST(one_that_carries_something)
{
    const uint8_t payload[4] = {0};
    life_begin(WIRE_FEATURES, 0);
    lone_send(&lone, &wrong_pings[_i], payload);
    lone_run(&lone);
    ck_assert(!lone.channel_open);
    ck_assert_ptr_nonnull(strstr(lone.last_log, "a PING or PONG that carries something"));
    lone_stop(&lone);
}
END_TEST

/* A program may ask later, and change its mind. */
START_TEST(asked_for_later)
{
    life_begin(WIRE_FEATURES, 0);
    struct endpoint *end = life_connect(1);
    life_pass(10 * LIFE_TIME);
    life_watch(end->conn, LIFE_TIME);
    lone_run(&lone);
    life_pass(LIFE_TIME - STEP);
    ck_assert(end->open);
    life_watch(end->conn, 0);
    lone_run(&lone);
    life_pass(10 * LIFE_TIME);
    ck_assert(end->open);
    life_watch(end->conn, LIFE_TIME);
    lone_run(&lone);
    life_pass(LIFE_TIME + 2 * STEP);
    ck_assert(!end->open);
    life_pass(10 * LIFE_TIME);
    ck_assert_uint_eq(life_status(), 0); /* nobody asks any more */
    lone_stop(&lone);
}
END_TEST

/* The core connects, and the program has said how long. */
START_TEST(of_a_connect)
{
    struct wire_frame frame;
    enum reason reason;
    uint8_t payload[WIRE_FRAME_MIN];
    const struct core_request request = {.domid = 2,
                                         .port = 80,
                                         .name = "",
                                         .type = IDC_STREAM,
                                         .uid = 9,
                                         .peer_timeout_ms = LIFE_TIME,
                                         .cookie = &lone};
    life_begin(WIRE_FEATURES, 0);
    ck_assert_ptr_nonnull(core_connect(lone.core, &request, &reason));
    lone_run(&lone);
    do
        ck_assert(lone_receive(&lone, &frame, payload, sizeof(payload)));
    while (frame.type != WIRE_TYPE_CONNECT_REQ);
    life_pass(2 * LIFE_TIME); /* that is another limit's matter */
    ck_assert_int_eq(lone.answers, 0);
    frame = (struct wire_frame){
        .type = WIRE_TYPE_CONNECT_RSP, .connection = wire_get_u32(payload), .credit = 4096};
    frame.length = wire_put_connect_rsp(payload, WIRE_FEATURES,
                                        &(struct wire_connect_rsp){.id = 5, .port = 80, .uid = 3});
    lone_send(&lone, &frame, payload);
    lone_run(&lone);
    ck_assert(lone.ends[0].open);
    life_pass(LIFE_TIME + 2 * STEP);
    ck_assert(!lone.ends[0].open);
    ck_assert_int_eq(lone.ends[0].reason, REASON_SILENT);
    lone_stop(&lone);
}
END_TEST

/* The link is lost, or a connection ends by itself, while it is watched. */
START_TEST(it_ends_otherwise)
{
    life_begin(WIRE_FEATURES, LIFE_TIME);
    life_connect(1);
    struct endpoint *end = life_connect(2);
    end->ended = end->closed = end->closed_unread = true;
    conn_readable(end->conn);
    conn_settle(end->conn);
    lone_run(&lone);
    life_pass(LIFE_TIME / 2);
    lone_store(&lone, "/local/domain/2/data/idc/1/alive", NULL);
    lone_run(&lone);
    ck_assert(!lone.ends[0].open && !lone.ends[1].open);
    ck_assert_int_eq(lone.ends[0].reason, REASON_LINK_LOST);
    life_pass(3 * LIFE_TIME);
    lone_stop(&lone);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("a peer that hangs");
    TCase *tests = tcase_create("tests");
    tcase_add_test(tests, nobody_asks);
    tcase_add_test(tests, a_peer_that_answers);
    tcase_add_test(tests, a_peer_that_hangs);
    tcase_add_test(tests, a_peer_that_hangs_for_a_while);
    tcase_add_test(tests, a_peer_that_talks);
    tcase_add_test(tests, a_slow_peer);
    tcase_add_test(tests, this_side_stood_still);
    tcase_add_loop_test(tests, a_peer_that_does_not_know_it, 0, 3);
    tcase_add_test(tests, a_flood);
    tcase_add_loop_test(tests, one_that_carries_something, 0,
                        sizeof(wrong_pings) / sizeof(wrong_pings[0]));
    tcase_add_test(tests, asked_for_later);
    tcase_add_test(tests, of_a_connect);
    tcase_add_test(tests, it_ends_otherwise);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
