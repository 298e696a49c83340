/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * interpose.c - the functions that a program calls in place of the C library's. Each asks whether
 * the descriptor is a vsock socket, and if not, goes on to the C library's at once. For a known
 * descriptor that is a look into a table. For a socket that is seen for the first time (one that
 * was inherited or received) it is a getpeername(2).
 *
 * The functions that send look into the table, compare a length, and go on. They exist for long and
 * empty messages of seqpacket sockets (message.c), for interrupted connects (connect.c), and for
 * the error when the peer has closed. interpose_receive.c has those that receive, interpose_path.c
 * those that take a path.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/close_range.h>
#include <linux/sockios.h>

#include "vsock/interpose.h"

/* ---- sockets ---- */

int on_socket(int domain, int type, int protocol)
{
    if (domain == AF_VSOCK)
        return vsock_socket(type, protocol);
    int fd = vsock_next()->socket(domain, type, protocol);
    vsock_enter(fd, VSOCK_OTHER);
    return fd;
}

int on_socketpair(int domain, int type, int protocol, int *fds)
{
    int result = vsock_next()->socketpair(domain, type, protocol, fds);
    for (int i = 0; result == 0 && i < 2; i++)
        vsock_enter(fds[i], VSOCK_OTHER);
    return result;
}

int on_bind(int fd, const struct sockaddr *address, socklen_t len)
{
    struct vsock_socket s;
    return interpose_is_ours(fd, &s) ? vsock_bind(fd, &s, address, len)
                                     : vsock_next()->bind(fd, address, len);
}

int on_listen(int fd, int backlog)
{
    struct vsock_socket s;
    return interpose_is_ours(fd, &s) ? vsock_listen(fd, &s, backlog)
                                     : vsock_next()->listen(fd, backlog);
}

int on_connect(int fd, const struct sockaddr *address, socklen_t len)
{
    struct vsock_socket s;
    return interpose_is_ours(fd, &s) ? vsock_connect(fd, &s, address, len)
                                     : vsock_next()->connect(fd, address, len);
}

int on_accept(int fd, struct sockaddr *address, socklen_t *len)
{
    struct vsock_socket s;
    if (interpose_is_ours(fd, &s))
        return vsock_accept(fd, &s, address, len, 0);
    int accepted = vsock_next()->accept(fd, address, len);
    vsock_enter(accepted, VSOCK_OTHER);
    return accepted;
}

int on_accept4(int fd, struct sockaddr *address, socklen_t *len, int flags)
{
    struct vsock_socket s;
    if (interpose_is_ours(fd, &s))
        return vsock_accept(fd, &s, address, len, flags);
    int accepted = vsock_next()->accept4(fd, address, len, flags);
    vsock_enter(accepted, VSOCK_OTHER);
    return accepted;
}

int on_getsockname(int fd, struct sockaddr *address, socklen_t *len)
{
    struct vsock_socket s;
    return interpose_is_ours(fd, &s) ? vsock_getsockname(fd, &s, address, len)
                                     : vsock_next()->getsockname(fd, address, len);
}

int on_getpeername(int fd, struct sockaddr *address, socklen_t *len)
{
    struct vsock_socket s;
    return interpose_is_ours(fd, &s) ? vsock_getpeername(&s, address, len)
                                     : vsock_next()->getpeername(fd, address, len);
}

int on_getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
    struct vsock_socket s;
    return interpose_is_ours(fd, &s) ? vsock_getsockopt(fd, &s, level, name, value, len)
                                     : vsock_next()->getsockopt(fd, level, name, value, len);
}

int on_setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
    struct vsock_socket s;
    return interpose_is_ours(fd, &s) ? vsock_setsockopt(fd, &s, level, name, value, len)
                                     : vsock_next()->setsockopt(fd, level, name, value, len);
}

