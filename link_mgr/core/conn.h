/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * conn.h - one connection: the state machine between a program's endpoint and a link.
 *
 * Theory of operation
 *
 * A connection has two halves that live and end independently:
 *
 *   out   from the program to the link. Bytes are pulled from the program only when the link can
 *         take them, straight into the spans that it gives, so nothing is held here.
 *   in    from the link to the program. Bytes are pushed from the link's spans straight to the
 *         program; what it does not take waits in `queue`, which credit bounds. As long as nobody
 *         has accepted the connection, what was pushed counts as waiting too. Otherwise a peer
 *         could fill the kernel's memory through connections that nobody ever accepts.
 *
 * A connection does not know what carries the bytes. The link gives it the spans that came, or that
 * it has to fill (struct conn_data); only the link knows rings and frames. Of the protocol a
 * connection knows the terms (terms.h): credit, and what the two sides tell each other about their
 * ends.
 *
 * Events (conn_on_…) change the state, and note in `owed` which frames the link has to send. The
 * link sends them when there is room (conn_disconnect_sent). No event sends a frame itself.
 *
 * A connection consists of a link part and a program part. The link part ends when LAST was sent
 * and received, or the link is lost (link = NULL). The program part ends when the endpoint is
 * closed (ep = NULL). When both have ended, conn_settle frees the connection. It is the only place
 * that does so, and every entry from outside ends with it. When the connection is reset or the link
 * is lost, a program that reads slowly first gets what had arrived, and then the error.
 */
#ifndef IDC_CONN_H
#define IDC_CONN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "idc.h"
#include "link_mgr/core/host.h"
#include "link_mgr/core/queue.h"
#include "link_mgr/core/reason.h"
#include "link_mgr/core/spans.h"
#include "link_mgr/core/terms.h"

struct link;
struct pace;
struct peer;
struct requester;
struct rule;
struct rule_use;

/* Where the connection is as a whole. */
enum conn_phase {
    /* it waits for the link, or for the peer to take another request. No id, no endpoint */
    CONN_WAITING,
    /* CONNECT_req was sent. An id, no endpoint; the cookie is NULL if the program no longer waits
     */
    CONN_REQUESTED,
    CONN_OPEN, /* both sides know it. The halves say what may happen */
    /* LAST is owed or sent: what arrives is dropped. The endpoint may still have bytes to take */
    CONN_ENDING,
};

enum conn_in {
    IN_OPEN,     /* data may arrive, the program may take them */
    IN_DRAINING, /* no more will arrive; the queue still has bytes for the program */
    IN_DROPPING, /* the program takes no more; what arrives is dropped */
    IN_DONE,     /* no more will arrive, and the program has been told */
};

enum conn_out {
    OUT_OPEN,     /* the program may send */
    OUT_DROPPING, /* the peer wants no more: what the program still had sent is dropped */
    OUT_DONE,     /* the program will send no more; NO_MORE_DATA (or LAST) is owed or sent */
};

/* Frames that are owed. */
#define OWED_RESPONSE 0x1u /* CONNECT_rsp, accepting */
#define OWED_CREDIT 0x2u
#define OWED_NO_MORE_DATA 0x4u
#define OWED_NO_MORE_WANTED 0x8u
#define OWED_RESET 0x10u
#define OWED_LAST 0x20u

/* What pace.h has of a connection whose rule has a bandwidth. */
struct conn_paced {
    uint64_t left; /* out: bytes of its turn */
    /* in: credit that the peer was told of, and up to which it is paid for */
    uint64_t told, paid;
    bool in_line, is_held;
    TAILQ_ENTRY(conn) held;
};

struct conn {
    struct peer *peer;
    struct link *link;   /* NULL before the link is up, and after the link part has ended */
    struct endpoint *ep; /* NULL before it is connected, and after the program part has ended */
    void *cookie;        /* core_connect's, until it was answered */
    enum conn_phase phase;
    enum conn_in in;
    enum conn_out out;

    uint32_t id, peer_id;
    enum idc_type type;
    bool incoming;
    uint32_t local_port, peer_port;
    uint32_t uid;                      /* of the connecting program */
    uint32_t listener_uid;             /* of the program that listens; WIRE_UID_UNKNOWN */
    char name[IDC_SERVICE_MAX + 1];    /* that was asked for, or "" */
    char service[IDC_SERVICE_MAX + 1]; /* incoming: the listener's name, or "" */
    struct listener *listener;         /* incoming, and not yet taken by the program */
    const struct rule *rule;  /* that allowed it; NULL: the policy node did. Or that refused it */
    uint64_t judged;          /* the peer's `judging`, when it was judged last */
    struct rule_use *use;     /* where it is counted; NULL: nowhere */
    uint32_t peer_timeout_ms; /* how long the peer may hang; 0: for ever */
    struct pace *pace;        /* of its rule's bandwidth; NULL: none */
    struct conn_paced paced;  /* with a pace only */
    uint64_t serial;          /* these four are the host's */
    int pid;                  /* of the program of this domain; 0: not known */
    void *ticket, *permit;

