/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * message.c - long messages of seqpacket sockets. link_mgr leaves the latest message in its socket, and the kernel neither
 * wakes a sender that waits nor lets the socket poll writable before three quarters of its buffer are free
 * (common/handover.h, handover_make_room). So what takes more than a quarter of the usual buffer is handed over in a
 * memfd, and link_mgr gives it to the other program as it is. Within the domain there is nobody to do that, nor
 * anybody who leaves a message unread: there they are sent as they are.
 *
 * This is why the functions that send are intercepted, and only for this: any other call goes on after two comparisons.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "vsock/vsock.h"

_Atomic bool vsock_has_messages;

/* From now on such sends are looked at; and for those within the domain there is room. */
void vsock_prepare_messages(int fd)
{
    const int size = HANDOVER_PLAIN_BUFFER;
    int present = 0;
    socklen_t len = sizeof(present);
    vsock_has_messages = true;
    if (getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &present, &len) == 0 && present < 2 * size)
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
}

static bool is_ours(int fd)
{
    struct vsock_socket socket;
    enum vsock_mark mark = vsock_mark(fd);
    return (mark == VSOCK_OURS || mark == VSOCK_UNKNOWN) && vsock_look(fd, &socket) && socket.state == VSOCK_CONNECTED &&
           vsock_type(fd) == SOCK_SEQPACKET;
}

static bool is_within_domain(int fd)
{
    struct handover_name name;
    return handover_name(fd, &name) == 0 && name.local.domid == name.peer.domid;
}

static ssize_t finish(ssize_t result, int flags)
{
    if (result >= 0)
        return result;
    errno = (int)-result;
    if (result == -EPIPE && !(flags & MSG_NOSIGNAL))
        raise(SIGPIPE); /* in this thread, as the kernel does it */
    return -1;
}

bool vsock_send_long(int fd, const void *bytes, size_t len, int flags, ssize_t *result)
{
    int error = errno;
    if (!is_ours(fd)) {
        errno = error;
        return false;
    }
    if (len > HANDOVER_PLAIN_MAX)
        *result = finish(-EMSGSIZE, flags);
    else if (is_within_domain(fd))
        return false;
    else
        *result = finish(handover_send_by_memfd(fd, bytes, len, flags & ~MSG_NOSIGNAL), flags);
    return true;
}

bool vsock_send_long_spans(int fd, const struct iovec *spans, size_t count, int flags, ssize_t *result)
{
    size_t len = 0, at = 0;
    int error = errno;
    for (size_t i = 0; i < count; i++)
        len += spans[i].iov_len;
    char *bytes = len > VSOCK_LONG && len <= HANDOVER_PLAIN_MAX + 1 && is_ours(fd) ? malloc(len) : NULL;
    if (bytes == NULL) { /* or it is too long: the kernel says so */
        errno = error;
        return false;
    }
    for (size_t i = 0; i < count; at += spans[i++].iov_len)
        memcpy(bytes + at, spans[i].iov_base, spans[i].iov_len);
    bool done = vsock_send_long(fd, bytes, len, flags, result);
    error = errno;
    free(bytes);
    errno = error;
    return done;
}
