/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * When the other side of a link is sent an event. At once for whatever a program waits for; for the
 * last words about a connection that no program has any more, with the next event, or LINK_QUIET_MS
 * later.
 */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "link_mgr/core/link.h"
#include "tests/lone/lone.h"
#include "tests/unit/suite.h"

#define NO_MORE (WIRE_NO_MORE_DATA | WIRE_NO_MORE_WANTED)

static struct lone lone;
static uint32_t core_id; /* of the latest connection */

static void link_events_tell(uint32_t connection, uint8_t flags)
{
    lone_send(
        &lone,
        &(struct wire_frame){
            .type = WIRE_TYPE_DISCONNECT, .flags = flags, .connection = connection, .credit = 4096},
        NULL);
    peer_channel_event(lone.core->by_domid[2]);
    lone_run(&lone);
}

/* Takes all that the core has sent, then sleeps: wants to be told of more. The flags of the
 * DISCONNECT_ind, the others' sum up. */
static uint8_t read_and_sleep(void)
{
    struct wire_frame frame;
    uint8_t payload[64], flags = 0;
    while (lone_receive(&lone, &frame, payload, sizeof(payload))) {
        if (frame.type == WIRE_TYPE_DISCONNECT)
            flags |= frame.flags;
        if (frame.type == WIRE_TYPE_CONNECT_RSP)
            core_id = wire_get_u32(payload + 4);
    }
    ring_want(&lone.theirs, RING_WANT_DATA);
    lone.events = 0;
    return flags;
}

static struct endpoint *connect_to_port(uint32_t id, uint32_t port, enum idc_type type)
{
    uint8_t payload[WIRE_CONNECT_REQ + IDC_SERVICE_MAX];
    uint32_t length = wire_put_connect_req(
        payload, &(struct wire_connect_req){
                     .id = id, .source_port = 5, .port = port, .uid = 9, .type = type});
    lone_send(&lone,
              &(struct wire_frame){.type = WIRE_TYPE_CONNECT_REQ, .length = length, .credit = 4096},
              payload);
    peer_channel_event(lone.core->by_domid[2]);
    lone_run(&lone);
    ck_assert_int_gt(lone.end_count, 0);
    return &lone.ends[lone.end_count - 1];
}

static struct endpoint *connect_to_core(uint32_t id)
{
    return connect_to_port(id, LONE_PORT, IDC_STREAM);
}

static void program_closes(struct endpoint *end)
{
    end->ended = end->closed = true;
    conn_readable(end->conn);
    conn_settle(end->conn);
    lone_run(&lone);
}

static void link_events_begin(void)
{
    lone_start(&lone);
    read_and_sleep();
}

/* Both sides have told their end; what remains is the core's LAST. */
static void up_to_last(uint32_t id)
{
    struct endpoint *end = connect_to_core(id);
    read_and_sleep();
    program_closes(end);
    ck_assert_int_eq(lone.events, 1); /* somebody may be waiting for that */
    ck_assert_uint_eq(read_and_sleep(), NO_MORE);
    link_events_tell(core_id, WIRE_NO_MORE_DATA | WIRE_LAST);
}

START_TEST(last_words_come_later)
{
    link_events_begin();
    up_to_last(1);
    ck_assert_int_eq(lone.events, 0);
    lone_pass(&lone, LINK_QUIET_MS - 1);
    ck_assert_int_eq(lone.events, 0);
    lone_pass(&lone, 1);
    ck_assert_int_eq(lone.events, 1);
    ck_assert_uint_eq(read_and_sleep(), WIRE_LAST);
    lone_pass(&lone, 10 * LINK_QUIET_MS);
    ck_assert_int_eq(lone.events, 0);
    lone_stop(&lone);
}
END_TEST

START_TEST(or_with_the_next_event)
{
    link_events_begin();
    up_to_last(1);
    ck_assert_int_eq(lone.events, 0);
    connect_to_core(2);
    ck_assert_int_eq(lone.events, 1);
    ck_assert_uint_eq(read_and_sleep(), WIRE_LAST);
    lone_pass(&lone, 10 * LINK_QUIET_MS);
    ck_assert_int_eq(lone.events, 0);
    lone_stop(&lone);
}
END_TEST