int on_shutdown(int fd, int how)
{
    struct vsock_socket s;
    return interpose_is_ours(fd, &s) ? vsock_shutdown(fd, &s, how)
                                     : vsock_next()->shutdown(fd, how);
}

/* ---- sending: after interrupted connects, long messages, and empty ones ---- */

/* After a connect that a signal has interrupted, the send buffer is small until somebody sees that
 * the socket is connected. It is too small for sending (common/connecting.h). */
static inline void interpose_widen(int fd)
{
    struct vsock_socket s;
    const struct vsock_entry *entry = vsock_entry(fd);
    if (__builtin_expect(entry != NULL && atomic_load_explicit(&entry->options.send_buffer,
                                                               memory_order_relaxed) != 0,
                         0))
        interpose_is_ours(fd, &s);
}

/* vsock has no urgent data. */
static bool send_refuses(int fd, int flags)
{
    struct vsock_socket s;
    if (__builtin_expect(!(flags & MSG_OOB), 1) || !interpose_is_ours(fd, &s))
        return false;
    errno = EOPNOTSUPP;
    return true;
}

static inline bool has_messages(void)
{
    return __builtin_expect(atomic_load_explicit(&vsock_has_messages, memory_order_relaxed), 0);
}

ssize_t on_write(int fd, const void *bytes, size_t len)
{
    ssize_t result;
    interpose_widen(fd);
    if (vsock_is_unusual(len) && has_messages() && vsock_send_unusual(fd, bytes, len, 0, &result))
        return result;
    ssize_t sent = vsock_next()->write(fd, bytes, len);
    return interpose_try_again(fd, sent) ? vsock_next()->write(fd, bytes, len) : sent;
}

ssize_t on_send(int fd, const void *bytes, size_t len, int flags)
{
    ssize_t result;
    interpose_widen(fd);
    if (send_refuses(fd, flags))
        return -1;
    if (vsock_is_unusual(len) && has_messages() &&
        vsock_send_unusual(fd, bytes, len, flags, &result))
        return result;
    result = vsock_next()->send(fd, bytes, len, flags);
    return interpose_try_again(fd, result) ? vsock_next()->send(fd, bytes, len, flags) : result;
}

ssize_t on_sendto(int fd, const void *bytes, size_t len, int flags, const struct sockaddr *address,
                  socklen_t address_len)
{
    ssize_t result;
    interpose_widen(fd);
    if (send_refuses(fd, flags))
        return -1;
    if (vsock_is_unusual(len) && has_messages() &&
        vsock_send_unusual(fd, bytes, len, flags, &result))
        return result;
    result = vsock_next()->sendto(fd, bytes, len, flags, address, address_len);
    return interpose_try_again(fd, result)
               ? vsock_next()->sendto(fd, bytes, len, flags, address, address_len)
               : result;
}

ssize_t on_writev(int fd, const struct iovec *spans, int count)
{
    ssize_t result;
    interpose_widen(fd);
    if (has_messages() && count >= 0 && vsock_send_spans(fd, spans, (size_t)count, 0, &result))
        return result;
    result = vsock_next()->writev(fd, spans, count);
    return interpose_try_again(fd, result) ? vsock_next()->writev(fd, spans, count) : result;
}

/* Sockets support only offset -1. */
static bool send_at(int fd, const struct iovec *spans, int count, off_t offset, int flags,
                    ssize_t *result)
{
    return has_messages() && count >= 0 && offset == -1 && !(flags & ~RWF_NOWAIT) &&
           vsock_send_spans(fd, spans, (size_t)count, flags & RWF_NOWAIT ? MSG_DONTWAIT : 0,
                            result);
}

ssize_t on_pwritev2(int fd, const struct iovec *spans, int count, off_t offset, int flags)
{
    ssize_t result;
    interpose_widen(fd);
    if (send_at(fd, spans, count, offset, flags, &result))
        return result;
    result = vsock_next()->pwritev2(fd, spans, count, offset, flags);
    return interpose_try_again(fd, result) ? vsock_next()->pwritev2(fd, spans, count, offset, flags)
                                           : result;
}

