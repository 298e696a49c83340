/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Encoding and decoding of frames. Fields are read and written byte by byte at the offsets of
 * docs/protocol.md, so alignment and the machine's byte order don't matter. Compilers turn this
 * into single loads and stores.
 */
#include "link_mgr/core/wire.h"

#include <assert.h>
#include <string.h>

#include "link_mgr/core/policy.h"

static void wire_put16(uint8_t *out, uint16_t value)
{
    out[0] = (uint8_t)value;
    out[1] = (uint8_t)(value >> 8);
}

void wire_put_u32(uint8_t out[4], uint32_t value)
{
    wire_put16(out, (uint16_t)value);
    wire_put16(out + 2, (uint16_t)(value >> 16));
}

static void wire_put64(uint8_t *out, uint64_t value)
{
    wire_put_u32(out, (uint32_t)value);
    wire_put_u32(out + 4, (uint32_t)(value >> 32));
}

static uint16_t wire_get16(const uint8_t *in)
{
    return (uint16_t)(in[0] | in[1] << 8);
}

uint32_t wire_get_u32(const uint8_t in[4])
{
    return wire_get16(in) | (uint32_t)wire_get16(in + 2) << 16;
}

static uint64_t wire_get64(const uint8_t *in)
{
    return wire_get_u32(in) | (uint64_t)wire_get_u32(in + 4) << 32;
}

void wire_put_frame(uint8_t out[WIRE_HEADER], const struct wire_frame *frame)
{
    wire_put_u32(out, frame->length);
    out[4] = frame->type;
    out[5] = frame->flags;
    wire_put16(out + 6, 0);
    wire_put_u32(out + 8, frame->connection);
    wire_put_u32(out + 12, frame->credit);
}

void wire_put_hello(uint8_t out[WIRE_HELLO], const struct wire_hello *hello)
{
    memset(out, 0, WIRE_HELLO);
    wire_put_u32(out, WIRE_MAGIC);
    wire_put16(out + 4, hello->version_min);
    wire_put16(out + 6, hello->version_max);
    wire_put64(out + 8, hello->features);
    wire_put64(out + 16, hello->epoch);
    wire_put64(out + 24, hello->generation);
    wire_put_u32(out + 32, hello->max_frame);
    wire_put_u32(out + 36, hello->max_requests);
    wire_put16(out + 40, hello->domid);
    wire_put64(out + 48, hello->wish);
}

uint32_t wire_put_connect_req(uint8_t out[WIRE_CONNECT_REQ + IDC_SERVICE_MAX],
                              const struct wire_connect_req *req)
{
    size_t name_length = strlen(req->name);
    assert(name_length <= IDC_SERVICE_MAX);
    wire_put_u32(out, req->id);
    wire_put_u32(out + 4, req->source_port);
    wire_put_u32(out + 8, req->port);
    wire_put_u32(out + 12, req->uid);
    out[16] = (uint8_t)req->type;
    out[17] = (uint8_t)name_length;
    wire_put16(out + 18, 0);
    memcpy(out + WIRE_CONNECT_REQ, req->name, name_length);
    return WIRE_CONNECT_REQ + (uint32_t)name_length;
}

static uint32_t connect_rsp_length(uint64_t features)
{
    if (!(features & WIRE_LISTENER_UID))
        return WIRE_CONNECT_RSP;
    return features & WIRE_RULES ? WIRE_CONNECT_RSP_RULE : WIRE_CONNECT_RSP_UID;
}

uint32_t wire_put_connect_rsp(uint8_t out[WIRE_CONNECT_RSP_RULE], uint64_t features,
                              const struct wire_connect_rsp *rsp)
{
    wire_put_u32(out, rsp->status);
    wire_put_u32(out + 4, rsp->id);
    wire_put_u32(out + 8, rsp->port);
    wire_put_u32(out + 12, rsp->uid);
    wire_put_u32(out + 16, rsp->rule);
    return connect_rsp_length(features);
}

