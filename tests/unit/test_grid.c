/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Every sequence of DEPTH events on one connection, from the other side and from the program, and
 * many random longer ones. After each event, a frame that the protocol allows keeps the link, and
 * one that it forbids ends it. The core itself sends nothing that is forbidden. After each sequence
 * everything has been given back (lone_stop).
 *
 * Which frames are allowed is told here by docs/protocol.md alone, from what each side has sent so
 * far, and not by the core's states.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lone/lone.h"
#include "tests/unit/suite.h"

#define DEPTH 4
#define RANDOM_LENGTH 12
#define RANDOM_RUNS 30000
#define SHORT_DEPTH 3 /* with IDC_TEST_SHORT set, as in slow builds */
#define SHORT_RANDOM_RUNS 2000

enum move {
    DATA,
    CREDIT,
    END,
    NOT_WANTED,
    BOTH,
    RESET,
    LAST, /* frames of the other side */
    WRITE,
    SHUT_WR_,
    CLOSE,
    CLOSE_UNREAD,
    SHUT_RD_,
    NO_ROOM,
    ROOM,
    REVOKE,
    TAKE, /* here */
    MOVES
};

struct model {
    struct lone lone;
    struct endpoint *end;
    uint32_t id;          /* the core's */
    uint64_t limit, sent; /* credit that the core has given, and that was used */
    bool their_end, their_last, core_end, core_last;
    bool core_reset;
};

/* What the core has sent since. */
static void listen_to_core(struct model *model)
{
    struct wire_frame frame;
    uint8_t payload[2048];
    while (lone_receive(&model->lone, &frame, payload, sizeof(payload))) {
        if (frame.type == WIRE_TYPE_BYE || frame.type == WIRE_TYPE_HELLO)
            continue;
        ck_assert_uint_eq(frame.connection, 77);
        ck_assert_msg(!model->core_last, "the core sends something after its LAST");
        model->limit = frame.credit;
        if (frame.type == WIRE_TYPE_CONNECT_RSP)
            model->id = wire_get_u32(payload + 4);
        if (frame.type == WIRE_TYPE_DATA)
            ck_assert_msg(!model->core_end, "the core sends data after its end");
        if (frame.type != WIRE_TYPE_DISCONNECT)
            continue;
        ck_assert_msg(!(frame.flags & WIRE_NO_MORE_DATA) || !model->core_end, "a second end");
        model->core_end |= frame.flags & WIRE_NO_MORE_DATA;
        model->core_last |= frame.flags & WIRE_LAST;
        model->core_reset |= frame.flags & WIRE_RESET;
        ck_assert_msg(!(frame.flags & WIRE_LAST) || (frame.flags & WIRE_RESET) ||
                          model->their_last || (model->core_end && model->their_end),
                      "a LAST too early");
    }
}

static void grid_begin(struct model *model)
{
    uint8_t payload[WIRE_CONNECT_REQ + IDC_SERVICE_MAX];
    memset(model, 0, sizeof(*model));
    lone_start(&model->lone);
    uint32_t length = wire_put_connect_req(
        payload, &(struct wire_connect_req){
                     .id = 77, .source_port = 5, .port = LONE_PORT, .uid = 9, .type = IDC_STREAM});
    lone_send(&model->lone,
              &(struct wire_frame){.type = WIRE_TYPE_CONNECT_REQ, .length = length, .credit = 20},
              payload);
    lone_run(&model->lone);
    listen_to_core(model);
    ck_assert_uint_ne(model->id, 0);
    model->end = &model->lone.ends[0];
}

/* May the other side send this now, by the protocol? */
static bool grid_allowed(const struct model *model, enum move move)
{
    bool gone = model->core_last && model->their_last;
    if (model->their_last || gone)
        return false;
    switch (move) {
    case DATA:
    case END:
    case BOTH:
        return !model->their_end;
    case LAST:
        return model->core_last || (model->their_end && model->core_end);
    default:
        return true;
    }
}

