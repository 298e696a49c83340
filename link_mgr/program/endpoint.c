/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sockets of programs: their life, and what is given to programs; endpoint.h has the theory. All
 * calls pass MSG_DONTWAIT instead of setting O_NONBLOCK. That saves a system call for each
 * connection, and leaves the flags of the program's end alone.
 */
#include "link_mgr/program/endpoint.h"

#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/connecting.h"
#include "link_mgr/base/log.h"
#include "link_mgr/base/own_error.h"
#include "link_mgr/program/endpoint_private.h"

uint8_t endpoint_scratch[64 * 1024];

ssize_t endpoint_receive(struct endpoint *ep, struct iovec *spans, int count, int flags)
{
    struct msghdr msg = {.msg_iov = spans, .msg_iovlen = (size_t)count};
    ssize_t n = recvmsg(ep->fd, &msg, flags | MSG_DONTWAIT);
    if (n < 0 && errno == ECONNRESET && ep->config.conn->type == IDC_SEQPACKET) {
        ep->reset = true; /* what was sent before comes behind it */
        n = recvmsg(ep->fd, &msg, flags | MSG_DONTWAIT);
    }
    ep->cut = msg.msg_flags & MSG_CTRUNC;
    if (n >= 0)
        return n;
    return errno == EAGAIN || errno == EINTR ? -EAGAIN : -ECONNRESET;
}

size_t endpoint_length_of(const struct iovec *spans, int count)
{
    size_t length = 0;
    for (int i = 0; i < count; i++)
        length += spans[i].iov_len;
    return length;
}

/* ---- life ---- */

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct endpoint *ep = arg;
    (void)fd;
    ep->drained = false;
    ep->ending |= (what & EV_CLOSED) != 0;
    conn_readable(ep->config.conn);
    conn_settle(ep->config.conn);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    struct endpoint *ep = arg;
    struct conn *conn = ep->config.conn;
    (void)fd, (void)what;
    conn_writable(conn); /* may free the endpoint */
    conn_settle(conn);
}

/* Makes the pair, with the held byte in our end. The program's own pair already has that byte, and
 * filler. */
static int make_pair(const struct endpoint_config *config, int fds[2])
{
    int type = config->conn->type == IDC_STREAM ? SOCK_STREAM : SOCK_SEQPACKET;
    if (config->far_end >= 0) {
        fds[0] = config->far_end;
        fds[1] = -1;
        return 0;
    }
    if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds) < 0)
        return -errno;
    if (config->conn->type == IDC_SEQPACKET)
        handover_make_room(fds[1]);
    else
        handover_make_stream_room(fds[1]);
    return send(fds[1], "", 1, MSG_DONTWAIT | MSG_NOSIGNAL) == 1 ? 0 : -errno;
}

static int endpoint_prepare(const struct endpoint_config *config, int fd)
{
    const int one = 1;
    int error = handover_bind(fd, config->name);
    /* The name comes first: when the filler goes, the program's end polls writable, and the program
     * asks for the name. */
    if (!error && config->far_end >= 0)
        error = connecting_drain(fd);
    if (error)
        return error;
    if (setsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &one, sizeof(one)) < 0)
        return -errno;
    /* what programs receive; where it cannot be, long messages go by memfd */
    if (config->conn->type == IDC_SEQPACKET)
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &(int){HANDOVER_PLAIN_BUFFER}, sizeof(int));
    /* Credentials come with each message, even an empty one. So they distinguish it from the
     * end. */
    if (config->conn->type == IDC_SEQPACKET &&
        setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &one, sizeof(one)) < 0)
        return -errno;
    /* Urgent bytes come in their place. Otherwise the kernel would drop the byte at the urgent
     * mark. */
    if (config->conn->type == IDC_STREAM &&
        setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &one, sizeof(one)) < 0)
        return -errno;
    return 0;
}

