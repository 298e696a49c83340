/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pace.h - a rule's bandwidth (idc-policy(5)): how fast the connections of one rule between this
 * domain and one other send, and how fast the other side may send to them.
 *
 * Theory of operation
 *
 * Each rule with a bandwidth has one struct pace for each peer, from its first connection on, with
 * a bucket for each direction. It does not matter which domain connected. Payload is counted. The
 * pace belongs to the rule's place, FILE:LINE. When the same line comes with new rules, the buckets
 * stay as they are. A pace without connections is freed once its buckets are full, since a new one
 * would be the same.
 *
 * Out: the link asks before a connection sends (pace_may_send). If the bucket is short, the
 * connection leaves the link's lists and waits in the rule's line, so it is in nobody's way. One
 * connection at a time has its turn: it is back in the link's list until it has sent a turn's
 * bytes, or has nothing. Then it goes to the end of the line. Messages are cut into parts, so each
 * connection gets the same number of bytes, however long its messages are. When the bucket is used
 * up, nobody has a turn until a pause's worth of bytes has come. So the link wakes up at most once
 * in PACE_PAUSE, and not for each byte.
 *
 * In: a peer that paces what it sends never notices this half. The bucket fills a little faster
 * than the peer's own and holds a little more. What arrives is taken from it. Each connection is
 * promised no more than its share of the bucket beyond what has arrived (`told`, which is what the
 * credit field says; in_limit is what memory allows). When the bucket is in debt, no credit is
 * given: connections that need some are held, in the order in which they came. When there is
 * something again, they get a share each, in turn, and it is paid in advance (`paid`). So a peer
 * that doesn't pace gets no more than the bandwidth, and each connection gets more some day.
 *
 * Without any bandwidth in the rules, conn->pace is NULL everywhere, and that is all that the path
 * of the data sees.
 */
#ifndef IDC_PACE_H
#define IDC_PACE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "link_mgr/core/bucket.h"
#include "link_mgr/core/conn.h"
#include "link_mgr/core/places.h"

/* As parts of a second's bytes: */
#define PACE_BURST_OUT 10   /* what may be sent at once */
#define PACE_BURST_IN 8     /* what may arrive at once */
#define PACE_PAUSE 40       /* what must have come before sending goes on */
#define PACE_TURN 400       /* a connection's turn, within the next two */
#define PACE_TURN_MIN 2048u /* bytes */
#define PACE_TURN_MAX (64u * 1024)
#define PACE_MORE_IN 64u /* the other side may send faster by such a part */
#define PACE_PROMISE 32u /* bytes that each connection may be promised, however many they are */

struct peer;

struct pace {
    struct place by_place;
    LIST_ENTRY(pace) all;
    struct peer *peer;
    uint64_t bandwidth;
    uint32_t conns;
    struct bucket out, in;
    bool pause;            /* out: the bucket was used up */
    struct conn *turn;     /* whose turn it is; NULL: nobody's */
    struct conn_list line; /* of those that wait for their turn, by `ready` */
    struct conn_list held; /* of those that wait for credit, by `paced.held` */
    char place[];
};
LIST_HEAD(pace_list, pace);

/* ---- which connections ---- */

/* The connection's rule is known, or has changed: it counts for that one from now on. False: there
 * was no memory, and nothing has changed. */
bool pace_follow(struct conn *conn);
/* The connection is about to be freed. */
void pace_leave(struct conn *conn);
/* It does not wait for a turn any more: it has left its link, or has nothing to send. */
void pace_forget(struct conn *conn);
/* The peer is about to be freed; it has no connections. */
void pace_end(struct peer *peer);

/* ---- out; the connection has a pace ---- */

/* May the connection be asked for data now, up to paced.left bytes? False: it waits in its rule's
 * line. */
bool pace_may_send(struct conn *conn, uint64_t now);
/* It has sent so many bytes, or (filled false) it had nothing to send. */
void pace_sent(struct conn *conn, uint64_t bytes, bool filled);

/* ---- in; the connection has a pace ---- */

/* Credit has been used up; of it, so many bytes are payload. */
void pace_received(struct conn *conn, uint32_t credit, uint32_t bytes);
/* Tells the peer of more credit, if memory and the bandwidth allow it, and it is worth a frame. */
void pace_promise(struct conn *conn);

/* ---- time ---- */

/* peer->pace_due has passed: gives turns, and credit. */
void pace_pass(struct peer *peer, uint64_t now);

#endif
