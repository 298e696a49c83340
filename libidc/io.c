/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * io.c - idc_send, idc_recv and idc_recv_with: send(2) and recv(2), long messages, and the reason
 * when a connection was cut off.
 *
 * Only the link_mgr that had the connection knows the reason. One that was started later does not.
 */
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/handover.h"
#include "libidc/internal.h"

#define REASON_WAIT_MS 1000
#define RECV_FLAGS (MSG_PEEK | MSG_DONTWAIT | MSG_TRUNC | MSG_WAITALL)

static int socket_type(int fd)
{
    int type = 0;
    socklen_t len = sizeof(type);
    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 ? type : -1;
}

/* What goes over a listener is between link_mgr and idc_accept. A recv would take a connection that
 * waits, and a send would end the listener. libidc's listeners are seqpacket sockets, so a stream
 * is not looked at. */
static int refuse_listener(int fd, int type)
{
    struct handover_name name;
    if (type == SOCK_SEQPACKET && handover_name(fd, &name) == 0 && name.listener)
        return libidc_fail(EINVAL, "descriptor %d is a listener", fd);
    return 0;
}

/* Asks the link_mgr at path, and shows fd, so that a program that has changed its uid may ask too.
 * Returns an errno, 0 when the connection ended cleanly, or LIBIDC_NOT_KNOWN. */
static int ask_reason(const char *path, int fd, uint64_t serial, char *why, size_t why_size)
{
    struct compact_writer call;
    struct libidc_answer answer;
    compact_begin(&call, COMPACT_CALL, "idc.reason");
    compact_put_number(&call, "serial", (int64_t)serial);
    compact_put_boolean(&call, "shown", true);
    if (libidc_call_with(path, &call, REASON_WAIT_MS, &fd, 1, &answer, NULL) < 0)
        return LIBIDC_NOT_KNOWN;
    libidc_answer_text(&answer, "why", why, why_size);
    return (int)libidc_answer_int(&answer, "errno", 0);
}

bool libidc_is_connection(int fd)
{
    struct handover_name name;
    return handover_name(fd, &name) == 0 && !name.listener;
}

int libidc_reason(int fd, char *why, size_t size)
{
    struct handover_name name;
    const char *path = NULL;
    why[0] = '\0';
    if (handover_name(fd, &name) == 0 && !name.listener)
        path = libidc_path_of_maker(fd);
    return path != NULL ? ask_reason(path, fd, name.serial, why, size) : LIBIDC_NOT_KNOWN;
}

int libidc_reason_of_attempt(int fd, uint64_t number, char *why, size_t size)
{
    const char *path = libidc_path_of_maker(fd);
    return path != NULL ? ask_reason(path, fd, number, why, size) : LIBIDC_NOT_KNOWN;
}

static ssize_t fail_io(int fd, int error, const char *operation)
{
    char why[COMPACT_MAX] = "";
    int reason = LIBIDC_NOT_KNOWN;
    if (error == ECONNRESET || error == EPIPE)
        reason = libidc_reason(fd, why, sizeof(why));
    if (reason > 0)
        return libidc_fail(reason, "%s", why[0] != '\0' ? why : strerror(reason));
    return libidc_fail(error, "%s: %s", operation, strerror(error));
}

ssize_t idc_send(int fd, const void *buf, size_t len)
{
    int type = socket_type(fd);
    ssize_t sent = -EMSGSIZE;
    if (refuse_listener(fd, type) < 0)
        return -1;
    if (len <= HANDOVER_INLINE_MAX || type != SOCK_SEQPACKET) {
        sent = send(fd, buf, len, MSG_NOSIGNAL);
        sent = sent < 0 ? -errno : sent;
    }
    /* a long message, or one for which the program has made the buffer too small */
    if (sent == -EMSGSIZE)
        sent = handover_send_message(fd, buf, len, 0);
    return sent < 0 ? fail_io(fd, (int)-sent, "send") : sent;
}

/* Might the kernel have dropped a reset? When a reset comes, a recv that waits for more than one
 * byte returns what it has, and the next one sees an end. */
static bool may_hide_reset(int fd, int flags)
{
    int least = 1;
    socklen_t len = sizeof(least);
    return (flags & MSG_WAITALL) ||
           (getsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &least, &len) == 0 && least > 1);
}

/* A reset is reported once. Another thread's call, or a sendfile, may have had the report. Then
 * both directions are over, as they are not at the end of one. */
static bool is_over(int fd)
{
    struct pollfd poll_fd = {.fd = fd};
    return poll(&poll_fd, 1, 0) == 1 && (poll_fd.revents & POLLHUP);
}

/* The end of a stream, or of a connection that link_mgr has reset or has left. If that link_mgr is
 * gone, nobody can say that the end was clean. If it has forgotten the connection, as it does after
 * many others have ended, only a hidden reset makes a clean end doubtful. */
static ssize_t end_of_stream(int fd, bool hidden)
{
    char why[COMPACT_MAX] = "";
    struct handover_name name;
    if (handover_name(fd, &name) < 0 || name.local.domid == name.peer.domid)
        return 0;
    const char *path = libidc_path_of_maker(fd);
    int reason =
        path != NULL ? ask_reason(path, fd, name.serial, why, sizeof(why)) : LIBIDC_NOT_KNOWN;
    if (reason == 0 || (reason == LIBIDC_NOT_KNOWN && !hidden && !libidc_maker_is_gone(fd)))
        return 0;
    if (reason > 0)
        return libidc_fail(reason, "%s", why[0] != '\0' ? why : strerror(reason));
    return libidc_fail(ECONNRESET, "recv: the connection's link_mgr has ended, or does not answer");
}

/* What a call that got the end returns. */
static ssize_t recv_end(int fd, int flags)
{
    bool hidden = may_hide_reset(fd, flags);
    return hidden || is_over(fd) ? end_of_stream(fd, hidden) : 0;
}

static ssize_t recv_stream(int fd, void *buf, size_t len, int flags, size_t *length)
{
    ssize_t got = recv(fd, buf, len, flags & ~MSG_TRUNC);
    if (got < 0)
        return fail_io(fd, errno, "recv");
    *length = (size_t)got;
    if (got > 0 || len == 0)
        return got;
    *length = IDC_END;
    return recv_end(fd, flags);
}

static ssize_t recv_message(int fd, void *buf, size_t len, int flags, size_t *length)
{
    ssize_t got = handover_recv_message(fd, buf, len, flags & (MSG_PEEK | MSG_DONTWAIT), length);
    if (got == HANDOVER_END) {
        *length = IDC_END;
        return recv_end(fd, flags);
    }
    if (got < 0)
        return fail_io(fd, (int)-got, "recv");
    return flags & MSG_TRUNC ? (ssize_t)*length : got;
}

ssize_t idc_recv_with(int fd, void *buf, size_t len, int flags, size_t *length)
{
    size_t unused;
    int type = socket_type(fd);
    if (flags & ~RECV_FLAGS)
        return libidc_fail(EINVAL, "recv: a flag that idc_recv_with does not know");
    if (length == NULL)
        length = &unused;
    *length = 0;
    if (refuse_listener(fd, type) < 0)
        return -1;
    if (type == SOCK_SEQPACKET && buf == NULL && len > 0)
        return libidc_fail(EFAULT, "recv: there is no room for %zu bytes: NULL", len);
    return type == SOCK_SEQPACKET ? recv_message(fd, buf, len, flags, length)
                                  : recv_stream(fd, buf, len, flags, length);
}

ssize_t idc_recv(int fd, void *buf, size_t len)
{
    return idc_recv_with(fd, buf, len, 0, NULL);
}
