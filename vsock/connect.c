/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * connect.c - connect(2). link_mgr gets the far end, as in a nonblocking connect of libidc, and the
 * near end shows the outcome. A blocking connect waits for that.
 *
 * Until then the near end must not poll writable, in any process or thread that has it. So it is
 * filled (common/connecting.h). A connect that waits makes the send buffer small first, so that
 * little filler is enough, and restores its size when the socket is connected. If a signal ends the
 * wait, the first look at the connected socket restores the size (vsock_look). Functions that send
 * look too if necessary, because the bytes that link_mgr leaves unread could fill the small buffer.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/connecting.h"
#include "libidc/internal.h"
#include "vsock/vsock.h"

/* A link_mgr that runs takes a request at once; this limit is for one that hangs. */
#define HAND_OVER_MS 2000
/* link_mgr watches the time. We give up this much later. */
#define GRACE_MS 1000

/* The errors of vsock's transports. They know no domains: to them a CID that nobody has is a
 * missing device. They answer with a reset if nobody listens, if the backlog is full, or if the
 * listener is of the other type. */
int vsock_error_of(int error)
{
    switch (error) {
    case ECONNREFUSED:
    case EPROTOTYPE:
    case EINVAL: /* a port that was bound before link_mgr was restarted */
        return ECONNRESET;
    case EHOSTUNREACH:
    case ENOENT: /* no link_mgr */
        return ENODEV;
    default:
        return error;
    }
}

/* ---- beginning ---- */

/* This is for slow hosts: the programs can't be changed, and few of them have an option for it. */
static uint32_t default_timeout(void)
{
    const char *given = secure_getenv("IDC_VSOCK_TIMEOUT_MS");
    char *end;
    long ms = given != NULL ? strtol(given, &end, 10) : 0;
    if (given == NULL || given[0] == '\0')
        return VSOCK_CONNECT_TIMEOUT_MS;
    if (*end == '\0' && ms > 0 && ms <= INT32_MAX - GRACE_MS)
        return (uint32_t)ms;
    vsock_say("IDC_VSOCK_TIMEOUT_MS=%s is not a number of milliseconds; %d is used", given,
              VSOCK_CONNECT_TIMEOUT_MS);
    return VSOCK_CONNECT_TIMEOUT_MS;
}

uint32_t vsock_connect_timeout(int fd)
{
    uint32_t timeout = vsock_options(fd)->connect_timeout_ms;
    return timeout != 0 ? timeout : default_timeout();
}

static int connect_post(int fd, const struct vsock_parts *parts, uint32_t domid, uint32_t port)
{
    struct compact_writer call;
    const int fds[3] = {parts->far_end, fd, parts->reservation};
    int keepalive = vsock_keepalive(fd);
    compact_begin(&call, COMPACT_CALL, "idc.connect");
    compact_put_number(&call, "domid", domid);
    compact_put_number(&call, "port", port);
    if (vsock_is_seqpacket(fd))
        compact_put_text(&call, "type", "seqpacket");
    compact_put_number(&call, "timeout_ms", vsock_connect_timeout(fd));
    compact_put_boolean(&call, "far_end", true);
    compact_put_boolean(&call, "reset_is_end", true);
    if (keepalive > 0)
        compact_put_number(&call, "peer_timeout_ms", keepalive);
    if (parts->reservation >= 0)
        compact_put_boolean(&call, "reserved", true);
    return libidc_post(libidc_socket_path(NULL), &call, HAND_OVER_MS, fds,
                       parts->reservation >= 0 ? 3 : 2);
}

void vsock_widen(int fd)
{
    connecting_settle(fd, atomic_exchange(&vsock_options(fd)->send_buffer, 0));
}

/* Removes the filler, so that the socket is as it was. */
static void connect_undo(int fd, struct vsock_parts *parts)
{
    int error = errno;
    vsock_widen(fd);
    char last;
    if (connecting_drain(parts->far_end) == 0)
        recv(parts->far_end, &last, 1, MSG_DONTWAIT);
    vsock_put_back(parts);
    errno = error;
}

/* A connect that waits will widen the buffer again. */
static int connect_fill(int fd, bool waits)
{
    int size = 0;
    int error = waits ? connecting_fill_little(fd, &size) : connecting_fill_roughly(fd);
    vsock_options(fd)->send_buffer = error == 0 ? size : 0;
    return error;
}

