/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * options.c - getsockopt(2) and setsockopt(2). What the socket layer of the kernel does for every
 * family it does here too; the rest is what AF_UNIX would say and AF_VSOCK does not, and the
 * options of AF_VSOCK itself.
 *
 * The sizes of vsock's receive buffer are only remembered: the flow of an IDC connection is
 * regulated by link_mgr.
 */
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/time.h>

#include "vsock/vsock.h"

#define BUFFER_SIZE_DEFAULT (256u * 1024)
#define BUFFER_MIN_DEFAULT 128u
#define BUFFER_MAX_DEFAULT (256u * 1024)
#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

static int option_fail(int error)
{
    errno = error;
    return -1;
}

static int option_give(const void *from, size_t size, void *to, socklen_t *len)
{
    if (*len > size)
        *len = (socklen_t)size;
    memcpy(to, from, *len);
    return 0;
}

static int give_int(int number, void *to, socklen_t *len)
{
    return option_give(&number, sizeof(number), to, len);
}

/* ---- SOL_SOCKET ---- */

static int take_error(int fd, const struct vsock_socket *socket, void *value, socklen_t *len)
{
    int error = 0;
    if (socket->state == VSOCK_CONNECTED)
        return getsockopt(fd, SOL_SOCKET, SO_ERROR, value, len);
    if (socket->state == VSOCK_FAILED && !atomic_exchange(&vsock_options(fd)->error_taken, true)) {
        error = vsock_error_of(socket->error);
        vsock_say("connect: %s", socket->why);
    }
    return give_int(error, value, len);
}

static int get_socket_option(int fd, const struct vsock_socket *socket, int name, void *value,
                             socklen_t *len)
{
    static const struct ucred nobody = {.pid = 0, .uid = (uid_t)-1, .gid = (gid_t)-1};
    switch (name) {
    case SO_DOMAIN:
        return give_int(AF_VSOCK, value, len);
    case SO_ERROR:
        return take_error(fd, socket, value, len);
    case SO_ACCEPTCONN:
        return give_int(socket->state == VSOCK_LISTENING, value, len);
    case SO_PEERCRED: /* else it would be link_mgr's */
        return option_give(&nobody, sizeof(nobody), value, len);
    case SO_PEERGROUPS:
    case SO_PEERPIDFD:
        return option_fail(ENODATA);
    case SO_PEERSEC:
        return option_fail(ENOPROTOOPT);
    default:
        return getsockopt(fd, SOL_SOCKET, name, value, len);
    }
}

static long long current_buffer(int fd)
{
    int size = 0;
    socklen_t len = sizeof(size);
    return getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, &len) == 0 ? size : 0;
}

static int set_socket_option(int fd, const struct vsock_socket *socket, int name, const void *value,
                             socklen_t len)
{
    switch (name) {
    case SO_PEEK_OFF:
        return option_fail(EOPNOTSUPP);
    case SO_PASSCRED:
    case SO_PASSSEC:
        return 0;
    case SO_SNDBUF:
        /* In a buffer smaller than usual link_mgr could hold nothing (endpoint_room.c). And while
         * the socket connects, the size is what keeps it from being writable. */
        if (socket->state == VSOCK_CONNECTING ||
            (len >= sizeof(int) && 2LL * *(const int *)value < current_buffer(fd)))
            return 0;
        break;
    default:
        break;
    }
    return setsockopt(fd, SOL_SOCKET, name, value, len);
}

/* ---- AF_VSOCK ---- */

static uint64_t or_default(uint64_t value, uint64_t fallback)
{
    return value != 0 ? value : fallback;
}

static int get_number(uint64_t number, void *value, socklen_t *len)
{
    if (*len < sizeof(number))
        return option_fail(EINVAL);
    return option_give(&number, sizeof(number), value, len);
}

static int get_timeout(int fd, void *value, socklen_t *len)
{
    uint32_t ms = vsock_connect_timeout(fd);
    struct timeval time = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    if (*len < sizeof(time))
        return option_fail(EINVAL);
    return option_give(&time, sizeof(time), value, len);
}

