/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Frames out of the ring: a table has one function for each type. Each returns what is wrong, if
 * anything is; then the link ends.
 */
#include "link_mgr/core/judge.h"
#include "link_mgr/core/link_private.h"
#include "link_mgr/core/pace.h"
#include "link_mgr/core/rule_use.h"
#include "link_mgr/core/rules_force.h"

#include <string.h>

struct arrival {
    const struct wire_frame *frame;
    const uint8_t *payload; /* a copy of the payload, of all frames except DATA_ind */
    enum reason reason;     /* why the link ends, if a handler ends it */
};

static const char *on_hello(struct link *link, struct arrival *arrival)
{
    const char *wrong = wire_get_hello(arrival->payload, arrival->frame->length, &link->other);
    if (wrong)
        return wrong;
    if (link->other.domid != (uint16_t)link->peer->domid)
        return "a HELLO of another domain";
    if (link->other.epoch != link->own.epoch || link->other.generation != link->own.generation) {
        /* Nobody's fault: the offer that was read may be older than the channel's nodes. */
        arrival->reason = REASON_LINK_LOST;
        return "HELLO belonged to another link";
    }
    uint16_t version = link->other.version_max < link->own.version_max ? link->other.version_max
                                                                       : link->own.version_max;
    if (version < link->other.version_min || version < link->own.version_min) {
        arrival->reason = REASON_VERSION;
        return "no protocol version in common";
    }
    if (link->other.max_frame + WIRE_HEADER > link->rings.out.size)
        return "a HELLO with max_frame larger than the ring";
    link->max_frame = link->other.max_frame < LINK_QUANTUM ? link->other.max_frame : LINK_QUANTUM;
    link->up = true;
    return NULL;
}

static struct judge_question link_receive_question(const struct link *link,
                                                   const struct wire_connect_req *req)
{
    return (struct judge_question){.direction = JUDGE_IN,
                                   .domid = (uint32_t)link->peer->domid,
                                   .port = req->port,
                                   .name = req->name,
                                   .type = req->type,
                                   .uid = req->uid};
}

/* The place of the rule that decided in the pair's list. */
static uint32_t link_receive_rule(const struct link *link, const struct judge_verdict *verdict)
{
    const struct rules *rules = link->peer->core->rules;
    if (verdict->by != JUDGE_BY_RULE)
        return 0;
    return rules_place_in(rules, rules_between(rules, (uint32_t)link->peer->domid, false),
                          verdict->rules.rule);
}

/* Why it is refused, and by which rule. */
static enum reason link_receive_admit(struct link *link, const struct wire_connect_req *req,
                                      uint32_t credit, uint32_t *rule,
                                      struct judge_verdict *verdict)
{
    struct host *host = link->peer->core->host;
    struct listener *listener;
    const struct judge_question question = link_receive_question(link, req);
    enum reason reason = judge_admits(link->peer->core, &question, &listener, verdict);
    if (reason == REASON_OK)
        reason = rule_use_check(link->peer, verdict->rules.rule, listener->port, false);
    if (reason == REASON_POLICY || reason == REASON_RULE_CONNECTIONS || reason == REASON_RULE_RATE)
        *rule = link_receive_rule(link, verdict);
    struct conn *conn = reason == REASON_OK ? conn_new(link->peer, req->type) : NULL;
    if (!conn)
        return reason == REASON_OK ? REASON_NO_RESOURCES : reason;
    conn->incoming = true;
    conn->rule = verdict->rules.rule;
    rules_used(conn->peer->core, conn->rule);
    conn->peer_id = req->id;
    conn->peer_port = req->source_port;
    conn->local_port = listener->port;
    conn->uid = req->uid;
    conn->listener_uid = listener->uid;
    conn->send_limit = credit;
    strcpy(conn->name, req->name);
    strcpy(conn->service, listener->name);
    reason = link_enter(link, conn) && pace_follow(conn)
                 ? host->incoming(host, listener, conn, &conn->ep)
                 : REASON_NO_RESOURCES;
    if (reason == REASON_OK) {
        conn->phase = CONN_OPEN;
        conn->listener = listener;
        rule_use_enter(conn);
        conn->owed |= OWED_RESPONSE;
        link_owe(link, conn);
        if (listener->peer_timeout_ms > 0)
            life_watch(conn, listener->peer_timeout_ms);
        if (conn->pace)
            pace_promise(conn);
        return REASON_OK;
    }
    conn->phase = CONN_ENDING;
    if (conn->link)
        link_forget(link, conn);
    conn_settle(conn);
    return reason;
}

static void link_receive_refuse(struct link *link, const struct wire_connect_req *req,
                                enum reason reason, uint32_t rule,
                                const struct judge_verdict *verdict)
{
    struct host *host = link->peer->core->host;
    const struct judge_question question = link_receive_question(link, req);
    link->refusals[link->refusal_count++] =
        (struct refusal){.id = req->id,
                         .status = reason_to_wire(reason, link_features(link) & WIRE_RULES),
                         .uid = req->uid,
                         .rule = rule,
                         .source_port = req->source_port,
                         .port = req->port,
                         .type = req->type};
    link->peer->core->count.requests_refused++;
    if (host->refused)
        host->refused(host, &question, reason, verdict);
}

