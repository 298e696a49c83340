/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzzer: a peer that sends anything. The input is a list of records: a byte that says what
 * happens, then its operands. Most are frames made from a few bytes, so that deep states are
 * reached; some are raw bytes in the ring, or the ring's indexes. Between them programs act.
 * Whatever comes, the core must neither crash nor leak, nor send anything that wire.c rejects.
 */
#include <string.h>

#include "tests/fuzz/fuzz_count.h"
#include "tests/lone/lone.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
    const uint8_t *data;
    size_t size;
};

static uint32_t link_take(struct input *input, unsigned bytes)
{
    uint32_t value = 0;
    for (unsigned i = 0; i < bytes && input->size > 0; i++, input->size--)
        value = value << 8 | *input->data++;
    return value;
}

/* Ids that the core has given, as a peer would know them; now and then something else. */
static uint32_t pick_id(struct input *input, const uint32_t ids[16])
{
    uint32_t choice = link_take(input, 1);
    return choice < 0xF0 ? ids[choice % 16] : link_take(input, 4);
}

static void send_request(struct lone *lone, struct input *input)
{
    uint8_t payload[WIRE_CONNECT_REQ + IDC_SERVICE_MAX];
    struct wire_connect_req req = {.id = 1 + link_take(input, 1),
                                   .source_port = 7,
                                   .port = LONE_PORT + link_take(input, 1) % 3,
                                   .type = (enum idc_type)(1 + link_take(input, 1) % 2)};
    uint32_t length = wire_put_connect_req(payload, &req);
    lone_send(lone,
              &(struct wire_frame){
                  .type = WIRE_TYPE_CONNECT_REQ, .length = length, .credit = link_take(input, 2)},
              payload);
}

static void send_frame(struct lone *lone, struct input *input, const uint32_t ids[16])
{
    uint8_t payload[4096];
    struct wire_frame frame = {.type = (uint8_t)link_take(input, 1),
                               .flags = (uint8_t)link_take(input, 1)};
    frame.connection = pick_id(input, ids);
    frame.credit = link_take(input, 2);
    frame.length = link_take(input, 2) % sizeof(payload);
    for (uint32_t i = 0; i < frame.length && i < 64; i++)
        payload[i] = (uint8_t)link_take(input, 1);
    lone_send(lone, &frame, payload);
}

static void send_raw(struct lone *lone, struct input *input)
{
    uint8_t bytes[64];
    uint32_t length = link_take(input, 1) % sizeof(bytes);
    for (uint32_t i = 0; i < length; i++)
        bytes[i] = (uint8_t)link_take(input, 1);
    lone_put(lone, bytes, length);
}

static void program_acts(struct lone *lone, struct input *input)
{
    uint32_t what = link_take(input, 1);
    struct endpoint *end = &lone->ends[link_take(input, 1) % LONE_ENDS];
    if (!end->open || end->closed)
        return;
    end->readable += what & 1 ? link_take(input, 2) : 0;
    end->ended |= what & 2;
    end->no_room = what & 4;
    end->shut_rd |= what & 8 && what & 0x80;
    end->closed |= what & 16 && what & 0x40;
    end->closed_unread |= what & 32;
    struct conn *conn = end->conn;
    conn_readable(conn);
    conn_writable(conn);
    conn_settle(conn);
}

static void note_ids(struct lone *lone, uint32_t ids[16])
{
    struct wire_frame frame;
    uint8_t payload[2048];
    while (lone->channel_open && !lone->deaf &&
           lone_receive(lone, &frame, payload, sizeof(payload)))
        if (frame.type == WIRE_TYPE_CONNECT_RSP)
            ids[frame.connection % 16] = wire_get_u32(payload + 4);
}

static void link_act(struct lone *lone, struct input *input, const uint32_t ids[16])
{
    switch (link_take(input, 1) % 8) {
    case 0:
    case 1:
        send_request(lone, input);
        break;
    case 2:
    case 3:
        send_frame(lone, input, ids);
        break;
    case 4:
        send_raw(lone, input);
        break;
    case 5:
        lone->page.right.prod += link_take(input, 1) == 255 ? link_take(input, 4) : 0;
        break;
    case 6:
        if (link_take(input, 1) != 255)
            break;
        lone->page.left.cons += link_take(input, 4);
        lone->deaf = true; /* what has not been read may be overwritten now */
        break;
    default:
        program_acts(lone, input);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct lone lone;
    struct input input = {data, size};
    uint32_t ids[16] = {0};
    /* an old peer, or one that knows the features of today */
    lone_start_with(&lone, size % 2 == 0 ? 0 : WIRE_FEATURES);
    while (input.size > 0 && lone.channel_open) {
        fuzz_count("steps of a link");
        link_act(&lone, &input, ids);
        peer_channel_event(lone.core->by_domid[2]);
        for (int i = 0; i < 100 && core_turn(lone.core); i++)
            ;
        note_ids(&lone, ids);
        lone.now += 3;
    }
    lone_stop(&lone);
    return 0;
}
