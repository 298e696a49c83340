/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * handle.h - handles: numbers for the descriptors that the daemon keeps for plain clients, and the
 * calls that wait on them.
 *
 * Theory of operation
 *
 * A number consists of a place in the table and the generation of that place. So an old number is
 * not taken for a new handle. Both are hidden by a random key of this run of the daemon, so that a
 * number from before a restart names nothing now. Who may use a handle is decided by uid alone.
 *
 * A handle belongs to the session that made it, and ends with that session, unless it is to be kept
 * (keep.h). Any session of the same uid may use it meanwhile.
 *
 * Calls wait in two queues of a handle, one for reading (accept, recv) and one for writing (send).
 * The first to come is served first. A queue has one event, armed while the queue is not empty.
 * When it fires, calls are attempted from the head of the queue until one would still have to wait.
 * So one arriving connection wakes one of three hundred accepts, not all of them.
 */
#ifndef IDC_RPC_HANDLE_H
#define IDC_RPC_HANDLE_H

#include "link_mgr/rpc/call.h"

#define RPC_HANDLES_MAX 65535u
#define RPC_KEEP_MAX 600000 /* milliseconds */

struct rpc_params;
struct rpc_struct;

struct rpc_queue {
    struct rpc_handle *handle;
    struct event *ready;
    TAILQ_HEAD(, rpc_wait) waits;
};

/* A call that waits for its turn on a handle. It stands in what the call's method keeps. */
struct rpc_wait {
    struct rpc_call *call;
    struct rpc_handle *handle;
    struct rpc_queue *queue;                /* of the handle: readers or writers */
    bool (*attempt)(struct rpc_wait *wait); /* true: the call was answered, and the wait is gone */
    int64_t timeout_ms;                     /* < 0: no limit */
    bool queued;
    struct event *timer;
    TAILQ_ENTRY(rpc_wait) in_queue;
};

/* What a handle is made of. */
struct rpc_handle_for {
    int fd;
    bool listener;
    enum idc_type type;
    uint32_t charge;  /* whose programs can have sent what is in its queue (base/closer.h) */
    uint32_t port;    /* the local one */
    uint32_t keep_ms; /* 0: it ends with its session */
};

struct rpc_handle {
    int number;
    unsigned place; /* in the table */
    int fd;
    uint32_t charge;
    uint32_t uid; /* who may use it, beside root */
    bool listener;
    enum idc_type type;
    uint32_t port;
    uint64_t serial; /* of a connection, for hub_reason */
    uint32_t keep_ms;
    uint64_t used_ms; /* by clock_now_ms: when the latest call on it began or ended */
    uint64_t due_ms;  /* keep.h: when it is looked at */
    unsigned in_keep; /* ... its place there, from 1 on; 0: none */
    struct rpc_session *owner;
    LIST_ENTRY(rpc_handle) in_session;
    struct rpc_queue readers, writers;
    LIST_HEAD(, rpc_delivery) deliveries;
    bool lost;            /* delivery.h: nothing can be received any more */
    bool serving, closed; /* closed while its queue is being served: freed afterwards */
};

struct rpc_handle_table *rpc_handle_table_new(void);
void rpc_handle_table_free(struct rpc_handle_table *table);
unsigned rpc_handle_count(const struct rpc_handle_table *table);

/* Calls visit for each handle. */
void rpc_handle_visit(const struct rpc_handle_table *table,
                      void (*visit)(void *arg, const struct rpc_handle *handle), void *arg);

/* Takes the descriptor over in every case. NULL: the table is full, or no memory. */
struct rpc_handle *rpc_handle_new(struct rpc_session *owner, const struct rpc_handle_for *what);
/* Drops the connection that waits first at a listener. As recvmsg: 0 at the end, or negative errno.
 */
ssize_t rpc_handle_drop_waiting(struct rpc_handle *handle);
/* Answers a call with a fault that says what rpc_handle_new lacked. */
void rpc_handle_explain_lack(struct rpc_call *call);
/* Begins the answer to a call that has made a socket. The descriptor goes beside the answer
 * (want_fd), or the number of a new handle goes into it. Takes the descriptor over in every case,
 * and charges call->fd_charge for closing it. False: the call was answered with a fault. */
bool rpc_handle_reply(struct rpc_struct *s, struct rpc_call *call,
                      const struct rpc_handle_for *what, bool want_fd, struct rpc_handle **made);
/* Ends that answer. A handle whose number cannot be told is closed. */
void rpc_handle_replied(struct rpc_struct *s, struct rpc_handle *made);
/* Member "keep_ms". */
uint32_t rpc_params_keep(struct rpc_params *params, uint32_t fallback);
/* Member "handle" of a call. NULL: it was answered with a fault. */
struct rpc_handle *rpc_handle_of(struct rpc_params *params, bool listener);
/* Answers the calls that wait on the handle with EBADF. */
void rpc_handle_end_waits(struct rpc_handle *handle);
/* Does any call wait on it? */
bool rpc_handle_is_waited_on(const struct rpc_handle *handle);
void rpc_handle_close(struct rpc_handle *handle);
/* Data that had come on it were lost (delivery.h). */
void rpc_handle_lose(struct rpc_handle *handle);

/* Answers the call now, or lets it wait in the queue until its time is up. A call that may not wait
 * (timeout_ms 0) fails with EAGAIN and the text not_now. */
void rpc_wait(struct rpc_wait *wait, const char *not_now);
/* Attempts the call now, if no other call waits before it. False: it was not answered. */
bool rpc_wait_attempt(struct rpc_wait *wait);
/* Takes it out of its queue, if it is in one. */
void rpc_wait_end(struct rpc_wait *wait);

#endif
