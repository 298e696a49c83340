/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * delivery.h - data that were taken from a connection and are on their way to a client.
 *
 * Theory of operation
 *
 * idc.recv takes data off a handle once its answer has been handed to the transport. The client may
 * go away before it has read that answer. Then the data are gone. Another client of the same uid
 * that goes on reading from the handle would miss them without knowing it. So a delivery remembers
 * that data of a handle are on their way to a session. It ends in one of two ways:
 *
 *   read    the client has read everything that was written to its socket (SIOCOUTQ is 0), or it
 *           has closed its connection without leaving anything unread
 *   lost    the answer could not be written whole, or the client has closed its connection and left
 *           something unread; the kernel tells the latter as ECONNRESET
 *
 * What is lost makes the handle lost: from then on idc.recv fails with ECONNRESET.
 *
 * libmicrohttpd reads from the socket too, and the kernel tells an error only once. So the sessions
 * that have deliveries are looked at just before libmicrohttpd is run: all whose client has closed,
 * and some of the others, which may have read everything. A client may also do both between that
 * look and libmicrohttpd's. Therefore a plain connection whose answer is written is held until it
 * was looked at (transport_http.c).
 */
#ifndef IDC_RPC_DELIVERY_H
#define IDC_RPC_DELIVERY_H

#include "link_mgr/rpc/rpc_private.h"

/* Called before the answer is handed to the transport, which clears session->sending when it has
 * written the whole answer. NULL: no memory. */
struct rpc_delivery *rpc_delivery_new(struct rpc_session *session, struct rpc_handle *handle);
/* begin: the transport has the answer, and the data were taken. cancel: the transport could not
 * take the answer. */
void rpc_delivery_begin(struct rpc_delivery *delivery);
void rpc_delivery_cancel(struct rpc_delivery *delivery);

/* Looks at a session. Are there still deliveries of which nothing is known? */
bool rpc_delivery_look(struct rpc_session *session);
/* Looks at the sessions that have deliveries, as told above. */
void rpc_delivery_look_around(struct rpc_server *server);
/* Ends all deliveries of a session whose connection ends, as read or as lost. in_order: the client
 * ended the connection, and all answers were written. */
void rpc_delivery_session_ends(struct rpc_session *session, bool in_order);
/* The handle is closed. */
void rpc_delivery_handle_ends(struct rpc_handle *handle);

#endif
