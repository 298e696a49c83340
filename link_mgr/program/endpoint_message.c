/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Messages from the program. A look at the next message yields its length, and SO_PEEK_OFF lets it
 * be pulled in parts. When all of it was pulled, it becomes the held one, and the one before is
 * consumed. A long message comes as its front with a memfd (common/handover.h).
 *
 * A program that closes with a message unread may have sent others before. The kernel first reports
 * the reset of a seqpacket socket, once, and then gives those messages. So the reset is remembered,
 * and reported where the end would be.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/front.h"
#include "link_mgr/base/closer.h"
#include "link_mgr/base/log.h"
#include "link_mgr/base/own_error.h"
#include "link_mgr/program/endpoint_private.h"

/* It is one: its close waits for nothing. */
void endpoint_forget_memfd(struct endpoint *ep)
{
    if (ep->memfd >= 0)
        close(ep->memfd);
    ep->memfd = -1;
}

/* The one descriptor that came with a message, or -1. Several are closed. *count: how many came. */
static int descriptor_of(const struct endpoint *ep, struct msghdr *msg, int *count)
{
    int fd = -1;
    closer_charge(ep->config.uid);
    *count = handover_take_fds(msg, &fd, 1);
    if (*count > 1) {
        closer_close(fd, ep->config.uid);
        fd = -1;
    }
    return fd;
}

bool endpoint_discard_message(struct endpoint *ep)
{
    union {
        struct cmsghdr align;
        char bytes[HANDOVER_CONTROL_SIZE]; /* credentials show that an empty message is no end */
    } control;
    struct iovec span = {endpoint_scratch, sizeof(endpoint_scratch)};
    struct msghdr msg = {.msg_iov = &span,
                         .msg_iovlen = 1,
                         .msg_control = &control,
                         .msg_controllen = sizeof(control)};
    ssize_t n = recvmsg(ep->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0)
        return errno == EINTR;
    bool came = n > 0 || msg.msg_controllen > 0;
    closer_charge(ep->config.uid);
    handover_take_fds(&msg, NULL, 0);
    return came;
}

static int set_peek_offset(struct endpoint *ep, size_t length)
{
    int offset = (int)length;
    return setsockopt(ep->fd, SOL_SOCKET, SO_PEEK_OFF, &offset, sizeof(offset));
}

/* The start of the next message, and what came with it. */
struct look {
    uint8_t head[FRONT_SHORT];
    union {
        struct cmsghdr align;
        char bytes[HANDOVER_CONTROL_SIZE];
    } control;
};

/* As endpoint_receive, but returns -ENODATA at the end, which is believed the second time
 * (common/handover.c). Credentials come with each message, even an empty one. */
static ssize_t look_once(struct endpoint *ep, struct look *look, struct msghdr *msg)
{
    struct iovec span = {look->head, sizeof(look->head)};
    *msg = (struct msghdr){.msg_iov = &span,
                           .msg_iovlen = 1,
                           .msg_control = &look->control,
                           .msg_controllen = sizeof(look->control)};
    const int flags = MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT | MSG_CMSG_CLOEXEC;
    ssize_t n = recvmsg(ep->fd, msg, flags);
    if (n < 0 && errno == ECONNRESET) {
        ep->reset = true;
        n = recvmsg(ep->fd, msg, flags);
    }
    msg->msg_iov = NULL;
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? -EAGAIN : -ECONNRESET;
    return n == 0 && msg->msg_controllen == 0 ? -ENODATA : n;
}

/* A front came without its descriptor, because the daemon can have no more: it waits. */
static ssize_t message_wait_for_descriptor(struct endpoint *ep)
{
    log_limited(LOG_WARNING, "a long message waits for a descriptor: %s", own_error_text(-EMFILE));
    ep->starved = true;
    endpoint_lag_begin(ep);
    return set_peek_offset(ep, ep->held) < 0 ? -ECONNRESET : -EAGAIN;
}

/* Looks at the next message without consuming anything. */
static ssize_t message_look(struct endpoint *ep)
{
    struct look look;
    struct msghdr msg;
    int fds;
    size_t whole = 0;
    ssize_t n = look_once(ep, &look, &msg);
    if (n == -ENODATA)
        n = look_once(ep, &look, &msg);
    if (n < 0)
        return n == -ENODATA && ep->reset ? -ECONNRESET : n;
    ep->length = ep->in_socket = (size_t)n;
    ep->memfd = descriptor_of(ep, &msg, &fds);
    if (front_is_length((size_t)n)) {
        if (fds == 0 && (msg.msg_flags & MSG_CTRUNC))
            return message_wait_for_descriptor(ep);
        whole = handover_front(look.head, sizeof(look.head), (size_t)n, ep->memfd);
    }
    if (whole > 0) {
        ep->length = whole;
    } else if (fds > 0 || (msg.msg_flags & MSG_CTRUNC)) { /* none can pass between domains */
        closer_close(ep->memfd, ep->config.uid);
        ep->memfd = -1;
        return -EPERM;
    }
    return ep->length > IDC_MESSAGE_MAX ? -EMSGSIZE : (ssize_t)ep->length;
}

/* The message was pulled: it becomes the held one, and the one before is consumed. */
static ssize_t finish_message(struct endpoint *ep)
{
    struct iovec sink = {endpoint_scratch, 1};
    ep->known = false;
    endpoint_forget_memfd(ep);
    if (!ep->bare && endpoint_receive(ep, &sink, 1, 0) < 0)
        return -ECONNRESET;
    ep->held = ep->in_socket;
    endpoint_pulled(ep, ep->held);
    return set_peek_offset(ep, ep->held) < 0 ? -ECONNRESET : 0;
}

ssize_t endpoint_message(struct endpoint *ep)
{
    if (ep->known && ep->offset > 0 && finish_message(ep) < 0)
        return -ECONNRESET;
    if (ep->known)
        return (ssize_t)ep->length;
    ssize_t length = message_look(ep);
    if (length == -EAGAIN && ep->tight)
        endpoint_make_room_now(ep);
    if (length < 0)
        return length;
    if (set_peek_offset(ep, ep->held) < 0) /* looking has moved it */
        return -ECONNRESET;
    ep->known = true;
    ep->offset = 0;
    return length;
}

ssize_t endpoint_pull_message(struct endpoint *ep, const struct iovec *spans, int count)
{
    struct iovec copy[2];
    size_t room = endpoint_length_of(spans, count);
    ssize_t n = 0;
    memcpy(copy, spans, (size_t)count * sizeof(*spans));
    if (room > 0 && ep->memfd >= 0)
        n = preadv(ep->memfd, copy, count, (off_t)ep->offset);
    else if (room > 0)
        /* moves the peek offset on, to the next part */
        n = endpoint_receive(ep, copy, count, MSG_PEEK);
    if (n < 0 || (size_t)n != room)
        return -ECONNRESET; /* the program has cut its memfd short */
    ep->offset += room;
    if (ep->offset == ep->length && finish_message(ep) < 0)
        return -ECONNRESET;
    return n;
}

void endpoint_release_message(struct endpoint *ep)
{
    struct iovec sink = {endpoint_scratch, 1};
    if (ep->bare)
        return;
    endpoint_receive(ep, &sink, 1, 0);
    ep->held = 0;
    ep->bare = true;
    set_peek_offset(ep, 0);
}