static int get_vsock_option(int fd, int name, void *value, socklen_t *len)
{
    const struct vsock_options *options = vsock_options(fd);
    switch (name) {
    case SO_VM_SOCKETS_BUFFER_SIZE:
        return get_number(or_default(options->buffer_size, BUFFER_SIZE_DEFAULT), value, len);
    case SO_VM_SOCKETS_BUFFER_MIN_SIZE:
        return get_number(or_default(options->buffer_min, BUFFER_MIN_DEFAULT), value, len);
    case SO_VM_SOCKETS_BUFFER_MAX_SIZE:
        return get_number(or_default(options->buffer_max, BUFFER_MAX_DEFAULT), value, len);
    case SO_VM_SOCKETS_CONNECT_TIMEOUT_OLD:
    case SO_VM_SOCKETS_CONNECT_TIMEOUT_NEW:
        return get_timeout(fd, value, len);
    default:
        return option_fail(ENOPROTOOPT);
    }
}

/* The size keeps within the limits, whichever of the three was set. */
static int set_size(int fd, int name, const void *value, socklen_t len)
{
    struct vsock_options *options = vsock_options(fd);
    uint64_t number, size = or_default(options->buffer_size, BUFFER_SIZE_DEFAULT);
    if (len < sizeof(number))
        return option_fail(EINVAL);
    memcpy(&number, value, sizeof(number));
    if (name == SO_VM_SOCKETS_BUFFER_MIN_SIZE)
        options->buffer_min = number;
    else if (name == SO_VM_SOCKETS_BUFFER_MAX_SIZE)
        options->buffer_max = number;
    else
        size = number;
    uint64_t min = or_default(options->buffer_min, BUFFER_MIN_DEFAULT);
    uint64_t max = or_default(options->buffer_max, BUFFER_MAX_DEFAULT);
    size = size > max ? max : size;
    options->buffer_size = size < min ? min : size;
    return 0;
}

static int set_timeout(int fd, const void *value, socklen_t len)
{
    struct timeval time;
    if (len < sizeof(time))
        return option_fail(EINVAL);
    memcpy(&time, value, sizeof(time));
    if (time.tv_sec < 0 || time.tv_usec < 0 || time.tv_usec >= 1000000 ||
        time.tv_sec > INT_MAX / 1000 - 1)
        return option_fail(ERANGE);
    /* 0: default */
    vsock_options(fd)->connect_timeout_ms =
        (uint32_t)(time.tv_sec * 1000 + (time.tv_usec + 999) / 1000);
    return 0;
}

static int set_vsock_option(int fd, int name, const void *value, socklen_t len)
{
    switch (name) {
    case SO_VM_SOCKETS_BUFFER_SIZE:
    case SO_VM_SOCKETS_BUFFER_MIN_SIZE:
    case SO_VM_SOCKETS_BUFFER_MAX_SIZE:
        return set_size(fd, name, value, len);
    case SO_VM_SOCKETS_CONNECT_TIMEOUT_OLD:
    case SO_VM_SOCKETS_CONNECT_TIMEOUT_NEW:
        return set_timeout(fd, value, len);
    default:
        return option_fail(ENOPROTOOPT);
    }
}

/* ---- */

int vsock_getsockopt(int fd, const struct vsock_socket *socket, int level, int name, void *value,
                     socklen_t *len)
{
    if (value == NULL || len == NULL)
        return option_fail(EFAULT);
    if (level == SOL_SOCKET)
        return get_socket_option(fd, socket, name, value, len);
    return level == AF_VSOCK ? get_vsock_option(fd, name, value, len) : option_fail(ENOPROTOOPT);
}

int vsock_setsockopt(int fd, const struct vsock_socket *socket, int level, int name,
                     const void *value, socklen_t len)
{
    if (value == NULL)
        return option_fail(EFAULT);
    if (level == SOL_SOCKET)
        return set_socket_option(fd, socket, name, value, len);
    return level == AF_VSOCK ? set_vsock_option(fd, name, value, len) : option_fail(ENOPROTOOPT);
}
