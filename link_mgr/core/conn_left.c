/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a program leaves to send when it closes. It lies in the kernel until the peer takes it, and
 * there is no program any more that could be made to wait. So a peer that takes nothing could fill
 * memory with the answers of a service that answers and closes. It may have so much of that as the
 * budget says. What exceeds it for long without any progress is reset, as TCP does with orphaned
 * sockets. A burst may be much larger: a peer that takes something has time, as it did before.
 *
 * The peer's list has those that made progress last at its end.
 */
#include "link_mgr/core/conn_private.h"

#include <inttypes.h>
#include <syslog.h>

#include "link_mgr/core/peer.h"

static uint64_t left_now(const struct peer *peer)
{
    return peer->core->host->now(peer->core->host);
}

void conn_left_end(struct conn *conn)
{
    if (conn->left == 0)
        return;
    conn->peer->budget.left -= conn->left;
    conn->left = 0;
    TAILQ_REMOVE(&conn->peer->left, conn, left_entry);
}

static void left_enter(struct conn *conn, uint64_t bytes)
{
    conn_left_end(conn);
    if (bytes == 0)
        return;
    conn->left = bytes;
    conn->left_since = left_now(conn->peer);
    conn->peer->budget.left += bytes;
    TAILQ_INSERT_TAIL(&conn->peer->left, conn, left_entry);
}

void conn_left_sent(struct conn *conn, uint64_t bytes)
{
    if (conn->left > 0)
        left_enter(conn, conn->left > bytes ? conn->left - bytes : 0);
}

static void left_reset(struct conn *conn)
{
    peer_log(conn->peer, LOG_WARNING,
             "a connection of local port %u was reset: its program has closed, the peer does not "
             "take the last %" PRIu64 " bytes, and others have left much too",
             conn->local_port, conn->left);
    conn_reset(conn, REASON_NO_RESOURCES);
}

void conn_left(struct conn *conn, uint64_t bytes)
{
    if (conn->phase != CONN_OPEN || conn->out == OUT_DONE || !conn->ep)
        return;
    const struct budget *budget = &conn->peer->budget;
    left_enter(conn, bytes);
    while (budget->left > budget->kernel + BUDGET_LEFT_BURST) {
        struct conn *first = TAILQ_FIRST(&conn->peer->left);
        left_reset(first);
        if (first != conn)
            conn_settle(first);
    }
    peer_left_changed(conn->peer);
}

uint64_t conn_left_due(const struct peer *peer)
{
    const struct conn *first = TAILQ_FIRST(&peer->left);
    return first && peer->budget.left > peer->budget.kernel ? first->left_since + CONN_LEFT_MS
                                                            : PEER_NO_DEADLINE;
}

void conn_left_expired(struct peer *peer)
{
    for (int i = 0; i < CONN_LEFT_TURN && left_now(peer) >= conn_left_due(peer); i++) {
        struct conn *first = TAILQ_FIRST(&peer->left);
        left_reset(first);
        conn_settle(first);
    }
}
