/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * rpc_private.h - what the parts of the RPC server share.
 *
 *   rpc.c                  start and stop, libmicrohttpd on our event loop
 *   socket.c               the listening socket's path
 *   accept.c               new connections, and what happens to them at a limit
 *   arrivals.c             those that are accepted and not served yet
 *   memory.c               memory that is held for clients
 *   session.c              a client's connection: its calls, its handles
 *   transport_http.c       HTTP requests                     } the two transports
 *   transport_upgraded.c   libidc's upgraded connections     }
 *   dispatch.c             from a call's document to its method
 *   call.c                 a call and its answer
 *   handle.c               handles, and the calls that wait on them
 *   keep.c                 handles whose connection has closed
 *   delivery.c             data that are on their way to a client
 *   value.c                members of structs, in and out
 *   descriptor.c           descriptors that come with calls
 *   methods.c              the table of methods
 *   method_connection.c, method_domain.c, method_listener.c, method_status.c     the methods
 *
 * Who owns what. The server owns sessions. A session owns its calls under way and the handles that
 * it made. Some of both outlive it, and go to a session of the server's own. A call belongs to the
 * session until it is answered (rpc_reply, rpc_fault) or given up (rpc_call_give_up), which frees
 * it. What a method keeps while its call waits belongs to the call.
 *
 * Answering a call never destroys a session or a handle on the way. A transport that finds its
 * client gone reports that later, from an event of its own. So code that answers calls in a loop
 * may go on.
 */
#ifndef IDC_RPC_PRIVATE_H
#define IDC_RPC_PRIVATE_H

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <xmlrpc-c/base.h>
#include <xmlrpc-c/server.h>

#include "link_mgr/base/users.h"
#include "link_mgr/hub/hub.h"
#include "link_mgr/rpc/arrivals.h"
#include "link_mgr/rpc/refusals.h"

struct MHD_Daemon;
struct compact_writer;
struct rpc_call;
struct rpc_delivery;
struct rpc_handle;
struct rpc_handle_table;
struct rpc_keep;

#define RPC_DOCUMENT_MAX (24u * 1024 * 1024) /* of a plain call */
#define RPC_MEMORY_MAX (256u * 1024 * 1024)  /* all documents and retained data under way */
/* ... the part of it for pieces of at most RPC_SMALL, so that clients with much data do not shut
 * out those with little */
#define RPC_MEMORY_RESERVE (32u * 1024 * 1024)
#define RPC_SMALL (64u * 1024)
/* Any answer except those of idc.recv and idc.status. */
#define RPC_ANSWER_SHORT 3072u
#define RPC_CONNECTIONS_MAX 8192
#define RPC_CALLS_MAX 4096 /* under way, per session */
#define RPC_PARTS_MAX 32   /* of a system.multicall */
#define RPC_PART_DATA 4096 /* bytes that a part of it receives */

struct rpc_counters {
    uint64_t connections, turned_away, calls, calls_now, faults, given_up;
};

/* An answer's document, with what was counted for it. */
struct rpc_answer {
    struct rpc_server *server;
    uint32_t uid; /* for whom it was counted */
    xmlrpc_mem_block *block;
    size_t counted;
    struct rpc_session
        *session; /* the session whose `sending` ends when the answer was written; NULL: none */
};

/* How a session's answers travel. */
struct rpc_transport {
    bool descriptors; /* descriptors can go with an answer */
    /* Takes over the answer (NULL: none could be made) and fd (-1: none). False: the answer cannot
     * be sent, and the connection is going to end. */
    bool (*answer)(void *carrier, uint32_t tag, struct rpc_answer *answer, int fd);
    /* Answers a call that came as a compact document; the document stays the caller's. */
    bool (*answer_compact)(void *carrier, uint32_t tag, const struct compact_writer *document,
                           int fd);
};

struct rpc_session {
    struct rpc_server *server;
    struct hub_caller caller;
    int fd; /* of the connection; the transport's */
    const struct rpc_transport *transport;
    void *carrier; /* of the transport */
    bool compact;  /* compact documents were agreed on */
    bool closing;  /* upgraded: the client has closed, or sends no more */
    bool foreign;  /* ... descriptors came with the latest call that belong nowhere */
    int last;      /* ... a copy of the descriptor of one that ended with something unread, or -1 */
    LIST_HEAD(, rpc_call) calls;
    unsigned call_count;
    const char *refusal; /* not NULL: the session gets only a 503 with this text */
    LIST_HEAD(, rpc_handle) handles;
    LIST_HEAD(, rpc_delivery) deliveries;
    bool sending;       /* an answer with data of a delivery is not yet written whole */
    bool fd_own;        /* the descriptor of the answer that is sent now has been nobody else's */
    uint32_t fd_charge; /* ... or what is in its queue is this user's */
    TAILQ_ENTRY(rpc_session) delivering;
    LIST_ENTRY(rpc_session) in_server;
};

