/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The state machine of conn.h. Here is what both halves share (life, owing frames, credit, the
 * end), and the frames that control a connection and carry no data. The half towards the program is
 * in conn_in.c, the half from the program in conn_out.c.
 *
 * Invariants, which the simulation checks after each step:
 *   consumed <= received <= in_limit; received - consumed is what the queue, an unfinished
 *   message, and the socket of a connection that nobody has taken hold; sent <= send_limit;
 *   phase OPEN means link and (ep, or in DROPPING/DONE and out DONE);
 *   the budget is charged with in_limit - consumed while the connection exists.
 */
#include "link_mgr/core/conn_private.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "link_mgr/core/budget.h"
#include "link_mgr/core/core.h"
#include "link_mgr/core/judge.h"
#include "link_mgr/core/life.h"
#include "link_mgr/core/link.h"
#include "link_mgr/core/pace.h"
#include "link_mgr/core/peer.h"
#include "link_mgr/core/rule_use.h"

struct conn *conn_new(struct peer *peer, enum idc_type type)
{
    if (!budget_open(&peer->budget))
        return NULL;
    struct conn *conn = calloc(1, sizeof(*conn));
    if (!conn) {
        budget_close(&peer->budget);
        return NULL;
    }
    conn->peer = peer;
    conn->judged = peer->judging; /* whoever makes it has just asked the policy */
    conn->type = type;
    conn->listener_uid = WIRE_UID_UNKNOWN;
    conn->in_limit = budget_window(&peer->budget, 0, false);
    if (!budget_change(&peer->budget, 0, conn->in_limit))
        conn->in_limit = BUDGET_WINDOW_MIN;
    TAILQ_INSERT_TAIL(&peer->conns, conn, of_peer);
    peer->conn_count++;
    peer_count_changed(peer);
    return conn;
}

static void leave_hungry(struct conn *conn)
{
    if (conn->on_hungry)
        TAILQ_REMOVE(&conn->peer->hungry, conn, hungry);
    conn->on_hungry = false;
}

static void conn_free(struct conn *conn)
{
    struct peer *peer = conn->peer;
    leave_hungry(conn);
    rule_use_leave(conn, false);
    pace_leave(conn);
    queue_clear(&conn->queue);
    budget_change(&peer->budget, conn->in_limit - conn->consumed, 0);
    budget_close(&peer->budget);
    TAILQ_REMOVE(&peer->conns, conn, of_peer);
    peer->conn_count--;
    free(conn);
    peer_count_changed(peer);
}

void conn_settle(struct conn *conn)
{
    if (conn->phase != CONN_ENDING)
        return;
    if (!conn->ep)
        rule_use_leave(conn, false);
    if (conn->link && conn->sent_last && conn->got_last)
        link_forget(conn->link, conn);
    if (!conn->link && !conn->ep)
        conn_free(conn);
}

void conn_owe(struct conn *conn, unsigned frames)
{
    conn->owed |= frames;
    if (conn->link)
        link_owe(conn->link, conn);
}

/* ---- credit ---- */

/* How far the limit should reach: one window beyond what the program took, but at least to the end
 * of a message that has begun. */
static uint64_t wanted_limit(const struct conn *conn, uint32_t window)
{
    uint64_t limit = conn->consumed + window;
    if (conn->in_message > 0 && conn->message_end > limit)
        limit = conn->message_end;
    return limit;
}

static bool raise_limit(struct conn *conn, uint64_t limit)
{
    struct budget *budget = &conn->peer->budget;
    if (limit <= conn->in_limit)
        return true;
    if (!budget_change(budget, conn->in_limit - conn->consumed, limit - conn->consumed))
        return false;
    conn->in_limit = limit;
    if (!conn->pace)
        conn_owe(conn, OWED_CREDIT);
    return true;
}