static void send_frame(struct model *model, enum move move)
{
    static const uint8_t flags[] = {[END] = WIRE_NO_MORE_DATA,
                                    [NOT_WANTED] = WIRE_NO_MORE_WANTED,
                                    [BOTH] = WIRE_NO_MORE_DATA | WIRE_NO_MORE_WANTED,
                                    [RESET] = WIRE_RESET | WIRE_LAST,
                                    [LAST] = WIRE_LAST};
    uint8_t payload[16] = {REASON_PROGRAM_RESET};
    struct wire_frame frame = {.type = WIRE_TYPE_DISCONNECT, .connection = model->id, .credit = 20};
    if (move == DATA)
        frame = (struct wire_frame){
            .type = WIRE_TYPE_DATA, .connection = model->id, .credit = 20, .length = 10};
    else if (move == CREDIT)
        frame.type = WIRE_TYPE_CREDIT;
    else
        frame.flags = flags[move];
    if (move == RESET)
        frame.length = 4;
    ck_assert(lone_send(&model->lone, &frame, payload));
    model->their_end |= move == END || move == BOTH;
    model->their_last |= move == RESET || move == LAST;
}

/* The program does something, or something happens here. */
static void grid_act(struct model *model, enum move move)
{
    struct endpoint *end = model->end;
    struct conn *conn = end->conn;
    if (!end->open || end->closed)
        return;
    switch (move) {
    case WRITE:
        end->readable += end->ended ? 0 : 5;
        break;
    case SHUT_WR_:
        end->ended = true;
        break;
    case CLOSE:
    case CLOSE_UNREAD:
        end->closed = true;
        end->closed_unread = move == CLOSE_UNREAD;
        break;
    case SHUT_RD_:
        end->shut_rd = true;
        break;
    case NO_ROOM:
        end->no_room = true;
        return;
    case ROOM:
        end->no_room = false;
        break;
    case REVOKE:
        conn_reset(conn, REASON_REVOKED);
        conn_settle(conn);
        return;
    case TAKE:
        conn_taken(conn);
        return;
    default:
        return;
    }
    conn_readable(conn);
    if (move != WRITE && move != SHUT_WR_)
        conn_writable(conn);
    conn_settle(conn);
}

/* False: the link has ended, as it had to. */
static bool grid_play(struct model *model, enum move move)
{
    bool frame = move <= LAST;
    bool good = !frame || grid_allowed(model, move);
    if (frame)
        send_frame(model, move);
    else
        grid_act(model, move);
    lone_run(&model->lone);
    ck_assert_msg(model->lone.channel_open == good, "move %d: the link %s (%s)", move,
                  good ? "ended" : "did not end", model->lone.last_log);
    if (good)
        listen_to_core(model);
    return good;
}

static void check_end(const struct model *model)
{
    const struct endpoint *end = model->end;
    if (!end->open && end->reason == REASON_OK)
        ck_assert_msg(model->their_end || end->closed, "a clean end that nobody made");
    if (model->core_last && model->their_last && !model->core_reset)
        ck_assert(!end->open || end->no_room);
}

static void grid_run(const enum move *moves, int count)
{
    static struct model model;
    grid_begin(&model);
    for (int i = 0; i < count; i++)
        if (!grid_play(&model, moves[i]))
            break;
    check_end(&model);
    lone_stop(&model.lone);
}

/* One test for each first move. */
START_TEST(test_all_sequences)
{
    enum move moves[DEPTH] = {(enum move)_i};
    int depth = getenv("IDC_TEST_SHORT") ? SHORT_DEPTH : DEPTH;
    for (;;) {
        grid_run(moves, depth);
        int last = depth - 1;
        while (last > 0 && moves[last] == MOVES - 1)
            moves[last--] = 0;
        if (last == 0)
            return;
        moves[last]++;
    }
}
END_TEST

START_TEST(test_random_sequences)
{
    enum move moves[RANDOM_LENGTH];
    int runs = getenv("IDC_TEST_SHORT") ? SHORT_RANDOM_RUNS : RANDOM_RUNS;
    srand(1);
    for (int i = 0; i < runs; i++) {
        for (int k = 0; k < RANDOM_LENGTH; k++)
            moves[k] = (enum move)(rand() % MOVES);
        grid_run(moves, RANDOM_LENGTH);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("grid of states and events");
    TCase *tcase = tcase_create("grid");
    tcase_set_timeout(tcase, 300);
    tcase_add_loop_test(tcase, test_all_sequences, 0, MOVES);
    tcase_add_test(tcase, test_random_sequences);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
