/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * stream.h - a buffered stream socket, as libevent's bufferevent, for a socket of which a hostile
 * program may have a copy.
 *
 * Theory of operation
 *
 * Such a program can take O_NONBLOCK away, and can send descriptors, whose close may have to wait
 * (closer.h). A bufferevent reads by readv and writes by writev. So it would wait in each of these
 * cases, and all of the loop with it. A stream says MSG_DONTWAIT in each call. If descriptors
 * come, it closes them as others, and the stream has failed.
 *
 * What its user puts into `out` is sent when the socket takes it; stream_write begins that. What
 * comes is put into `in`, at most STREAM_PIECE bytes for an event, and only while the user wants to
 * read.
 */
#ifndef IDC_STREAM_H
#define IDC_STREAM_H

#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdbool.h>

#define STREAM_PIECE 4096

struct stream;

/* Each may free the stream. */
struct stream_calls {
    void (*came)(void *arg);            /* there is more in `in` */
    void (*sent)(void *arg);            /* all of `out` was sent */
    void (*ended)(void *arg, bool end); /* end: the other side sends no more; else it has failed, or
                                           was idle for too long */
};

struct stream {
    int fd;
    uint32_t uid; /* whose programs may send descriptors through it (closer.h) */
    struct evbuffer *in, *out;
    struct event readable, writable;
    struct timeval idle;
    const struct stream_calls *calls;
    void *arg;
};

/* Takes fd over in every case, and begins to read. NULL: there is no memory. */
struct stream *stream_new(struct event_base *base, int fd, uint32_t uid, const struct timeval *idle,
                          const struct stream_calls *calls, void *arg);
void stream_free(struct stream *stream);
/* Something was put into `out`. 0 or -ENOMEM. */
int stream_write(struct stream *stream);
/* Reads from now on, or does not. 0 or -ENOMEM. */
int stream_read(struct stream *stream, bool on);

#endif
