/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * endpoint.h - the program's side of a connection: the daemon's end of a Unix-domain socket pair.
 *
 * Theory of operation
 *
 * End of file or reset? A Unix socket's reader gets ECONNRESET only if the other end is closed with
 * unread bytes in it. Otherwise it sees a clean end of file, which would be a lie after a lost link
 * or a killed daemon. Therefore one byte (stream) or one message (seqpacket), the *held* one,
 * always stays unread in the daemon's end. At first the daemon puts one there itself; later it is
 * the last one that was forwarded. At a clean end it is consumed before the close. So if the daemon
 * is killed, the kernel resets the programs' connections by itself. There is one exception: if the
 * held one would keep the program from writing, it is let go (endpoint_room.c).
 *
 * Reading: SO_PEEK_OFF stands after what was forwarded, so MSG_PEEK yields what is new. A small
 * piece is only looked at first, and consumed later. Consuming it at once would cost one more
 * system call. Worse, it would wake a program that waits for an answer for nothing: Linux wakes a
 * sleeper in recv on a Unix socket also when there is room to send. So while a program asks and is
 * answered in turn, its bytes are consumed some messages later, right after it was given something.
 * It has been woken by then anyway. This is never so late that the program could not send. There
 * are limits of bytes and of looks, and when the program has sent nothing for LAG_MS all of it is
 * consumed anyway.
 *
 * A large piece is read straight to its place, and no byte is copied twice. While more waits behind
 * what is read, one call is enough, because those bytes stay unread. Otherwise the last byte is
 * only peeked. The kernel is asked how much there is only when all that was known to be there has
 * been read. The size of the last read decides between the two ways.
 *
 * Events: some bytes are always unread, which makes level-triggered polling useless, so it is
 * edge-triggered. EPOLLOUT is asked for only while the program's buffer is full. After -EAGAIN from
 * pull or message the endpoint calls conn_readable when there is more. After -EAGAIN from push it
 * calls conn_writable when there is room.
 *
 * A look that brings less than it has room for has seen all that a stream's queue held. For recvmsg
 * ends early in three places only: at the end of the queue, at a descriptor that the program sent
 * along (MSG_CTRUNC shows it), and at an urgent byte. So the next pull returns -EAGAIN without a
 * system call. Whatever comes later makes an event. For epoll takes a socket off its list before it
 * asks what there is, so anything that it did not see puts the socket on the list again. If an end
 * stood behind the data at the event, the event shows it (EPOLLRDHUP, EV_CLOSED). It does not show
 * a reset, because libevent treats EPOLLERR like EPOLLIN. Therefore an endpoint that was spared the
 * second look has it LAG_MS later (endpoint_lag.c). A reset that arrives with data may be noticed
 * that late.
 *
 * Urgent data are ordinary bytes here (SO_OOBINLINE). Otherwise the kernel would hide the byte at
 * the urgent mark from recvmsg, and would drop it when the next byte is read.
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
#include "link_mgr/core/budget.h"
#include "link_mgr/base/unix_diag.h"
#include "link_mgr/core/reason.h"

struct conn;
struct endpoint;

/* What the endpoints of one loop have in common. */
#define ENDPOINT_LISTS 6
struct endpoint_list {
    unsigned wait_ms;
    TAILQ_HEAD(, endpoint) endpoints; /* to be looked after; the one that sent last is the last */
    struct event timer;
};
struct endpoints {
    struct event_base *base;
    struct unix_diag diag;
    uint64_t asked_ms;  /* when a tight connection was last asked about */
    uint64_t looked_ms; /* when what programs left unread was last looked at */
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
    /* -1: make a pair. Else it is the daemon's end of the program's own pair, with the filler of
     * common/connecting.h in it; it is taken over in every case */
    int far_end;
    /* of the peer: what the buffer of its end takes is charged there (endpoint_buffer.c). NULL: to
     * nobody */
    struct budget *budget;
    uint32_t uid; /* of the program: closing what it has sent is charged to it (base/closer.h) */
    /* when the other program resets the connection, this one gets what has arrived, and then an end
     * of file; what it has written is dropped. AF_VSOCK knows no other end of a peer's program */
    bool reset_is_end;
    /* The program has not taken the connection from its listener yet. The endpoint calls this when
     * something depends on that, and endpoint_taken then tells it. NULL: the program has it. */
    void (*untaken)(void *arg, struct conn *conn);
    /* just before the endpoint is freed */
    void (*ended)(void *arg, struct conn *conn, enum reason reason);
    void *arg;
};

/* So much lies in the socket of a connection that nobody has taken, in so many pieces. The kernel
 * adds up to some 800 bytes to each, and rounds up to a power of two. */
#define ENDPOINT_SHARE (16u * 1024)
#define ENDPOINT_SHARE_PIECES 8
/* The most that the kernel takes for what lies in the smallest buffer of an end. */
#define ENDPOINT_SMALL_MOST (12u * 1024)
/* What a program may leave to send when it closes, without being counted. */
#define ENDPOINT_LEFT_FREE (16 * 1024)
/* From here on it matters whether it was taken: the peer may have no credit left. */
#define ENDPOINT_SHARE_ASK 1024

/* 0 and *program_fd (the program's end; -1 with far_end), or a negative errno. */
int endpoint_new(const struct endpoint_config *config, struct endpoint **endpoint, int *program_fd);

/* The functions that struct host needs. */
ssize_t endpoint_pull(struct endpoint *ep, const struct iovec *spans, int count);
ssize_t endpoint_message(struct endpoint *ep);
/* Bytes in it that were not pulled. */
int64_t endpoint_unsent(const struct endpoint *ep);
/* Has the program closed, or shut both directions, which looks the same? */
bool endpoint_gone(struct endpoint *ep);
/* Before endpoint_taken only a share is taken (ENDPOINT_SHARE); then conn_writable comes. */
ssize_t endpoint_push(struct endpoint *ep, const struct iovec *spans, int count);
void endpoint_shut(struct endpoint *ep, int how);
void endpoint_close(struct endpoint *ep, enum reason reason);

/* The program has taken the connection. */
void endpoint_taken(struct endpoint *ep);

#endif