    unsigned owed;
    bool sent_last, got_last;
    bool got_end;      /* the peer has sent NO_MORE_DATA */
    bool got_unwanted; /* the peer has sent NO_MORE_WANTED: its program reads no more */
    /* in: bytes for the program were dropped; when the program closes, the peer gets a reset */
    bool dropped;
    bool lost;         /* out: bytes of the program were lost; it ends with a reset */
    enum reason end;   /* how the program part ends, once the queue is empty */
    enum reason reset; /* what goes into the RESET that is owed */

    bool readable;                         /* the program may have something for us */
    bool busy;                             /* has used up its first window */
    uint64_t sent, send_limit;             /* credit used and given, out */
    uint64_t received, consumed, in_limit; /* credit used, given back, and given, in */
    uint64_t untaken; /* credit of what lies in the socket of a connection that nobody has taken */
    /* credit of a message that was pushed and is still in our memory (PUSH_LENT); 0: none. It
     * counts as if it were the first in the queue */
    uint64_t lent;
    /* bytes of the program's current message still to be pulled; 0: none */
    uint32_t out_message;
    uint32_t in_message; /* bytes of the peer's current message still to come */
    /* credit at which the bytes of the peer's current message start and end */
    uint64_t message_start, message_end;
    struct queue queue;
    uint64_t left;       /* out: bytes that the program left to send when it closed (conn_left) */
    uint64_t left_since; /* ms: when some of them were sent last */
    uint64_t bytes_sent, bytes_received;

    /* Which of the lists below it is on. on_ready with paced.in_line: that of its pace */
    bool on_control, on_ready, on_hungry;
    bool is_watched;      /* the link's `watched` (life.h) */
    bool is_fresh;        /* on_ready is set, and that list is the link's `fresh` */
    uint8_t request_kind; /* these three belong to requests.h, while phase is less than OPEN */
    struct requester *requester;
    uint32_t request_key;
    TAILQ_ENTRY(conn) of_peer, control, ready, hungry, left_entry, watched;
};
TAILQ_HEAD(conn_list, conn);

/* Bytes that came, or that are sent: a piece of a stream, a message, or a part of one. */
struct conn_data {
    /* The peer may change the bytes at any time. So each byte is read once, or not believed. */
    struct spans spans;
    uint32_t length;
    bool more;      /* seqpacket: the message goes on in the next part */
    bool has_total; /* ... and begins with this one; set with `more` only */
    uint32_t total; /* then, the length of the whole message */
};

/* Makes a connection of peer, charged to its budget. NULL: the budget is used up, or memory is
 * short. */
struct conn *conn_new(struct peer *peer, enum idc_type type);

/* ---- events from the program ---- */
/* the endpoint may have something, or has reached its end */
void conn_readable(struct conn *conn);
void conn_writable(struct conn *conn); /* the endpoint may have room, or has closed */
/* The program has closed, and so many bytes of it are still to be sent. May reset connections, also
 * this one. */
void conn_left(struct conn *conn, uint64_t bytes);
/* The program has taken it from its listener. */
void conn_taken(struct conn *conn);
/* Breaks the connection off: the peer and the program learn the reason. */
void conn_reset(struct conn *conn, enum reason reason);
/* The program no longer waits for core_connect's answer. */
void conn_abandon(struct conn *conn);

/* ---- events from the link; a text tells what is wrong with what the peer sent ---- */
const char *conn_on_response(struct conn *conn, const struct wire_connect_rsp *rsp,
                             uint32_t credit);
const char *conn_on_data(struct conn *conn, const struct conn_data *data);
/* flags: WIRE_NO_MORE_DATA and so on; reason: with WIRE_RESET. */
const char *conn_on_disconnect(struct conn *conn, uint8_t flags, enum reason reason);
const char *conn_on_credit(struct conn *conn, uint32_t credit);
void conn_cut_off(struct conn *conn, enum reason reason);

/* ---- for the link: what to send ---- */
/* The flags of the DISCONNECT_ind that is owed, 0 if none. */
uint8_t conn_disconnect_flags(const struct conn *conn);
/* The credit field for any frame of this connection. A CREDIT_ind is then no longer owed.
 */
uint32_t conn_credit_field(struct conn *conn);
/* The link has found room: data->spans, data->length bytes. Fills them from the front, and
 * describes in *data what they hold now. The first part of a message leaves total_size bytes free
 * at the front, where the link puts the total; they do not count as length. False: there is nothing
 * to send now. */
bool conn_fill_data(struct conn *conn, struct conn_data *data, uint32_t total_size);
/* Is a DISCONNECT_ind with these flags of no interest to any program? */
bool conn_is_bookkeeping(const struct conn *conn, uint8_t flags);
/* An owed DISCONNECT_ind with these flags was put into the ring. */
void conn_disconnect_sent(struct conn *conn, uint8_t flags);

/* For a connection on the peer's list of the hungry: tries again to raise the limit. False: it is
 * still hungry.
 */
bool conn_feed(struct conn *conn);
/* What closed programs left to the peer: when the next one is due, and resets those that are. */
#define CONN_LEFT_MS 5000 /* that has made no progress for so long, if they are too much */
#define CONN_LEFT_TURN 64 /* so many at once */
uint64_t conn_left_due(const struct peer *peer);
void conn_left_expired(struct peer *peer);
/* Frees the connection if both its parts have ended. Everyone who called an event calls this
 * last. */
void conn_settle(struct conn *conn);

#endif
