/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bridge.h - two sides joined: what comes from each is written to the other.
 *
 * Theory of operation
 *
 * A bridge is two flows that know nothing of each other. A flow reads only when it has written what
 * it read before. So a reader who is slow stops his own writer, by the buffers of their sockets,
 * and nothing piles up here. While a flow can write, it has no buffer of its own: all bridges use
 * one, one after the other. Only what could not be written is kept, one buffer at most.
 *
 * The end of a flow's source is passed on when everything before it has been written, as the end of
 * writing. The other flow goes on. The bridge is over when both flows are. Three things end it
 * earlier:
 *   - A side fails, which is a reset: the other one gets one too, if it can be told (side.h).
 *   - A side has ended its own flow and then closes altogether, so nobody is left to whom the other
 *     flow could go. The other side then finds its connection closed.
 *   - A side that knows no end (a pty, a file) would have to be told of one.
 * A flow whose target takes nothing more (EPIPE, or a pipe without a reader) is over by itself. If
 * there are bytes that it should have got, the end of the bridge is a reset.
 *
 * Descriptors are registered edge-triggered, once, for everything. So an event costs no system call
 * to change what is waited for, and the hanging up of one side is no reason to run in circles while
 * the other one is busy. After an event both flows go on until they have to wait, or until they
 * have had their turn. Then a timer of no time calls them again behind all others.
 */
#ifndef IDC_CHANNELS_BRIDGE_H
#define IDC_CHANNELS_BRIDGE_H

#include <stdint.h>

#include "channels/cut_off.h"
#include "channels/room.h"
#include "channels/side.h"

struct event_base;
struct bridge;

/* What all bridges of a process share. */
struct bridge_loop {
    struct event_base *base;
    char *buf;
    size_t size;
    struct rooms *rooms;
};

#define BRIDGE_BUFFER 65536

struct bridge_outcome {
    int error;                  /* 0: both directions have ended cleanly; else an errno */
    int where;                  /* the side, 0 or 1, that failed */
    char why[CUT_OFF_TEXT_MAX]; /* error in words, or "" */
    uint64_t bytes[2];
};

/*
 * Joins two sides, which are the bridge's from now on, also if it fails. It returns NULL when there
 * is no memory. over is called once, from the event loop and never from here. By then all
 * descriptors but a pty's are closed. The bridge is gone after it.
 */
struct bridge *bridge_new(const struct bridge_loop *loop, const struct side sides[2],
                          void (*over)(void *context, const struct bridge_outcome *outcome),
                          void *context);
/* Ends it now, with a reset, and without calling over. */
void bridge_free(struct bridge *bridge);
/* Bytes that side 0 has sent to side 1, or the other way round. */
uint64_t bridge_bytes(const struct bridge *bridge, int from);

#endif
