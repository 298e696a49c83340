/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who listens, as the two sides of a link tell each other: with a peer that knows of it, and with
 * one that does not. Each is answered in the form that it knows.
 */
#include <check.h>
#include <string.h>

#include "link_mgr/core/link.h"
#include "link_mgr/core/wire.h"
#include "tests/lone/lone.h"
#include "tests/unit/suite.h"

#define OWNER 4711 /* who listens in the core's domain */

static struct lone lone;
static const uint64_t features_of_peer[] = {0, WIRE_LISTENER_UID, ~(uint64_t)WIRE_LISTENER_UID,
                                            UINT64_MAX};
static const int kinds_of_peer = sizeof(features_of_peer) / sizeof(features_of_peer[0]);

static bool peer_knows(int kind)
{
    return kind % 2 == 1;
}

static void listener_uid_look(void)
{
    peer_channel_event(lone.core->by_domid[2]);
    lone_run(&lone);
}

static void listener_uid_begin(int kind)
{
    lone_start_with(&lone, features_of_peer[kind]);
    listener_by_port(&lone.core->listeners, LONE_PORT)->uid = OWNER;
}

/* The peer asks for a port; the answer comes in the form for this kind of peer. */
static struct wire_connect_rsp answer_to_peer(int kind, uint32_t port)
{
    struct wire_frame frame;
    struct wire_connect_rsp rsp;
    uint8_t payload[WIRE_CONNECT_REQ + IDC_SERVICE_MAX];
    const struct wire_connect_req req = {
        .id = 77, .source_port = 5, .port = port, .uid = 9, .type = IDC_STREAM};
    uint32_t length = wire_put_connect_req(payload, &req);
    ck_assert(lone_send(
        &lone,
        &(struct wire_frame){.type = WIRE_TYPE_CONNECT_REQ, .length = length, .credit = 4096},
        payload));
    listener_uid_look();
    do
        ck_assert(lone_receive(&lone, &frame, payload, sizeof(payload)));
    while (frame.type != WIRE_TYPE_CONNECT_RSP);
    /* one that knows all features also knows of rules */
    const uint32_t known = features_of_peer[kind] == UINT64_MAX ? 20 : 16;
    ck_assert_uint_eq(frame.length, peer_knows(kind) ? known : 12);
    ck_assert_ptr_null(wire_get_connect_rsp(payload, frame.length, features_of_peer[kind], &rsp));
    return rsp;
}

START_TEST(the_peer_learns_who_listens)
{
    listener_uid_begin(_i);
    struct wire_connect_rsp rsp = answer_to_peer(_i, LONE_PORT);
    ck_assert_uint_eq(rsp.status, 0);
    ck_assert_uint_eq(rsp.uid, peer_knows(_i) ? OWNER : UINT32_MAX);
    ck_assert_uint_eq(lone.ends[0].conn->listener_uid, OWNER);
    lone_stop(&lone);
}
END_TEST

START_TEST(the_peer_is_refused)
{
    listener_uid_begin(_i);
    struct wire_connect_rsp rsp = answer_to_peer(_i, LONE_PORT + 5);
    ck_assert_uint_eq(rsp.status, REASON_NO_LISTENER);
    ck_assert_uint_eq(rsp.uid, UINT32_MAX);
    lone_stop(&lone);
}
END_TEST

/* The core's program connects, and the peer answers so. */
static void answer_of_peer(uint64_t form, const struct wire_connect_rsp *rsp)
{
    struct wire_frame frame;
    enum reason reason;
    uint8_t payload[WIRE_CONNECT_REQ + IDC_SERVICE_MAX];
    const struct core_request request = {
        .domid = 2, .port = 80, .name = "", .type = IDC_STREAM, .uid = 9, .cookie = &lone};
    ck_assert_ptr_nonnull(core_connect(lone.core, &request, &reason));
    lone_run(&lone);
    do
        ck_assert(lone_receive(&lone, &frame, payload, sizeof(payload)));
    while (frame.type != WIRE_TYPE_CONNECT_REQ);
    frame = (struct wire_frame){.type = WIRE_TYPE_CONNECT_RSP,
                                .connection = wire_get_u32(payload),
                                .credit = rsp->status ? 0 : 4096};
    frame.length = wire_put_connect_rsp(payload, form, rsp);
    ck_assert(lone_send(&lone, &frame, payload));
    listener_uid_look();
}

START_TEST(the_core_learns_who_listens)
{
    listener_uid_begin(_i);
    answer_of_peer(features_of_peer[_i],
                   &(struct wire_connect_rsp){.id = 5, .port = 80, .uid = 33});
    ck_assert_int_eq(lone.answers, 1);
    ck_assert_int_eq(lone.answer, REASON_OK);
    ck_assert_uint_eq(lone.ends[0].conn->listener_uid, peer_knows(_i) ? 33 : UINT32_MAX);
    lone_stop(&lone);
}
END_TEST

START_TEST(the_core_is_refused)
{
    listener_uid_begin(_i);
    answer_of_peer(features_of_peer[_i],
                   &(struct wire_connect_rsp){.status = REASON_POLICY, .uid = UINT32_MAX});
    ck_assert_int_eq(lone.answers, 1);
    ck_assert_int_eq(lone.answer, REASON_POLICY);
    ck_assert(lone.channel_open);
    lone_stop(&lone);
}
END_TEST

/* An answer in the other form is a fault, whatever it says. */
START_TEST(the_form_is_agreed_upon)
{
    listener_uid_begin(_i);
    answer_of_peer(~features_of_peer[_i], &(struct wire_connect_rsp){.id = 5, .port = 80});
    ck_assert(!lone.channel_open);
    ck_assert_ptr_nonnull(strstr(lone.last_log, "a CONNECT_rsp of the wrong length"));
    lone_stop(&lone);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("who listens");
    TCase *tests = tcase_create("tests");
    tcase_add_loop_test(tests, the_peer_learns_who_listens, 0, kinds_of_peer);
    tcase_add_loop_test(tests, the_peer_is_refused, 0, kinds_of_peer);
    tcase_add_loop_test(tests, the_core_learns_who_listens, 0, kinds_of_peer);
    tcase_add_loop_test(tests, the_core_is_refused, 0, kinds_of_peer);
    tcase_add_loop_test(tests, the_form_is_agreed_upon, 0, kinds_of_peer);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