static int hand_over(int fd, bool waits, struct vsock_parts *parts, uint32_t domid, uint32_t port)
{
    int error = connect_fill(fd, waits);
    if (error < 0) {
        errno = -error;
        connect_undo(fd, parts);
        return -1;
    }
    if (connect_post(fd, parts, domid, port) == 0) {
        vsock_close_parts(parts);
        return 0;
    }
    vsock_say("%s", idc_last_error());
    connect_undo(fd, parts);
    if (errno == ECONNREFUSED || errno == ENOENT)
        errno = ENODEV; /* there is no link_mgr, as there may be no transport on vsock */
    return -1;
}

static int connect_begin(int fd, bool waits, const struct sockaddr_vm *bound,
                         const struct sockaddr_vm *address)
{
    struct vsock_parts parts;
    int64_t domid = vsock_domid_of(address->svm_cid);
    if (domid < 0 || address->svm_port == 0) {
        errno = domid < 0 ? ENODEV : ECONNRESET; /* that is not a domain; nobody can listen there */
        return -1;
    }
    if (vsock_take(fd, bound, &parts) < 0) {
        if (errno == EMFILE || errno == ENFILE)
            vsock_say("connect: no descriptor is left for the parts of the socket");
        errno = errno == EAGAIN ? EALREADY : errno;
        return -1;
    }
    vsock_options(fd)->from_cid = parts.bound.svm_cid;
    vsock_options(fd)->from_port = parts.reservation >= 0 ? parts.bound.svm_port : 0;
    return hand_over(fd, waits, &parts, (uint32_t)domid, address->svm_port);
}

/* ---- waiting ---- */

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int connect_fail(int fd, int error, const char *why)
{
    vsock_options(fd)->error_taken = true;
    vsock_say("connect: %s", why);
    errno = vsock_error_of(error);
    return -1;
}

/* As vsock_widen, but for the caller that has made the buffer small and need not ask. */
static void connect_finish(int fd)
{
    int size = atomic_exchange(&vsock_options(fd)->send_buffer, 0);
    if (size > 0)
        connecting_widen(fd, size);
    else
        connecting_settle(fd, 0);
}

static int wait_connected(int fd)
{
    char why[CONNECTING_WHY_MAX];
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    int64_t end = now_ms() + vsock_connect_timeout(fd) + GRACE_MS;
    for (;;) {
        int64_t left = end - now_ms();
        int ready = poll(&p, 1, left > 0 ? (int)left : 0);
        if (ready < 0)
            /* EINTR: the attempt goes on meanwhile, and a second connect waits for it again. The
             * buffer is still small */
            return -1;
        int outcome = connecting_outcome(fd, why);
        if (outcome == 0) {
            connect_finish(fd);
            return 0;
        }
        if (outcome == CONNECTING_NONE && ready > 0)
            poll(NULL, 0, 1); /* another thread is about to begin */
        else if (outcome != -EINPROGRESS)
            return connect_fail(fd, -outcome, why);
        if (left <= 0)
            return connect_fail(fd, ETIMEDOUT, "link_mgr does not answer");
    }
}

/* ---- connect ---- */

static int connect_start(int fd, const struct sockaddr_vm *bound, const struct sockaddr *given,
                         socklen_t len)
{
    struct sockaddr_vm address;
    if (vsock_read_address(given, len, &address) < 0)
        return -1;
    bool waits = !vsock_is_nonblocking(fd);
    if (connect_begin(fd, waits, bound, &address) < 0 && errno != EALREADY)
        return -1;
    if (waits)
        return wait_connected(fd);
    errno = EINPROGRESS;
    return -1;
}

static int connect_again(int fd, const struct vsock_socket *socket, const struct sockaddr *address,
                         socklen_t len)
{
    if (!vsock_options(fd)->error_taken)
        /* the outcome of an attempt that did not wait, and about which nobody has asked yet */
        return connect_fail(fd, socket->error, socket->why);
    struct sockaddr_vm bound;
    int reservation = -1;
    if (vsock_bound_before(fd, &bound) && (reservation = vsock_reserve(fd, &bound)) < 0)
        return -1;
    return vsock_renew(fd, &bound, reservation) < 0 ? -1 : connect_start(fd, &bound, address, len);
}

int vsock_connect(int fd, struct vsock_socket *socket, const struct sockaddr *address,
                  socklen_t len)
{
    switch (socket->state) {
    case VSOCK_FRESH:
        return connect_start(fd, &socket->bound, address, len);
    case VSOCK_FAILED:
        return connect_again(fd, socket, address, len);
    case VSOCK_CONNECTING:
        if (!vsock_is_nonblocking(fd))
            return wait_connected(fd);
        errno = EALREADY;
        return -1;
    case VSOCK_CONNECTED:
        errno = EISCONN;
        return -1;
    default:
        errno = EINVAL;
        return -1;
    }
}
