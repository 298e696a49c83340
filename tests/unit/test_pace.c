/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The bandwidth of a rule, in virtual time. Out: the core sends, and the test reads what comes. In:
 * the test is a peer that sends all that its credit allows, or one that paces.
 */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "link_mgr/core/link_private.h"
#include "link_mgr/core/pace.h"
#include "tests/lone/lone.h"
#include "tests/unit/suite.h"

#define MOST 50
#define ENDLESS (1u << 29)
#define PART (WIRE_FRAME_MIN - WIRE_TOTAL)

static struct lone lone;
static int count;                 /* of connections */
static uint64_t got[MOST];        /* payload that the core has sent, of each connection */
static uint32_t told[MOST];       /* credit that the core gave */
static uint32_t used[MOST];       /* and what was used of it */
static uint32_t unfinished[MOST]; /* bytes of a message that are still to be sent */
static uint64_t payload_in;
static int generation;

/* ---- the rules and the connections ---- */

/* The text is that of rules, and the peer's line. */
static void pace_test_rules(const char *rules, const char *peer)
{
    char path[128], text[1024];
    snprintf(path, sizeof(path), "/local/domain/1/idc/policy/rules/%d/0", ++generation);
    snprintf(text, sizeof(text), "version 1\ncommands 9\n%speer 2 %s\nend\n", rules, peer);
    lone_store(&lone, path, text);
    snprintf(text, sizeof(text), "%d 1", generation);
    lone_store(&lone, "/local/domain/1/idc/policy/rules/now", text);
    lone_run(&lone);
    ck_assert_msg(strstr(lone.last_log, "rules") == NULL, "%s", lone.last_log);
}

static void pace_test_limit(uint64_t bandwidth)
{
    char rules[256];
    snprintf(rules, sizeof(rules), "rule 1 allow * bandwidth=%llu at=policy:7\n",
             (unsigned long long)bandwidth);
    pace_test_rules(rules, "out=1 in=1");
}

static bool pace_test_read(void)
{
    struct wire_frame frame;
    uint8_t payload[16];
    if (!lone_receive(&lone, &frame, payload, sizeof(payload)))
        return false;
    int number = (int)frame.connection - 1;
    if (frame.connection == 0)
        return true;
    ck_assert_int_lt(number, MOST);
    if (frame.type == WIRE_TYPE_DATA)
        got[number] += frame.length - (frame.flags & WIRE_DATA_TOTAL ? WIRE_TOTAL : 0);
    told[number] = frame.credit;
    return true;
}

/* Reads what the core sends, at this time. */
static void pace_test_read_all(void)
{
    bool more = true;
    while (more) {
        more = false;
        peer_channel_event(lone.core->by_domid[2]);
        lone_run(&lone);
        while (pace_test_read())
            more = true;
    }
}

static struct conn *pace_test_connect(uint32_t port)
{
    uint8_t payload[WIRE_CONNECT_REQ + IDC_SERVICE_MAX];
    const struct wire_connect_req req = {.id = 1 + (uint32_t)count,
                                         .source_port = 5,
                                         .port = port,
                                         .uid = 9,
                                         .type = port == LONE_PORT ? IDC_STREAM : IDC_SEQPACKET};
    uint32_t length = wire_put_connect_req(payload, &req);
    ck_assert(lone_send(
        &lone,
        &(struct wire_frame){.type = WIRE_TYPE_CONNECT_REQ, .length = length, .credit = ENDLESS},
        payload));
    lone_run(&lone);
    ck_assert_msg(lone.end_count == count + 1, "%s", lone.last_log);
    count++;
    conn_taken(lone.ends[count - 1].conn);
    lone_run(&lone);
    pace_test_read_all();
    return lone.ends[count - 1].conn;
}

static void pace_test_start(void)
{
    count = 0;
    payload_in = 0;
    memset(got, 0, sizeof(got));
    memset(told, 0, sizeof(told));
    memset(used, 0, sizeof(used));
    memset(unfinished, 0, sizeof(unfinished));
    lone_start(&lone);
}