/* What the type alone says about a header. */
static const struct {
    uint8_t flags;        /* that may be set */
    bool connection;      /* whether the connection field is used */
    bool credit;          /* whether the credit field is */
    uint32_t least, most; /* length (max_frame was checked before) */
} kinds[WIRE_TYPE_COUNT] = {
    [WIRE_TYPE_HELLO] = {0, false, false, WIRE_HELLO, WIRE_CONTROL_MAX},
    [WIRE_TYPE_CONNECT_REQ] = {0, false, true, WIRE_CONNECT_REQ,
                               WIRE_CONNECT_REQ + IDC_SERVICE_MAX},
    [WIRE_TYPE_CONNECT_RSP] = {0, true, true, WIRE_CONNECT_RSP, WIRE_CONNECT_RSP_RULE},
    [WIRE_TYPE_DATA] = {WIRE_DATA_MORE | WIRE_DATA_TOTAL, true, true, 0, WIRE_FRAME_MAX},
    [WIRE_TYPE_CREDIT] = {0, true, true, 0, 0},
    [WIRE_TYPE_DISCONNECT] = {0xF, true, true, 0, 4},
    [WIRE_TYPE_BYE] = {0, false, false, 4, 4},
};

static const char *check_known(const struct wire_frame *frame)
{
    if (frame->length < kinds[frame->type].least || frame->length > kinds[frame->type].most)
        return "a frame of the wrong length for its type";
    if (frame->flags & ~kinds[frame->type].flags)
        return "a frame with unknown flags";
    if ((frame->connection != 0) != kinds[frame->type].connection)
        return "a frame with a connection where there is none, or without one";
    if (frame->credit != 0 && !kinds[frame->type].credit)
        return "a frame with credit where there is none";
    return NULL;
}

static const char *check_data(const struct wire_frame *frame)
{
    if ((frame->flags & WIRE_DATA_TOTAL) &&
        (!(frame->flags & WIRE_DATA_MORE) || frame->length <= WIRE_TOTAL))
        return "a DATA_ind that announces a total without more to come";
    if ((frame->flags & WIRE_DATA_MORE) && frame->length == 0)
        return "an empty DATA_ind with more to come";
    return NULL;
}

static const char *check_disconnect(const struct wire_frame *frame)
{
    if (frame->flags == 0)
        return "a DISCONNECT_ind that says nothing";
    if (!!(frame->flags & WIRE_RESET) != (frame->length == 4))
        return "a DISCONNECT_ind with a reason but no RESET, or the reverse";
    if (frame->length != 0 && frame->length != 4)
        return "a DISCONNECT_ind of the wrong length";
    if ((frame->flags & WIRE_RESET) && !(frame->flags & WIRE_LAST))
        return "a RESET that is not LAST";
    return NULL;
}

const char *wire_get_frame(const uint8_t in[WIRE_HEADER], uint32_t max_frame,
                           struct wire_frame *frame)
{
    *frame = (struct wire_frame){
        .length = wire_get_u32(in),
        .type = in[4],
        .flags = in[5],
        .connection = wire_get_u32(in + 8),
        .credit = wire_get_u32(in + 12),
    };
    if (frame->length > max_frame)
        return "a frame longer than max_frame";
    if (frame->type >= WIRE_TYPE_SKIPPED)
        return NULL;
    if (frame->type == 0 || frame->type >= WIRE_TYPE_COUNT)
        return "a frame of unknown type";
    if (wire_get16(in + 6) != 0)
        return "a frame whose reserved field is not 0";
    const char *wrong = check_known(frame);
    if (!wrong && frame->type == WIRE_TYPE_CONNECT_RSP && frame->length != WIRE_CONNECT_RSP &&
        frame->length != WIRE_CONNECT_RSP_UID && frame->length != WIRE_CONNECT_RSP_RULE)
        wrong = "a CONNECT_rsp of the wrong length";
    if (!wrong && frame->type == WIRE_TYPE_DATA)
        wrong = check_data(frame);
    if (!wrong && frame->type == WIRE_TYPE_DISCONNECT)
        wrong = check_disconnect(frame);
    return wrong;
}