static const char *on_connect_req(struct link *link, struct arrival *arrival)
{
    struct wire_connect_req req;
    const char *wrong = wire_get_connect_req(arrival->payload, arrival->frame->length, &req);
    if (wrong)
        return wrong;
    if (link->unanswered_in == LINK_REQUESTS)
        return "more requests than were allowed";
    if (arrival->frame->credit > WIRE_CREDIT_MAX)
        return "a credit limit that is too far ahead";
    link->unanswered_in++;
    link->end_proposed = false; /* the peer has ignored it */
    uint32_t rule = 0;
    struct judge_verdict verdict;
    enum reason reason = link_receive_admit(link, &req, arrival->frame->credit, &rule, &verdict);
    if (reason != REASON_OK)
        link_receive_refuse(link, &req, reason, rule, &verdict);
    return NULL;
}

static const char *on_connect_rsp(struct link *link, struct arrival *arrival)
{
    struct wire_connect_rsp rsp;
    struct conn *conn = link_find(link, arrival->frame->connection);
    const char *wrong =
        wire_get_connect_rsp(arrival->payload, arrival->frame->length, link_features(link), &rsp);
    if (wrong || !conn)
        return wrong ? wrong : "a CONNECT_rsp for an id that is not in use";
    wrong = conn_on_response(conn, &rsp, arrival->frame->credit);
    if (!wrong) {
        requests_answered(&link->requests, conn, rsp.status == 0);
        conn_settle(conn);
    }
    return wrong;
}

/* What a DATA_ind carries. wire_get_frame has checked that a total is complete. */
static void link_receive_data(const struct link *link, const struct wire_frame *frame,
                              struct conn_data *data)
{
    const struct ring *ring = &link->rings.in;
    uint32_t at = WIRE_HEADER;
    data->length = frame->length;
    data->more = frame->flags & WIRE_DATA_MORE;
    data->has_total = frame->flags & WIRE_DATA_TOTAL;
    data->spans.count = 0;
    if (data->has_total) {
        uint8_t total[WIRE_TOTAL];
        ring_get(ring, at, total, sizeof(total));
        data->total = wire_get_u32(total);
        data->length -= WIRE_TOTAL;
        at += WIRE_TOTAL;
    }
    if (data->length > 0)
        data->spans.count = ring_ready_spans(ring, at, data->length, data->spans.at);
}

static const char *on_data(struct link *link, struct arrival *arrival)
{
    struct conn *conn = link_find(link, arrival->frame->connection);
    if (!conn || conn->phase < CONN_OPEN)
        return "a DATA_ind for an id that is not in use";
    const char *wrong = conn_on_credit(conn, arrival->frame->credit);
    if (!wrong) {
        struct conn_data data;
        link_receive_data(link, arrival->frame, &data);
        wrong = conn_on_data(conn, &data);
    }
    if (!wrong) {
        link->stats.bytes_received += arrival->frame->length;
        conn_settle(conn);
    }
    return wrong;
}

static const char *on_credit(struct link *link, struct arrival *arrival)
{
    struct conn *conn = link_find(link, arrival->frame->connection);
    if (!conn || conn->phase < CONN_OPEN || conn->got_last)
        return "a CREDIT_ind for an id that is not in use";
    return conn_on_credit(conn, arrival->frame->credit);
}

static const char *on_disconnect(struct link *link, struct arrival *arrival)
{
    struct conn *conn = link_find(link, arrival->frame->connection);
    enum reason reason = REASON_PROGRAM_RESET;
    if (!conn || conn->phase < CONN_OPEN)
        return "a DISCONNECT_ind for an id that is not in use";
    if (arrival->frame->flags & WIRE_RESET)
        reason = reason_from_wire(wire_get_u32(arrival->payload));
    const char *wrong = conn_on_credit(conn, arrival->frame->credit);
    if (!wrong)
        wrong = conn_on_disconnect(conn, arrival->frame->flags,
                                   reason == REASON_OK ? REASON_PROGRAM_RESET : reason);
    if (!wrong)
        conn_settle(conn);
    return wrong;
}

static const char *on_bye(struct link *link, struct arrival *arrival)
{
    arrival->reason = reason_from_wire(wire_get_u32(arrival->payload));
    /* Connections that waited for the link become its requests only after this batch, which may
     * also contain HELLO. */
    bool wanted = !link_idle(link) || !TAILQ_EMPTY(&link->peer->waiting);
    if (arrival->reason == REASON_OK && wanted)
        return NULL;
    return arrival->reason == REASON_OK ? "idle" : reason_text(arrival->reason);
}

