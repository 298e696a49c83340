/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Frames into the ring: one function for each source. The order of precedence is: PONG and PING,
 * frames that connections owe, refusals (at a limited rate), requests, data.
 */
#include "link_mgr/core/link_private.h"
#include "link_mgr/core/pace.h"

#include <errno.h>
#include <string.h>

#define CONTROL_ROOM 128u /* no frame except DATA_ind needs more */
/* less is not worth a frame's header, its system calls and its events */
#define DATA_ROOM_MIN 1024u

/* Puts a frame, for which there is room. payload NULL: it has none, or it is in the ring. */
static void link_send_ring(struct link *link, const struct wire_frame *frame, const void *payload)
{
    uint8_t header[WIRE_HEADER];
    wire_put_frame(header, frame);
    ring_put(&link->rings.out, 0, header, sizeof(header));
    if (payload)
        ring_put(&link->rings.out, WIRE_HEADER, payload, frame->length);
}

/* The same for a frame of a connection, or of none (NULL). */
static void link_send_put(struct link *link, const struct conn *conn,
                          const struct wire_frame *frame, const void *payload)
{
    link_send_ring(link, frame, payload);
    if (link_is_captured(link)) {
        struct capture_ends ends = capture_ends_of(conn);
        link_capture_sent(link, frame, &ends);
    }
}

static void link_send_publish(struct link *link, uint32_t length)
{
    ring_publish(&link->rings.out, WIRE_HEADER + length);
    link->stats.frames_sent++;
    link->quiet = false;
    if (ring_take_wish(&link->rings, RING_WANT_DATA))
        peer_notify(link->peer);
}

/* Puts a frame that can wait until the peer looks at the ring for another reason. */
static void publish_quietly(struct link *link, uint32_t length)
{
    ring_publish(&link->rings.out, WIRE_HEADER + length);
    link->stats.frames_sent++;
    if (!link->quiet)
        link->quiet_until = link->now + LINK_QUIET_MS;
    link->quiet = true;
}

static void end_quiet(struct link *link)
{
    if (link->quiet && ring_take_wish(&link->rings, RING_WANT_DATA))
        peer_notify(link->peer);
    link->quiet = false;
}

static void send_hello(struct link *link)
{
    uint8_t payload[WIRE_HELLO];
    wire_put_hello(payload, &link->own);
    link_send_put(link, NULL, &(struct wire_frame){.type = WIRE_TYPE_HELLO, .length = WIRE_HELLO},
                  payload);
    link_send_publish(link, WIRE_HELLO);
    link->hello_sent = true;
}

static void send_bye(struct link *link, enum reason reason)
{
    uint8_t payload[4];
    wire_put_u32(payload, reason);
    link_send_put(link, NULL,
                  &(struct wire_frame){.type = WIRE_TYPE_BYE, .length = sizeof(payload)}, payload);
    link_send_publish(link, sizeof(payload));
}

static void send_response(struct link *link, struct conn *conn)
{
    uint8_t payload[WIRE_CONNECT_RSP_RULE];
    const struct wire_connect_rsp rsp = {
        .id = conn->id, .port = conn->local_port, .uid = conn->listener_uid};
    uint32_t length = wire_put_connect_rsp(payload, link_features(link), &rsp);
    conn->owed &= ~OWED_RESPONSE;
    link_send_put(link, conn,
                  &(struct wire_frame){.type = WIRE_TYPE_CONNECT_RSP,
                                       .length = length,
                                       .connection = conn->peer_id,
                                       .credit = conn_credit_field(conn)},
                  payload);
    link_send_publish(link, length);
    link->unanswered_in--;
    link->peer->core->count.accepted++;
}

