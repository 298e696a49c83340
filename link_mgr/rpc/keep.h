/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * keep.h - kept handles: those that outlive the connection that made them (member keep_ms), for
 * clients that open a connection for each call.
 *
 * Theory of operation
 *
 * When the connection closes, such a handle goes to the server's own session, and its time begins.
 * Each call on it begins the time anew, when it comes and when it ends. While a call waits on the
 * handle, no time passes. When the time is up the handle is closed, as its client would close it.
 *
 * All kept handles on which no call waits are in one heap, with the earliest to be looked at on
 * top, and there is one timer for that one. A call costs nothing here: it only notes the time. So a
 * handle that comes to the top may have been used since, and is then put where it belongs. That
 * happens once in its keep_ms. The heap has room for all handles there can be, so nothing here can
 * fail.
 *
 * A kept handle counts for its uid's quota of handles, as any other.
 */
#ifndef IDC_RPC_KEEP_H
#define IDC_RPC_KEEP_H

#include "link_mgr/rpc/handle.h"

/* NULL: no memory. */
struct rpc_keep *rpc_keep_new(struct event_base *base);
/* There are no handles any more. */
void rpc_keep_free(struct rpc_keep *keep);

/* The session that owns it ends. */
void rpc_keep_begin(struct rpc_handle *handle);
/* A call on it begins, or one that waited has ended. */
void rpc_keep_used(struct rpc_handle *handle);
/* It is closed. */
void rpc_keep_end(struct rpc_handle *handle);

/* Milliseconds that it has; -1: its time does not run. */
int64_t rpc_keep_left(const struct rpc_handle *handle);
/* How many have outlived their connection. */
unsigned rpc_keep_count(const struct rpc_server *server);

#endif