/* PING or PONG. That it came is all that a PONG says. */
static const char *on_ping(struct link *link, const struct wire_frame *frame)
{
    if (frame->length != 0 || frame->flags != 0 || frame->connection != 0 || frame->credit != 0)
        return "a PING or PONG that carries something";
    link->life.owes_pong |= frame->type == WIRE_TYPE_PING;
    return NULL;
}

static const char *link_receive_skippable(struct link *link, const struct wire_frame *frame)
{
    bool known = frame->type <= WIRE_TYPE_PONG && (link_features(link) & WIRE_PING);
    return known ? on_ping(link, frame) : NULL;
}

static const char *(*const handlers[WIRE_TYPE_COUNT])(struct link *, struct arrival *) = {
    [WIRE_TYPE_HELLO] = on_hello,
    [WIRE_TYPE_CONNECT_REQ] = on_connect_req,
    [WIRE_TYPE_CONNECT_RSP] = on_connect_rsp,
    [WIRE_TYPE_DATA] = on_data,
    [WIRE_TYPE_CREDIT] = on_credit,
    [WIRE_TYPE_DISCONNECT] = on_disconnect,
    [WIRE_TYPE_BYE] = on_bye,
};

static const char *link_receive_dispatch(struct link *link, const struct wire_frame *frame,
                                         enum reason *reason)
{
    uint8_t payload[WIRE_CONTROL_MAX];
    struct arrival arrival = {.frame = frame, .payload = payload, .reason = REASON_PROTOCOL};
    if ((frame->type == WIRE_TYPE_HELLO) == link->up)
        return link->up ? "a second HELLO" : "a frame before HELLO";
    if (link_is_captured(link))
        link_capture_received(link, frame);
    if (frame->type >= WIRE_TYPE_SKIPPED) {
        *reason = arrival.reason;
        return link_receive_skippable(link, frame);
    }
    if (frame->type != WIRE_TYPE_DATA)
        ring_get(&link->rings.in, WIRE_HEADER, payload, frame->length);
    const char *wrong = handlers[frame->type](link, &arrival);
    *reason = arrival.reason;
    return wrong;
}

/* Tells a peer that waits for space that there is some. It does so when the space is large, so that
 * the peer can go on while we do, or before we sleep. */
static void tell_space(struct link *link, bool end)
{
    if (link->consumed == 0 || (!end && link->consumed < link->rings.in.size / 4))
        return;
    link->consumed = 0;
    if (ring_take_wish(&link->rings, RING_WANT_SPACE))
        peer_notify(link->peer);
}

/* Receives one frame. 1: done; 0: there is none; -1: the link has to end. */
static int receive_one(struct link *link, const char **wrong, enum reason *reason)
{
    uint8_t header[WIRE_HEADER];
    struct wire_frame frame;
    int64_t ready = ring_ready(&link->rings.in);
    *reason = REASON_PROTOCOL;
    *wrong = ready < 0 ? "a ring index that lies" : NULL;
    if (ready < (int64_t)WIRE_HEADER)
        return *wrong ? -1 : 0;
    ring_get(&link->rings.in, 0, header, sizeof(header));
    *wrong = wire_get_frame(header, link->own.max_frame, &frame);
    if (*wrong)
        return -1;
    if (ready < (int64_t)WIRE_HEADER + frame.length)
        return 0;
    *wrong = link_receive_dispatch(link, &frame, reason);
    if (*wrong)
        return -1;
    ring_consume(&link->rings.in, WIRE_HEADER + frame.length);
    link->consumed += WIRE_HEADER + frame.length;
    link->stats.frames_received++;
    tell_space(link, false);
    return 1;
}

const char *link_receive(struct link *link, bool *more, enum reason *reason)
{
    const char *wrong = NULL;
    int done = 1;
    int64_t before = 0;
    uint64_t end = link->stats.bytes_received + LINK_TURN_BYTES;
    for (int i = 0; i < LINK_TURN_FRAMES && link->stats.bytes_received < end && done > 0; i++) {
        done = receive_one(link, &wrong, reason);
        if (done == 0) {
            /* Say that we sleep, then look once more. What came in between notified nobody. */
            int64_t ready = ring_ready(&link->rings.in);
            ring_want(&link->rings, RING_WANT_DATA);
            if (ready != before || ring_ready(&link->rings.in) != ready)
                done = 1;
            before = ready;
        }
    }
    tell_space(link, done <= 0);
    *more |= done > 0;
    return wrong;
}

const char *link_catch_up(struct link *link, enum reason *reason)
{
    const char *wrong = NULL;
    const struct ring *in = &link->rings.in;
    uint32_t start = in->own;
    int64_t there = ring_ready(&link->rings.in);
    int done = 1;
    /* The next turn deals with a frame of which only a part is there, and with an index that lies.
     */
    while (done > 0 && in->own - start < there)
        done = receive_one(link, &wrong, reason);
    return wrong;
}