static void send_disconnect(struct link *link, struct conn *conn, uint8_t flags)
{
    uint8_t payload[4];
    uint32_t length = flags & WIRE_RESET ? sizeof(payload) : 0;
    wire_put_u32(payload, conn->reset);
    link_send_put(link, conn,
                  &(struct wire_frame){.type = WIRE_TYPE_DISCONNECT,
                                       .flags = flags,
                                       .length = length,
                                       .connection = conn->peer_id,
                                       .credit = conn_credit_field(conn)},
                  length ? payload : NULL);
    if (conn_is_bookkeeping(conn, flags))
        publish_quietly(link, length);
    else
        link_send_publish(link, length);
    conn_disconnect_sent(conn, flags);
}

/* Sends a PONG or PING that the link owes. */
static void send_ping(struct link *link)
{
    struct life *life = &link->life;
    const struct wire_frame frame = {.type = life->owes_pong ? WIRE_TYPE_PONG : WIRE_TYPE_PING};
    if (life->owes_pong)
        life->owes_pong = false;
    else
        life->owes_ping = false;
    link_send_put(link, NULL, &frame, NULL);
    link_send_publish(link, 0);
}

/* Sends one frame that a connection owes. The connection leaves the list when it owes no more. */
static void send_control(struct link *link)
{
    struct conn *conn = TAILQ_FIRST(&link->control);
    uint8_t flags = conn_disconnect_flags(conn);
    if (conn->owed & OWED_RESPONSE)
        send_response(link, conn);
    else if (flags)
        send_disconnect(link, conn, flags);
    else if (conn->owed & OWED_CREDIT) {
        link_send_put(link, conn,
                      &(struct wire_frame){.type = WIRE_TYPE_CREDIT,
                                           .connection = conn->peer_id,
                                           .credit = conn_credit_field(conn)},
                      NULL);
        link_send_publish(link, 0);
    }
    if (conn->owed)
        return;
    TAILQ_REMOVE(&link->control, conn, control);
    conn->on_control = false;
    conn_settle(conn);
}

/* Tokens come back with time. */
static bool may_refuse(struct link *link, uint64_t now)
{
    uint64_t most = 1000ull * LINK_REFUSAL_BURST;
    uint64_t earned = (now - link->tokens_at) * LINK_REFUSALS_PER_SECOND;
    if (link->refusal_count == 0)
        return false;
    link->tokens = link->tokens + earned < most ? link->tokens + earned : most;
    link->tokens_at = now;
    return link->tokens >= 1000;
}

/* The oldest refusal of the user whose turn it is: the next higher uid, round and round. */
static struct refusal take_refusal(struct link *link)
{
    uint32_t best = 0, distance = UINT32_MAX;
    for (uint32_t i = 0; i < link->refusal_count; i++) {
        uint32_t d = link->refusals[i].uid - link->refusal_uid - 1;
        if (d < distance) {
            best = i;
            distance = d;
        }
    }
    struct refusal refusal = link->refusals[best];
    memmove(&link->refusals[best], &link->refusals[best + 1],
            (--link->refusal_count - best) * sizeof(refusal));
    link->refusal_uid = refusal.uid;
    return refusal;
}

static void send_refusal(struct link *link)
{
    uint8_t payload[WIRE_CONNECT_RSP_RULE];
    struct refusal refusal = take_refusal(link);
    const struct wire_connect_rsp rsp = {
        .status = refusal.status, .uid = WIRE_UID_UNKNOWN, .rule = refusal.rule};
    uint32_t length = wire_put_connect_rsp(payload, link_features(link), &rsp);
    const struct wire_frame frame = {
        .type = WIRE_TYPE_CONNECT_RSP, .length = length, .connection = refusal.id};
    link_send_ring(link, &frame, payload);
    if (link_is_captured(link))
        link_capture_sent(link, &frame,
                          &(struct capture_ends){.local_port = refusal.port,
                                                 .peer_port = refusal.source_port,
                                                 .type = refusal.type,
                                                 .name = ""});
    link_send_publish(link, length);
    link->unanswered_in--;
    link->tokens -= 1000;
}

