/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * interpose_receive.c - the functions that receive. They pass on at once, and look again only when
 *
 *   the call failed with ECONNRESET, and the connection is within the domain: there the kernel
 *   reports so, once, that the peer closed with data unread, and a reader on vsock does not see
 *   that; a seqpacket socket has returned 0: Linux may do so for an end although a message came
 *   just before it, and for an empty message, which does not exist on vsock; it asks for things
 *   that vsock does not have: a sender's address, urgent data, messages of the error queue; it asks
 *   for 0 bytes, to which vsock answers at once; descriptors came with the data: the table's
 *   entries for their numbers are old.
 */
#include <string.h>

#include "vsock/interpose.h"

/* flags of vsock's own; *result is what the call returns. */
static bool receive_unusual(int fd, size_t len, int flags, ssize_t *result)
{
    struct vsock_socket s;
    if (__builtin_expect(len > 0 && !(flags & (MSG_ERRQUEUE | MSG_OOB)), 1) ||
        !interpose_is_ours(fd, &s))
        return false;
    *result = -1;
    if (flags & MSG_ERRQUEUE)
        errno = EAGAIN; /* always empty */
    else if (s.state != VSOCK_CONNECTED)
        return false;
    else if (flags & MSG_OOB)
        errno = EOPNOTSUPP;
    else
        *result = 0;
    return true;
}

/* A call on fd has returned this: must a second call's result be taken in its place? */
static inline bool receive_again(int fd, ssize_t got)
{
    return got <= 0 && (interpose_try_again(fd, got) || (got == 0 && vsock_is_first_end(fd)));
}

ssize_t on_read(int fd, void *buf, size_t len)
{
    ssize_t got = vsock_next()->read(fd, buf, len);
    return receive_again(fd, got) ? vsock_next()->read(fd, buf, len) : got;
}

ssize_t on___read_chk(int fd, void *buf, size_t len, size_t size)
{
    ssize_t got = vsock_next()->__read_chk(fd, buf, len, size);
    return receive_again(fd, got) ? vsock_next()->__read_chk(fd, buf, len, size) : got;
}

ssize_t on_readv(int fd, const struct iovec *spans, int count)
{
    ssize_t got = vsock_next()->readv(fd, spans, count);
    return receive_again(fd, got) ? vsock_next()->readv(fd, spans, count) : got;
}

ssize_t on_preadv2(int fd, const struct iovec *spans, int count, off_t offset, int flags)
{
    ssize_t got = vsock_next()->preadv2(fd, spans, count, offset, flags);
    return receive_again(fd, got) ? vsock_next()->preadv2(fd, spans, count, offset, flags) : got;
}

ssize_t on_preadv64v2(int fd, const struct iovec *spans, int count, off_t offset, int flags)
{
    ssize_t got = vsock_next()->preadv64v2(fd, spans, count, offset, flags);
    return receive_again(fd, got) ? vsock_next()->preadv64v2(fd, spans, count, offset, flags) : got;
}

ssize_t on_recv(int fd, void *buf, size_t len, int flags)
{
    ssize_t got;
    if (receive_unusual(fd, len, flags, &got))
        return got;
    got = vsock_next()->recv(fd, buf, len, flags);
    return receive_again(fd, got) ? vsock_next()->recv(fd, buf, len, flags) : got;
}

ssize_t on___recv_chk(int fd, void *buf, size_t len, size_t size, int flags)
{
    ssize_t got;
    if (receive_unusual(fd, len, flags, &got))
        return got;
    got = vsock_next()->__recv_chk(fd, buf, len, size, flags);
    return receive_again(fd, got) ? vsock_next()->__recv_chk(fd, buf, len, size, flags) : got;
}

/* ---- with the sender's address, of which vsock gives none ---- */

ssize_t on_recvfrom(int fd, void *buf, size_t len, int flags, struct sockaddr *address,
                    socklen_t *address_len)
{
    struct vsock_socket s;
    if (address == NULL || address_len == NULL || !interpose_is_ours(fd, &s)) {
        ssize_t got;
        if (receive_unusual(fd, len, flags, &got))
            return got;
        got = vsock_next()->recvfrom(fd, buf, len, flags, address, address_len);
        return receive_again(fd, got)
                   ? vsock_next()->recvfrom(fd, buf, len, flags, address, address_len)
                   : got;
    }
    ssize_t got = on_recv(fd, buf, len, flags);
    *address_len = got >= 0 ? 0 : *address_len;
    return got;
}

ssize_t on___recvfrom_chk(int fd, void *buf, size_t len, size_t size, int flags,
                          struct sockaddr *address, socklen_t *address_len)
{
    if (len > size) /* which ends the program */
        return vsock_next()->__recvfrom_chk(fd, buf, len, size, flags, address, address_len);
    return on_recvfrom(fd, buf, len, flags, address, address_len);
}

static size_t receive_room(const struct msghdr *message)
{
    size_t room = 0;
    for (size_t i = 0; i < message->msg_iovlen && message->msg_iov != NULL && room == 0; i++)
        room = message->msg_iov[i].iov_len;
    return room;
}

static ssize_t receive_message(int fd, struct msghdr *message, int flags)
{
    ssize_t got;
    if (message != NULL && receive_unusual(fd, receive_room(message), flags, &got))
        return got;
    got = vsock_next()->recvmsg(fd, message, flags);
    return receive_again(fd, got) ? vsock_next()->recvmsg(fd, message, flags) : got;
}

static ssize_t receive_nameless(int fd, struct msghdr *message, int flags)
{
    struct vsock_socket s;
    if (message == NULL || message->msg_name == NULL || !interpose_is_ours(fd, &s))
        return receive_message(fd, message, flags);
    void *name = message->msg_name;
    socklen_t name_len = message->msg_namelen;
    message->msg_name = NULL;
    ssize_t got = receive_message(fd, message, flags);
    message->msg_name = name;
    message->msg_namelen = got >= 0 ? 0 : name_len;
    return got;
}

/* The table's entries for the numbers of received descriptors are old: the files that had them may
 * have been closed by ways that we don't see. */
static void forget_received(struct msghdr *message)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c != NULL; c = CMSG_NXTHDR(message, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t at = CMSG_LEN(0); at + sizeof(int) <= c->cmsg_len; at += sizeof(int)) {
            int fd;
            memcpy(&fd, (char *)c + at, sizeof(fd));
            interpose_forget(fd);
        }
    }
}

ssize_t on_recvmsg(int fd, struct msghdr *message, int flags)
{
    ssize_t got = receive_nameless(fd, message, flags);
    if (got >= 0 && message->msg_control != NULL)
        forget_received(message);
    return got;
}

static int receive_several(int fd, struct mmsghdr *messages, unsigned count, int flags,
                           struct timespec *timeout)
{
    ssize_t none;
    if (receive_unusual(fd, 1, flags, &none))
        return -1;
    int got = vsock_next()->recvmmsg(fd, messages, count, flags, timeout);
    return receive_again(fd, got) ? vsock_next()->recvmmsg(fd, messages, count, flags, timeout)
                                  : got;
}

int on_recvmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags,
                struct timespec *timeout)
{
    struct vsock_socket s;
    bool named = false;
    int got = receive_several(fd, messages, count, flags, timeout);
    for (int i = 0; i < got; i++) {
        named = named || messages[i].msg_hdr.msg_name != NULL;
        if (messages[i].msg_hdr.msg_control != NULL)
            forget_received(&messages[i].msg_hdr);
    }
    if (named && interpose_is_ours(fd, &s))
        for (int i = 0; i < got; i++)
            messages[i].msg_hdr.msg_namelen = 0;
    return got;
}
