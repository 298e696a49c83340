/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The lies. Each is told at its stage (hostile.h), and is one thing that docs/protocol.md forbids;
 * the text is what the victim must say about it. At the end there are a few that are none: what a
 * later version may send and this one must bear.
 */
#include <stdio.h>
#include <string.h>

#include "tests/programs/hostile.h"

#define FRAME(...) (&(struct wire_frame){__VA_ARGS__})

static uint8_t zeros[65536];

static void send_frame(struct scene *scene, const struct wire_frame *frame)
{
    hostile_frame(scene->h, frame, zeros);
}

/* ---- rings ---- */

static void index_far_ahead(struct scene *scene)
{
    __atomic_store_n(&scene->h->rings.out.shared->prod,
                     scene->h->rings.out.own + scene->h->rings.out.size + 1, __ATOMIC_SEQ_CST);
    scene->h->ops->channel_notify(scene->h->channel);
}

static void index_goes_back(struct scene *scene)
{
    __atomic_store_n(&scene->h->rings.out.shared->prod, scene->h->rings.out.own - 1,
                     __ATOMIC_SEQ_CST);
    scene->h->ops->channel_notify(scene->h->channel);
}

static void consumed_too_much(struct scene *scene)
{
    __atomic_store_n(&scene->h->rings.in.shared->cons, scene->h->rings.in.own + 1,
                     __ATOMIC_SEQ_CST);
    scene->h->ops->channel_notify(scene->h->channel);
}

static void consumed_back(struct scene *scene)
{
    __atomic_store_n(&scene->h->rings.in.shared->cons,
                     scene->h->rings.in.own - scene->h->rings.in.size - 1, __ATOMIC_SEQ_CST);
    scene->h->ops->channel_notify(scene->h->channel);
}

/* ---- HELLO ---- */

static void hello_bytes(struct scene *scene, uint8_t bytes[WIRE_HELLO])
{
    wire_put_hello(bytes, &scene->h->hello);
}

static void send_hello(struct scene *scene, const struct wire_hello *hello)
{
    uint8_t bytes[WIRE_HELLO];
    wire_put_hello(bytes, hello);
    hostile_frame(scene->h, FRAME(.type = WIRE_TYPE_HELLO, .length = WIRE_HELLO), bytes);
}

static void hello_without_magic(struct scene *scene)
{
    uint8_t bytes[WIRE_HELLO];
    hello_bytes(scene, bytes);
    bytes[0] ^= 1;
    hostile_frame(scene->h, FRAME(.type = WIRE_TYPE_HELLO, .length = WIRE_HELLO), bytes);
}

static void hello_short(struct scene *scene)
{
    uint8_t bytes[WIRE_HELLO];
    hello_bytes(scene, bytes);
    hostile_frame(scene->h, FRAME(.type = WIRE_TYPE_HELLO, .length = WIRE_HELLO - 1), bytes);
}

static void hello_very_long(struct scene *scene)
{
    send_frame(scene, FRAME(.type = WIRE_TYPE_HELLO, .length = WIRE_CONTROL_MAX + 1));
}

static void hello_flags(struct scene *scene)
{
    send_frame(scene, FRAME(.type = WIRE_TYPE_HELLO, .length = WIRE_HELLO, .flags = 0x80));
}

static void hello_connection(struct scene *scene)
{
    send_frame(scene, FRAME(.type = WIRE_TYPE_HELLO, .length = WIRE_HELLO, .connection = 1));
}

static void hello_credit(struct scene *scene)
{
    send_frame(scene, FRAME(.type = WIRE_TYPE_HELLO, .length = WIRE_HELLO, .credit = 1));
}

#define HELLO_WITH(name, ...)                      \
    static void name(struct scene *scene)          \
    {                                              \
        struct wire_hello hello = scene->h->hello; \
        __VA_ARGS__;                               \
        send_hello(scene, &hello);                 \
    }