ssize_t on_pwritev64v2(int fd, const struct iovec *spans, int count, off_t offset, int flags)
{
    ssize_t result;
    interpose_widen(fd);
    if (send_at(fd, spans, count, offset, flags, &result))
        return result;
    result = vsock_next()->pwritev64v2(fd, spans, count, offset, flags);
    return interpose_try_again(fd, result)
               ? vsock_next()->pwritev64v2(fd, spans, count, offset, flags)
               : result;
}

ssize_t on_sendmsg(int fd, const struct msghdr *message, int flags)
{
    ssize_t result;
    interpose_widen(fd);
    if (send_refuses(fd, flags))
        return -1;
    if (has_messages() && message != NULL &&
        vsock_send_spans(fd, message->msg_iov, message->msg_iovlen, flags, &result))
        return result;
    result = vsock_next()->sendmsg(fd, message, flags);
    return interpose_try_again(fd, result) ? vsock_next()->sendmsg(fd, message, flags) : result;
}

int on_sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags)
{
    int result;
    interpose_widen(fd);
    if (send_refuses(fd, flags))
        return -1;
    if (has_messages() && messages != NULL &&
        vsock_send_several(fd, messages, count, flags, &result))
        return result;
    result = vsock_next()->sendmmsg(fd, messages, count, flags);
    return interpose_try_again(fd, result) ? vsock_next()->sendmmsg(fd, messages, count, flags)
                                           : result;
}

/* ---- ioctl ---- */

int on_ioctl(int fd, unsigned long request, ...)
{
    va_list args;
    int result;
    va_start(args, request);
    void *argument = va_arg(args, void *);
    va_end(args);
    bool concerns_us =
        request == FIONREAD || request == SIOCOUTQ || request == IOCTL_VM_SOCKETS_GET_LOCAL_CID;
    if (concerns_us && vsock_ioctl(fd, request, argument, &result))
        return result;
    return vsock_next()->ioctl(fd, request, argument);
}

/* ---- descriptors ---- */

/* The number is forgotten first, because another thread may get it at once. */
int on_close(int fd)
{
    interpose_forget(fd);
    return vsock_next()->close(fd);
}

int on_close_range(unsigned first, unsigned last, int flags)
{
    if (!(flags & CLOSE_RANGE_CLOEXEC))
        vsock_forget_range(first, last);
    return vsock_next()->close_range(first, last, flags);
}

void on_closefrom(int first)
{
    vsock_forget_range(first > 0 ? (unsigned)first : 0, ~0U);
    vsock_next()->closefrom(first);
}

static int interpose_duplicated(int from, int to)
{
    if (to >= 0)
        vsock_copy(from, to);
    return to;
}

int on_dup(int fd)
{
    return interpose_duplicated(fd, vsock_next()->dup(fd));
}

int on_dup2(int fd, int to)
{
    return interpose_duplicated(fd, vsock_next()->dup2(fd, to));
}

int on_dup3(int fd, int to, int flags)
{
    return interpose_duplicated(fd, vsock_next()->dup3(fd, to, flags));
}

int on_fcntl(int fd, int command, ...)
{
    va_list args;
    va_start(args, command);
    void *argument = va_arg(args, void *);
    va_end(args);
    int result = vsock_next()->fcntl(fd, command, argument);
    return command == F_DUPFD || command == F_DUPFD_CLOEXEC ? interpose_duplicated(fd, result)
                                                            : result;
}

int on_fcntl64(int fd, int command, ...)
{
    va_list args;
    va_start(args, command);
    void *argument = va_arg(args, void *);
    va_end(args);
    int result = vsock_next()->fcntl64(fd, command, argument);
    return command == F_DUPFD || command == F_DUPFD_CLOEXEC ? interpose_duplicated(fd, result)
                                                            : result;
}
