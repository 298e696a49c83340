/* SPDX-License-Identifier: GPL-2.0-or-later */
/* methods.h - what a method is, all methods in one table, and their prototypes. */
#ifndef IDC_RPC_METHODS_H
#define IDC_RPC_METHODS_H

#include <stdbool.h>
#include <stddef.h>

struct rpc_call;
struct rpc_params;

struct rpc_method {
    const char *name, *signature;
    const char *members; /* that it understands, each followed by a blank */
    const char *help;
    bool xml_only; /* its data or its answer need more than compact documents can hold */
    void (*run)(struct rpc_call *call, struct rpc_params *params);
    /* Called when the call is refused before it is run. NULL: a fault is enough. */
    void (*refuse)(struct rpc_call *call, struct rpc_params *params, int error, const char *why);
};

extern const struct rpc_method rpc_methods[];
extern const size_t rpc_method_count;

/* method_connection.c */
void rpc_do_connect(struct rpc_call *call, struct rpc_params *params);
void rpc_refuse_connect(struct rpc_call *call, struct rpc_params *params, int error,
                        const char *why);
void rpc_do_disconnect(struct rpc_call *call, struct rpc_params *params);
void rpc_do_send(struct rpc_call *call, struct rpc_params *params);
void rpc_do_recv(struct rpc_call *call, struct rpc_params *params);
void rpc_do_reason(struct rpc_call *call, struct rpc_params *params);
void rpc_do_unsent(struct rpc_call *call, struct rpc_params *params);
void rpc_do_peer_timeout(struct rpc_call *call, struct rpc_params *params);

/* method_listener.c */
void rpc_do_listen(struct rpc_call *call, struct rpc_params *params);
void rpc_do_accept(struct rpc_call *call, struct rpc_params *params);
void rpc_do_unlisten(struct rpc_call *call, struct rpc_params *params);

/* method_domain.c */
void rpc_do_domid(struct rpc_call *call, struct rpc_params *params);
void rpc_do_resolve(struct rpc_call *call, struct rpc_params *params);

/* method_explain.c */
void rpc_do_explain(struct rpc_call *call, struct rpc_params *params);

/* method_capture.c */
void rpc_do_capture(struct rpc_call *call, struct rpc_params *params);

/* method_status.c */
void rpc_do_status(struct rpc_call *call, struct rpc_params *params);

#endif