static void pace_test_begin(uint64_t bandwidth, int connections, enum idc_type type)
{
    pace_test_start();
    pace_test_limit(bandwidth);
    while (count < connections)
        pace_test_connect(type == IDC_STREAM ? LONE_PORT : LONE_PORT + 1);
}

static uint64_t pace_test_sum(void)
{
    uint64_t sum = 0;
    for (int i = 0; i < count; i++)
        sum += got[i];
    return sum;
}

/* ---- out ---- */

/* Their messages have different lengths: short ones, some that fit into a frame, long ones. */
static void pace_test_write(int number)
{
    static const uint32_t lengths[] = {100000, 3000, 100};
    struct conn *conn = lone.ends[number].conn;
    lone.ends[number].endless = conn->type == IDC_STREAM ? ENDLESS : lengths[number % 3];
    conn_readable(conn);
}

/* Time passes; the core is woken when it wants to be. Returns how often. */
static int pace_test_pass(uint64_t ms)
{
    uint64_t end = lone.now + ms;
    int wakes = 0;
    for (;;) {
        pace_test_read_all();
        uint64_t due = core_deadline(lone.core);
        if (due > end)
            break;
        ck_assert_msg(due > lone.now, "it wants to be woken at once");
        wakes++;
        lone_pass(&lone, due - lone.now);
    }
    lone_pass(&lone, end - lone.now);
    return wakes;
}

static const struct pace_case {
    uint64_t bandwidth;
    int connections;
    enum idc_type type;
    uint64_t ms;
} out_cases[] = {
    {1000, 1, IDC_STREAM, 10000},      {1000, 1, IDC_SEQPACKET, 10000},
    {1000, 2, IDC_STREAM, 10000},      {1000, 2, IDC_SEQPACKET, 10000},
    {1000, 50, IDC_STREAM, 10000},     {1000, 50, IDC_SEQPACKET, 10000},
    {1000000, 1, IDC_STREAM, 10000},   {1000000, 1, IDC_SEQPACKET, 10000},
    {1000000, 2, IDC_STREAM, 10000},   {1000000, 2, IDC_SEQPACKET, 10000},
    {1000000, 50, IDC_STREAM, 10000},  {1000000, 50, IDC_SEQPACKET, 10000},
    {1000000000, 1, IDC_STREAM, 100},  {1000000000, 1, IDC_SEQPACKET, 100},
    {1000000000, 2, IDC_STREAM, 100},  {1000000000, 2, IDC_SEQPACKET, 100},
    {1000000000, 50, IDC_STREAM, 100}, {1000000000, 50, IDC_SEQPACKET, 100},
    {1, 1, IDC_STREAM, 100000},        {1, 2, IDC_SEQPACKET, 100000},
};
#define OUT_CASES ((int)(sizeof(out_cases) / sizeof(out_cases[0])))

/* Of 100; the index of Jain: 100 if all have the same. */
static uint64_t pace_test_jain(void)
{
    uint64_t sum = 0, squares = 0, unit = 1 + pace_test_sum() / 1000000;
    for (int i = 0; i < count; i++) {
        sum += got[i] / unit;
        squares += got[i] / unit * (got[i] / unit);
    }
    return squares ? 100 * sum * sum / ((uint64_t)count * squares) : 0;
}

START_TEST(sends_its_bandwidth)
{
    const struct pace_case *one = &out_cases[_i];
    pace_test_begin(one->bandwidth, one->connections, one->type);
    for (int i = 0; i < count; i++)
        pace_test_write(i);
    pace_test_read_all();
    ck_assert_uint_le(pace_test_sum(), one->bandwidth / PACE_BURST_OUT + 1);
    memset(got, 0, sizeof(got));
    int wakes = pace_test_pass(one->ms);
    uint64_t sum = pace_test_sum(), wanted = one->bandwidth * one->ms / 1000;
    uint64_t jain = pace_test_jain();
    ck_assert_msg(sum >= wanted - wanted / 20 && sum <= wanted + wanted / 20,
                  "%llu bytes instead of %llu", (unsigned long long)sum,
                  (unsigned long long)wanted);
    ck_assert_msg(jain >= 95, "the index of fairness is 0.%02llu", (unsigned long long)jain);
    /* Once in a pause, and it sleeps between. */
    ck_assert_int_le(wakes, (int)(one->ms * PACE_PAUSE / 1000) + 2);
    lone_stop(&lone);
}
END_TEST