HELLO_WITH(hello_versions_reversed, hello.version_min = 2)
HELLO_WITH(hello_newer_version, hello.version_min = 2; hello.version_max = 9)
HELLO_WITH(hello_small_frames, hello.max_frame = WIRE_FRAME_MIN - 1)
HELLO_WITH(hello_huge_frames, hello.max_frame = WIRE_FRAME_MAX + 1)
HELLO_WITH(hello_frames_over_ring, hello.max_frame = WIRE_FRAME_MAX)
HELLO_WITH(hello_no_requests, hello.max_requests = 0)
HELLO_WITH(hello_many_requests, hello.max_requests = WIRE_REQUESTS_MAX + 1)
HELLO_WITH(hello_other_epoch, hello.epoch ^= 1)
HELLO_WITH(hello_other_generation, hello.generation++)
HELLO_WITH(hello_other_domid, hello.domid++)
HELLO_WITH(second_hello, (void)0)

static void request_before_hello(struct scene *scene)
{
    send_frame(scene, FRAME(.type = WIRE_TYPE_CONNECT_REQ, .length = WIRE_CONNECT_REQ));
}

static void later_frame_before_hello(struct scene *scene)
{
    send_frame(scene, FRAME(.type = 200));
}

/* ---- headers ---- */

static void too_long(struct scene *scene)
{
    uint8_t header[WIRE_HEADER];
    uint32_t offset = 0;
    wire_put_frame(header, FRAME(.type = WIRE_TYPE_DATA, .length = 65537, .connection = 1));
    hostile_put(scene->h, &offset, header, sizeof(header));
    hostile_publish(scene->h, offset);
}

static void length_all_ones(struct scene *scene)
{
    uint8_t header[WIRE_HEADER];
    uint32_t offset = 0;
    wire_put_frame(header, FRAME(.type = 200, .length = UINT32_MAX));
    hostile_put(scene->h, &offset, header, sizeof(header));
    hostile_publish(scene->h, offset);
}

static void reserved_field(struct scene *scene)
{
    uint8_t header[WIRE_HEADER];
    uint32_t offset = 0;
    wire_put_frame(header, FRAME(.type = WIRE_TYPE_CREDIT, .connection = 1));
    header[7] = 1;
    hostile_put(scene->h, &offset, header, sizeof(header));
    hostile_publish(scene->h, offset);
}

#define SEND(name, ...)                        \
    static void name(struct scene *scene)      \
    {                                          \
        send_frame(scene, FRAME(__VA_ARGS__)); \
    }
SEND(type_0, .type = 0)
SEND(type_8, .type = 8)
SEND(type_127, .type = 127)
SEND(credit_flags, .type = WIRE_TYPE_CREDIT, .connection = 1, .flags = 1)
SEND(credit_payload, .type = WIRE_TYPE_CREDIT, .connection = 1, .length = 1)
SEND(data_without_connection, .type = WIRE_TYPE_DATA, .length = 1)
SEND(request_with_connection, .type = WIRE_TYPE_CONNECT_REQ, .length = WIRE_CONNECT_REQ,
     .connection = 1)
SEND(request_short, .type = WIRE_TYPE_CONNECT_REQ, .length = WIRE_CONNECT_REQ - 1)
SEND(response_short, .type = WIRE_TYPE_CONNECT_RSP, .length = WIRE_CONNECT_RSP - 1, .connection = 1)
SEND(bye_short, .type = WIRE_TYPE_BYE, .length = 3)
SEND(bye_credit, .type = WIRE_TYPE_BYE, .length = 4, .credit = 1)
SEND(unknown_id_data, .type = WIRE_TYPE_DATA, .length = 1, .connection = 0x100000)
SEND(unknown_id_credit, .type = WIRE_TYPE_CREDIT, .connection = 0x100000)
SEND(unknown_id_disconnect, .type = WIRE_TYPE_DISCONNECT, .flags = 1, .connection = 0x100000)
SEND(unknown_id_huge, .type = WIRE_TYPE_CREDIT, .connection = UINT32_MAX)