static void send_request(struct link *link, struct conn *conn)
{
    uint8_t payload[WIRE_CONNECT_REQ + IDC_SERVICE_MAX];
    requests_sent(&link->requests, conn);
    if (!link_enter(link, conn)) {
        requests_unsent(&link->requests, conn);
        conn_cut_off(conn, REASON_NO_RESOURCES);
        return;
    }
    struct wire_connect_req req = {
        .id = conn->id,
        .source_port = conn->local_port,
        .port = conn->name[0] ? 0 : conn->peer_port,
        .uid = conn->uid,
        .type = conn->type,
    };
    strcpy(req.name, conn->name);
    uint32_t length = wire_put_connect_req(payload, &req);
    link_send_put(link, conn,
                  &(struct wire_frame){.type = WIRE_TYPE_CONNECT_REQ,
                                       .length = length,
                                       .credit = conn_credit_field(conn)},
                  payload);
    link_send_publish(link, length);
    conn->phase = CONN_REQUESTED;
}

static struct conn *next_ready(struct link *link)
{
    struct conn *conn = TAILQ_FIRST(&link->fresh);
    struct conn_list *list = conn ? &link->fresh : &link->ready;
    conn = TAILQ_FIRST(list);
    TAILQ_REMOVE(list, conn, ready);
    conn->on_ready = conn->is_fresh = false;
    return conn;
}

/* Is this a small request of one connection while another sends much? */
static void note_size(struct link *link, const struct conn *conn, bool fresh, uint32_t length)
{
    if (length >= LINK_SMALL) {
        link->bulk_id = conn->id;
        if (link->small_id == conn->id)
            link->small_until = 0; /* it is a bulk flow that had begun with something small */
    } else if (fresh && conn->id != link->bulk_id) {
        link->small_id = conn->id;
        link->small_until = link->now + LINK_SMALL_MS;
    }
}

/* Room for data, header included. A connection that had nothing for a while always has room for
 * something small. */
static uint32_t data_room(const struct link *link, uint32_t space)
{
    uint32_t size = link->rings.out.size, most = LINK_BULK_SHARE(size), used = size - space;
    uint32_t least = TAILQ_EMPTY(&link->fresh) ? 0 : WIRE_HEADER + LINK_SMALL;
    uint32_t room = used < most ? most - used : 0;
    if (link->now >= link->small_until)
        return space;
    if (room < least)
        room = least;
    return room < space ? room : space;
}

/* Sends a DATA_ind of at most room bytes of payload. The payload is filled in before the header is
 * written. Returns the payload's length, or -EAGAIN: conn has nothing to send. */
static int64_t link_send_fill(struct link *link, struct conn *conn, uint32_t room)
{
    struct ring *ring = &link->rings.out;
    struct conn_data data = {.length = room};
    data.spans.count = ring_space_spans(ring, WIRE_HEADER, room, data.spans.at);
    if (!conn_fill_data(conn, &data, WIRE_TOTAL))
        return -EAGAIN;
    struct wire_frame frame = {.type = WIRE_TYPE_DATA,
                               .flags = data.more ? WIRE_DATA_MORE : 0,
                               .length = data.length,
                               .connection = conn->peer_id,
                               .credit = conn_credit_field(conn)};
    if (data.has_total) {
        uint8_t total[WIRE_TOTAL];
        wire_put_u32(total, data.total);
        ring_put(ring, WIRE_HEADER, total, sizeof(total));
        frame.flags |= WIRE_DATA_TOTAL;
        frame.length += WIRE_TOTAL;
    }
    link_send_put(link, conn, &frame, NULL);
    link_send_publish(link, frame.length);
    return frame.length;
}

