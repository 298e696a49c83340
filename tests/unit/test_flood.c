/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A flood of connects that are refused does not delay those that are granted, and not much those of
 * other users. The clock does not move unless a test moves it: what is sent at once is not delayed.
 */
#include <check.h>
#include <string.h>

#include "link_mgr/core/link.h"
#include "link_mgr/core/requests.h"
#include "tests/lone/lone.h"
#include "tests/unit/suite.h"

#define FLOODER 1001
#define OTHER 1002
#define CLOSED 81
#define OPEN 80
#define FLOOD 400

static struct lone lone;

struct request_seen {
    uint32_t id, uid, port;
};

static void core_asks(uint32_t uid, uint32_t port)
{
    enum reason reason;
    const struct core_request request = {
        .domid = 2, .port = port, .name = "", .type = IDC_STREAM, .uid = uid, .cookie = &lone};
    ck_assert_ptr_nonnull(core_connect(lone.core, &request, &reason));
}

/* The next request that the core has sent. */
static bool next_request(struct request_seen *seen)
{
    struct wire_frame frame;
    uint8_t payload[64];
    while (lone_receive(&lone, &frame, payload, sizeof(payload))) {
        if (frame.type != WIRE_TYPE_CONNECT_REQ)
            continue;
        *seen = (struct request_seen){wire_get_u32(payload), wire_get_u32(payload + 12),
                                      wire_get_u32(payload + 8)};
        return true;
    }
    return false;
}

static void answer_request(const struct request_seen *seen, uint32_t status)
{
    uint8_t payload[WIRE_CONNECT_RSP_RULE];
    wire_put_connect_rsp(payload, 0,
                         &(struct wire_connect_rsp){.status = status,
                                                    .id = status ? 0 : 77,
                                                    .port = status ? 0 : seen->port});
    ck_assert(lone_send(&lone,
                        &(struct wire_frame){.type = WIRE_TYPE_CONNECT_RSP,
                                             .length = WIRE_CONNECT_RSP,
                                             .connection = seen->id,
                                             .credit = status ? 0 : 4096},
                        payload));
}

/* The core looks. */
static void flood_look(void)
{
    peer_channel_event(lone.core->by_domid[2]);
    lone_run(&lone);
}

/* The core has sent that request; how many others came before it. */
static int others_before(uint32_t uid, uint32_t port, struct request_seen *seen)
{
    int others = 0;
    lone_run(&lone);
    while (next_request(seen) && (seen->uid != uid || seen->port != port))
        others++;
    ck_assert_msg(seen->uid == uid && seen->port == port, "not sent, but %d others were", others);
    return others;
}

static void granted_once(uint32_t uid)
{
    struct request_seen seen = {0};
    core_asks(uid, OPEN);
    others_before(uid, OPEN, &seen);
    answer_request(&seen, 0);
    flood_look();
    ck_assert_int_eq(lone.end_count, 1);
}

/* Requests that the other side refuses, but not before its rate lets it: as many as it takes are
 * unanswered. ports: how many different ones. */
static void flood_begins(uint32_t ports)
{
    struct request_seen seen;
    for (uint32_t i = 0; i < FLOOD; i++)
        core_asks(FLOODER, CLOSED + i % ports);
    lone_run(&lone);
    for (int i = 0; i < FLOOD / 2 && next_request(&seen); i++) {
        answer_request(&seen, REASON_NO_LISTENER);
        flood_look();
    }
    while (next_request(&seen))
        lone_run(&lone);
}

START_TEST(granted_ones_of_another_user_are_sent_at_once)
{
    struct request_seen seen = {0};
    lone_start(&lone);
    granted_once(OTHER);
    flood_begins(_i == 1 ? 1 : FLOOD);
    core_asks(OTHER, OPEN);
    others_before(OTHER, OPEN, &seen);
    lone_stop(&lone);
}
END_TEST

START_TEST(granted_ones_of_the_same_user_are_sent_at_once)
{
    struct request_seen seen = {0};
    lone_start(&lone);
    granted_once(FLOODER);
    flood_begins(_i == 1 ? 1 : FLOOD);
    core_asks(FLOODER, OPEN);
    others_before(FLOODER, OPEN, &seen);
    lone_stop(&lone);
}
END_TEST

START_TEST(the_first_one_of_another_user_is_sent_at_once)
{
    struct request_seen seen = {0};
    lone_start(&lone);
    flood_begins(_i == 1 ? 1 : FLOOD);
    core_asks(OTHER, OPEN);
    others_before(OTHER, OPEN, &seen);
    lone_stop(&lone);
}
END_TEST

/* To one closed port: a new place of the same user does not wait for it either. */
START_TEST(the_first_one_of_the_same_user_is_sent_at_once)
{
    struct request_seen seen = {0};
    lone_start(&lone);
    flood_begins(1);
    core_asks(FLOODER, OPEN);
    others_before(FLOODER, OPEN, &seen);
    lone_stop(&lone);
}
END_TEST