/* In the first second there is the burst besides. */
START_TEST(within_five_percent_from_the_first_byte)
{
    pace_test_begin(1000000, 3, _i ? IDC_SEQPACKET : IDC_STREAM);
    lone_pass(&lone, 3600000); /* it doesn't save up */
    for (int i = 0; i < count; i++)
        pace_test_write(i);
    pace_test_pass(10000);
    ck_assert_uint_ge(pace_test_sum(), 9500000);
    ck_assert_uint_le(pace_test_sum(), 10500000);
    lone_stop(&lone);
}
END_TEST

/* What is far below the limit is not delayed, and a limit beyond everything neither. */
START_TEST(no_delay_below_the_limit)
{
    pace_test_begin(_i ? 1000000000000 : 1000000, 2, IDC_STREAM);
    lone.ends[0].readable = _i ? 100000000 : 50000;
    uint64_t wanted = lone.ends[0].readable;
    conn_readable(lone.ends[0].conn);
    pace_test_read_all();
    ck_assert_uint_eq(got[0], wanted);
    ck_assert_uint_eq(lone.core->by_domid[2]->pace_due, PEER_NO_DEADLINE);
    lone_stop(&lone);
}
END_TEST

/* A connection of another rule sends at once, however many of this one wait. */
START_TEST(others_do_not_wait)
{
    pace_test_start();
    pace_test_rules("rule 1 allow * type=stream bandwidth=1000 at=policy:7\n"
                    "rule 2 allow * bandwidth=1000000 at=policy:8\n"
                    "rule 3 allow * at=policy:9\n",
                    _i == 0 ? "out=1,2 in=1,2" : "out=1,3 in=1,3");
    for (int i = 0; i < 5; i++)
        pace_test_connect(i < 4 ? LONE_PORT : LONE_PORT + 1);
    for (int i = 0; i < 4; i++)
        pace_test_write(i);
    pace_test_read_all();
    for (int i = 0; i < 10; i++) {
        lone.ends[4].readable = 5000;
        conn_readable(lone.ends[4].conn);
        pace_test_read_all();
        ck_assert_uint_eq(got[4], 5000u * (unsigned)(i + 1));
    }
    got[4] = 0;
    ck_assert_uint_le(pace_test_sum(), 100);
    lone_stop(&lone);
}
END_TEST

/* Both sides have the rule's place. */
START_TEST(rules_come_anew)
{
    pace_test_begin(1000, 1, IDC_STREAM);
    pace_test_write(0);
    pace_test_pass(1010);
    ck_assert_uint_le(got[0], 1150);
    got[0] = 0;
    /* with another number, and the same place: nothing new may be sent */
    pace_test_rules(
        "rule 1 deny * type=seqpacket at=policy:6\nrule 4 allow * bandwidth=1000 at=policy:7\n",
        "out=1,4 in=1,4");
    pace_test_read_all();
    ck_assert_uint_le(got[0], 30);
    /* with more */
    pace_test_limit(1000000);
    got[0] = 0;
    pace_test_pass(1000);
    ck_assert_uint_ge(got[0], 950000);
    ck_assert_uint_le(got[0], 1050000);
    /* with less, at once */
    pace_test_limit(10);
    got[0] = 0;
    pace_test_pass(1000);
    ck_assert_uint_le(got[0], 12);
    /* in another place, it is another rule */
    pace_test_rules("rule 1 allow * bandwidth=100 at=policy:3\n", "out=1 in=1");
    got[0] = 0;
    pace_test_pass(10000);
    ck_assert_uint_ge(got[0], 950);
    ck_assert_uint_le(got[0], 1050);
    /* without: a megabyte at once */
    lone.ends[0].endless = 0;
    lone.ends[0].readable = 1000000;
    pace_test_rules("rule 1 allow * at=policy:7\n", "out=1 in=1");
    got[0] = 0;
    pace_test_read_all();
    ck_assert_uint_eq(got[0], 1000000);
    lone_stop(&lone);
}
END_TEST

