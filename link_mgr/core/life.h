/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * life.h - does the peer's link_mgr still move? (docs/protocol.md, "A peer that hangs")
 *
 * Only connections that want to know are watched, and a link without them costs nothing. A turn of
 * the link compares what the peer has sent and taken with what it was. So the time of the latest
 * move is known as exactly as turns happen, and they happen when frames come. A deadline is planned
 * from the latest move that was known then. When it comes too early, it is planned again.
 *
 * Time in which this side stood still (it was stopped, or its domain was paused) does not count
 * against the peer. It shows as a deadline that is met late. Once the peer was asked, deadlines are
 * close together, so that no such time is overlooked.
 */
#ifndef IDC_LIFE_H
#define IDC_LIFE_H

#include <stdbool.h>
#include <stdint.h>

#include "link_mgr/core/conn.h"

/* The peer is asked when it has not moved for this part of the shortest time; from then on there
 * is a look after each of these parts. */
#define LIFE_ASK_PART 3
#define LIFE_LOOK_PART 8

struct life {
    struct conn_list watched; /* by their `watched` entry */
    uint64_t heard;           /* ms: when the peer moved last, as far as turns have seen */
    uint64_t frames;          /* that had come by then */
    uint32_t taken;           /* the peer's index in our ring then */
    uint64_t due;             /* ms: the next look; UINT64_MAX: none */
    bool asked;               /* it has not moved since it was asked */
    bool owes_ping, owes_pong;
};

void life_init(struct life *life);
/* Watches the peer for conn, whose link part is open, or no more (ms 0). A peer that does not know
 * PING is not watched. */
void life_watch(struct conn *conn, uint32_t ms);
/* The link part of conn ends. */
void life_forget(struct conn *conn);
/* Frames were received, if there were any. Does what is due, which may end connections. */
void life_turn(struct link *link, uint64_t now);
/* For how long the peer has not moved, if it was asked; otherwise 0. */
uint64_t life_silence(const struct link *link, uint64_t now);

#endif
