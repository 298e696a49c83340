/* SPDX-License-Identifier: GPL-2.0-or-later */
/* loop.h - the event loop of a process that has channels: its signals, its children, and as many
 * descriptors as it may have. */
#ifndef IDC_CHANNELS_LOOP_H
#define IDC_CHANNELS_LOOP_H

#include <event2/event_struct.h>

#include "channels/bridge.h"

#define LOOP_MAX 1000000u /* connections */
#define LOOP_SIGNALS 4

struct loop {
    struct bridge_loop bridges;
    struct rooms rooms;
    unsigned descriptors; /* how many the process may have */
    struct event signals[LOOP_SIGNALS];
    void (*hangup)(void *context);            /* may be NULL */
    void (*reaped)(void *context, pid_t pid); /* a child has ended; may be NULL */
    void *context;
};

/* SIGHUP and SIGTERM wait for loop_open from now on, and then count. Without this they would end
 * the process, SIGHUP too. */
void loop_hold_signals(void);
/* SIGTERM and SIGINT end loop_run, SIGHUP calls hangup, and children are reaped. 0, or -1: there is
 * no memory. The caller sets reaped afterwards. */
int loop_open(struct loop *loop, void (*hangup)(void *context), void *context);
void loop_run(struct loop *loop);
void loop_close(struct loop *loop);

#endif