static void unknown_id_response(struct scene *scene)
{
    uint8_t bytes[WIRE_CONNECT_RSP_RULE];
    wire_put_connect_rsp(bytes, 0, &(struct wire_connect_rsp){.status = 1});
    hostile_frame(
        scene->h,
        FRAME(.type = WIRE_TYPE_CONNECT_RSP, .length = WIRE_CONNECT_RSP, .connection = 0x100000),
        bytes);
}

/* ---- requests ---- */

static void send_request(struct scene *scene, const struct wire_connect_req *req,
                         uint8_t name_length, uint32_t credit)
{
    uint8_t bytes[WIRE_CONNECT_REQ + IDC_SERVICE_MAX];
    uint32_t length = wire_put_connect_req(bytes, req);
    bytes[17] = name_length;
    hostile_frame(scene->h,
                  FRAME(.type = WIRE_TYPE_CONNECT_REQ, .length = length, .credit = credit), bytes);
}

#define REQUEST(symbol, credit, length, ...)                                                       \
    static void symbol(struct scene *scene)                                                        \
    {                                                                                              \
        struct wire_connect_req req = {.id = 9, .source_port = 5, .port = 80, .type = IDC_STREAM}; \
        __VA_ARGS__;                                                                               \
        send_request(scene, &req, length, credit);                                                 \
    }
REQUEST(request_without_id, 0, 0, req.id = 0)
REQUEST(request_without_source, 0, 0, req.source_port = 0)
REQUEST(request_of_type_3, 0, 0, req.type = (enum idc_type)3)
REQUEST(request_for_nothing, 0, 0, req.port = 0)
REQUEST(request_port_and_name, 0, 1, strcpy(req.name, "x"))
REQUEST(request_name_length, 0, 79, req.port = 0; strcpy(req.name, "echo"))
REQUEST(request_bad_name, 0, 4, req.port = 0; strcpy(req.name, "a/b!"))
REQUEST(request_far_credit, 1u << 31, 0, (void)0)

/* Refusals come at 1,000 a second after the first 1,024: so these pile up beyond the 256 that may
 * be unanswered. */
static void too_many_requests(struct scene *scene)
{
    uint8_t bytes[WIRE_HEADER + WIRE_CONNECT_REQ + IDC_SERVICE_MAX];
    uint32_t offset = 0;
    for (uint32_t i = 0; i < 3000; i++) {
        struct wire_connect_req req = {
            .id = 100 + i, .source_port = 5, .port = 9999, .type = IDC_STREAM};
        wire_put_frame(bytes, FRAME(.type = WIRE_TYPE_CONNECT_REQ, .length = WIRE_CONNECT_REQ));
        wire_put_connect_req(bytes + WIRE_HEADER, &req);
        hostile_put(scene->h, &offset, bytes, WIRE_HEADER + WIRE_CONNECT_REQ);
    }
    hostile_publish(scene->h, offset);
}

/* ---- streams ---- */

#define ON_STREAM(name, ...)                                                            \
    static void name(struct scene *scene)                                               \
    {                                                                                   \
        send_frame(scene, FRAME(.connection = scene->id, .credit = 4096, __VA_ARGS__)); \
    }
ON_STREAM(data_empty, .type = WIRE_TYPE_DATA)
ON_STREAM(data_more, .type = WIRE_TYPE_DATA, .length = 5, .flags = WIRE_DATA_MORE)
ON_STREAM(data_beyond_credit, .type = WIRE_TYPE_DATA, .length = scene->credit + 1)
ON_STREAM(disconnect_nothing, .type = WIRE_TYPE_DISCONNECT)
ON_STREAM(disconnect_flags, .type = WIRE_TYPE_DISCONNECT, .flags = 0x11)
ON_STREAM(disconnect_last_early, .type = WIRE_TYPE_DISCONNECT, .flags = WIRE_LAST)
ON_STREAM(disconnect_end_and_last, .type = WIRE_TYPE_DISCONNECT,
          .flags = WIRE_LAST | WIRE_NO_MORE_DATA)
