/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * timer.h - timers that must be set, whatever the daemon lacks.
 *
 * libevent has its timers in a heap, and event_add fails when the heap must grow and there is no
 * memory. It never shrinks. So some places in it are kept by spare timers that are of no use
 * otherwise. When there is no room for a timer that counts, a spare gives it its place, and takes
 * one again when there is memory.
 *
 * There may be thousands of timers of one kind, one for each client. Add such a timer by event_add
 * and check for failure: then that client's call fails, and no other.
 */
#ifndef IDC_TIMER_H
#define IDC_TIMER_H

#include <event2/event.h>
#include <stdint.h>

#define TIMER_SPARES 32 /* more than there are timers of the daemon's own */

/* Keeps places for a base. 0 or negative errno. One base in a process can have them. */
int timer_spares_begin(struct event_base *base);
void timer_spares_end(void);

/* Sets it again, if it is set. When even the spares are used up, it fires at once. So it is for
 * callbacks that check what is due, and do no harm when they come early. */
void timer_set(struct event *timer, uint64_t ms);

#endif
