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
/* Gives credit back: the program took what had cost so much, or it was dropped. */
void conn_consume(struct conn *conn, uint64_t credit);
/* Moves the limit on, if that is worth a frame: half a window, or the sender can't go on without.
 */
void conn_update_limit(struct conn *conn);

void conn_drop_queue(struct conn *conn);
/* Ends the program part. */
void conn_close_program(struct conn *conn, enum reason reason);
/* If both directions are over and told: the normal end. */
void conn_check_end(struct conn *conn);
/* Is there something in the queue that the program can still get? */
bool conn_deliverable(const struct conn *conn);
/* The peer's program has closed, and the local one has got everything that it will. */
void conn_peer_closed(struct conn *conn);
/* The program has got everything that will come. */
void conn_finish_in(struct conn *conn);

#endif
