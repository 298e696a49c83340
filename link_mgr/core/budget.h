/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * budget.h - the memory set aside for one peer, and how it is shared among the peer's connections.
 *
 * A peer is charged for every byte that a connection's sender may still send, for every byte that
 * arrived and waits for the program, and a fixed cost for each connection. The sum never exceeds
 * the ceiling. So a peer can't make this domain hold more, whatever it does.
 *
 * The shares follow the dynamic-threshold scheme of shared-memory switches (Choudhury and Hahne,
 * IEEE/ACM ToN 6(2), 1998): a connection's window is a fraction of what is still free. So a few
 * busy connections get the largest window each, and many get less each. Growing windows never take
 * the last quarter, which is for new connections. The smallest window is reserved for each
 * connection as long as it exists, so a reader that catches up always lets its sender go on.
 *
 * Memory of the kernel has an account beside that. A peer causes it in two ways: by data that lie
 * in programs' sockets and are not read, and by data that a program has left there when it closed,
 * and the peer does not take. Each may have half of the ceiling again. What a program has not read
 * when its connection is over stays in its account (`unread`), until the host finds it read or
 * gone.
 */
#ifndef IDC_BUDGET_H
#define IDC_BUDGET_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#define BUDGET_CEILING_DEFAULT (64ull << 20)
#define BUDGET_CEILING_MIN (1ull << 20)
#define BUDGET_WINDOW_MIN 2048u         /* reserved for each connection */
#define BUDGET_WINDOW_NEW (16u * 1024)  /* most that a new connection gets */
#define BUDGET_WINDOW_MAX (512u * 1024) /* most that a busy one gets */
/* bookkeeping of a connection: its struct, and chunks that are partly filled */
#define BUDGET_CONNECTION 3072u

/* What a burst of closing programs may leave beyond its half, until its time is over. */
#define BUDGET_LEFT_BURST (256ull << 20)

struct endpoint;

/* A program's socket whose connection is over. */
struct budget_unread {
    TAILQ_ENTRY(budget_unread) entry;
    uint64_t room;
    uint32_t socket; /* the host's number for it */
};

struct budget {
    uint64_t ceiling;
    uint64_t charged;
    uint64_t kernel; /* half of the ceiling: for `rooms`, and again for `left` */
    uint64_t rooms;  /* buffers of programs' sockets (budget_take_room) */
    uint64_t left;   /* bytes that programs have left and the peer has not taken (conn_left) */
    /* the host's: endpoints that have some of `rooms` */
    TAILQ_HEAD(budget_roomy, endpoint) roomy;
    TAILQ_HEAD(, budget_unread) unread; /* a part of `rooms` too */
};

/* ceiling in bytes, as the administrator sets it. */
void budget_init(struct budget *budget, uint64_t ceiling);
void budget_end(struct budget *budget);
/* Takes the fixed cost of a connection and its smallest window; false when they don't fit. */
bool budget_open(struct budget *budget);
void budget_close(struct budget *budget);
/* The cost of a connection with `outstanding` bytes promised or held, beyond what budget_open took.
 */
uint64_t budget_extra(uint64_t outstanding);
/* Changes a connection's charge from one number of outstanding bytes to another; false (nothing
 * changed) when it grows beyond the ceiling. */
bool budget_change(struct budget *budget, uint64_t from, uint64_t to);
/* The window for a connection that has `outstanding` bytes at present. */
uint32_t budget_window(const struct budget *budget, uint64_t outstanding, bool busy);
/* Takes more room for a socket's buffer: at most a quarter of what is free. False: it is more. */
bool budget_take_room(struct budget *budget, uint64_t more);
void budget_give_room(struct budget *budget, uint64_t less);
/* The connection that had the room is over, and this much of it stays taken for what its program
 * has not read. Where memory is short, it is given back instead. */
void budget_keep_room(struct budget *budget, uint64_t room, uint32_t socket);
/* The program has read it, or is gone. */
void budget_forget_room(struct budget *budget, struct budget_unread *unread);

#endif