ON_STREAM(reset_without_last, .type = WIRE_TYPE_DISCONNECT, .flags = WIRE_RESET, .length = 4)
ON_STREAM(reset_without_reason, .type = WIRE_TYPE_DISCONNECT, .flags = WIRE_RESET | WIRE_LAST)
ON_STREAM(reason_without_reset, .type = WIRE_TYPE_DISCONNECT, .flags = WIRE_NO_MORE_DATA,
          .length = 4)
ON_STREAM(reason_short, .type = WIRE_TYPE_DISCONNECT, .flags = WIRE_NO_MORE_DATA, .length = 3)

static void data_to_other_generation(struct scene *scene)
{
    send_frame(scene,
               FRAME(.type = WIRE_TYPE_DATA, .length = 1, .connection = scene->id ^ 2u << 20));
}

static void credit_goes_back(struct scene *scene)
{
    send_frame(scene, FRAME(.type = WIRE_TYPE_CREDIT, .connection = scene->id, .credit = 4095));
}

static void credit_too_far(struct scene *scene)
{
    send_frame(scene, FRAME(.type = WIRE_TYPE_CREDIT, .connection = scene->id,
                            .credit = 4096 + (1u << 30)));
}

/* Two frames that the victim finds in the ring at once. */
static void send_two(struct scene *scene, const struct wire_frame *first,
                     const struct wire_frame *second)
{
    uint8_t header[WIRE_HEADER];
    uint32_t offset = 0;
    const struct wire_frame *frames[] = {first, second};
    for (int i = 0; i < 2; i++) {
        wire_put_frame(header, frames[i]);
        hostile_put(scene->h, &offset, header, sizeof(header));
        hostile_put(scene->h, &offset, zeros, frames[i]->length);
    }
    hostile_publish(scene->h, offset);
}

#define END(...) \
    FRAME(.type = WIRE_TYPE_DISCONNECT, .connection = scene->id, .credit = 4096, __VA_ARGS__)
#define DATA(...) \
    FRAME(.type = WIRE_TYPE_DATA, .connection = scene->id, .credit = 4096, __VA_ARGS__)

static void data_after_end(struct scene *scene)
{
    send_two(scene, END(.flags = WIRE_NO_MORE_DATA), DATA(.length = 1));
}

static void second_end(struct scene *scene)
{
    send_two(scene, END(.flags = WIRE_NO_MORE_DATA), END(.flags = WIRE_NO_MORE_DATA));
}

static void data_after_last(struct scene *scene)
{
    send_two(scene, END(.flags = WIRE_RESET | WIRE_LAST, .length = 4), DATA(.length = 1));
}

static void second_last(struct scene *scene)
{
    send_two(scene, END(.flags = WIRE_RESET | WIRE_LAST, .length = 4),
             END(.flags = WIRE_RESET | WIRE_LAST, .length = 4));
}

static void credit_after_last(struct scene *scene)
{
    send_two(scene, END(.flags = WIRE_RESET | WIRE_LAST, .length = 4),
             FRAME(.type = WIRE_TYPE_CREDIT, .connection = scene->id, .credit = 4096));
}

/* After the id has become free. */
static void data_to_freed_id(struct scene *scene)
{
    struct wire_frame frame;
    static uint8_t payload[WIRE_FRAME_MAX];
    send_frame(scene, END(.flags = WIRE_RESET | WIRE_LAST, .length = 4));
    do
        if (!hostile_receive(scene->h, &frame, payload))
            hostile_die("the link ended too early");
    while (frame.type != WIRE_TYPE_DISCONNECT || !(frame.flags & WIRE_LAST));
    send_frame(scene, DATA(.length = 1));
}

