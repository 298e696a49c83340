/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a captured frame says; hub_capture_text.h has the contract. A function for each type of
 * frame. What a peer has sent may be wrong: then the words say so, as the link will. */
#include "link_mgr/hub/hub_capture_text.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "link_mgr/core/reason.h"

#define SAME(ours, protocols) _Static_assert((int)(ours) == (int)(protocols), "as the protocol's")
SAME(CAPTURE_HELLO, WIRE_TYPE_HELLO);
SAME(CAPTURE_DATA, WIRE_TYPE_DATA);
SAME(CAPTURE_BYE, WIRE_TYPE_BYE);
SAME(CAPTURE_PONG, WIRE_TYPE_PONG);
SAME(CAPTURE_DATA_MORE, WIRE_DATA_MORE);
SAME(CAPTURE_NO_MORE_DATA, WIRE_NO_MORE_DATA);
SAME(CAPTURE_NO_MORE_WANTED, WIRE_NO_MORE_WANTED);
SAME(CAPTURE_RESET, WIRE_RESET);

struct describe {
    const struct capture_frame *shown;
    uint8_t payload[WIRE_CONTROL_MAX]; /* a copy of its beginning */
    uint32_t length;
    struct capture_record *record;
    struct capture_words *words;
};

/* Adds to the words. */
static void words_add(struct describe *d, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void words_add(struct describe *d, const char *format, ...)
{
    size_t used = d->record->text_length, room = CAPTURE_TEXT_MAX - used;
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(d->words->text + used, room, format, arguments);
    va_end(arguments);
    if (length > 0)
        d->record->text_length =
            (uint16_t)(used + ((size_t)length < room ? (size_t)length : room - 1));
}

static void describe_hello(struct describe *d)
{
    struct wire_hello hello;
    const char *wrong = wire_get_hello(d->payload, d->length, &hello);
    words_add(d, "HELLO");
    if (wrong) {
        words_add(d, ": %s", wrong);
        return;
    }
    words_add(d,
              " domain %u versions %u-%u features 0x%" PRIx64 " generation %" PRIu64
              " max_frame %u max_requests %u",
              (unsigned)hello.domid, (unsigned)hello.version_min, (unsigned)hello.version_max,
              hello.features, hello.generation, (unsigned)hello.max_frame,
              (unsigned)hello.max_requests);
}

static void words_add_uid(struct describe *d, uint32_t uid)
{
    if (uid != WIRE_UID_UNKNOWN)
        words_add(d, " uid %u", (unsigned)uid);
}

static void describe_request(struct describe *d)
{
    struct wire_connect_req req;
    const char *wrong = wire_get_connect_req(d->payload, d->length, &req);
    words_add(d, "CONNECT_req");
    if (wrong) {
        words_add(d, ": %s", wrong);
        return;
    }
    bool out = d->shown->outgoing;
    d->record->local_port = out ? req.source_port : req.port;
    d->record->peer_port = out ? req.port : req.source_port;
    d->record->socket_type = (uint8_t)req.type;
    words_add(d, " id 0x%x", (unsigned)req.id);
    if (req.name[0])
        words_add(d, " service %s", req.name);
    words_add_uid(d, req.uid);
}

static void describe_response(struct describe *d)
{
    struct wire_connect_rsp rsp;
    const char *wrong = wire_get_connect_rsp(d->payload, d->length, d->shown->features, &rsp);
    words_add(d, "CONNECT_rsp");
    if (wrong) {
        words_add(d, ": %s", wrong);
        return;
    }
    d->record->refused = rsp.status != 0;
    if (d->shown->ends.name[0])
        words_add(d, " service %s", d->shown->ends.name);
    if (rsp.status != 0) {
        words_add(d, " refused: %s", reason_text(reason_from_wire(rsp.status)));
        if (rsp.rule > 0)
            words_add(d, " (rule %u)", (unsigned)rsp.rule);
        return;
    }
    if (!d->shown->outgoing)
        d->record->peer_port = rsp.port;
    words_add(d, " id 0x%x", (unsigned)rsp.id);
    words_add_uid(d, rsp.uid);
}

static void describe_data(struct describe *d)
{
    const struct wire_frame *frame = d->shown->frame;
    d->words->data = d->shown->payload;
    d->record->length = frame->length;
    if (frame->flags & WIRE_DATA_TOTAL) {
        spans_skip(&d->words->data, WIRE_TOTAL);
        d->record->length -= WIRE_TOTAL;
        words_add(d, "DATA_ind of a message of %u bytes", (unsigned)wire_get_u32(d->payload));
    } else if (frame->flags & WIRE_DATA_MORE) {
        words_add(d, "DATA_ind, and the message goes on");
    }
}

static void describe_disconnect(struct describe *d)
{
    uint8_t flags = d->shown->frame->flags;
    words_add(d, "DISCONNECT_ind%s%s%s%s", flags & WIRE_NO_MORE_DATA ? " NO_MORE_DATA" : "",
              flags & WIRE_NO_MORE_WANTED ? " NO_MORE_WANTED" : "",
              flags & WIRE_RESET ? " RESET" : "", flags & WIRE_LAST ? " LAST" : "");
    if ((flags & WIRE_RESET) && d->length >= 4)
        words_add(d, ": %s", reason_text(reason_from_wire(wire_get_u32(d->payload))));
}

static void describe_bye(struct describe *d)
{
    uint32_t code = d->length >= 4 ? wire_get_u32(d->payload) : REASON_PROTOCOL;
    words_add(d, "BYE: %s",
              code == REASON_OK ? "the link is idle" : reason_text(reason_from_wire(code)));
}

static void describe_type(struct describe *d)
{
    switch (d->shown->frame->type) {
    case WIRE_TYPE_HELLO:
        describe_hello(d);
        break;
    case WIRE_TYPE_CONNECT_REQ:
        describe_request(d);
        break;
    case WIRE_TYPE_CONNECT_RSP:
        describe_response(d);
        break;
    case WIRE_TYPE_DATA:
        describe_data(d);
        break;
    case WIRE_TYPE_CREDIT:
        break;
    case WIRE_TYPE_DISCONNECT:
        describe_disconnect(d);
        break;
    case WIRE_TYPE_BYE:
        describe_bye(d);
        break;
    case WIRE_TYPE_PING:
    case WIRE_TYPE_PONG:
        words_add(d, "%s", d->shown->frame->type == WIRE_TYPE_PING ? "PING" : "PONG");
        break;
    default:
        words_add(d, "a frame of type %u, which is skipped", (unsigned)d->shown->frame->type);
    }
}

void hub_capture_describe(const struct capture_frame *shown, struct capture_record *record,
                          struct capture_words *words)
{
    struct describe d = {.shown = shown, .record = record, .words = words};
    record->outgoing = shown->outgoing;
    record->type = shown->frame->type;
    record->flags = shown->frame->flags;
    record->peer = (uint32_t)shown->domid;
    record->local_port = shown->ends.local_port;
    record->peer_port = shown->ends.peer_port;
    record->socket_type = (uint8_t)shown->ends.type;
    record->credit = shown->frame->credit;
    words->text[0] = '\0';
    words->data.count = 0;
    /* of data, only the total in front of them is wanted here */
    uint32_t most = record->type == WIRE_TYPE_DATA ? WIRE_TOTAL : WIRE_CONTROL_MAX;
    struct spans head = shown->payload;
    spans_keep(&head, most);
    for (int i = 0; i < head.count; i++) {
        memcpy(d.payload + d.length, head.at[i].iov_base, head.at[i].iov_len);
        d.length += (uint32_t)head.at[i].iov_len;
    }
    describe_type(&d);
}
