/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * options.c - getsockopt(2) and setsockopt(2). The kernel's socket layer does here what it does for
 * every family. Here are the options that AF_UNIX would answer and AF_VSOCK does not, and the
 * options of AF_VSOCK itself.
 *
 * SO_VM_SOCKETS_BUFFER_SIZE bounds the messages of a seqpacket socket. A value above the default
 * makes the socket's send buffer larger. A smaller value does not make it smaller, because the
 * bytes that link_mgr leaves unread could fill it.
 *
 * SO_KEEPALIVE ends the connection when the peer's link_mgr hangs. AF_VSOCK has no options for the
 * times, so there is one time for all (docs/vsock.md).
 *
 * SO_SNDBUF has no effect on a vsock socket of the kernel, which only returns the value. It is the
 * same here: the library itself manages the send buffer of the socket pair.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "common/rpc_member.h"
#include "vsock/vsock.h"

#define BUFFER_SIZE_DEFAULT (256u * 1024)
#define BUFFER_MIN_DEFAULT 128u
#define BUFFER_MAX_DEFAULT (256u * 1024)
#define BUFFER_RAISED_MAX (4u << 20) /* of the socket pair's; a connect fills a quarter of it */
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

/* Within the domain the kernel reports an error when the peer closed with data unread. */
static int take_connected_error(int fd, const struct handover_name *name, void *value,
                                socklen_t *len)
{
    int error = 0;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &(socklen_t){sizeof(error)}) < 0)
        return -1;
    if (error == ECONNRESET && name->local.domid == name->peer.domid)
        error = 0;
    return give_int(error, value, len);
}

static int take_error(int fd, const struct vsock_socket *socket, void *value, socklen_t *len)
{
    int error = 0;
    if (socket->state == VSOCK_CONNECTED)
        return take_connected_error(fd, &socket->name, value, len);
    if (socket->state == VSOCK_FAILED && !atomic_exchange(&vsock_options(fd)->error_taken, true)) {
        error = vsock_error_of(socket->error);
        vsock_say("connect: %s", socket->why);
    }
    return give_int(error, value, len);
}

/* The size that the kernel makes of the value, or of no value. The kernel knows the limits, and who
 * may exceed them. -1 with errno. */
static int kernels_send_buffer(int name, const void *value, socklen_t len)
{
    int size = -1, error = 0;
    int fd = vsock_next()->socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if ((value != NULL && setsockopt(fd, SOL_SOCKET, name, value, len) < 0) ||
        getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, &(socklen_t){sizeof(size)}) < 0)
        error = errno;
    close(fd);
    errno = error;
    return error != 0 ? -1 : size;
}

/* -1 with errno: the kernel could not be asked, and nothing is given. */
static int give_send_buffer(int fd, void *value, socklen_t *len)
{
    int told = vsock_options(fd)->told_send_buffer;
    if (told == 0)
        told = kernels_send_buffer(SO_SNDBUF, NULL, 0);
    return told < 0 ? -1 : give_int(told, value, len);
}

static int tell_send_buffer(int fd, int name, const void *value, socklen_t len)
{
    int size = kernels_send_buffer(name, value, len);
    if (size < 0)
        return -1;
    vsock_options(fd)->told_send_buffer = size;
    return 0;
}

