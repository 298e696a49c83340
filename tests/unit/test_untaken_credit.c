/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A connection that no program has accepted: what lies in its socket is charged to the peer, like
 * what waits in link_mgr, and gives no new credit. */
#include <check.h>

#include "tests/lone/lone.h"
#include "tests/unit/suite.h"

static struct lone lone;

static struct conn *untaken_request(enum idc_type type)
{
    uint8_t bytes[WIRE_CONNECT_REQ + IDC_SERVICE_MAX];
    const struct wire_connect_req req = {.id = 9,
                                         .source_port = 5,
                                         .port = LONE_PORT + (type == IDC_SEQPACKET),
                                         .uid = 1,
                                         .type = type};
    uint32_t length = wire_put_connect_req(bytes, &req);
    ck_assert(lone_send(
        &lone,
        &(struct wire_frame){.type = WIRE_TYPE_CONNECT_REQ, .length = length, .credit = 4096},
        bytes));
    lone_run(&lone);
    struct conn *got = TAILQ_FIRST(&lone.core->by_domid[2]->conns);
    ck_assert_ptr_nonnull(got);
    ck_assert_ptr_nonnull(got->listener);
    return got;
}

static void drain_frames(void)
{
    struct wire_frame frame;
    uint8_t payload[128];
    while (lone_receive(&lone, &frame, payload, sizeof(payload)))
        ;
}

static uint64_t send_all_credit(struct conn *to)
{
    static uint8_t bytes[1024];
    uint64_t sent = 0;
    uint32_t cost = to->type == IDC_SEQPACKET ? WIRE_MESSAGE_COST : 0;
    while (to->in_limit - to->received > cost) {
        uint64_t left = to->in_limit - to->received - cost;
        uint32_t length = left < sizeof(bytes) ? (uint32_t)left : (uint32_t)sizeof(bytes);
        ck_assert(lone_send(
            &lone,
            &(struct wire_frame){
                .type = WIRE_TYPE_DATA, .length = length, .connection = to->id, .credit = 4096},
            bytes));
        lone_run(&lone);
        drain_frames();
        sent += length;
        ck_assert_uint_le(sent, 1 << 20); /* it gets ever more credit */
    }
    return sent;
}

START_TEST(credit_comes_when_it_is_taken)
{
    enum idc_type type = _i ? IDC_SEQPACKET : IDC_STREAM;
    lone_start(&lone);
    const struct budget *budget = &lone.core->by_domid[2]->budget;
    struct conn *to = untaken_request(type);
    ck_assert_uint_le(send_all_credit(to), BUDGET_WINDOW_NEW);
    ck_assert_uint_gt(lone.ends[0].pushed, 0);
    ck_assert_uint_ge(budget->charged, BUDGET_CONNECTION + lone.ends[0].pushed);
    uint64_t limit = to->in_limit;
    conn_taken(to);
    ck_assert_uint_gt(to->in_limit, limit);
    lone_run(&lone);
    ck_assert_uint_gt(to->in_limit - to->received, 0);
    conn_reset(to, REASON_PROGRAM_RESET);
    conn_settle(to);
    lone_stop(&lone);
}
END_TEST

START_TEST(reset_before_it_is_taken)
{
    lone_start(&lone);
    struct conn *to = untaken_request(IDC_STREAM);
    send_all_credit(to);
    conn_reset(to, REASON_PROGRAM_RESET);
    conn_settle(to);
    lone_stop(&lone); /* asserts that nothing is charged any more */
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("credit of connections that nobody has accepted");
    TCase *tcase = tcase_create("all");
    tcase_add_loop_test(tcase, credit_comes_when_it_is_taken, 0, 2);
    tcase_add_test(tcase, reset_before_it_is_taken);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