/* As conn_update_limit, as far as memory goes. */
static void conn_update_memory(struct conn *conn)
{
    uint32_t window =
        budget_window(&conn->peer->budget, conn->in_limit - conn->consumed, conn->busy);
    if (conn->listener && window > BUDGET_WINDOW_NEW)
        window = BUDGET_WINDOW_NEW;
    uint64_t limit = wanted_limit(conn, window);
    if (limit <= conn->in_limit)
        return;
    if (2 * (limit - conn->in_limit) < window && conn->received != conn->in_limit)
        return;
    if (raise_limit(conn, limit))
        return;
    raise_limit(conn, conn->consumed + BUDGET_WINDOW_MIN); /* is reserved, so it can't fail */
    if (conn->in_message > 0 && conn->message_end > conn->in_limit && !conn->on_hungry) {
        TAILQ_INSERT_TAIL(&conn->peer->hungry, conn, hungry);
        conn->on_hungry = true;
    }
}

void conn_update_limit(struct conn *conn)
{
    if (conn->phase != CONN_OPEN || conn->got_end)
        return;
    conn_update_memory(conn);
    if (conn->pace)
        pace_promise(conn);
}

bool conn_feed(struct conn *conn)
{
    if (conn->in_message > 0 && !raise_limit(conn, conn->message_end))
        return false;
    leave_hungry(conn);
    if (conn->pace)
        pace_promise(conn);
    return true;
}

void conn_consume(struct conn *conn, uint64_t credit)
{
    uint64_t outstanding = conn->in_limit - conn->consumed;
    budget_change(&conn->peer->budget, outstanding, outstanding - credit);
    conn->consumed += credit;
    if (!TAILQ_EMPTY(&conn->peer->hungry))
        peer_wake(conn->peer);
}

uint32_t conn_credit_field(struct conn *conn)
{
    conn->owed &= ~OWED_CREDIT;
    return (uint32_t)conn_told_limit(conn);
}

const char *conn_on_credit(struct conn *conn, uint32_t credit)
{
    int32_t step = (int32_t)(credit - (uint32_t)conn->send_limit);
    if (step < 0)
        return "a credit limit that goes back";
    if (conn->send_limit + (uint32_t)step - conn->sent > WIRE_CREDIT_MAX)
        return "a credit limit that is too far ahead";
    conn->send_limit += (uint32_t)step;
    if (step > 0 && conn->readable && conn->phase == CONN_OPEN)
        link_ready(conn->link, conn);
    return NULL;
}

/* ---- the end ---- */

void conn_drop_queue(struct conn *conn)
{
    queue_clear(&conn->queue);
    conn->untaken = 0;
    conn->lent = 0;
    conn_consume(conn, conn->received - conn->consumed);
}

void conn_close_program(struct conn *conn, enum reason reason)
{
    conn_drop_queue(conn);
    conn_left_end(conn);
    leave_hungry(conn);
    conn->listener = NULL;
    if (conn->ep)
        conn_host(conn)->close(conn->ep, reason);
    conn->ep = NULL;
}

/* From here on the program does not wait for the peer. */
static void conn_begin_ending(struct conn *conn)
{
    conn->phase = CONN_ENDING;
    life_forget(conn);
}

/* Both directions are over and told: the normal end. */
void conn_check_end(struct conn *conn)
{
    if (conn->phase != CONN_OPEN || conn->in != IN_DONE || conn->out != OUT_DONE)
        return;
    conn_begin_ending(conn);
    conn_close_program(conn, conn->lost ? REASON_PROGRAM_RESET : REASON_OK);
    conn_owe(conn, OWED_LAST);
}

void conn_reset(struct conn *conn, enum reason reason)
{
    conn_close_program(conn, reason);
    conn->rule = NULL;
    conn->in = IN_DONE;
    conn->out = OUT_DONE;
    if (conn->phase != CONN_OPEN)
        return;
    conn_begin_ending(conn);
    conn->reset = reason;
    conn->owed &= OWED_RESPONSE;
    conn_owe(conn, OWED_RESET | OWED_LAST);
}

/* Is there something that the program can still get, in the queue or lent? */
bool conn_deliverable(const struct conn *conn)
{
    struct iovec message;
    return conn->type == IDC_STREAM ? !queue_empty(&conn->queue)
                                    : conn->lent > 0 || queue_peek_message(&conn->queue, &message);
}

/* The other side is gone. The program gets what has arrived, then the error. */
static void conn_broken(struct conn *conn, enum reason reason)
{
    conn_begin_ending(conn);
    conn->out = OUT_DONE;
    conn->owed &= OWED_LAST;
    if (conn->ep && conn->in <= IN_DRAINING && conn_deliverable(conn)) {
        conn_host(conn)->shut(conn->ep, SHUT_RD);
        conn->in = IN_DRAINING;
        conn->end = reason;
        return;
    }
    conn->in = IN_DONE;
    conn_close_program(conn, reason);
}