/* A side that looks at the ring anyway has seen them: no event is made for what he does not ask
 * for. */
START_TEST(or_not_at_all)
{
    link_events_begin();
    up_to_last(1);
    read_and_sleep();
    *lone.theirs.my_wish &= (uint8_t)~RING_WANT_DATA;
    lone_pass(&lone, 10 * LINK_QUIET_MS);
    ck_assert_int_eq(lone.events, 0);
    lone_stop(&lone);
}
END_TEST

/* The other program closed altogether: ours gets the end, and the other side our last words,
 * quietly. */
START_TEST(to_a_program_that_has_closed)
{
    link_events_begin();
    struct endpoint *end = connect_to_core(1);
    read_and_sleep();
    link_events_tell(core_id, NO_MORE);
    ck_assert(!end->open);
    ck_assert_int_eq(end->reason, REASON_OK);
    ck_assert_int_eq(lone.events, 0);
    lone_pass(&lone, LINK_QUIET_MS);
    ck_assert_int_eq(lone.events, 1);
    ck_assert_uint_eq(read_and_sleep(), WIRE_NO_MORE_DATA | WIRE_LAST);
    lone_stop(&lone);
}
END_TEST

/* ... unless ours had sent something that is lost: then it ends with a reset. */
START_TEST(with_something_lost)
{
    link_events_begin();
    struct endpoint *end = connect_to_core(1);
    read_and_sleep();
    end->readable = 10;
    link_events_tell(core_id, NO_MORE);
    ck_assert(!end->open);
    ck_assert_int_eq(end->reason, REASON_PROGRAM_RESET);
    lone_stop(&lone);
}
END_TEST

/* A program that has only shut its direction still reads: it waits for our end, and is told at
 * once. */
START_TEST(to_a_program_that_reads_on)
{
    link_events_begin();
    struct endpoint *end = connect_to_core(1);
    read_and_sleep();
    link_events_tell(core_id, WIRE_NO_MORE_DATA);
    ck_assert(end->open && end->got_end);
    ck_assert_int_eq(lone.events, 0);
    program_closes(end);
    ck_assert_int_eq(lone.events, 1);
    ck_assert_uint_eq(read_and_sleep(), WIRE_NO_MORE_DATA | WIRE_LAST);
    lone_stop(&lone);
}
END_TEST

/* The idle timer is not shortened by it: 10 s without a connection, and not 20 ms. */
START_TEST(the_link_stays)
{
    link_events_begin();
    up_to_last(1);
    read_and_sleep();
    lone_pass(&lone, LINK_QUIET_MS);
    lone_pass(&lone, LINK_QUIET_MS);
    ck_assert(!link_end_proposed(lone.core->by_domid[2]->link));
    lone_pass(&lone, lone.core->config.idle_ms);
    ck_assert(link_end_proposed(lone.core->by_domid[2]->link));
    lone_stop(&lone);
}
END_TEST

/* What the core has answered to the latest request: a reason, or -1: nothing. */
static int64_t link_events_status(void)
{
    struct wire_frame frame;
    uint8_t payload[64];
    int64_t status = -1;
    while (lone_receive(&lone, &frame, payload, sizeof(payload)))
        if (frame.type == WIRE_TYPE_CONNECT_RSP)
            status = wire_get_u32(payload);
    return status;
}

static void link_events_request(uint32_t port)
{
    uint8_t payload[WIRE_CONNECT_REQ + IDC_SERVICE_MAX];
    uint32_t length = wire_put_connect_req(
        payload, &(struct wire_connect_req){
                     .id = 1, .source_port = 5, .port = port, .uid = 9, .type = IDC_STREAM});
    lone_send(&lone,
              &(struct wire_frame){.type = WIRE_TYPE_CONNECT_REQ, .length = length, .credit = 4096},
              payload);
}

START_TEST(a_listener_that_its_program_has_closed)
{
    link_events_begin();
    lone.listeners_gone = true;
    link_events_request(LONE_PORT);
    peer_channel_event(lone.core->by_domid[2]);
    lone_run(&lone);
    ck_assert_int_eq(link_events_status(), REASON_NO_LISTENER);
    ck_assert_int_eq(lone.end_count, 0);
    lone_stop(&lone);
}
END_TEST

