/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * message_receive.c - long messages that come to a seqpacket socket.
 *
 * A program of libidc may send messages that AF_UNIX cannot carry. They come as their first bytes
 * with a memfd beside them (common/handover.h), and a plain receive would get only those bytes. So
 * a receive on a seqpacket socket of ours becomes a recvmsg with room for the descriptor, which is
 * one system call as before. If the message is a long one, its bytes are read from the memfd into
 * the program's buffers. If the program has no descriptor left for the memfd, the call fails with
 * EMSGSIZE, and the message is lost. Nothing is allocated, so this works in signal handlers.
 *
 * vsock carries no descriptors. Those that another program has sent along are closed.
 */
#include <errno.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/front.h"
#include "vsock/vsock.h"

/* An inherited descriptor is looked at once. */
bool vsock_receives_messages(int fd)
{
    struct vsock_socket socket;
    enum vsock_mark mark = vsock_mark(fd);
    if (fd < 0 || mark == VSOCK_OTHER)
        return false;
    if (mark == VSOCK_UNKNOWN && !vsock_look(fd, &socket))
        return false;
    const struct vsock_entry *entry = vsock_entry(fd);
    return entry != NULL && entry->options.messages;
}

static size_t message_room(const struct msghdr *message)
{
    size_t room = 0;
    for (size_t i = 0; i < message->msg_iovlen; i++)
        room += message->msg_iov[i].iov_len;
    return room;
}

/* The length of the whole message, of which so many bytes came, or 0: there is no more of it. */
static size_t length_behind_front(const struct msghdr *message, size_t came, int memfd)
{
    const struct iovec *first = message->msg_iov;
    if (message->msg_iovlen == 0)
        return 0;
    return handover_front(first->iov_base, first->iov_len < came ? first->iov_len : came, came,
                          memfd);
}

/* The message came without what belongs to it, or it cannot be read. */
static ssize_t message_lacks(void)
{
    errno = EMSGSIZE;
    return -1;
}

/* Fills the buffers if it is a long message. Returns the length of the message, or -1. */
static ssize_t message_complete(struct msghdr *message, size_t came, int memfd, bool lacks)
{
    size_t whole = length_behind_front(message, came, memfd);
    if (whole == 0)
        return lacks && front_is_length(came) ? message_lacks() : (ssize_t)came;
    size_t room = message_room(message), wanted = whole < room ? whole : room;
    ssize_t got = preadv(memfd, message->msg_iov, (int)message->msg_iovlen, 0);
    if (got < 0 || (size_t)got != wanted)
        return message_lacks();
    message->msg_flags |= whole > room ? MSG_TRUNC : 0;
    return (ssize_t)whole;
}

ssize_t vsock_receive_message(int fd, struct msghdr *message, int flags)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(HANDOVER_FDS_MAX * sizeof(int)) + HANDOVER_CONTROL_OTHER];
    } control;
    struct msghdr asked = *message;
    int fds[2] = {-1, -1};
    asked.msg_control = &control;
    asked.msg_controllen = sizeof(control);
    ssize_t came = vsock_next()->recvmsg(fd, &asked, flags | MSG_TRUNC | MSG_CMSG_CLOEXEC);
    if (came < 0)
        return came;
    int count = handover_take_fds(&asked, fds, 2);
    bool lacks = (asked.msg_flags & MSG_CTRUNC) && count == 0;
    came = message_complete(&asked, (size_t)came, count == 1 ? fds[0] : -1, lacks);
    int error = errno;
    for (int i = 0; i < count && i < 2; i++)
        close(fds[i]);
    errno = error;
    message->msg_namelen = asked.msg_namelen;
    message->msg_controllen = 0;
    message->msg_flags = asked.msg_flags & ~(MSG_CTRUNC | MSG_CMSG_CLOEXEC);
    size_t room = message_room(message);
    return came > (ssize_t)room && !(flags & MSG_TRUNC) ? (ssize_t)room : came;
}

ssize_t vsock_receive_spans(int fd, const struct iovec *spans, size_t count, int flags)
{
    struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)spans, .msg_iovlen = count};
    return vsock_receive_message(fd, &message, flags);
}

ssize_t vsock_receive_bytes(int fd, void *buf, size_t len, int flags)
{
    return vsock_receive_spans(fd, &(struct iovec){buf, len}, 1, flags);
}
