/* SPDX-License-Identifier: GPL-2.0-or-later */
/* stream.c - see stream.h. */
#include "link_mgr/base/stream.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "common/handover.h"
#include "link_mgr/base/closer.h"

int stream_read(struct stream *stream, bool on)
{
    if (on)
        return event_add(&stream->readable, &stream->idle) == 0 ? 0 : -ENOMEM;
    event_del(&stream->readable);
    return 0;
}

static bool stream_is_momentary(ssize_t error)
{
    return error == -EAGAIN || error == -EINTR;
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct stream *stream = arg;
    char bytes[STREAM_PIECE];
    int foreign = -1, count = 1;
    closer_charge(stream->uid);
    ssize_t got = what & EV_TIMEOUT
                      ? -ETIMEDOUT
                      : handover_recv(fd, bytes, sizeof(bytes), &foreign, &count, MSG_DONTWAIT);
    if (stream_is_momentary(got))
        return;
    if (got >= 0 && count > 0) {
        closer_close(foreign, stream->uid);
        got = -EPERM;
    }
    if (got > 0 && evbuffer_add(stream->in, bytes, (size_t)got) == 0)
        stream->calls->came(stream->arg);
    else
        stream->calls->ended(stream->arg, got == 0);
}

/* Sends what is in one piece; the event comes again for the rest. */
static ssize_t stream_send(struct stream *stream)
{
    struct evbuffer_iovec first;
    if (evbuffer_peek(stream->out, -1, NULL, &first, 1) < 1)
        return 0;
    ssize_t sent = send(stream->fd, first.iov_base, first.iov_len, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0)
        return -errno;
    return evbuffer_drain(stream->out, (size_t)sent) == 0 ? sent : -ENOMEM;
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    struct stream *stream = arg;
    ssize_t sent = what & EV_TIMEOUT ? -ETIMEDOUT : stream_send(stream);
    (void)fd;
    if (sent < 0 && !stream_is_momentary(sent)) {
        stream->calls->ended(stream->arg, false);
    } else if (evbuffer_get_length(stream->out) == 0) {
        event_del(&stream->writable);
        stream->calls->sent(stream->arg);
    }
}

int stream_write(struct stream *stream)
{
    return event_add(&stream->writable, &stream->idle) == 0 ? 0 : -ENOMEM;
}

struct stream *stream_new(struct event_base *base, int fd, uint32_t uid, const struct timeval *idle,
                          const struct stream_calls *calls, void *arg)
{
    struct stream *stream = calloc(1, sizeof(*stream));
    if (stream == NULL) {
        closer_close(fd, uid);
        return NULL;
    }
    *stream = (struct stream){.fd = fd, .uid = uid, .idle = *idle, .calls = calls, .arg = arg};
    stream->in = evbuffer_new();
    stream->out = evbuffer_new();
    event_assign(&stream->readable, base, fd, EV_READ | EV_PERSIST, on_readable, stream);
    event_assign(&stream->writable, base, fd, EV_WRITE | EV_PERSIST, on_writable, stream);
    if (stream->in == NULL || stream->out == NULL || stream_read(stream, true) < 0) {
        stream_free(stream);
        return NULL;
    }
    return stream;
}

void stream_free(struct stream *stream)
{
    event_del(&stream->readable);
    event_del(&stream->writable);
    if (stream->in != NULL)
        evbuffer_free(stream->in);
    if (stream->out != NULL)
        evbuffer_free(stream->out);
    closer_close(stream->fd, stream->uid);
    free(stream);
}