/* ---- what the two sides tell each other ---- */

uint8_t conn_disconnect_flags(const struct conn *conn)
{
    return (uint8_t)((conn->owed & OWED_NO_MORE_DATA ? WIRE_NO_MORE_DATA : 0) |
                     (conn->owed & OWED_NO_MORE_WANTED ? WIRE_NO_MORE_WANTED : 0) |
                     (conn->owed & OWED_RESET ? WIRE_RESET : 0) |
                     (conn->owed & OWED_LAST ? WIRE_LAST : 0));
}

/* Says that this side is through with the connection. Or it says, to a program that reads no more,
 * that no more will come either. */
bool conn_is_bookkeeping(const struct conn *conn, uint8_t flags)
{
    return flags == WIRE_LAST || (conn->got_unwanted && flags == (WIRE_NO_MORE_DATA | WIRE_LAST));
}

void conn_disconnect_sent(struct conn *conn, uint8_t flags)
{
    conn->owed &= ~(OWED_NO_MORE_DATA | OWED_NO_MORE_WANTED | OWED_RESET | OWED_LAST);
    conn->sent_last |= flags & WIRE_LAST;
    if (conn->sent_last)
        conn->owed = 0;
}

/* What came of a connect of this domain: counts it. */
static void count_outcome(const struct conn *conn, bool connected)
{
    if (connected)
        conn->peer->core->count.connected++;
    else
        conn->peer->core->count.refused++;
}

/* The connect has failed, or its program waits no longer. Returns the program's cookie, or NULL if
 * that was known already. */
static void *conn_give_up(struct conn *conn)
{
    void *cookie = conn->cookie;
    conn->cookie = NULL;
    if (cookie)
        count_outcome(conn, false);
    return cookie;
}

/* The program no longer waits, or cannot get the connection. */
static void refuse_late(struct conn *conn, enum reason reason)
{
    conn->phase = CONN_OPEN;
    conn_reset(conn, reason);
}

/* The rule of the other side that refuses it, if this side has it too. */
static const struct rule *conn_refused_by(const struct conn *conn, uint32_t place)
{
    const struct rules *rules = conn->peer->core->rules;
    return rules ? rules_at_place(rules, rules_between(rules, (uint32_t)conn->peer->domid, true),
                                  place)
                 : NULL;
}

const char *conn_on_response(struct conn *conn, const struct wire_connect_rsp *rsp, uint32_t credit)
{
    struct host *host = conn_host(conn);
    if (conn->phase != CONN_REQUESTED)
        return "a CONNECT_rsp to no request";
    if (rsp->status == 0 && credit > WIRE_CREDIT_MAX)
        /* the program still waits: the end of the link answers it */
        return "a credit limit that is too far ahead";
    if (rsp->status != 0) {
        void *cookie = conn_give_up(conn);
        conn->phase = CONN_ENDING;
        conn->rule = conn_refused_by(conn, rsp->rule);
        rule_use_leave(conn, true);
        link_forget(conn->link, conn);
        if (cookie)
            host->connected(host, cookie, conn, reason_from_wire(rsp->status), &conn->ep);
        return NULL;
    }
    conn->peer_id = rsp->id;
    conn->peer_port = rsp->port;
    conn->listener_uid = rsp->uid;
    conn->send_limit = credit;
    if (!conn->cookie) {
        refuse_late(conn, REASON_TIMED_OUT);
        return NULL;
    }
    /* Now the port is known too. */
    struct judge_memo memo = {.is_set = false};
    enum reason reason = judge_keeps(conn, &memo) ? REASON_OK : REASON_POLICY;
    void *cookie = conn->cookie;
    conn->cookie = NULL;
    conn->phase = CONN_OPEN;
    bool connected = host->connected(host, cookie, conn, reason, &conn->ep) && reason == REASON_OK;
    count_outcome(conn, connected);
    if (connected && conn->peer_timeout_ms > 0)
        life_watch(conn, conn->peer_timeout_ms);
    if (!connected)
        refuse_late(conn, reason == REASON_OK ? REASON_NO_RESOURCES : reason);
    else if (conn->pace)
        pace_promise(conn);
    else if (conn->owed)
        conn_owe(conn, 0); /* credit that its rule no longer withholds */
    return NULL;
}