/* There are more requests than may be sent while nothing is known of the place. The answers let all
 * the others go on, whatever they are, although no more answers come. */
START_TEST(what_is_learned_stalls_nobody)
{
    static const uint32_t answers[] = {0, REASON_NO_LISTENER};
    struct request_seen seen[16];
    int answered = 0, sent;
    lone_start(&lone);
    for (int i = 0; i < 40; i++)
        core_asks(OTHER, OPEN);
    lone_run(&lone);
    do {
        for (sent = 0; sent < 16 && next_request(&seen[sent]);)
            sent++;
        for (int i = 0; i < sent; i++, answered++)
            answer_request(&seen[i], answers[_i < 2 ? _i : answered % 2]);
        flood_look();
    } while (sent > 0);
    ck_assert_int_eq(answered, 40);
    lone_stop(&lone);
}
END_TEST

/* Whatever two uids have in common. */
START_TEST(each_uid_has_its_turn)
{
    struct request_seen seen = {0};
    lone_start(&lone);
    flood_begins(FLOOD);
    for (uint32_t uid = OTHER; uid < OTHER + 64; uid++) {
        core_asks(uid, OPEN);
        others_before(uid, OPEN, &seen);
        answer_request(&seen, REASON_NO_LISTENER);
        flood_look();
        while (next_request(&seen))
            answer_request(&seen, REASON_NO_LISTENER);
    }
    lone_stop(&lone);
}
END_TEST

/* The flood's own place grants. The kinds have turns too. */
START_TEST(a_flood_that_is_granted_leaves_turns)
{
    struct request_seen seen = {0};
    lone_start(&lone);
    granted_once(FLOODER);
    for (uint32_t i = 0; i < 4 * FLOOD; i++)
        core_asks(FLOODER, OPEN);
    core_asks(OTHER, OPEN + 1);
    ck_assert_int_le(others_before(OTHER, OPEN + 1, &seen), REQUEST_KINDS);
    lone_stop(&lone);
}
END_TEST

/* ---- the side that refuses ---- */

static void other_side_asks(uint32_t id, uint32_t uid, uint32_t port)
{
    uint8_t payload[WIRE_CONNECT_REQ + IDC_SERVICE_MAX];
    uint32_t length = wire_put_connect_req(
        payload, &(struct wire_connect_req){
                     .id = id, .source_port = 5, .port = port, .uid = uid, .type = IDC_STREAM});
    ck_assert(lone_send(
        &lone,
        &(struct wire_frame){.type = WIRE_TYPE_CONNECT_REQ, .length = length, .credit = 4096},
        payload));
    peer_channel_event(lone.core->by_domid[2]);
    lone_run(&lone);
}

/* To whom the core's next answer is; 0: there is none. */
static uint32_t next_answer(void)
{
    struct wire_frame frame;
    uint8_t payload[64];
    while (lone_receive(&lone, &frame, payload, sizeof(payload)))
        if (frame.type == WIRE_TYPE_CONNECT_RSP)
            return frame.connection;
    return 0;
}

/* A flood waits for its refusals. Whoever is granted has the answer at once, and another user who
 * is refused waits for one refusal of the flood at most. */
START_TEST(refusals_go_to_users_in_turn)
{
    uint32_t id = 1;
    lone_start(&lone);
    for (; id <= LINK_REFUSAL_BURST; id++) {
        other_side_asks(id, FLOODER, CLOSED);
        ck_assert_uint_eq(next_answer(), id);
    }
    for (int i = 0; i < 200; i++)
        other_side_asks(id++, FLOODER, CLOSED);
    other_side_asks(5000, OTHER + (uint32_t)_i, CLOSED);
    ck_assert_uint_eq(next_answer(), 0);
    other_side_asks(5001, OTHER, LONE_PORT);
    ck_assert_uint_eq(next_answer(), 5001);
    lone_pass(&lone, 2);
    uint32_t first = next_answer(), second = next_answer();
    ck_assert_msg(first == 5000 || second == 5000, "answered: %u, %u", first, second);
    lone_stop(&lone);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("floods");
    TCase *tests = tcase_create("tests");
    tcase_add_loop_test(tests, granted_ones_of_another_user_are_sent_at_once, 1, 3);
    tcase_add_test(tests, the_first_one_of_the_same_user_is_sent_at_once);
    tcase_add_loop_test(tests, granted_ones_of_the_same_user_are_sent_at_once, 1, 3);
    tcase_add_loop_test(tests, the_first_one_of_another_user_is_sent_at_once, 1, 3);
    tcase_add_loop_test(tests, what_is_learned_stalls_nobody, 0, 3);
    tcase_add_test(tests, each_uid_has_its_turn);
    tcase_add_test(tests, a_flood_that_is_granted_leaves_turns);
    tcase_add_loop_test(tests, refusals_go_to_users_in_turn, 0, 32);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