const char *wire_get_hello(const uint8_t *in, uint32_t length, struct wire_hello *hello)
{
    if (length < WIRE_HELLO)
        return "a HELLO that is too short";
    if (wire_get_u32(in) != WIRE_MAGIC)
        return "a HELLO without the magic number";
    *hello = (struct wire_hello){
        .version_min = wire_get16(in + 4),
        .version_max = wire_get16(in + 6),
        .features = wire_get64(in + 8),
        .epoch = wire_get64(in + 16),
        .generation = wire_get64(in + 24),
        .max_frame = wire_get_u32(in + 32),
        .max_requests = wire_get_u32(in + 36),
        .domid = wire_get16(in + 40),
        .wish = wire_get64(in + 48),
    };
    if (hello->version_min > hello->version_max)
        return "a HELLO whose oldest version is newer than its newest";
    if (hello->max_frame < WIRE_FRAME_MIN || hello->max_frame > WIRE_FRAME_MAX)
        return "a HELLO with max_frame out of range";
    if (hello->max_requests < 1 || hello->max_requests > WIRE_REQUESTS_MAX)
        return "a HELLO with max_requests out of range";
    return NULL;
}

const char *wire_get_connect_req(const uint8_t *in, uint32_t length, struct wire_connect_req *req)
{
    if (length < WIRE_CONNECT_REQ || in[17] > IDC_SERVICE_MAX ||
        length != WIRE_CONNECT_REQ + (uint32_t)in[17])
        return "a CONNECT_req of the wrong length";
    *req = (struct wire_connect_req){
        .id = wire_get_u32(in),
        .source_port = wire_get_u32(in + 4),
        .port = wire_get_u32(in + 8),
        .uid = wire_get_u32(in + 12),
        .type = (enum idc_type)in[16],
    };
    memcpy(req->name, in + WIRE_CONNECT_REQ, in[17]);
    if (req->id == 0 || req->source_port == 0)
        return "a CONNECT_req without an id or a source port";
    if (req->type != IDC_STREAM && req->type != IDC_SEQPACKET)
        return "a CONNECT_req of unknown type";
    if ((req->port != 0) == (in[17] != 0))
        return "a CONNECT_req with both a port and a name, or neither";
    if (in[17] != 0 && (strlen(req->name) != in[17] || !policy_valid_service(req->name)))
        return "a CONNECT_req with a service name that is not one";
    return NULL;
}

const char *wire_get_connect_rsp(const uint8_t *in, uint32_t length, uint64_t features,
                                 struct wire_connect_rsp *rsp)
{
    if (length != connect_rsp_length(features))
        return "a CONNECT_rsp of the wrong length";
    *rsp = (struct wire_connect_rsp){wire_get_u32(in), wire_get_u32(in + 4), wire_get_u32(in + 8),
                                     WIRE_UID_UNKNOWN, 0};
    if (length >= WIRE_CONNECT_RSP_UID)
        rsp->uid = wire_get_u32(in + 12);
    if (length == WIRE_CONNECT_RSP_RULE)
        rsp->rule = wire_get_u32(in + 16);
    if ((rsp->status == 0) != (rsp->id != 0) || (rsp->status == 0) != (rsp->port != 0))
        return "a CONNECT_rsp that neither accepts nor refuses";
    if (rsp->status != 0 && rsp->uid != WIRE_UID_UNKNOWN)
        return "a CONNECT_rsp that refuses and says who listens";
    if (rsp->status == 0 && rsp->rule != 0)
        return "a CONNECT_rsp that accepts and names a rule that refuses";
    return NULL;
}
