/* SPDX-License-Identifier: GPL-2.0-or-later */
/* conn_private.h - what conn.c, conn_in.c and conn_out.c share; nobody else includes it. */
#ifndef IDC_CONN_PRIVATE_H
#define IDC_CONN_PRIVATE_H

#include "link_mgr/core/conn.h"
#include "link_mgr/core/core.h"

static inline struct host *conn_host(const struct conn *conn)
{
    return conn->peer->core->host;
}

/* The link has to send these frames (OWED_...). */
void conn_owe(struct conn *conn, unsigned frames);
/* Gives credit back for bytes that the program took, or that were dropped. */
void conn_consume(struct conn *conn, uint64_t credit);
/* Moves the limit on if that is worth a frame: it is half a window, or the sender can't go on
 * without it.
 */
void conn_update_limit(struct conn *conn);

/* So many bytes were sent; or the program part ends (conn_left). */
void conn_left_sent(struct conn *conn, uint64_t bytes);
void conn_left_end(struct conn *conn);

/* The limit that the peer is told of. */
static inline uint64_t conn_told_limit(const struct conn *conn)
{
    return conn->pace ? conn->paced.told : conn->in_limit;
}

void conn_drop_queue(struct conn *conn);
/* Ends the program part. */
void conn_close_program(struct conn *conn, enum reason reason);
/* Ends the connection normally, if both directions are over and both sides know it. */
void conn_check_end(struct conn *conn);
/* Is there something in the queue that the program can still get? */
bool conn_deliverable(const struct conn *conn);
/* The peer's program has closed, and the local program has got everything that it will get. */
void conn_peer_closed(struct conn *conn);
/* The program has got everything that will come. */
void conn_finish_in(struct conn *conn);

#endif