/* New connections don't bring a new burst. */
START_TEST(many_connections_in_a_row)
{
    pace_test_begin(10000, 1, IDC_STREAM);
    uint64_t sum = 0;
    for (int i = 0; i < 40; i++) {
        pace_test_write(count - 1);
        pace_test_read_all();
        sum += pace_test_sum();
        memset(got, 0, sizeof(got));
        struct conn *conn = lone.ends[count - 1].conn;
        conn_reset(conn, REASON_PROGRAM_RESET);
        conn_settle(conn);
        pace_test_connect(LONE_PORT);
    }
    ck_assert_uint_le(sum, 1000);
    lone_stop(&lone);
}
END_TEST

/* Whoever has the turn, or waits for it, is reset: the others go on. */
START_TEST(ends_while_it_waits)
{
    pace_test_begin(10000, 4, IDC_STREAM);
    for (int i = 0; i < count; i++)
        pace_test_write(i);
    pace_test_pass(100);
    for (int i = 0; i < 3; i++) {
        struct conn *conn = lone.ends[i].conn;
        conn_reset(conn, REASON_PROGRAM_RESET);
        conn_settle(conn);
        uint64_t before = got[3];
        pace_test_pass(1000);
        ck_assert_uint_ge(got[3] - before, 9500 / (4 - (unsigned)i));
    }
    ck_assert_uint_ge(got[3], 5000);
    lone_stop(&lone);
}
END_TEST

/* ---- in ---- */

static bool pace_test_send(int number, uint32_t most)
{
    static uint8_t bytes[WIRE_FRAME_MIN];
    const struct conn *conn = lone.ends[number].conn;
    if (!conn)
        return false;
    struct wire_frame frame = {.type = WIRE_TYPE_DATA, .connection = conn->id, .credit = ENDLESS};
    uint32_t credit = told[number] - used[number], head = 0;
    if (conn->type == IDC_SEQPACKET && unfinished[number] == 0)
        head = WIRE_MESSAGE_COST;
    if (credit <= head || most == 0)
        return false;
    uint32_t length = credit - head < most ? credit - head : most;
    length = length < PART ? length : PART;
    if (conn->type == IDC_SEQPACKET) {
        if (head) {
            unfinished[number] = 5000;
            frame.flags = WIRE_DATA_TOTAL;
            wire_put_u32(bytes, 5000);
        }
        length = length < unfinished[number] ? length : unfinished[number];
        unfinished[number] -= length;
        frame.flags |= unfinished[number] ? WIRE_DATA_MORE : 0;
    }
    frame.length = length + (head ? WIRE_TOTAL : 0);
    ck_assert(lone_send(&lone, &frame, bytes));
    lone_run(&lone);
    used[number] += length + head;
    payload_in += length;
    ck_assert_msg(lone.channel_open, "%s", lone.last_log);
    pace_test_read_all();
    return true;
}

/* Sends all that it may, on all connections. */
static void pace_test_flood(void)
{
    bool more = true;
    while (more) {
        more = false;
        for (int i = 0; i < count; i++)
            more |= pace_test_send(i, PART);
    }
}

static const struct pace_case in_cases[] = {
    {1000, 1, IDC_STREAM, 10000},        {1000, 1, IDC_SEQPACKET, 10000},
    {1000, 50, IDC_STREAM, 10000},       {1000, 50, IDC_SEQPACKET, 10000},
    {1000000, 1, IDC_STREAM, 10000},     {1000000, 1, IDC_SEQPACKET, 10000},
    {1000000, 2, IDC_STREAM, 10000},     {1000000, 50, IDC_STREAM, 10000},
    {1000000, 50, IDC_SEQPACKET, 10000}, {100000000, 3, IDC_STREAM, 1000},
    {1, 1, IDC_STREAM, 1000000},         {1, 2, IDC_SEQPACKET, 1000000},
};
#define IN_CASES ((int)(sizeof(in_cases) / sizeof(in_cases[0])))

