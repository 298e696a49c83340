/* SPDX-License-Identifier: GPL-2.0-or-later */
/* transport.h - the two transports, as rpc.c starts and stops them. */
#ifndef IDC_RPC_TRANSPORT_H
#define IDC_RPC_TRANSPORT_H

#include <microhttpd.h>

#include "link_mgr/rpc/rpc_private.h"

/* Callbacks of libmicrohttpd; cls is the struct rpc_server. */
enum MHD_Result rpc_http_request(void *cls, struct MHD_Connection *connection, const char *url,
                                 const char *method, const char *version, const char *upload,
                                 size_t *upload_size, void **request_cls);
void rpc_http_request_over(void *cls, struct MHD_Connection *connection, void **request_cls,
                           enum MHD_RequestTerminationCode why);
void rpc_http_connection(void *cls, struct MHD_Connection *connection, void **socket_context,
                         enum MHD_ConnectionNotificationCode what);

/* Ends a connection that is silent for so long. */
void rpc_http_limit(struct rpc_session *session, unsigned seconds);

/* Gives up the call that a client's connection is waiting for, so that libmicrohttpd may close
 * it. */
void rpc_http_stop(struct rpc_session *session);

/* Ends this transport on a connection that is going to be upgraded. */
void rpc_http_leave(struct rpc_session *session);

/* Queues the response that turns the connection into an upgraded one. */
enum MHD_Result rpc_upgrade(struct rpc_session *session, struct MHD_Connection *connection);
bool rpc_is_upgraded(const struct rpc_session *session);
void rpc_upgraded_stop(struct rpc_session *session);

#define RPC_UPGRADE_PROTOCOL "idc-rpc/1" /* documents in XML */
/* Compact ones too, and what common/handover.h says. Whoever changes that changes this number, also
 * in libidc/rpc_line.c. */
#define RPC_UPGRADE_COMPACT "idc-rpc/3"

#endif
