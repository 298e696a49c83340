/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * arrivals.h - RPC connections that are accepted and not served yet, by the user who made them.
 *
 * Theory of operation
 *
 * The kernel has one queue for all who connect to the RPC socket. A user who connects without end
 * keeps it full, and everybody else would wait behind thousands of connections. To accept one costs
 * far less than to serve it. So the kernel's queue is emptied into this one, in which each user has
 * a line of its own. Users have their turns, one connection each.
 *
 * A user is known here as long as one of its connections waits. Whoever adds a connection has
 * counted it before (base/users.h), so lines are no longer than a user's quota.
 */
#ifndef IDC_ARRIVALS_H
#define IDC_ARRIVALS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#define ARRIVALS_BUCKETS 64

struct arrival {
    STAILQ_ENTRY(arrival) next;
    int fd;
};

struct arrivals_line {
    LIST_ENTRY(arrivals_line) bucket;
    TAILQ_ENTRY(arrivals_line) turn;
    uint32_t uid;
    STAILQ_HEAD(, arrival) waiting; /* never empty between calls */
};

struct arrivals {
    LIST_HEAD(, arrivals_line) lines[ARRIVALS_BUCKETS];
    TAILQ_HEAD(, arrivals_line) turns;
    unsigned count; /* of connections */
    unsigned users;
};

void arrivals_init(struct arrivals *arrivals);
/* False: there is no memory, and the descriptor stays the caller's. */
bool arrivals_add(struct arrivals *arrivals, uint32_t uid, int fd);
/* The oldest connection of the user whose turn it is, and that user; -1: none waits. */
int arrivals_next(struct arrivals *arrivals, uint32_t *uid);

#endif
