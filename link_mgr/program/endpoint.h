/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * endpoint.h - the program's side of a connection: the daemon's end of a Unix-domain socket pair.
 *
 * Theory of operation
 *
 * End of file or reset? A Unix socket's reader gets ECONNRESET only if the other end is closed with
 * unread bytes in it; otherwise it sees a clean end of file, which after a lost link, or a daemon
 * that was killed, would be a lie. Therefore one byte (stream) or one message (seqpacket), the
 * *held* one, always stays unread in the daemon's end: at first one that the daemon put there
 * itself, later the last one that was forwarded. At a clean end it is consumed before the close. So
 * if the daemon is killed, the kernel resets the programs' connections by itself. The exception: if
 * the held one would keep the program from writing, it is let go (endpoint_room.c).
 *
 * Reading: SO_PEEK_OFF stands after what was forwarded, so MSG_PEEK yields what is new. A little is
 * only looked at, at first. Consuming it at once would be a system call more, and, what costs most,
 * would wake the program up for nothing if it waits for an answer: Linux wakes who sleeps in recv
 * on a Unix socket also when there is room to send. So while a program asks and is answered in
 * turn, what it sent is consumed some messages later, right after it was given something: then it
 * has been woken already. It is never so late that the program could not send: there are limits of
 * bytes and of looks, and when the program has sent nothing for LAG_MS all of it is consumed
 * anyway.
 *
 * Much is read straight to its place, and no byte is copied twice: while more waits behind what is
 * read, that is what stays unread, and one call is enough; else the last byte is only peeked. How
 * much there is is asked only when what was known to be there has been read. Which way is taken
 * follows from the last read.
 *
 * Events: always unread bytes make level-triggered polling useless, so it is edge-triggered;
 * EPOLLOUT is asked for only while the program's buffer is full. After -EAGAIN from pull or message
 * the core is told when there is more (conn_readable), after -EAGAIN from push when there is room
 * (conn_writable).
 *
 * A look that brings less than it has room for has seen all that a stream's queue held: recvmsg
 * ends early only where the queue does, at a descriptor that the program sent along (MSG_CTRUNC
 * tells), or at an urgent byte. So the next pull is answered -EAGAIN without a system call. What
 * comes later makes an event: epoll takes a socket off its list before it asks what there is, so
 * whatever it did not see puts the socket on the list again. What was there at the event, behind
 * the data, tells itself if it is the end (EPOLLRDHUP, EV_CLOSED), but not if it is a reset,
 * because libevent makes the same of EPOLLERR as of EPOLLIN. Therefore an endpoint that was spared
 * the second look has it LAG_MS later (endpoint_lag.c). A reset that arrives with data may be
 * noticed that late.
 *
 * Urgent data are ordinary bytes here (SO_OOBINLINE). Otherwise the kernel would hide the byte at
 * their mark from recvmsg, and would drop it when the next one is read.
 */
#ifndef IDC_ENDPOINT_H
#define IDC_ENDPOINT_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdbool.h>
#include <sys/queue.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "common/handover.h"
#include "link_mgr/core/reason.h"

struct conn;
struct endpoint;

/* What the endpoints of one loop have in common. */
#define ENDPOINT_LISTS 6
struct endpoint_list {
    unsigned wait_ms;
    TAILQ_HEAD(, endpoint) endpoints; /* to be looked after: whoever sent last is the last */
    struct event timer;
};
struct endpoints {
    struct event_base *base;
    int diag; /* of base/unix_diag.h, or negative */
    struct endpoint_list lists[ENDPOINT_LISTS];
};

/* Opens a descriptor if it can. */
void endpoints_init(struct endpoints *all, struct event_base *base);
/* No endpoint is left. */
void endpoints_end(struct endpoints *all);

struct endpoint_config {
    struct endpoints *all;
    struct conn *conn;
    const struct handover_name *name;
    /* -1: make a pair; else the daemon's end of the program's own pair, with the filler of
     * common/connecting.h in it. Taken over in every case */
    int far_end;
    /* when the other program resets the connection, this one gets what has arrived, and then the
     * end; what it has written is forgotten. AF_VSOCK knows no other end of a peer's program */
    bool reset_is_end;
    /* just before the endpoint is freed */
    void (*ended)(void *arg, struct conn *conn, enum reason reason);
    void *arg;
};

/* 0 and *program_fd (the program's end; -1 with far_end), or a negative errno. */
int endpoint_new(const struct endpoint_config *config, struct endpoint **endpoint, int *program_fd);

/* What struct host asks for. */
ssize_t endpoint_pull(struct endpoint *ep, const struct iovec *spans, int count);
ssize_t endpoint_message(struct endpoint *ep);
/* Bytes in it that were not pulled. */
int64_t endpoint_unsent(const struct endpoint *ep);
/* The program has closed, or shut both directions, which looks the same. */
bool endpoint_gone(struct endpoint *ep);
ssize_t endpoint_push(struct endpoint *ep, const struct iovec *spans, int count);
void endpoint_shut(struct endpoint *ep, int how);
void endpoint_close(struct endpoint *ep, enum reason reason);

#endif