static void response_to_nothing(struct scene *scene)
{
    uint8_t bytes[WIRE_CONNECT_RSP_RULE];
    wire_put_connect_rsp(bytes, 0, &(struct wire_connect_rsp){.status = 1});
    hostile_frame(
        scene->h,
        FRAME(.type = WIRE_TYPE_CONNECT_RSP, .length = WIRE_CONNECT_RSP, .connection = scene->id),
        bytes);
}

/* ---- messages ---- */

/* A part that begins with a total. */
static void first_part(struct scene *scene, uint32_t total, uint32_t length)
{
    uint8_t bytes[1024] = {0};
    wire_put_u32(bytes, total);
    hostile_frame(scene->h, DATA(.flags = WIRE_DATA_MORE | WIRE_DATA_TOTAL, .length = length + 4),
                  bytes);
}

static void total_too_large(struct scene *scene)
{
    first_part(scene, IDC_MESSAGE_MAX + 1, 10);
}

static void total_too_small(struct scene *scene)
{
    first_part(scene, 10, 10);
}

static void total_twice(struct scene *scene)
{
    first_part(scene, 100, 10);
    first_part(scene, 100, 10);
}

static void part_too_long(struct scene *scene)
{
    first_part(scene, 100, 10);
    send_frame(scene, DATA(.length = 91));
}

static void part_ends_early(struct scene *scene)
{
    first_part(scene, 100, 10);
    send_frame(scene, DATA(.length = 89));
}

static void part_goes_on(struct scene *scene)
{
    first_part(scene, 100, 10);
    send_frame(scene, DATA(.length = 90, .flags = WIRE_DATA_MORE));
}

static void end_in_message(struct scene *scene)
{
    first_part(scene, 100, 10);
    send_frame(scene, END(.flags = WIRE_NO_MORE_DATA));
}

ON_STREAM(total_without_more, .type = WIRE_TYPE_DATA, .flags = WIRE_DATA_TOTAL, .length = 10)
ON_STREAM(total_without_data, .type = WIRE_TYPE_DATA, .flags = WIRE_DATA_TOTAL | WIRE_DATA_MORE,
          .length = 4)
ON_STREAM(more_without_data, .type = WIRE_TYPE_DATA, .flags = WIRE_DATA_MORE)
ON_STREAM(part_without_total, .type = WIRE_TYPE_DATA, .flags = WIRE_DATA_MORE, .length = 10)
ON_STREAM(message_beyond_credit, .type = WIRE_TYPE_DATA, .length = scene->credit - 63)

/* ---- answers ---- */

static void hostile_lies_respond(struct scene *scene, const struct wire_connect_rsp *rsp,
                                 uint32_t credit)
{
    uint8_t bytes[WIRE_CONNECT_RSP_RULE];
    wire_put_connect_rsp(bytes, 0, rsp);
    hostile_frame(scene->h,
                  FRAME(.type = WIRE_TYPE_CONNECT_RSP, .length = WIRE_CONNECT_RSP,
                        .connection = scene->id, .credit = credit),
                  bytes);
}

static void response_without_id(struct scene *scene)
{
    hostile_lies_respond(scene, &(struct wire_connect_rsp){.port = 80}, 0);
}

static void response_refuses_with_id(struct scene *scene)
{
    hostile_lies_respond(scene, &(struct wire_connect_rsp){.status = 1, .id = 5, .port = 80}, 0);
}

/* It says who listens, though its HELLO had no such feature. */
static void response_with_uid(struct scene *scene)
{
    uint8_t bytes[WIRE_CONNECT_RSP_RULE];
    wire_put_connect_rsp(bytes, WIRE_LISTENER_UID, &(struct wire_connect_rsp){.id = 5, .port = 80});
    hostile_frame(scene->h,
                  FRAME(.type = WIRE_TYPE_CONNECT_RSP, .length = sizeof(bytes),
                        .connection = scene->id, .credit = 4096),
                  bytes);
}

static void response_far_credit(struct scene *scene)
{
    hostile_lies_respond(scene, &(struct wire_connect_rsp){.id = 5, .port = 80}, 1u << 31);
}

