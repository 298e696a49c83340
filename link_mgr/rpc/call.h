/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * call.h - one call, from its beginning to its answer.
 *
 * A method gets the call and its members, and ends in rpc_reply or rpc_fault, at once or from any
 * later event. A method that waits keeps its own state with the call (rpc_call_keep), and its hooks
 * say what happens to that state. So nothing here knows what a method does.
 */
#ifndef IDC_RPC_CALL_H
#define IDC_RPC_CALL_H

#include "link_mgr/rpc/rpc_private.h"
#include "link_mgr/rpc/xml_memory.h"

/* One more than any call has a use for, so that we see when there are too many. */
#define RPC_CALL_FDS 4

/* The hooks of a method that waits; state is what it keeps. */
struct rpc_hooks {
    /* The document has been read. The call may be answered now; if it is not, it waits. */
    void (*begin)(void *state);
    /* The call is about to fail. NULL: the method does not need to know. */
    void (*fault)(void *state, int error, const char *why);
    /* The call was answered or given up. The hook ends what is under way, and frees state. */
    void (*undo)(void *state);
};

enum rpc_beyond { RPC_WITHIN, RPC_BEYOND_SESSION, RPC_BEYOND_USER };

struct rpc_call {
    struct rpc_session *session;
    uint32_t tag;
    int fds[RPC_CALL_FDS]; /* that came with it; those that the method took are -1 */
    int fd_count;
    int fd_out;         /* goes with the answer, -1: none */
    bool fd_own;        /* ... nothing of a program is in its queue (base/closer.h) */
    uint32_t fd_charge; /* ... or what this user's programs have sent */
    size_t counted;     /* memory for the answer (memory.c) */
    bool silent;        /* there is no answer; the effect of the call outlives its RPC connection */
    /* more than there may be of the connection's, or of the user's (not counted): to be refused */
    enum rpc_beyond beyond;
    bool lacks;     /* there was no room for all of its descriptors: to be refused */
    uint32_t uid;   /* for whom it is counted */
    bool compact;   /* came, and is answered, as a compact document */
    bool multicall; /* inside a system.multicall */
    bool in_dispatch, answered, deferred;
    bool begun;                   /* a method of ours has been called */
    struct rpc_xml xml;           /* what xmlrpc-c has allocated for it */
    xmlrpc_value *result;         /* the answer, if it came while the call was still in dispatch */
    struct compact_writer *reply; /* ... if compact */
    int error;
    char why[HUB_WHY_MAX];
    const struct rpc_hooks *hooks; /* NULL: the method keeps nothing */
    void *state;
    LIST_ENTRY(rpc_call) in_session;
};

struct rpc_call *rpc_call_new(struct rpc_session *session, uint32_t tag);
/* The method keeps state from now on, until the call is answered. */
void rpc_call_keep(struct rpc_call *call, const struct rpc_hooks *hooks, void *state);
/* Ends what the method keeps. */
void rpc_call_undo(struct rpc_call *call);
/* The client is gone. */
void rpc_call_give_up(struct rpc_call *call);
/* Its connection ends, and the call goes on. It then belongs to the server's own session. */
void rpc_call_outlive(struct rpc_call *call);
/* Hands an encoded answer to the transport, and frees the call. */
void rpc_call_finish(struct rpc_call *call, xmlrpc_mem_block *document);
/* Sends the answer that a compact call got while in dispatch, and frees the call. */
void rpc_call_finish_compact(struct rpc_call *call);
/* A document for a call that cannot even be read. NULL: no memory. */
xmlrpc_mem_block *rpc_fault_document(int code, const char *why);

/* Both return true if the answer is on its way to the client, or was left for the dispatch to send.
 * False: the client gets a fault in its place, or its connection ends. */
/* Takes result over. If it is NULL (no memory), the client gets a fault, and false is returned. */
bool rpc_reply(struct rpc_call *call, xmlrpc_value *result);
/* Answers a compact call; copies reply. */
bool rpc_reply_compact(struct rpc_call *call, const struct compact_writer *reply);
/* error: a positive errno. */
void rpc_fault(struct rpc_call *call, int error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* A fault because link_mgr lacks memory, or whatever error (of either sign) says. */
void rpc_fault_own(struct rpc_call *call, int error);

#endif
