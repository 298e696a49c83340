/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * handover.c - theory of operation
 *
 * Nothing here keeps state, except how descriptors are closed (handover_closes_by). Nothing here
 * trusts the other side: the daemon runs this code on what programs send, libidc on what the daemon
 * sends.
 *
 * Descriptors. A descriptor that finds no place in the process's table is lost with its message. So
 * that case is an error (EMFILE), not a message without a descriptor. Descriptors beyond the
 * caller's room are closed here.
 *
 * The end. Linux first looks for a message, and then asks whether more can come. So recvmsg may
 * return 0 on a SOCK_SEQPACKET socket although a message came just before the end. A second look
 * finds it. An empty message differs from the end by its sender's name, since both ends of a
 * connection have one.
 */
#include "common/handover_private.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* Since Linux 6.5. */
#ifndef SCM_PIDFD
#define SCM_PIDFD 4
#endif

ssize_t handover_sendv(int sock, const struct iovec *parts, int part_count, const int *fds,
                       int count, int flags)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(HANDOVER_FDS_MAX * sizeof(int))];
    } control = {0};
    struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)parts,
                             .msg_iovlen = (size_t)part_count};
    size_t size = (size_t)count * sizeof(int);

    assert(count >= 0 && count <= HANDOVER_FDS_MAX);
    if (count > 0) {
        control.header = (struct cmsghdr){
            .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(size)};
        memcpy(CMSG_DATA(&control.header), fds, size);
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE(size);
    }
    ssize_t sent = sendmsg(sock, &message, MSG_NOSIGNAL | flags);
    return sent < 0 ? -errno : sent;
}

ssize_t handover_send(int sock, const void *buf, size_t len, const int *fds, int count, int flags)
{
    const struct iovec bytes = {(void *)(uintptr_t)buf, len};
    return handover_sendv(sock, &bytes, 1, fds, count, flags);
}

static void close_at_once(int fd)
{
    close(fd);
}

static void (*close_foreign)(int fd) = close_at_once;

void handover_closes_by(void (*close_one)(int fd))
{
    close_foreign = close_one;
}

void handover_close_fds(const int *fds, int count)
{
    for (int i = 0; fds != NULL && i < count; i++)
        close_foreign(fds[i]);
}

int handover_take_fds(struct msghdr *message, int *fds, int room)
{
    int count = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c != NULL; c = CMSG_NXTHDR(message, c)) {
        bool rights = c->cmsg_type == SCM_RIGHTS;
        if (c->cmsg_level != SOL_SOCKET || (!rights && c->cmsg_type != SCM_PIDFD))
            continue;
        for (size_t at = CMSG_LEN(0); at + sizeof(int) <= c->cmsg_len; at += sizeof(int)) {
            int fd;
            memcpy(&fd, (const char *)c + at, sizeof(fd));
            if (rights && fds != NULL && count < room)
                fds[count] = fd;
            else if (fd >= 0) /* the kernel may say here why there is no descriptor of a process */
                close_foreign(fd);
            count += rights;
        }
    }
    return count;
}

/* recvmsg returns 0 for an empty message, which has a sender's name or something beside it, and at
 * the end. For the end this function returns HANDOVER_END, but only when it has seen it `looks`
 * times (see above). */
static ssize_t receive_looking(int sock, struct msghdr *message, int flags, int looks)
{
    struct sockaddr_un sender;
    size_t control_len = message->msg_controllen;
    for (int look = 0; look < looks; look++) {
        message->msg_name = &sender;
        message->msg_namelen = sizeof(sender);
        message->msg_controllen = control_len;
        ssize_t got = recvmsg(sock, message, MSG_CMSG_CLOEXEC | flags);
        message->msg_name = NULL; /* it ends with this function */
        if (got < 0 && (look == 0 || errno != EAGAIN))
            return -errno;
        if (got > 0 || (got == 0 && (message->msg_namelen > 0 || message->msg_controllen > 0)))
            return got;
        flags |= MSG_DONTWAIT;
    }
    return HANDOVER_END;
}

ssize_t handover_receive(int sock, struct iovec *bytes, int *fds, int *count, int flags, int looks,
                         bool *lacks)
{
    union {
        struct cmsghdr header;
        char space[HANDOVER_CONTROL_SIZE];
    } control;
    struct msghdr message = {.msg_iov = bytes,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};
    int room = *count;

    *count = 0;
    ssize_t got = receive_looking(sock, &message, flags, looks);
    if (got < 0)
        return got;
    int total = handover_take_fds(&message, fds, room);
    *lacks = (message.msg_flags & MSG_CTRUNC) && total < HANDOVER_FDS_MAX;
    *count = total < room ? total : room;
    return got;
}

ssize_t handover_recv_lacking(int sock, void *buf, size_t len, int *fds, int *count, int flags,
                              bool *lacks)
{
    struct iovec bytes = {buf, len};
    *lacks = false;
    ssize_t got = handover_receive(sock, &bytes, fds, count, flags, HANDOVER_END_LOOKS, lacks);
    return got == HANDOVER_END ? 0 : got;
}

ssize_t handover_recv(int sock, void *buf, size_t len, int *fds, int *count, int flags)
{
    bool lacks;
    ssize_t got = handover_recv_lacking(sock, buf, len, fds, count, flags, &lacks);
    if (got >= 0 && lacks) {
        handover_close_fds(fds, *count);
        *count = 0;
        return -EMFILE;
    }
    return got;
}
