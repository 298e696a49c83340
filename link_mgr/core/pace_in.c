/* SPDX-License-Identifier: GPL-2.0-or-later */
/* pace_in.c - see pace.h: what the other side may send, by way of credit. */
#include "link_mgr/core/conn_private.h"
#include "link_mgr/core/core.h"
#include "link_mgr/core/pace_private.h"
#include "link_mgr/core/peer.h"
#include "link_mgr/core/wire.h"

/* What a connection may be promised beyond what has arrived. */
static uint64_t pace_share(const struct conn *conn)
{
    uint64_t share = conn->pace->in.burst / conn->pace->conns;
    if (share < PACE_PROMISE)
        share = PACE_PROMISE;
    return conn->type == IDC_SEQPACKET ? share + WIRE_MESSAGE_COST : share;
}

static uint64_t pace_wanted(const struct conn *conn)
{
    uint64_t limit = conn->received + pace_share(conn);
    return limit < conn->in_limit ? limit : conn->in_limit;
}

void pace_promise_first(struct conn *conn)
{
    struct pace *pace = conn->pace;
    bucket_earn(&pace->in, pace_now(pace));
    conn->paced.told = pace->in.level > 0 ? pace_wanted(conn) : 0;
}

void pace_received(struct conn *conn, uint32_t credit, uint32_t bytes)
{
    struct pace *pace = conn->pace;
    uint64_t before = conn->received - credit, covered = 0;
    if (conn->paced.paid > before)
        covered = conn->paced.paid < conn->received ? conn->paced.paid - before : credit;
    bucket_earn(&pace->in, pace_now(pace));
    /* What is paid in advance is credit. If that is more than the payload, the rest comes back. */
    bucket_take(&pace->in, (int64_t)bytes - (int64_t)covered);
}

static bool pace_takes_credit(const struct conn *conn)
{
    return conn->phase == CONN_OPEN && !conn->got_end && pace_wanted(conn) > conn->paced.told;
}

static void pace_tell(struct conn *conn)
{
    conn->paced.told = pace_wanted(conn);
    conn_owe(conn, OWED_CREDIT);
}

/* Half its share is worth a frame, or anything if the sender can't go on without it. */
static bool pace_is_worth_it(const struct conn *conn)
{
    uint64_t few = conn->type == IDC_SEQPACKET ? WIRE_MESSAGE_COST : 0;
    return 2 * (pace_wanted(conn) - conn->paced.told) >= pace_share(conn) ||
           conn->paced.told - conn->received <= few;
}

void pace_promise(struct conn *conn)
{
    struct pace *pace = conn->pace;
    if (conn->paced.is_held || !pace_takes_credit(conn) || !pace_is_worth_it(conn))
        return;
    bucket_earn(&pace->in, pace_now(pace));
    if (TAILQ_EMPTY(&pace->held) && pace->in.level > 0) {
        pace_tell(conn);
        return;
    }
    conn->paced.is_held = true;
    TAILQ_INSERT_TAIL(&pace->held, conn, paced.held);
    pace_plan(pace->peer, bucket_when(&pace->in, 1));
    peer_wake(pace->peer);
}

/* Credit that is paid in advance. */
static void pace_sell(struct conn *conn)
{
    uint64_t from = conn->paced.paid > conn->received ? conn->paced.paid : conn->received;
    pace_tell(conn);
    if (conn->paced.told <= from)
        return;
    bucket_take(&conn->pace->in, (int64_t)(conn->paced.told - from));
    conn->paced.paid = conn->paced.told;
}

void pace_pass_in(struct pace *pace, uint64_t now)
{
    struct conn *conn;
    bucket_earn(&pace->in, now);
    while ((conn = TAILQ_FIRST(&pace->held)) && pace->in.level > 0) {
        TAILQ_REMOVE(&pace->held, conn, paced.held);
        conn->paced.is_held = false;
        if (pace_takes_credit(conn))
            pace_sell(conn);
    }
    if (conn)
        pace_plan(pace->peer, bucket_when(&pace->in, 1));
}
