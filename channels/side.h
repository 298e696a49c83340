/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * side.h - the open descriptors of one end, and what differs between kinds of descriptors: how its
 * end of data is told and seen, and how it is told that a connection was cut off.
 *
 * Theory of operation
 *
 * Nothing here waits. Reading and writing return -EAGAIN instead.
 *
 * A Unix socket tells its other end of a reset only if it is closed while something in it is
 * unread. So of what a Unix socket brings, the last byte is only looked at. It is passed on, and it
 * stays in the socket, "held", until more comes. If this side is then closed because the connection
 * was cut off, the program there gets ECONNRESET and no end of file. That is also so when this
 * process is killed. The held byte stays there also when the end has been seen. For the program may
 * still wait for an answer, and a part of it must not look like all of it. A clean close takes it
 * out first.
 *
 * The kernel charges a whole block to its writer as long as one byte of it is unread. A writer with
 * a small SO_SNDBUF could therefore wait for ever; room.h lets the held byte go then.
 *
 * A TCP socket is told the same by SO_LINGER with no time, which is set from the beginning. A clean
 * end switches it off. A pipe, a terminal and a file cannot be told.
 *
 * Urgent bytes are ordinary ones here, in their place (SO_OOBINLINE). Descriptors do not pass: who
 * sends some gets EPERM, or is cut off (foreign.h).
 */
#ifndef IDC_CHANNELS_SIDE_H
#define IDC_CHANNELS_SIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct child;

enum side_form {
    SIDE_UNIX,   /* a stream socket of AF_UNIX, also IDC's */
    SIDE_SOCKET, /* another stream socket */
    SIDE_PLAIN,  /* whatever read and write work on */
    /* These stay open when the bridge is over, and know no end of what is written. */
    SIDE_MUTE, /* a file: nothing comes from it */
    SIDE_PTY,
};

struct side {
    int in, out; /* the same for a socket; -1: closed, or there is none */
    enum side_form form;
    bool guarded; /* no descriptors can be in it (foreign.h) */
    bool held;    /* one byte in it has been passed on already */
    bool ended;   /* all that was there has been read: what comes now is a new block */
    bool news;    /* something was read; room.c takes this back */
    /* at most as many bytes are in the block of the held one; for room.c */
    uint32_t block;
    struct child *child; /* exec: its process; else NULL */
};

#define SIDE_NONE ((struct side){.in = -1, .out = -1, .form = SIDE_PLAIN})

/* Finds out the form of descriptors. Those that are no sockets become non-blocking, for everybody
 * who shares them. */
struct side side_of(int in, int out);
/* A stream socket of AF_UNIX; held: a byte is in it that nobody gets. */
struct side side_unix(int fd, bool held);
/* Of a pty or a file: an end of the other side's data is the end of the whole connection. */
bool side_is_deaf(const struct side *side);

/* Is it a Unix socket whose other end can be told of a reset only when it has sent something? */
bool side_is_untold(const struct side *side);

/* Is something there that was not read, as far as that can be known? */
bool side_has_more(const struct side *side);

/* Bytes that came, 0 at the end of data, or negative errno. */
ssize_t side_read(struct side *side, void *buf, size_t size);
/* One byte of a Unix socket in which none is held: 1, 0 at the end, or negative errno. */
ssize_t side_take_byte(const struct side *side, char *byte);
/* Lets the held byte go, until more comes; not if its writer has ended, since nobody waits then. */
void side_let_go(struct side *side);
/* Bytes that were taken, or negative errno. */
ssize_t side_write(const struct side *side, const void *buf, size_t len);
/* Passes on that nothing more is written. */
void side_end_writing(struct side *side);
/* Nothing more of it will be read: its writer is told by EPIPE, where that can be. */
void side_end_reading(struct side *side);

/* Closes all but a pty and a file. With an error the other end gets a reset, if it can be told. */
void side_close(struct side *side, int error);

#endif