/* What a peer may send at once that saved up credit: the bucket, and then what each connection was
 * promised when there were one, two, and so on. */
static uint64_t pace_test_at_once(uint64_t bandwidth)
{
    uint64_t burst = bandwidth / PACE_BURST_IN + 1, most = burst + PART;
    for (int i = 1; i <= count; i++)
        most += burst / (unsigned)i + PACE_PROMISE;
    return most;
}

/* A peer that doesn't pace. Afterwards each connection can still go on. */
START_TEST(a_flood_is_held_back)
{
    const struct pace_case *one = &in_cases[_i];
    pace_test_begin(one->bandwidth, one->connections, one->type);
    pace_test_flood();
    ck_assert_uint_le(payload_in, pace_test_at_once(one->bandwidth));
    uint64_t first = payload_in;
    uint64_t end = lone.now + one->ms;
    for (uint64_t due; (due = core_deadline(lone.core)) <= end;) {
        ck_assert_uint_gt(due, lone.now);
        lone_pass(&lone, due - lone.now);
        pace_test_read_all();
        pace_test_flood();
    }
    uint64_t wanted = one->bandwidth * one->ms / 1000;
    ck_assert_msg(payload_in - first <= wanted + wanted / 20 + 32 * (uint64_t)count,
                  "%llu bytes instead of %llu, after %llu",
                  (unsigned long long)(payload_in - first), (unsigned long long)wanted,
                  (unsigned long long)first);
    ck_assert_msg(payload_in >= wanted - wanted / 20, "%llu bytes instead of %llu",
                  (unsigned long long)payload_in, (unsigned long long)wanted);
    for (int i = 0; i < count; i++)
        ck_assert_msg(used[i] > 0, "connection %d was never given credit", i);
    lone_stop(&lone);
}
END_TEST

START_TEST(more_than_was_told_ends_the_link)
{
    static uint8_t bytes[WIRE_FRAME_MIN];
    pace_test_begin(1000, 1, IDC_STREAM);
    uint32_t length = told[0] - used[0] + 1;
    ck_assert_uint_le(length, 1000);
    lone_send(&lone,
              &(struct wire_frame){.type = WIRE_TYPE_DATA,
                                   .length = length,
                                   .connection = lone.ends[0].conn->id,
                                   .credit = ENDLESS},
              bytes);
    lone_run(&lone);
    ck_assert(!lone.channel_open);
    lone_stop(&lone);
}
END_TEST

/* Each of many connections is told of some credit at first, until the bandwidth is used up. */
START_TEST(a_flood_of_connections)
{
    pace_test_begin(1000, 0, IDC_STREAM);
    for (int i = 0; i < 50; i++) {
        pace_test_connect(LONE_PORT);
        pace_test_flood();
        struct conn *conn = lone.ends[count - 1].conn;
        conn_reset(conn, REASON_PROGRAM_RESET);
        conn_settle(conn);
        pace_test_read_all();
        told[count - 1] = used[count - 1];
    }
    ck_assert_uint_le(payload_in, 1000 / PACE_BURST_IN + 200);
    lone_stop(&lone);
}
END_TEST

