/* SPDX-License-Identifier: GPL-2.0-or-later */
/* methods.h - the methods that have to do with one connection, and with one listener. */
#ifndef IDC_RPC_CONNECTION_H
#define IDC_RPC_CONNECTION_H

#include "link_mgr/rpc/call.h"

void rpc_do_connect(struct rpc_call *call, struct rpc_params *params);
void rpc_do_disconnect(struct rpc_call *call, struct rpc_params *params);
void rpc_do_send(struct rpc_call *call, struct rpc_params *params);
void rpc_do_recv(struct rpc_call *call, struct rpc_params *params);
void rpc_do_reason(struct rpc_call *call, struct rpc_params *params);
void rpc_do_unsent(struct rpc_call *call, struct rpc_params *params);

void rpc_do_listen(struct rpc_call *call, struct rpc_params *params);
void rpc_do_accept(struct rpc_call *call, struct rpc_params *params);
void rpc_do_unlisten(struct rpc_call *call, struct rpc_params *params);

void rpc_do_status(struct rpc_call *call, struct rpc_params *params);

/* Member "fd": whether the client wants the descriptor itself; refused where none can travel. */
bool rpc_params_want_fd(struct rpc_params *params);
/* Is fd an end of a nameless AF_UNIX socket pair of the type? */
bool rpc_is_fitting_end(int fd, enum idc_type type);
/* The call takes its descriptor number `at` (-1: there is none), to close it or pass it on. */
int rpc_take_fd(struct rpc_call *call, int at);
/* A connect that is not begun: its far end, if it brought one, tells why. */
void rpc_refuse_connect(struct rpc_call *call, struct rpc_params *params, int error,
                        const char *why);
/* Ends a connect that is still under way, if the call is one. */
void rpc_connecting_end(struct rpc_call *call);

#endif
