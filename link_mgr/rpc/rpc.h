/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * rpc.h - the RPC server (docs/rpc.md): XML-RPC over HTTP on a Unix-domain socket, and libidc's
 * upgraded connections. It knows the hub, and nothing of core or platform.
 */
#ifndef IDC_RPC_H
#define IDC_RPC_H

#include <event2/event.h>
#include <stddef.h>

struct hub;
struct quota;
struct rpc_server;

struct rpc_config {
    struct event_base *base;
    struct hub *hub;
    struct quota *users; /* base/users.h; stays the caller's */
    const char *path;    /* of the socket. Its directory is made only if it is /run/idc */
};

/* Starts serving. Fails with a negative errno and one line in why (-EADDRINUSE: a live daemon is on
 * the path). It replaces a stale socket. The socket gets mode 0660, and group idc when that group
 * exists and may be set. */
int rpc_start(const struct rpc_config *config, struct rpc_server **server_out, char *why,
              size_t why_size);
/* Ends all calls and handles, removes the socket. */
void rpc_stop(struct rpc_server *server);

#endif