static int get_socket_option(int fd, const struct vsock_socket *socket, int name, void *value,
                             socklen_t *len)
{
    static const struct ucred nobody = {.pid = 0, .uid = (uid_t)-1, .gid = (gid_t)-1};
    switch (name) {
    case SO_DOMAIN:
        return give_int(AF_VSOCK, value, len);
    case SO_TYPE: /* one of libidc's listeners is a seqpacket pair, whatever it accepts */
        if (socket->state != VSOCK_LISTENING)
            return getsockopt(fd, SOL_SOCKET, name, value, len);
        return give_int(socket->name.local.type == IDC_SEQPACKET ? SOCK_SEQPACKET : SOCK_STREAM,
                        value, len);
    case SO_ERROR:
        return take_error(fd, socket, value, len);
    case SO_SNDBUF:
        return give_send_buffer(fd, value, len);
    case SO_ACCEPTCONN:
        return give_int(socket->state == VSOCK_LISTENING, value, len);
    case SO_PEERCRED: /* otherwise it would be link_mgr's */
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

/* Programs have no option for it. */
static int keepalive_ms(void)
{
    const char *given = secure_getenv("IDC_VSOCK_KEEPALIVE_MS");
    char *end;
    long ms = given != NULL ? strtol(given, &end, 10) : 0;
    if (given == NULL || given[0] == '\0')
        return VSOCK_KEEPALIVE_MS;
    if (*end == '\0' && ms >= RPC_PEER_TIMEOUT_MIN && ms <= INT32_MAX)
        return (int)ms;
    vsock_say("IDC_VSOCK_KEEPALIVE_MS=%s is not a number of milliseconds from %d; %d is used",
              given, RPC_PEER_TIMEOUT_MIN, VSOCK_KEEPALIVE_MS);
    return VSOCK_KEEPALIVE_MS;
}

int vsock_keepalive(int fd)
{
    int is_on = 0;
    socklen_t len = sizeof(is_on);
    if (getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &is_on, &len) < 0 || !is_on)
        return 0;
    return keepalive_ms();
}

void vsock_keep_alive(int fd, int ms)
{
    int error = errno;
    if (idc_peer_timeout(fd, ms) < 0)
        vsock_say("SO_KEEPALIVE has no effect: %s", idc_last_error());
    errno = error;
}

/* The kernel keeps the flag. */
static int set_keepalive(int fd, const struct vsock_socket *socket, const void *value,
                         socklen_t len)
{
    if (setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, value, len) < 0)
        return -1;
    if (socket->state == VSOCK_CONNECTED)
        vsock_keep_alive(fd, vsock_keepalive(fd));
    return 0;
}

static int set_socket_option(int fd, const struct vsock_socket *socket, int name, const void *value,
                             socklen_t len)
{
    switch (name) {
    case SO_KEEPALIVE:
        return set_keepalive(fd, socket, value, len);
    case SO_PEEK_OFF:
        return option_fail(EOPNOTSUPP);
    case SO_PASSCRED:
    case SO_PASSSEC:
        return 0;
    case SO_SNDBUF:
    case SO_SNDBUFFORCE:
        return tell_send_buffer(fd, name, value, len);
    default:
        return setsockopt(fd, SOL_SOCKET, name, value, len);
    }
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
        return get_number(vsock_buffer_size(fd), value, len);
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

uint64_t vsock_buffer_size(int fd)
{
    return or_default(vsock_options(fd)->buffer_size, BUFFER_SIZE_DEFAULT);
}

/* Makes the send buffer larger, as far as the program may have it. It does not do so while the
 * socket connects, because then its size keeps it from being writable (connect.c). */
static void raise_buffer(int fd, const struct vsock_socket *socket, uint64_t wanted)
{
    int present = 0, size = (int)(wanted < BUFFER_RAISED_MAX ? wanted : BUFFER_RAISED_MAX);
    if (wanted <= BUFFER_SIZE_DEFAULT || socket->state == VSOCK_CONNECTING ||
        getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &present, &(socklen_t){sizeof(present)}) < 0 ||
        present / 2 >= size)
        return;
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) < 0)
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
}

/* Messages that are longer than this are looked at. */
static void note_size(uint64_t size)
{
    if (size < vsock_long)
        vsock_long = size;
}

/* The size stays within the limits, whichever of the three was set. */
static int set_size(int fd, const struct vsock_socket *socket, int name, const void *value,
                    socklen_t len)
{
    struct vsock_options *options = vsock_options(fd);
    uint64_t number, size = vsock_buffer_size(fd);
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
    size = size < min ? min : size;
    options->buffer_size = size;
    note_size(size);
    raise_buffer(fd, socket, size);
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

static int set_vsock_option(int fd, const struct vsock_socket *socket, int name, const void *value,
                            socklen_t len)
{
    switch (name) {
    case SO_VM_SOCKETS_BUFFER_SIZE:
    case SO_VM_SOCKETS_BUFFER_MIN_SIZE:
    case SO_VM_SOCKETS_BUFFER_MAX_SIZE:
        return set_size(fd, socket, name, value, len);
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
    return level == AF_VSOCK ? set_vsock_option(fd, socket, name, value, len)
                             : option_fail(ENOPROTOOPT);
}