/* Returns how many bytes were sent. */
static uint32_t send_data(struct link *link, uint32_t room)
{
    bool fresh = !TAILQ_EMPTY(&link->fresh);
    struct conn *conn = next_ready(link);
    if (conn->pace && !pace_may_send(conn, link->now))
        return 0;
    uint64_t before = conn->bytes_sent;
    int64_t length = link_send_fill(link, conn, room < link->max_frame ? room : link->max_frame);
    if (length >= 0) {
        link->stats.bytes_sent += (uint64_t)length;
        note_size(link, conn, fresh, (uint32_t)length);
        link_line_up(link, conn);
    }
    if (conn->pace)
        pace_sent(conn, conn->bytes_sent - before, length >= 0);
    conn_settle(conn);
    return length > 0 ? (uint32_t)length : 0;
}

/* Sends the frame of the highest precedence for which there is room. False: there is nothing, or no
 * room (*blocked). Adds the length of data to *bytes. */
static bool send_one(struct link *link, uint64_t now, uint32_t space, bool *blocked,
                     uint32_t *bytes)
{
    struct conn *request =
        link->end_proposed ? NULL : requests_next(&link->requests, link->other.max_requests);
    bool ping = link->life.owes_pong || link->life.owes_ping;
    bool control = !TAILQ_EMPTY(&link->control);
    bool refusal = may_refuse(link, now);
    bool data = !TAILQ_EMPTY(&link->fresh) || !TAILQ_EMPTY(&link->ready);
    *blocked = ping || control || refusal || request || data;
    if (space < CONTROL_ROOM)
        return false;
    if (ping)
        send_ping(link);
    else if (control)
        send_control(link);
    else if (refusal)
        send_refusal(link);
    else if (request)
        send_request(link, request);
    else if (data && data_room(link, space) >= WIRE_HEADER + DATA_ROOM_MIN)
        *bytes += send_data(link, data_room(link, space) - WIRE_HEADER);
    else
        return false;
    return true;
}

const char *link_send(struct link *link, uint64_t now, bool *more, enum reason *reason)
{
    bool blocked = false, wanted = false;
    link->now = now;
    if (link->quiet && now >= link->quiet_until)
        end_quiet(link);
    life_turn(link, now);
    if (now >= link->peer->pace_due)
        pace_pass(link->peer, now);
    uint32_t bytes = 0;
    for (int i = 0; i < LINK_TURN_FRAMES && bytes < LINK_TURN_BYTES; i++) {
        int64_t space = ring_space(&link->rings.out);
        if (space < 0) {
            *reason = REASON_PROTOCOL;
            return "a ring index that lies";
        }
        if (!link->hello_sent)
            send_hello(link); /* the ring is new: there is room */
        if (!link->up)
            return NULL;
        if (send_one(link, now, (uint32_t)space, &blocked, &bytes)) {
            wanted = false;
            continue;
        }
        if (!blocked || wanted)
            return NULL;
        /* The ring is full. Say so, and look once more. The peer must do the same. */
        end_quiet(link);
        ring_want(&link->rings, RING_WANT_SPACE);
        wanted = true;
    }
    *more = true;
    return NULL;
}

uint64_t link_deadline(const struct link *link)
{
    uint64_t due = link->peer->pace_due;
    if (link->quiet && link->quiet_until < due)
        due = link->quiet_until;
    if (link->life.due < due)
        due = link->life.due;
    if (link->refusal_count == 0 || link->tokens >= 1000)
        return due;
    uint64_t refusal = link->tokens_at + (1000 - link->tokens + LINK_REFUSALS_PER_SECOND - 1) /
                                             LINK_REFUSALS_PER_SECOND;
    return refusal < due ? refusal : due;
}

void link_propose_end(struct link *link)
{
    if (ring_space(&link->rings.out) < (int64_t)CONTROL_ROOM)
        return;
    send_bye(link, REASON_OK);
    link->end_proposed = true;
}

void link_say_bye(struct link *link, enum reason reason)
{
    if (link->hello_sent && ring_space(&link->rings.out) >= (int64_t)CONTROL_ROOM)
        send_bye(link, reason);
}
