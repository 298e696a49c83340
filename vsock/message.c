/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * message.c - where AF_UNIX treats messages of seqpacket sockets differently from AF_VSOCK.
 *
 * Empty messages. AF_UNIX delivers them, and the reader takes them for the end. On AF_VSOCK they
 * have no effect.
 *
 * Long ones. link_mgr leaves the latest message in its socket. Before three quarters of the
 * socket's buffer are free, the kernel neither wakes a waiting sender nor lets the socket poll
 * writable (common/handover.h, handover_make_room). So a message that takes more than a quarter of
 * the usual buffer is handed over in a memfd. Then link_mgr need not let it go, and gives it to the
 * other program as it is. Within the domain nobody does that, and nobody leaves a message unread.
 * So there they are sent as they are. A message longer than a program can be sure to get in one
 * piece (HANDOVER_PLAIN_MAX) is refused, even where the kernel has room for it. So is one that is
 * longer than SO_VM_SOCKETS_BUFFER_SIZE, as on vsock.
 *
 * This is why the functions that send are intercepted, and only for this: any other call goes on
 * after two comparisons. Nothing is allocated, so they can be called in signal handlers.
 */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <sys/uio.h>

#include "vsock/vsock.h"

_Atomic bool vsock_has_messages;
_Atomic size_t vsock_long = VSOCK_LONG;

/* From now on unusual sends are looked at. Sends within the domain get room. */
void vsock_prepare_messages(int fd)
{
    const int size = HANDOVER_PLAIN_BUFFER;
    int present = 0;
    socklen_t len = sizeof(present);
    vsock_has_messages = true;
    vsock_options(fd)->messages = true;
    if (getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &present, &len) == 0 && present < 2 * size)
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
}

static bool may_be_ours(int fd)
{
    enum vsock_mark mark = vsock_mark(fd);
    return mark == VSOCK_OURS || mark == VSOCK_UNKNOWN;
}

static bool is_ours(int fd)
{
    struct vsock_socket socket;
    return may_be_ours(fd) && vsock_look(fd, &socket) && socket.state == VSOCK_CONNECTED &&
           vsock_type(fd) == SOCK_SEQPACKET;
}

static bool is_within_domain(int fd)
{
    struct handover_name name;
    return handover_name(fd, &name) == 0 && name.local.domid == name.peer.domid;
}

static ssize_t message_finish(ssize_t result, int flags)
{
    if (result >= 0)
        return result;
    errno = (int)-result;
    if (result == -EPIPE && !(flags & MSG_NOSIGNAL))
        raise(SIGPIPE); /* the signal goes to this thread, as the kernel does it */
    return -1;
}

/* fd is ours. False: the kernel is to send it as it is. */
static bool send_unusual(int fd, const struct iovec *spans, size_t count, size_t len, int flags,
                         ssize_t *result)
{
    if (len == 0)
        *result = 0;
    else if (len > HANDOVER_PLAIN_MAX || len > vsock_buffer_size(fd))
        *result = message_finish(-EMSGSIZE, flags);
    else if (len <= VSOCK_LONG || is_within_domain(fd))
        return false;
    else
        *result = message_finish(
            handover_send_by_memfd(fd, spans, count, len, flags & ~MSG_NOSIGNAL), flags);
    return true;
}

bool vsock_send_unusual(int fd, const void *bytes, size_t len, int flags, ssize_t *result)
{
    const struct iovec span = {(void *)(uintptr_t)bytes, len};
    return is_ours(fd) && send_unusual(fd, &span, 1, len, flags, result);
}

/* 1, which is not unusual, when the kernel would not take the spans: the kernel then says what is
 * wrong. */
static size_t length_of(const struct iovec *spans, size_t count)
{
    size_t len = 0;
    if (count > UIO_MAXIOV || (spans == NULL && count > 0))
        return 1;
    for (size_t i = 0; i < count; i++) {
        if (spans[i].iov_len > SSIZE_MAX - len)
            return 1;
        len += spans[i].iov_len;
    }
    return len;
}

bool vsock_send_spans(int fd, const struct iovec *spans, size_t count, int flags, ssize_t *result)
{
    if (!may_be_ours(fd))
        return false;
    size_t len = length_of(spans, count);
    return vsock_is_unusual(len) && is_ours(fd) &&
           send_unusual(fd, spans, count, len, flags, result);
}

static ssize_t send_one(int fd, const struct msghdr *message, int flags)
{
    ssize_t result;
    if (vsock_send_spans(fd, message->msg_iov, message->msg_iovlen, flags, &result))
        return result;
    result = vsock_next()->sendmsg(fd, message, flags);
    return result < 0 && errno == ECONNRESET && vsock_is_reset_within(fd)
               ? vsock_next()->sendmsg(fd, message, flags)
               : result;
}

bool vsock_send_several(int fd, struct mmsghdr *messages, unsigned count, int flags, int *result)
{
    unsigned done = 0;
    if (!is_ours(fd))
        return false;
    count = count < UIO_MAXIOV ? count : UIO_MAXIOV;
    for (ssize_t sent; done < count; messages[done++].msg_len = (unsigned)sent) {
        sent = send_one(fd, &messages[done].msg_hdr, flags);
        if (sent < 0)
            break;
    }
    *result = done > 0 || count == 0 ? (int)done : -1;
    return true;
}
