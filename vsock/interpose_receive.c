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
 *
 * On a seqpacket socket they receive long messages, too (message_receive.c).
 */
#include <string.h>
#include <sys/uio.h>
#include <time.h>

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

static inline bool has_messages(int fd)
{
    return __builtin_expect(vsock_mark(fd) != VSOCK_OTHER, 1) && vsock_receives_messages(fd);
}

/* One receive on a seqpacket socket of ours. */
static ssize_t receive_bytes(int fd, void *buf, size_t len, int flags)
{
    ssize_t got = vsock_receive_bytes(fd, buf, len, flags);
    return receive_again(fd, got) ? vsock_receive_bytes(fd, buf, len, flags) : got;
}

static ssize_t receive_spans(int fd, const struct iovec *spans, int count, int flags)
{
    ssize_t got = vsock_receive_spans(fd, spans, (size_t)count, flags);
    return receive_again(fd, got) ? vsock_receive_spans(fd, spans, (size_t)count, flags) : got;
}

ssize_t on_read(int fd, void *buf, size_t len)
{
    if (has_messages(fd) && len > 0)
        return receive_bytes(fd, buf, len, 0);
    ssize_t got = vsock_next()->read(fd, buf, len);
    return receive_again(fd, got) ? vsock_next()->read(fd, buf, len) : got;
}

ssize_t on___read_chk(int fd, void *buf, size_t len, size_t size)
{
    if (len <= size && len > 0 && has_messages(fd))
        return receive_bytes(fd, buf, len, 0);
    ssize_t got = vsock_next()->__read_chk(fd, buf, len, size);
    return receive_again(fd, got) ? vsock_next()->__read_chk(fd, buf, len, size) : got;
}

ssize_t on_readv(int fd, const struct iovec *spans, int count)
{
    if (count > 0 && has_messages(fd))
        return receive_spans(fd, spans, count, 0);
    ssize_t got = vsock_next()->readv(fd, spans, count);
    return receive_again(fd, got) ? vsock_next()->readv(fd, spans, count) : got;
}

/* Sockets support only offset -1. */
static bool receive_is_plain(int count, off_t offset, int flags)
{
    return count > 0 && offset == -1 && !(flags & ~RWF_NOWAIT);
}

ssize_t on_preadv2(int fd, const struct iovec *spans, int count, off_t offset, int flags)
{
    if (receive_is_plain(count, offset, flags) && has_messages(fd))
        return receive_spans(fd, spans, count, flags & RWF_NOWAIT ? MSG_DONTWAIT : 0);
    ssize_t got = vsock_next()->preadv2(fd, spans, count, offset, flags);
    return receive_again(fd, got) ? vsock_next()->preadv2(fd, spans, count, offset, flags) : got;
}

ssize_t on_preadv64v2(int fd, const struct iovec *spans, int count, off_t offset, int flags)
{
    if (receive_is_plain(count, offset, flags) && has_messages(fd))
        return receive_spans(fd, spans, count, flags & RWF_NOWAIT ? MSG_DONTWAIT : 0);
    ssize_t got = vsock_next()->preadv64v2(fd, spans, count, offset, flags);
    return receive_again(fd, got) ? vsock_next()->preadv64v2(fd, spans, count, offset, flags) : got;
}

ssize_t on_recv(int fd, void *buf, size_t len, int flags)
{
    ssize_t got;
    if (receive_unusual(fd, len, flags, &got))
        return got;
    if (has_messages(fd))
        return receive_bytes(fd, buf, len, flags);
    got = vsock_next()->recv(fd, buf, len, flags);
    return receive_again(fd, got) ? vsock_next()->recv(fd, buf, len, flags) : got;
}

ssize_t on___recv_chk(int fd, void *buf, size_t len, size_t size, int flags)
{
    ssize_t got;
    if (receive_unusual(fd, len, flags, &got))
        return got;
    if (len <= size && has_messages(fd))
        return receive_bytes(fd, buf, len, flags);
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
        if (has_messages(fd)) /* without an address */
            return receive_bytes(fd, buf, len, flags);
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
    if (message != NULL && has_messages(fd)) {
        got = vsock_receive_message(fd, message, flags);
        return receive_again(fd, got) ? vsock_receive_message(fd, message, flags) : got;
    }
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

/* recvmmsg on a seqpacket socket of ours. As in the kernel, the time is looked at behind each
 * message. */
static int receive_messages(int fd, struct mmsghdr *messages, unsigned count, int flags,
                            const struct timespec *timeout)
{
    struct timespec begin, now;
    unsigned done = 0;
    count = count < UIO_MAXIOV ? count : UIO_MAXIOV;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (ssize_t got; done < count; messages[done++].msg_len = (unsigned)got) {
        bool more = done > 0 && (flags & MSG_WAITFORONE);
        got = receive_message(fd, &messages[done].msg_hdr,
                              (flags & ~MSG_WAITFORONE) | (more ? MSG_DONTWAIT : 0));
        if (got < 0)
            break;
        clock_gettime(CLOCK_MONOTONIC, &now);
        if (timeout != NULL &&
            (now.tv_sec - begin.tv_sec) * 1000000000LL + now.tv_nsec - begin.tv_nsec >=
                timeout->tv_sec * 1000000000LL + timeout->tv_nsec)
            count = done + 1;
    }
    return done > 0 || count == 0 ? (int)done : -1;
}

static int receive_several(int fd, struct mmsghdr *messages, unsigned count, int flags,
                           struct timespec *timeout)
{
    ssize_t none;
    if (receive_unusual(fd, 1, flags, &none))
        return -1;
    if (messages != NULL && has_messages(fd))
        return receive_messages(fd, messages, count, flags, timeout);
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