/* The request was there before the listener, though the core has not looked. */
START_TEST(a_listener_that_is_made_later)
{
    struct listener *listener, *clash;
    link_events_begin();
    link_events_request(LONE_PORT + 2);
    core_catch_up(lone.core);
    ck_assert_int_eq(listener_add(&lone.core->listeners, LONE_PORT + 2, "", &listener, &clash), 0);
    listener->type = IDC_STREAM;
    listener->backlog = 8;
    lone_run(&lone);
    ck_assert_int_eq(link_events_status(), REASON_NO_LISTENER);
    ck_assert_int_eq(lone.end_count, 0);
    core_unlisten(lone.core, listener);
    lone_stop(&lone);
}
END_TEST

/* ---- a program that goes on writing ---- */

#define PULLS 1000
static int pulls;

/* It always has more, until it is shut off. */
static ssize_t endless_pull(struct endpoint *end, const struct iovec *spans, int count)
{
    (void)count;
    if (end->ended)
        return 0;
    return ++pulls < PULLS ? (ssize_t)spans[0].iov_len : -EAGAIN;
}

/* The other side closes, or only reads no more. The program was shut off before what it has sent is
 * dropped. */
START_TEST(a_program_that_goes_on_writing_is_shut_off)
{
    lone_start(&lone);
    struct endpoint *end = connect_to_core(77);
    read_and_sleep();
    lone.host.pull = endless_pull;
    pulls = 0;
    link_events_tell(core_id, _i == 0 ? NO_MORE : WIRE_NO_MORE_WANTED);
    if (end->conn) {
        conn_readable(end->conn);
        conn_settle(end->conn);
        lone_run(&lone);
    }
    ck_assert(end->ended);
    ck_assert_msg(pulls < 10, "%d times something was dropped", pulls);
    if (end->open)
        program_closes(end);
    link_events_tell(core_id, _i == 0 ? WIRE_LAST : WIRE_NO_MORE_DATA | WIRE_LAST);
    lone_stop(&lone);
}
END_TEST

/* The peer has sent its end behind a message that is lent to the program. The program takes the
 * message and closes before the core has looked: nothing is left to wait for. */
START_TEST(a_close_before_what_was_lent_came_back)
{
    lone_start(&lone);
    struct endpoint *end = connect_to_port(1, LONE_PORT + 1, IDC_SEQPACKET);
    read_and_sleep();
    end->lends = true;
    lone_send(&lone,
              &(struct wire_frame){
                  .type = WIRE_TYPE_DATA, .connection = core_id, .length = 3, .credit = 4096},
              "abc");
    peer_channel_event(lone.core->by_domid[2]);
    lone_run(&lone);
    ck_assert_uint_eq(end->pushed, 3);
    link_events_tell(core_id, NO_MORE);
    program_closes(end);
    lone_pass(&lone, LINK_QUIET_MS);
    ck_assert(!end->open);
    ck_assert_int_eq(end->reason, REASON_OK);
    ck_assert_uint_eq(read_and_sleep(), WIRE_NO_MORE_DATA | WIRE_LAST);
    link_events_tell(core_id, WIRE_LAST);
    ck_assert_uint_eq(lone.core->by_domid[2]->conn_count, 0);
    lone_stop(&lone);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("events of a link");
    TCase *tests = tcase_create("tests");
    tcase_add_test(tests, last_words_come_later);
    tcase_add_test(tests, or_with_the_next_event);
    tcase_add_test(tests, or_not_at_all);
    tcase_add_test(tests, to_a_program_that_has_closed);
    tcase_add_test(tests, with_something_lost);
    tcase_add_test(tests, to_a_program_that_reads_on);
    tcase_add_test(tests, the_link_stays);
    tcase_add_test(tests, a_listener_that_its_program_has_closed);
    tcase_add_test(tests, a_listener_that_is_made_later);
    tcase_add_loop_test(tests, a_program_that_goes_on_writing_is_shut_off, 0, 2);
    tcase_add_test(tests, a_close_before_what_was_lent_came_back);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