static void endpoint_close_pair(const int fds[2])
{
    for (int i = 0; i < 2; i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

int endpoint_new(const struct endpoint_config *config, struct endpoint **endpoint, int *program_fd)
{
    int fds[2] = {config->far_end, -1};
    struct endpoint *ep = calloc(1, sizeof(*ep));
    int error = ep ? make_pair(config, fds) : -ENOMEM;
    if (!error)
        error = endpoint_prepare(config, fds[0]);
    if (error) {
        endpoint_close_pair(fds);
        free(ep);
        return error;
    }
    ep->config = *config;
    ep->fd = fds[0];
    ep->memfd = -1;
    ep->held = 1;
    event_assign(&ep->readable, config->all->base, ep->fd, EV_READ | EV_CLOSED | EV_ET | EV_PERSIST,
                 on_readable, ep);
    event_assign(&ep->writable, config->all->base, ep->fd, EV_WRITE | EV_ET, on_writable, ep);
    if (event_add(&ep->readable, NULL) < 0) { /* it would carry nothing */
        endpoint_close_pair(fds);
        free(ep);
        return -ENOMEM;
    }
    *endpoint = ep;
    *program_fd = fds[1];
    return 0;
}

/* Discards some bytes of what the program has written. Descriptors that the program sent along go
 * with them, as there is no control buffer. */
static bool endpoint_discard_bytes(struct endpoint *ep)
{
    ssize_t n = recv(ep->fd, endpoint_scratch, sizeof(endpoint_scratch), MSG_DONTWAIT);
    return n > 0 || (n < 0 && errno == EINTR);
}

/* From now on the program's writes fail with EPIPE, so nothing comes behind what is discarded, and
 * there is no more of that than the program's buffer holds. */
static void endpoint_make_end(struct endpoint *ep)
{
    bool stream = ep->config.conn->type == IDC_STREAM;
    shutdown(ep->fd, SHUT_RD);
    while (stream ? endpoint_discard_bytes(ep) : endpoint_discard_message(ep))
        ;
}

static bool is_end_all_the_same(const struct endpoint *ep, enum reason reason)
{
    return ep->config.reset_is_end &&
           (reason == REASON_PROGRAM_RESET || reason == REASON_LISTENER_CLOSED);
}

void endpoint_close(struct endpoint *ep, enum reason reason)
{
    bool stream = ep->config.conn->type == IDC_STREAM;
    if (reason == REASON_OK && ep->drained && endpoint_unsent(ep) > 0)
        /* the program has written since the last look: the kernel makes it a reset */
        reason = REASON_PROGRAM_RESET;
    /* Do this even if the program seems to have closed: a program that shut both directions looks
     * the same, and still reads the end. */
    if (reason == REASON_OK && stream)
        endpoint_release_stream(ep);
    else if (reason == REASON_OK)
        endpoint_release_message(ep);
    else if (is_end_all_the_same(ep, reason))
        endpoint_make_end(ep);
    endpoint_lag_end(ep);
    ep->config.ended(ep->config.arg, ep->config.conn, reason);
    event_del(&ep->readable);
    event_del(&ep->writable);
    endpoint_forget_memfd(ep);
    close(ep->fd);
    free(ep);
}

void endpoint_shut(struct endpoint *ep, int how)
{
    shutdown(ep->fd, how);
    ep->drained = false;
    ep->ending = true;
}

int64_t endpoint_unsent(const struct endpoint *ep)
{
    int queued = 0;
    if (ioctl(ep->fd, SIOCINQ, &queued) < 0 || (size_t)queued < ep->held)
        return 0;
    return queued - (int64_t)ep->held;
}

bool endpoint_gone(struct endpoint *ep)
{
    struct pollfd pollfd = {.fd = ep->fd};
    return poll(&pollfd, 1, 0) > 0 && (pollfd.revents & (POLLHUP | POLLERR));
}

/* ---- from the program ---- */

ssize_t endpoint_pull(struct endpoint *ep, const struct iovec *spans, int count)
{
    return ep->config.conn->type == IDC_STREAM ? endpoint_pull_stream(ep, spans, count)
                                               : endpoint_pull_message(ep, spans, count);
}

/* ---- to the program ---- */

/* Is it something that the daemon, or the kernel, lacks only for now? */
static bool push_lacks(int error)
{
    return error == ENOBUFS || error == ENOMEM || error == ETOOMANYREFS || error == EMFILE ||
           error == ENFILE || error == ENOSPC;
}

static ssize_t push_error(struct endpoint *ep, int error)
{
    if (error == EAGAIN || error == EINTR) {
        if (event_add(&ep->writable, NULL) == 0)
            return -EAGAIN;
        error = ENOSPC; /* as a rule, of epoll's watches */
    }
    if (push_lacks(error)) {
        log_limited(LOG_WARNING, "data for a program wait: %s", own_error_text(-error));
        ep->stuffed = true;
        endpoint_lag_begin(ep);
        return -EAGAIN;
    }
    return error == EPIPE && !endpoint_gone(ep) ? -EPIPE : -ECONNRESET;
}

/* Sends it plain as long as the socket can take it, so that a program needs no libidc to receive
 * it. */
static ssize_t push_long_message(struct endpoint *ep, const struct iovec *span)
{
    if (span->iov_len <= HANDOVER_PLAIN_MAX) {
        ssize_t n = send(ep->fd, span->iov_base, span->iov_len, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n >= 0 || errno != EMSGSIZE)
            return n;
    }
    ssize_t n = handover_send_message(ep->fd, span->iov_base, span->iov_len, MSG_DONTWAIT);
    errno = n < 0 ? (int)-n : 0;
    return n;
}

ssize_t endpoint_push(struct endpoint *ep, const struct iovec *spans, int count)
{
    struct msghdr msg = {.msg_iov = (struct iovec *)spans, .msg_iovlen = (size_t)count};
    ssize_t n;
    ep->answered = true;
    if (ep->config.conn->type == IDC_SEQPACKET && count == 1 &&
        spans[0].iov_len > HANDOVER_INLINE_MAX)
        n = push_long_message(ep, &spans[0]);
    else
        n = sendmsg(ep->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0)
        return push_error(ep, errno);
    endpoint_catch_up(ep);
    return n;
}