/* A peer that paces as this side would: it always has the credit that it needs. */
START_TEST(a_peer_that_paces_is_not_limited_twice)
{
    const struct pace_case *one = &in_cases[_i];
    struct bucket bucket;
    pace_test_begin(one->bandwidth, one->connections, one->type);
    uint64_t pause = one->bandwidth / PACE_PAUSE + 1, burst = one->bandwidth / PACE_BURST_OUT + 1;
    bucket_init(&bucket, one->bandwidth, burst, lone.now);
    for (uint64_t end = lone.now + one->ms; lone.now < end;) {
        bool more = true;
        while (more) {
            more = false;
            for (int i = 0; i < count; i++) {
                uint64_t before = payload_in;
                more |= pace_test_send(i, (uint32_t)bucket_bytes(&bucket));
                bucket_take(&bucket, (int64_t)(payload_in - before));
            }
        }
        ck_assert_uint_eq(bucket_bytes(&bucket), 0);
        uint64_t due = bucket_when(&bucket, pause);
        while (core_deadline(lone.core) < due)
            lone_pass(&lone, core_deadline(lone.core) - lone.now);
        lone_pass(&lone, due - lone.now);
        bucket_earn(&bucket, lone.now);
        pace_test_read_all();
    }
    lone_stop(&lone);
}
END_TEST

/* Of messages that are nearly all boundary, the payload counts. */
START_TEST(small_messages_count_as_their_bytes)
{
    pace_test_begin(2000, 1, IDC_SEQPACKET);
    uint64_t messages = 0;
    static uint8_t byte[1];
    for (uint64_t end = lone.now + 10000; lone.now < end;) {
        if (told[0] - used[0] > WIRE_MESSAGE_COST) {
            ck_assert(lone_send(&lone,
                                &(struct wire_frame){.type = WIRE_TYPE_DATA,
                                                     .length = 1,
                                                     .connection = lone.ends[0].conn->id,
                                                     .credit = ENDLESS},
                                byte));
            used[0] += 1 + WIRE_MESSAGE_COST;
            messages++;
            lone_run(&lone);
        } else if (core_deadline(lone.core) < UINT64_MAX) {
            lone_pass(&lone, core_deadline(lone.core) - lone.now);
        }
        pace_test_read_all();
    }
    ck_assert_uint_ge(messages, 19000);
    ck_assert_uint_le(messages, 21000);
    lone_stop(&lone);
}
END_TEST

/* Before there was a limit, much was promised. It is no debt. */
START_TEST(a_limit_comes_later)
{
    pace_test_start();
    pace_test_rules("rule 1 allow * at=policy:7\n", "out=1 in=1");
    pace_test_connect(LONE_PORT);
    for (int i = 0; i < 200; i++)
        pace_test_send(0, PART);
    pace_test_limit(1000);
    pace_test_flood();
    uint64_t before = payload_in;
    for (uint64_t end = lone.now + 10000; core_deadline(lone.core) <= end;) {
        lone_pass(&lone, core_deadline(lone.core) - lone.now);
        pace_test_read_all();
        pace_test_flood();
    }
    ck_assert_uint_ge(payload_in - before, 9500);
    ck_assert_uint_le(payload_in - before, 10500);
    /* and goes: the credit is as before */
    pace_test_rules("rule 1 allow * at=policy:7\n", "out=1 in=1");
    pace_test_read_all();
    ck_assert_uint_ge(told[0] - used[0], BUDGET_WINDOW_NEW);
    lone_stop(&lone);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("the bandwidth of a rule");
    TCase *tests = tcase_create("tests");
    tcase_set_timeout(tests, 120);
    tcase_add_loop_test(tests, sends_its_bandwidth, 0, OUT_CASES);
    tcase_add_loop_test(tests, within_five_percent_from_the_first_byte, 0, 2);
    tcase_add_loop_test(tests, no_delay_below_the_limit, 0, 2);
    tcase_add_loop_test(tests, others_do_not_wait, 0, 2);
    tcase_add_test(tests, rules_come_anew);
    tcase_add_test(tests, many_connections_in_a_row);
    tcase_add_test(tests, ends_while_it_waits);
    tcase_add_loop_test(tests, a_flood_is_held_back, 0, IN_CASES);
    tcase_add_test(tests, more_than_was_told_ends_the_link);
    tcase_add_test(tests, a_flood_of_connections);
    tcase_add_loop_test(tests, a_peer_that_paces_is_not_limited_twice, 0, IN_CASES);
    tcase_add_test(tests, small_messages_count_as_their_bytes);
    tcase_add_test(tests, a_limit_comes_later);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