static void response_twice(struct scene *scene)
{
    hostile_lies_respond(scene, &(struct wire_connect_rsp){.id = 5, .port = 80}, 4096);
    hostile_lies_respond(scene, &(struct wire_connect_rsp){.id = 5, .port = 80}, 4096);
}

static void data_before_response(struct scene *scene)
{
    send_frame(scene, DATA(.length = 1));
}

/* ---- what must be borne ---- */

static void later_frames(struct scene *scene)
{
    send_frame(scene, FRAME(.type = 128, .length = 16384));
    send_frame(scene, FRAME(.type = 255, .flags = 0xFF, .connection = UINT32_MAX,
                            .credit = UINT32_MAX, .length = 3));
}

static void credit_field_unchanged(struct scene *scene)
{
    for (int i = 0; i < 100; i++)
        send_frame(scene, FRAME(.type = WIRE_TYPE_CREDIT, .connection = scene->id, .credit = 4096));
}

static void all_the_credit(struct scene *scene)
{
    send_frame(scene, DATA(.length = scene->credit));
}

static void notify_for_nothing(struct scene *scene)
{
    for (int i = 0; i < 1000; i++)
        scene->h->ops->channel_notify(scene->h->channel);
}

const struct lie lies[] = {
    {"index_far_ahead", STAGE_OPEN, index_far_ahead, "a ring index that lies"},
    {"index_far_ahead_later", STAGE_UP, index_far_ahead, "a ring index that lies"},
    {"index_goes_back", STAGE_UP, index_goes_back, "a ring index that lies"},
    {"consumed_too_much", STAGE_UP, consumed_too_much, "a ring index that lies"},
    {"consumed_back", STAGE_UP, consumed_back, "a ring index that lies"},
    {"hello_without_magic", STAGE_OPEN, hello_without_magic, "a HELLO without the magic number"},
    {"hello_short", STAGE_OPEN, hello_short, "a frame of the wrong length for its type"},
    {"hello_very_long", STAGE_OPEN, hello_very_long, "a frame of the wrong length for its type"},
    {"hello_flags", STAGE_OPEN, hello_flags, "a frame with unknown flags"},
    {"hello_connection", STAGE_OPEN, hello_connection,
     "a frame with a connection where there is none, or without one"},
    {"hello_credit", STAGE_OPEN, hello_credit, "a frame with credit where there is none"},
    {"hello_versions_reversed", STAGE_OPEN, hello_versions_reversed,
     "a HELLO whose oldest version is newer than its newest"},
    {"hello_newer_version", STAGE_OPEN, hello_newer_version, "no protocol version in common"},
    {"hello_small_frames", STAGE_OPEN, hello_small_frames, "a HELLO with max_frame out of range"},
    {"hello_huge_frames", STAGE_OPEN, hello_huge_frames, "a HELLO with max_frame out of range"},
    {"hello_frames_over_ring", STAGE_OPEN, hello_frames_over_ring,
     "a HELLO with max_frame larger than the ring"},
    {"hello_no_requests", STAGE_OPEN, hello_no_requests, "a HELLO with max_requests out of range"},
    {"hello_many_requests", STAGE_OPEN, hello_many_requests,
     "a HELLO with max_requests out of range"},
    {"hello_other_epoch", STAGE_OPEN, hello_other_epoch, "HELLO belonged to another link"},
    {"hello_other_generation", STAGE_OPEN, hello_other_generation,
     "HELLO belonged to another link"},
    {"hello_other_domid", STAGE_OPEN, hello_other_domid, "a HELLO of another domain"},
    {"request_before_hello", STAGE_OPEN, request_before_hello, "a frame before HELLO"},
    {"later_frame_before_hello", STAGE_OPEN, later_frame_before_hello, "a frame before HELLO"},
    {"second_hello", STAGE_UP, second_hello, "a second HELLO"},
    {"too_long", STAGE_UP, too_long, "a frame longer than max_frame"},
    {"length_all_ones", STAGE_UP, length_all_ones, "a frame longer than max_frame"},
    {"reserved_field", STAGE_UP, reserved_field, "a frame whose reserved field is not 0"},
    {"type_0", STAGE_UP, type_0, "a frame of unknown type"},
    {"type_8", STAGE_UP, type_8, "a frame of unknown type"},
    {"type_127", STAGE_UP, type_127, "a frame of unknown type"},
    {"credit_flags", STAGE_UP, credit_flags, "a frame with unknown flags"},
    {"credit_payload", STAGE_UP, credit_payload, "a frame of the wrong length for its type"},
    {"data_without_connection", STAGE_UP, data_without_connection,
     "a frame with a connection where there is none, or without one"},
    {"request_with_connection", STAGE_UP, request_with_connection,
     "a frame with a connection where there is none, or without one"},
    {"request_short", STAGE_UP, request_short, "a frame of the wrong length for its type"},
    {"response_short", STAGE_UP, response_short, "a frame of the wrong length for its type"},
    {"bye_short", STAGE_UP, bye_short, "a frame of the wrong length for its type"},
    {"bye_credit", STAGE_UP, bye_credit, "a frame with credit where there is none"},
    {"unknown_id_data", STAGE_UP, unknown_id_data, "a DATA_ind for an id that is not in use"},
    {"unknown_id_credit", STAGE_UP, unknown_id_credit, "a CREDIT_ind for an id that is not in use"},
    {"unknown_id_disconnect", STAGE_UP, unknown_id_disconnect,
     "a DISCONNECT_ind for an id that is not in use"},
    {"unknown_id_huge", STAGE_UP, unknown_id_huge, "a CREDIT_ind for an id that is not in use"},
    {"unknown_id_response", STAGE_UP, unknown_id_response,
     "a CONNECT_rsp for an id that is not in use"},
    {"request_without_id", STAGE_UP, request_without_id,
     "a CONNECT_req without an id or a source port"},
    {"request_without_source", STAGE_UP, request_without_source,
     "a CONNECT_req without an id or a source port"},
    {"request_of_type_3", STAGE_UP, request_of_type_3, "a CONNECT_req of unknown type"},
    {"request_for_nothing", STAGE_UP, request_for_nothing,
     "a CONNECT_req with both a port and a name, or neither"},
    {"request_port_and_name", STAGE_UP, request_port_and_name,
     "a CONNECT_req with both a port and a name, or neither"},
    {"request_name_length", STAGE_UP, request_name_length, "a CONNECT_req of the wrong length"},
    {"request_bad_name", STAGE_UP, request_bad_name,
     "a CONNECT_req with a service name that is not one"},
    {"request_far_credit", STAGE_UP, request_far_credit, "a credit limit that is too far ahead"},
    {"too_many_requests", STAGE_UP, too_many_requests, "more requests than were allowed"},
    {"data_empty", STAGE_STREAM, data_empty, "a DATA_ind that does not belong on a stream"},
    {"data_more", STAGE_STREAM, data_more, "a DATA_ind that does not belong on a stream"},
    {"data_beyond_credit", STAGE_STREAM, data_beyond_credit, "data beyond the credit"},
    {"data_after_end", STAGE_STREAM, data_after_end, "a DATA_ind where none may come"},
    {"data_after_last", STAGE_STREAM, data_after_last, "a DATA_ind where none may come"},
    {"data_to_freed_id", STAGE_STREAM, data_to_freed_id, "a DATA_ind for an id that is not in use"},
    {"data_to_other_generation", STAGE_STREAM, data_to_other_generation,
     "a DATA_ind for an id that is not in use"},
    {"second_end", STAGE_STREAM, second_end, "a second end of data"},
    {"second_last", STAGE_STREAM, second_last, "a DISCONNECT_ind where none may come"},
    {"credit_after_last", STAGE_STREAM, credit_after_last,
     "a CREDIT_ind for an id that is not in use"},
    {"credit_goes_back", STAGE_STREAM, credit_goes_back, "a credit limit that goes back"},
    {"credit_too_far", STAGE_STREAM, credit_too_far, "a credit limit that is too far ahead"},
    {"disconnect_nothing", STAGE_STREAM, disconnect_nothing, "a DISCONNECT_ind that says nothing"},
    {"disconnect_flags", STAGE_STREAM, disconnect_flags, "a frame with unknown flags"},
    {"disconnect_last_early", STAGE_STREAM, disconnect_last_early,
     "a LAST before the ends of data"},
    {"disconnect_end_and_last", STAGE_STREAM, disconnect_end_and_last,
     "a LAST before the ends of data"},
    {"reset_without_last", STAGE_STREAM, reset_without_last, "a RESET that is not LAST"},
    {"reset_without_reason", STAGE_STREAM, reset_without_reason,
     "a DISCONNECT_ind with a reason but no RESET, or the reverse"},
    {"reason_without_reset", STAGE_STREAM, reason_without_reset,
     "a DISCONNECT_ind with a reason but no RESET, or the reverse"},
    {"reason_short", STAGE_STREAM, reason_short, "a DISCONNECT_ind of the wrong length"},
    {"response_to_nothing", STAGE_STREAM, response_to_nothing, "a CONNECT_rsp to no request"},
    {"total_too_large", STAGE_MESSAGES, total_too_large, "a message with a total out of range"},
    {"total_too_small", STAGE_MESSAGES, total_too_small, "a message with a total out of range"},
    {"total_twice", STAGE_MESSAGES, total_twice, "a part of a message that does not fit its total"},
    {"total_without_more", STAGE_MESSAGES, total_without_more,
     "a DATA_ind that announces a total without more to come"},
    {"total_without_data", STAGE_MESSAGES, total_without_data,
     "a DATA_ind that announces a total without more to come"},
    {"more_without_data", STAGE_MESSAGES, more_without_data, "an empty DATA_ind with more to come"},
    {"part_without_total", STAGE_MESSAGES, part_without_total,
     "a first part of a message without its total"},
    {"part_too_long", STAGE_MESSAGES, part_too_long,
     "a part of a message that does not fit its total"},
    {"part_ends_early", STAGE_MESSAGES, part_ends_early,
     "a part of a message that does not fit its total"},
    {"part_goes_on", STAGE_MESSAGES, part_goes_on,
     "a part of a message that does not fit its total"},
    {"end_in_message", STAGE_MESSAGES, end_in_message, "an end of data inside a message"},
    {"message_beyond_credit", STAGE_MESSAGES, message_beyond_credit, "data beyond the credit"},
    {"response_without_id", STAGE_REQUESTED, response_without_id,
     "a CONNECT_rsp that neither accepts nor refuses"},
    {"response_refuses_with_id", STAGE_REQUESTED, response_refuses_with_id,
     "a CONNECT_rsp that neither accepts nor refuses"},
    {"response_with_uid", STAGE_REQUESTED, response_with_uid, "a CONNECT_rsp of the wrong length"},
    {"response_far_credit", STAGE_REQUESTED, response_far_credit,
     "a credit limit that is too far ahead"},
    {"response_twice", STAGE_REQUESTED, response_twice, "a CONNECT_rsp to no request"},
    {"data_before_response", STAGE_REQUESTED, data_before_response,
     "a DATA_ind for an id that is not in use"},
    {"honest", STAGE_STREAM, NULL, NULL},
    {"later_frames", STAGE_UP, later_frames, NULL},
    {"credit_field_unchanged", STAGE_STREAM, credit_field_unchanged, NULL},
    {"all_the_credit", STAGE_STREAM, all_the_credit, NULL},
    {"notify_for_nothing", STAGE_UP, notify_for_nothing, NULL},
};
const int lie_count = sizeof(lies) / sizeof(lies[0]);
