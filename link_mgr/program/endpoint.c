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
#include "link_mgr/base/closer.h"
#include "common/guard.h"
#include "link_mgr/base/log.h"
#include "link_mgr/base/numbers.h"
#include "link_mgr/base/own_error.h"
#include "link_mgr/program/endpoint_private.h"

uint8_t endpoint_scratch[64 * 1024];

/* Can no descriptor come with what is received, whose close would have to wait? A message of a pair
 * of ours is received only after it was looked at, and there is nothing beside it but a memfd. */
static bool endpoint_is_sure(const struct endpoint *ep)
{
    return ep->guarded || (ep->own && ep->config.conn->type == IDC_SEQPACKET);
}

/* Closes the descriptors that came. If there was no number for them in link_mgr, we see that, too.
 */
static void endpoint_take_foreign(struct endpoint *ep, struct msghdr *msg)
{
    closer_charge(ep->config.uid);
    bool came = handover_take_fds(msg, NULL, 0) > 0 || (msg->msg_flags & MSG_CTRUNC);
    ep->foreign |= came && ep->config.conn->type == IDC_STREAM;
}

ssize_t endpoint_receive(struct endpoint *ep, struct iovec *spans, int count, int flags)
{
    union {
        struct cmsghdr align;
        char bytes[HANDOVER_CONTROL_SIZE];
    } control;
    struct msghdr msg = {.msg_iov = spans, .msg_iovlen = (size_t)count};
    if (!endpoint_is_sure(ep)) {
        msg.msg_control = &control;
        msg.msg_controllen = sizeof(control);
        flags |= MSG_CMSG_CLOEXEC;
    }
    ssize_t n = recvmsg(ep->fd, &msg, flags | MSG_DONTWAIT);
    if (n < 0 && errno == ECONNRESET && ep->config.conn->type == IDC_SEQPACKET) {
        ep->reset = true; /* what was sent before comes behind it */
        n = recvmsg(ep->fd, &msg, flags | MSG_DONTWAIT);
    }
    ep->cut = (msg.msg_flags & MSG_CTRUNC) || (n >= 0 && msg.msg_controllen > 0);
    if (n >= 0 && msg.msg_control != NULL)
        endpoint_take_foreign(ep, &msg);
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

/* The program has shut its writing down, or closed. What it leaves then is the peer's to answer for
 * (conn_left), if it is more than a little. */
static void endpoint_note_left(struct endpoint *ep)
{
    int64_t unsent = endpoint_unsent(ep);
    if (unsent > ENDPOINT_LEFT_FREE && endpoint_gone(ep))
        conn_left(ep->config.conn, (uint64_t)unsent); /* may end the endpoint */
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct endpoint *ep = arg;
    struct conn *conn = ep->config.conn;
    (void)fd;
    ep->drained = false;
    ep->ending |= (what & EV_CLOSED) != 0;
    conn_readable(conn);
    if (what & EV_CLOSED)
        endpoint_note_left(ep);
    conn_settle(conn);
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
    numbers_note(fds[1]);
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

static void endpoint_close_pair(const int fds[2], uint32_t uid)
{
    closer_close(fds[0], uid);
    closer_close(fds[1], uid);
}

int endpoint_new(const struct endpoint_config *config, struct endpoint **endpoint, int *program_fd)
{
    int fds[2] = {config->far_end, -1};
    struct endpoint *ep = calloc(1, sizeof(*ep));
    int error = ep ? make_pair(config, fds) : -ENOMEM;
    if (!error)
        error = endpoint_prepare(config, fds[0]);
    if (error) {
        endpoint_close_pair(fds, config->uid);
        free(ep);
        return error;
    }
    ep->config = *config;
    ep->fd = fds[0];
    ep->memfd = -1;
    ep->held = 1;
    ep->untaken = config->untaken != NULL;
    ep->own = config->far_end < 0;
    ep->guarded = ep->own && config->conn->type == IDC_STREAM && guard_begin(ep->fd);
    event_assign(&ep->readable, config->all->base, ep->fd, EV_READ | EV_CLOSED | EV_ET | EV_PERSIST,
                 on_readable, ep);
    event_assign(&ep->writable, config->all->base, ep->fd, EV_WRITE | EV_ET, on_writable, ep);
    if (event_add(&ep->readable, NULL) < 0) { /* it would carry nothing */
        endpoint_close_pair(fds, config->uid);
        free(ep);
        return -ENOMEM;
    }
    endpoint_buffer_begin(ep);
    *endpoint = ep;
    *program_fd = fds[1];
    return 0;
}

/* Discards some bytes of what the program has written. */
static bool endpoint_discard_bytes(struct endpoint *ep)
{
    struct iovec sink = {endpoint_scratch, sizeof(endpoint_scratch)};
    return endpoint_receive(ep, &sink, 1, 0) > 0;
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
    endpoint_buffer_end(ep);
    ep->config.ended(ep->config.arg, ep->config.conn, reason);
    event_del(&ep->readable);
    event_del(&ep->writable);
    endpoint_forget_memfd(ep);
    if (ep->guarded)
        close(ep->fd);
    else
        closer_close(ep->fd, ep->config.uid); /* with what is in its queue */
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
        if (event_add(&ep->writable, NULL) == 0) {
            endpoint_lag_full(ep);
            return -EAGAIN;
        }
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

/* sendmsg, with more room if there is too little. Nobody reads an untaken one: it needs no more. */
static ssize_t push_plain(struct endpoint *ep, const struct msghdr *msg)
{
    ssize_t n;
    do
        n = sendmsg(ep->fd, msg, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (n < 0 && (errno == EMSGSIZE || (errno == EAGAIN && !ep->untaken)) &&
           endpoint_buffer_grow(ep));
    return n;
}

/* A message goes plain as long as the socket can take it, so that a program needs no libidc to
 * receive it. The program may have made the buffer small, if it has made the socket pair. A longer
 * one goes by memfd, and needs the largest buffer for its front. */
static ssize_t push_message(struct endpoint *ep, const struct iovec *spans, int count)
{
    struct msghdr msg = {.msg_iov = (struct iovec *)spans, .msg_iovlen = (size_t)count};
    size_t len = endpoint_length_of(spans, count);
    if (len <= HANDOVER_PLAIN_MAX) {
        ssize_t n = push_plain(ep, &msg);
        if (n >= 0 || errno != EMSGSIZE)
            return n;
    }
    while (endpoint_buffer_grow(ep))
        ;
    return endpoint_buffer_lend(ep, spans, count, len);
}

/* Is there no room in the share of a connection that nobody has taken? */
static bool push_exceeds(struct endpoint *ep, size_t len)
{
    bool exceeds =
        ep->share_pieces >= ENDPOINT_SHARE_PIECES || len > ENDPOINT_SHARE - ep->share_bytes;
    ep->waits_for_it |= exceeds;
    if (exceeds || ep->share_pieces > 0 || len >= ENDPOINT_SHARE_ASK)
        ep->config.untaken(ep->config.arg, ep->config.conn);
    return exceeds;
}

void endpoint_taken(struct endpoint *ep)
{
    ep->untaken = false;
    if (ep->waits_for_it && event_add(&ep->writable, NULL) < 0) {
        ep->stuffed = true;
        endpoint_lag_begin(ep);
    }
}

ssize_t endpoint_push(struct endpoint *ep, const struct iovec *spans, int count)
{
    struct msghdr msg = {.msg_iov = (struct iovec *)spans, .msg_iovlen = (size_t)count};
    ssize_t n;
    if (ep->untaken && push_exceeds(ep, endpoint_length_of(spans, count)))
        return -EAGAIN;
    ep->answered = ep->used = true;
    if (ep->config.conn->type == IDC_SEQPACKET)
        n = push_message(ep, spans, count);
    else
        n = push_plain(ep, &msg);
    if (n < 0)
        return push_error(ep, errno);
    ep->waits = 0;
    if (ep->untaken) {
        ep->share_bytes += (size_t)n;
        ep->share_pieces++;
    }
    endpoint_catch_up(ep);
    return n;
}
