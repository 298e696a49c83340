/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * front.h - how long the front of a long message is (common/handover.h).
 *
 * Theory of operation
 *
 * A front is small, and the memfd beside it may have IDC_MESSAGE_MAX bytes, for which the kernel
 * charges the sender's socket nothing. So a front is made long enough to stand for its memfd: a few
 * of them fill the sender's buffer. Then a sender waits as it does behind ordinary messages, and
 * poll tells it when it may go on.
 *
 *   to another domain   link_mgr leaves the latest message unread. The kernel lets a socket poll
 *                       writable while at most a quarter of its buffer is taken. So a front takes a
 *                       quarter at most, and as much of that as can be. Five fill the buffer that a
 *                       connection begins with, and eight fill any other. One that is held and one
 *                       more keep the socket from polling writable.
 *   to a program        nobody leaves a message unread. A front takes at least half of the buffer:
 *                       two fill it, and one keeps it from polling writable. Thus link_mgr learns
 *                       from POLLOUT that the program has taken it.
 *
 * A front has FRONT_SHORT bytes, HANDOVER_INLINE_MAX, HANDOVER_PLAIN_MAX, or 4, 5, 6 or 7 times a
 * power of two (256 and up) less FRONT_SLACK. The kernel rounds up what it allocates for a message,
 * and needs the slack for itself. It is odd, so that programs' own messages rarely have such a
 * length.
 */
#ifndef IDC_FRONT_H
#define IDC_FRONT_H

#include <stdbool.h>
#include <stddef.h>

#define FRONT_SHORT 192u
#define FRONT_SLACK 345u
#define FRONT_TRIES 3

enum front_way {
    FRONT_TO_PROGRAM,    /* from link_mgr */
    FRONT_WITHIN_DOMAIN, /* from program to program */
    FRONT_TO_LINK_MGR,
};

/* Is len the length of a front? */
bool front_is_length(size_t len);
/* The lengths to try, longest first, for a message of len bytes: the next one if the socket cannot
 * carry one (EMSGSIZE). All are less than len. buffer: SO_SNDBUF as the kernel tells it. Returns
 * their number, at least 1; len is more than FRONT_SHORT. */
int front_lengths(enum front_way way, size_t buffer, size_t len, size_t lengths[FRONT_TRIES]);

#endif