/* Says what is wrong with these flags in this state; NULL: nothing is. */
static const char *judge_disconnect(const struct conn *conn, uint8_t flags)
{
    if (conn->phase < CONN_OPEN || conn->got_last)
        return "a DISCONNECT_ind where none may come";
    if ((flags & WIRE_NO_MORE_DATA) && conn->got_end)
        return "a second end of data";
    if ((flags & WIRE_NO_MORE_DATA) && conn->in_message > 0 && conn->in == IN_OPEN &&
        conn->phase == CONN_OPEN)
        return "an end of data inside a message";
    bool got_end = conn->got_end || (flags & WIRE_NO_MORE_DATA);
    bool sent_end = conn->out == OUT_DONE && !(conn->owed & OWED_NO_MORE_DATA);
    if ((flags & WIRE_LAST) && !(flags & WIRE_RESET) && conn->phase == CONN_OPEN &&
        (!got_end || !sent_end))
        return "a LAST before the ends of data";
    return NULL;
}

const char *conn_on_disconnect(struct conn *conn, uint8_t flags, enum reason reason)
{
    const char *wrong = judge_disconnect(conn, flags);
    if (wrong)
        return wrong;
    conn->got_end |= flags & WIRE_NO_MORE_DATA;
    conn->got_last |= flags & WIRE_LAST;
    conn->got_unwanted |= flags & WIRE_NO_MORE_WANTED;
    if (flags & WIRE_RESET) {
        if (conn->phase == CONN_OPEN)
            conn_broken(conn, reason);
        if (!conn->sent_last)
            conn_owe(conn, OWED_LAST);
        return NULL;
    }
    if (conn->phase != CONN_OPEN)
        return NULL;
    const uint8_t both = WIRE_NO_MORE_DATA | WIRE_NO_MORE_WANTED;
    if ((flags & both) == both && conn->in == IN_OPEN && conn->out == OUT_OPEN && conn->ep &&
        !conn_deliverable(conn)) {
        conn_peer_closed(conn);
        return NULL;
    }
    if ((flags & WIRE_NO_MORE_WANTED) && conn->out == OUT_OPEN && conn->ep) {
        conn->out = OUT_DROPPING;
        if (conn->pace)
            pace_forget(conn);
        conn_host(conn)->shut(conn->ep, SHUT_RD);
        conn_readable(conn);
    }
    if (flags & WIRE_NO_MORE_DATA) {
        if (conn->in == IN_OPEN && conn_deliverable(conn))
            conn->in = IN_DRAINING;
        else
            conn_finish_in(conn);
    }
    return NULL;
}

void conn_cut_off(struct conn *conn, enum reason reason)
{
    struct host *host = conn_host(conn);
    if (conn->pace)
        pace_forget(conn);
    life_forget(conn);
    conn->link = NULL;
    if (conn->phase == CONN_OPEN) {
        conn_broken(conn, reason);
    } else if (conn->phase == CONN_REQUESTED || conn->phase == CONN_WAITING) {
        void *cookie = conn_give_up(conn);
        conn->phase = CONN_ENDING;
        if (cookie)
            host->connected(host, cookie, conn, reason, &conn->ep);
    }
    conn->owed = 0;
    conn->on_control = conn->on_ready = false;
    conn_settle(conn);
}

void conn_abandon(struct conn *conn)
{
    conn_give_up(conn);
    if (conn->phase != CONN_WAITING)
        return;
    if (conn->link) {
        link_forget(conn->link, conn);
    } else {
        TAILQ_REMOVE(&conn->peer->waiting, conn, control);
    }
    conn->phase = CONN_ENDING;
    conn_settle(conn);
}

void conn_taken(struct conn *conn)
{
    uint64_t untaken = conn->untaken;
    conn->listener = NULL;
    conn->untaken = 0;
    if (untaken == 0)
        return;
    conn_consume(conn, untaken);
    conn_update_limit(conn);
}
