/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * call.h - one call, from its document to its answer.
 *
 * A handler gets the call and its members, and ends in rpc_reply or rpc_fault, at once or from any
 * later event. What it has begun until then, and what it retains, stands in the call, so that it
 * can be undone when the client is gone.
 */
#ifndef IDC_RPC_CALL_H
#define IDC_RPC_CALL_H

#include "link_mgr/rpc/rpc_private.h"

#define RPC_CALL_FDS 4

struct rpc_params;
struct rpc_queue;

/* A call that waits for its turn on a handle (handle.c). */
struct rpc_wait {
    struct rpc_handle *handle;
    struct rpc_queue *queue;
    bool (*attempt)(struct rpc_call *call); /* true: it was answered */
    struct event *timer;
    TAILQ_ENTRY(rpc_call) in_queue;
};

/* idc.connect */
struct rpc_connecting {
    struct hub_pending *pending;
    enum idc_type type;
    bool want_fd;
    int far_end; /* a duplicate of the program's far end, -1: none */
    struct event *near_gone;
};

struct rpc_call {
    struct rpc_session *session;
    uint32_t tag;
    int fds[RPC_CALL_FDS]; /* that came with it; those that the handler took are -1 */
    int fd_count;
    int fd_out;     /* goes with the answer, -1: none */
    bool silent;    /* there is no answer: what it brings about outlives its RPC connection */
    bool beyond;    /* more than RPC_CALLS_MAX: to be refused */
    bool compact;   /* came, and is answered, as a compact document */
    bool multicall; /* inside a system.multicall */
    bool in_dispatch, answered, deferred;
    xmlrpc_value *result;         /* answered, by these, while still in dispatch */
    struct compact_writer *reply; /* ... if compact */
    int error;
    char why[HUB_WHY_MAX];
    LIST_ENTRY(rpc_call) in_session;

    struct rpc_wait wait;
    struct rpc_connecting connect;
    size_t recv_max;         /* idc.recv */
    xmlrpc_value *send_data; /* idc.send, with what was counted for it */
    size_t send_counted;
    bool send_end;
};

struct rpc_method {
    const char *name, *signature;
    const char *members; /* that it understands, each followed by a blank */
    const char *help;
    bool xml_only; /* its data or its answer need more than compact documents have */
    void (*handler)(struct rpc_call *call, struct rpc_params *params);
};

struct rpc_call *rpc_call_new(struct rpc_session *session, uint32_t tag);
/* Carries the document out. The answer goes by the session's transport, during the call or later.
 */
void rpc_call_run(struct rpc_call *call, const char *document, size_t len);
/* The client is gone. */
void rpc_call_give_up(struct rpc_call *call);
/* Its connection ends, and it goes on: it is one of the server's own session then. */
void rpc_call_keep(struct rpc_call *call);

/* Takes result over; NULL (no memory) becomes a fault. */
void rpc_reply(struct rpc_call *call, xmlrpc_value *result);
/* The same for a call that is compact; copies. */
void rpc_reply_compact(struct rpc_call *call, const struct compact_writer *reply);
/* error: a positive errno. */
void rpc_fault(struct rpc_call *call, int error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Makes the registry, with all methods of the table (rpc_methods.c). NULL: no memory. */
xmlrpc_registry *rpc_registry_new(struct rpc_server *server);
extern const struct rpc_method rpc_methods[];
extern const size_t rpc_method_count;

#endif
