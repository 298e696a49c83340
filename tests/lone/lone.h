/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lone.h - one core with one link, whose other side is the test. The grid of states and events
 * (tests/unit/test_grid.c) and the fuzzer (tests/fuzz/fuzz_link.c) use it.
 *
 * The core is domain 1, the other side domain 2, which has offered a link. The test writes frames
 * (or anything) into the ring, gives the core turns, and reads what the core has sent. Programs are
 * structs whose next answer the test sets.
 */
#ifndef IDC_LONE_H
#define IDC_LONE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/ring.h"
#include "link_mgr/core/core.h"
#include "link_mgr/core/wire.h"

#define LONE_RING (16u * 1024)
#define LONE_PORT 100 /* a stream listener; LONE_PORT + 1: seqpacket */
#define LONE_ENDS 64

struct endpoint {
    bool used, open;
    struct conn *conn;
    uint32_t readable; /* bytes the program has written, not yet pulled */
    uint32_t endless;  /* so many are there again when those were pulled */
    bool ended;        /* the program sends no more */
    bool closed;       /* ... and has closed */
    bool closed_unread;
    bool no_room, shut_rd;
    bool lends; /* a message is lent to it, and never comes back */
    uint64_t pushed;
    bool got_end; /* SHUT_WR */
    enum reason reason;
};

struct lone {
    struct host host;
    struct core *core;
    struct ring_page page;
    uint8_t left[LONE_RING], right[LONE_RING];
    struct ring_pair theirs;         /* the other side's view */
    bool channel_open;               /* the core has not closed it */
    bool channel_dead;               /* the other side has ended */
    bool deaf;                       /* the test no longer reads what the core sends */
    enum platform_presence presence; /* what the platform knows of the other side */
    int attach_error;                /* what attaching to a channel, or offering one, fails with */
    struct platform_lent lent;       /* what the platform shares with the other side */
    unsigned lent_looks;             /* how often it was asked */
    int parted_from;                 /* the latest that gets no more links */
    unsigned partings;               /* how often that was said */
    int publish_error;               /* what writing into the store fails with */
    int store_events;                /* that the platform still has, all the same; and then: */
    int store_error;                 /* what taking one fails with */
    unsigned publish_failures;
    uint64_t now, wall_offset; /* ms; what the wall clock is ahead of now */
    unsigned wall_reads;
    int events; /* that the core has sent */
    struct endpoint ends[LONE_ENDS];
    int end_count;
    char last_log[256];
    char last_published[64]; /* leaf and value, "want 0000...6f 1"; "" at first */
    bool listeners_gone;     /* their programs have closed, and the core has not been told */
    int answers;             /* to core_connect, */
    enum reason answer;      /* the latest */
};

/* A core for which the store is empty: no policy, no peer. */
void lone_begin(struct lone *lone);
/* A node of the store; value NULL: it is not there, or no more. */
void lone_store(struct lone *lone, const char *path, const char *value);
/* Gives the core what is due at that time. */
void lone_pass(struct lone *lone, uint64_t ms);

/* From nothing up to the link being up. max_frame that the other side announces: the smallest. It
 * announces no features, as an old one does. */
void lone_start(struct lone *lone);
void lone_start_with(struct lone *lone, uint64_t features);
/* Ends the core; everything must have been given back. */
void lone_stop(struct lone *lone);
/* Turns until there is nothing to do. */
void lone_run(struct lone *lone);
/* Puts raw bytes into the ring; false: no room. */
bool lone_put(struct lone *lone, const void *bytes, uint32_t length);
bool lone_send(struct lone *lone, const struct wire_frame *frame, const void *payload);
/* Takes the next frame that the core sent; false: none. */
bool lone_receive(struct lone *lone, struct wire_frame *frame, uint8_t *payload,
                  uint32_t payload_size);

#endif
