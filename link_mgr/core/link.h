/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * link.h - the one link to a peer: frames in and out of the rings, ids, scheduling.
 *
 * In: link_receive takes whole frames out of the ring, checks them, and hands them to the
 * connection. It checks each frame first by itself (wire.h), then against the state of the link and
 * of the connection. A wrong frame ends the link; the text says what was wrong.
 *
 * Out: link_send fills the ring. Control frames go first, then the connections that have something,
 * each up to LINK_QUANTUM bytes. Connections that had nothing for a while (fresh ones) go before
 * the others, which take turns. A connection that was served goes to the end of the line. It does
 * not count as fresh again until its turn has come there and it had nothing to send. So a small
 * request does not wait for bulk flows, and a program that writes little by little gets no more
 * than its share. (This is the scheme of FQ-CoDel, RFC 8290, 4.1.) While small requests come, bulk
 * flows leave most of the ring empty. Bytes are read from the program's socket straight into the
 * ring. The peer is notified only if it asked. Some frames are ones that no program waits for: the
 * last ones of a connection that both programs have closed. They are announced only a little later,
 * if nothing else has made the peer look before.
 *
 * Ids are slots of a table with a generation in the upper bits. A slot is free again when both
 * sides have sent LAST, so there are no stray frames. The generation is a second safeguard, against
 * mistakes.
 */
#ifndef IDC_LINK_H
#define IDC_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "common/ring.h"
#include "link_mgr/core/conn.h"

#define LINK_FRAME_MAX (64u * 1024) /* longest payload that we take */
#define LINK_QUANTUM (64u * 1024)   /* longest payload that we send */
#define LINK_REQUESTS 256u          /* CONNECT_req that the peer may have unanswered */
#define LINK_REFUSAL_BURST 1024u
#define LINK_REFUSALS_PER_SECOND 1000u
#define LINK_QUIET_MS 20 /* longest that a frame which nobody waits for goes without an event */

struct link;

struct link_config {
    struct peer *peer;
    struct ring_pair rings;
    uint64_t epoch, generation;
    uint16_t own_domid;
    uint64_t wish; /* our latest, if we attach */
};

struct link *link_new(const struct link_config *config);
/* Every connection loses the link, for this reason. */
void link_free(struct link *link, enum reason reason);

/* Each returns NULL, or the text that says why the link has to end, with *reason set. *more: there
 * is more to do at once.
 */
const char *link_receive(struct link *link, bool *more, enum reason *reason);
const char *link_send(struct link *link, uint64_t now, bool *more, enum reason *reason);
/* As link_receive, but takes exactly what is in the ring now. The next turn does what follows from
 * it. */
const char *link_catch_up(struct link *link, enum reason *reason);
bool link_is_up(const struct link *link); /* HELLO came */
/* The time at which delayed refusals can go on, or at which frames have waited long enough for
 * their event. UINT64_MAX: there are none. */
uint64_t link_deadline(const struct link *link);

/* Queues a request. The connection gets an id when it is sent. */
void link_request(struct link *link, struct conn *conn);
/* The link is idle: proposes to end it. While proposed, requests wait. */
void link_propose_end(struct link *link);
bool link_end_proposed(const struct link *link);
/* Puts a final BYE into the ring, if there is room. */
void link_say_bye(struct link *link, enum reason reason);
bool link_idle(const struct link *link); /* no connection, no request */

/* For connections. */
void link_owe(struct link *link, struct conn *conn);     /* conn->owed has become non-zero */
void link_ready(struct link *link, struct conn *conn);   /* conn may have data to send */
void link_line_up(struct link *link, struct conn *conn); /* ... and is not fresh */
void link_forget(struct link *link, struct conn *conn);  /* its link part has ended */

struct link_stats {
    uint64_t bytes_sent, bytes_received, frames_sent, frames_received;
    uint32_t connections;
};
void link_stats(const struct link *link, struct link_stats *stats);
uint32_t link_ring_size(const struct link *link);
/* As life_silence. */
uint64_t link_silence(const struct link *link, uint64_t now);
/* The peer's latest wish, which this link answers. */
uint64_t link_wish(const struct link *link);

#endif