/* accept.c has the theory. */
struct rpc_accepting {
    struct event *waiting, *retry, *serve;
    struct arrivals arrivals;    /* their users' quotas have them */
    int spare;                   /* -1: the refused one uses it, or it could not be opened */
    int beginning;               /* the descriptor of a connection without a session yet, or -1 */
    const char *refusal;         /* of that connection */
    struct rpc_session *refused; /* the session that is being refused, or NULL */
    bool over;                   /* it has just ended */
    bool refusing;               /* the log has a line about it */
};

struct rpc_server {
    struct event_base *base;
    struct hub *hub;
    struct quota *users;
    struct MHD_Daemon *mhd;
    struct event *mhd_ready, *mhd_timer;
    xmlrpc_registry *registry;
    struct rpc_call *dispatching; /* the call that the registry is working on */
    struct rpc_handle_table *handles;
    struct rpc_keep *keep;
    struct rpc_refusals refusals;
    LIST_HEAD(, rpc_session) sessions;
    LIST_HEAD(, rpc_session) ended; /* those with a `last`, until libmicrohttpd has closed them */
    TAILQ_HEAD(, rpc_session) delivering; /* those that have deliveries */
    unsigned session_count;
    struct rpc_session
        kept; /* has the calls and handles that outlive their connection, and nothing else */
    struct rpc_accepting accepting;
    int spare;     /* for the first descriptor of a call (transport_upgraded.c); -1: in use */
    size_t memory; /* see RPC_MEMORY_MAX */
    uint64_t started_ms;
    struct rpc_counters counters;
    struct rpc_socket *socket;
    bool stopping;
};

/* ---- rpc.c ---- */

/* Lets libmicrohttpd do what is due. */
void rpc_run(struct rpc_server *server);
/* Calls rpc_run a little later. It is needed after a connection was resumed or closed, because
 * libmicrohttpd without a thread does not notice that by itself. */
void rpc_run_soon(struct rpc_server *server);

/* ---- memory.c ---- */

/* Counts bytes held for the session's client. False: it would be too much, and nothing was
 * counted. */
bool rpc_memory_take(struct rpc_session *session, size_t bytes);
void rpc_memory_give(struct rpc_session *session, size_t bytes);
/* Takes the document over in every case. NULL: it would be too much, or no memory. */
struct rpc_answer *rpc_answer_new(struct rpc_session *session, xmlrpc_mem_block *block);
/* The answer is about to be counted elsewhere. */
void rpc_answer_uncount(struct rpc_answer *answer);
void rpc_answer_free(struct rpc_answer *answer);

/* ---- session.c ---- */

/* SO_PEERCRED. */
struct hub_caller rpc_caller_of(int fd);
struct rpc_session *rpc_session_new(struct rpc_server *server, int fd);
/* Has the client closed, or will it send no more, without our having noticed yet? */
bool rpc_session_gone(const struct rpc_session *session);
/* Gives all its calls up and closes its handles. */
void rpc_session_end(struct rpc_session *session);
/* libmicrohttpd closes its descriptor next, before it returns to us. */
void rpc_session_free(struct rpc_session *session);
/* libmicrohttpd has returned. */
void rpc_sessions_bury(struct rpc_server *server);

/* ---- socket.c ---- */

int rpc_socket_open(const char *path, struct rpc_socket **socket_out, char *why, size_t why_size);
int rpc_socket_fd(const struct rpc_socket *socket);
/* Closes and frees it, and removes the path, if it is still ours. */
void rpc_socket_remove(struct rpc_socket *socket);

/* ---- accept.c ---- */

/* Called once libmicrohttpd runs. server->accepting.spare is -1 before. */
int rpc_accept_start(struct rpc_server *server);
void rpc_accept_stop(struct rpc_server *server);
/* A connection begins, or ends. It may be the one that is refused. */
void rpc_accept_begun(struct rpc_session *session);
void rpc_accept_ended(struct rpc_session *session);
/* Called after libmicrohttpd was run: the descriptors of connections that have ended are closed
 * now. */
void rpc_accept_go_on(struct rpc_server *server);

#endif
