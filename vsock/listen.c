/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* listen.c - bind(2) reserves a port of link_mgr's, listen(2) hands the far end over to it,
 * accept(2) needs no call. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "libidc/internal.h"
#include "vsock/vsock.h"

#define CALL_MS 5000
#define BACKLOG_MAX 4096 /* net.core.somaxconn, and what link_mgr allows */
/* Servers like nbdkit and qemu-ga try again after any error of accept, at once and for ever, with a
 * line of log each time. */
#define DEAD_LISTENER_MS 50

/* The error that vsock would return for a failed call to link_mgr. */
static int listen_explain(const char *what)
{
    vsock_say("%s: %s", what, idc_last_error());
    if (errno == ENOENT || errno == ECONNREFUSED)
        errno = ENODEV;
    return -1;
}

/* ---- bind ---- */

/* Does errno say that something lacks? Then the call has not shown anything about the socket. */
static bool listen_lacks(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS;
}

/* 0, or why a socket can't be bound to this CID. */
static int judge_cid(uint32_t cid)
{
    if (cid == VMADDR_CID_ANY || cid == VMADDR_CID_LOCAL)
        return 0;
    uint32_t own = vsock_own_cid();
    if (own == VMADDR_CID_ANY && listen_lacks(errno))
        return errno;
    return cid == own ? 0 : EADDRNOTAVAIL;
}

static int judge_bind(const struct vsock_socket *socket, const struct sockaddr_vm *address)
{
    if (socket->state != VSOCK_FRESH || socket->bound.svm_port != VMADDR_PORT_ANY)
        return EINVAL;
    if (address->svm_port == 0)
        return EACCES; /* IDC has no such port */
    return judge_cid(address->svm_cid);
}

int vsock_reserve(int fd, struct sockaddr_vm *bound)
{
    struct compact_writer call;
    struct libidc_answer answer;
    int reservation = -1;
    compact_begin(&call, COMPACT_CALL, "idc.listen");
    compact_put_number(&call, "port",
                       bound->svm_port == VMADDR_PORT_ANY ? IDC_PORT_ANY : bound->svm_port);
    if (vsock_type(fd) == SOCK_SEQPACKET)
        compact_put_text(&call, "type", "seqpacket");
    compact_put_boolean(&call, "reserve", true);
    compact_put_boolean(&call, "reset_is_end", true);
    if (bound->svm_cid == VMADDR_CID_LOCAL)
        compact_put_boolean(&call, "local", true);
    compact_put_boolean(&call, "fd", true);
    if (libidc_call(libidc_socket_path(NULL), &call, CALL_MS, &answer, &reservation) < 0)
        return listen_explain("bind");
    bound->svm_port = (uint32_t)libidc_answer_int(&answer, "port", bound->svm_port);
    return reservation;
}

bool vsock_bound_before(int fd, struct sockaddr_vm *bound)
{
    const struct vsock_options *options = vsock_options(fd);
    uint32_t port = options->from_port;
    *bound = port != 0 ? vsock_address(options->from_cid, port)
                       : vsock_address(VMADDR_CID_ANY, VMADDR_PORT_ANY);
    return port != 0;
}

/* A socket that failed to connect is a new one when it is bound; but if it was bound before, it
 * stays bound.
 */
static int begin_anew(int fd, struct vsock_socket *socket)
{
    if (vsock_bound_before(fd, &socket->bound)) {
        errno = EINVAL;
        return -1;
    }
    socket->state = VSOCK_FRESH;
    return vsock_renew(fd, &socket->bound, -1);
}

/* vsock_take for a call that another thread or process may have overtaken. */
static int listen_take(int fd, const char *what, const struct sockaddr_vm *bound,
                       struct vsock_parts *parts)
{
    if (vsock_take(fd, bound, parts) == 0)
        return 0;
    int error = listen_lacks(errno) ? errno : EINVAL;
    bool memory = error == ENOMEM || error == ENOBUFS;
    if (error != EINVAL)
        vsock_say("%s: no %s is left for the parts of the socket", what,
                  memory ? "memory" : "descriptor");
    errno = error;
    return -1;
}

/* The reservation is taken over in every case. */
static int put_reservation(int fd, const struct sockaddr_vm *before,
                           const struct sockaddr_vm *address, int reservation)
{
    struct vsock_parts parts;
    if (listen_take(fd, "bind", before, &parts) < 0) {
        int error = errno;
        close(reservation);
        errno = error;
        return -1;
    }
    if (parts.reservation >= 0) { /* another thread was faster */
        close(reservation);
        vsock_put_back(&parts);
        errno = EINVAL;
        return -1;
    }
    parts.reservation = reservation;
    parts.bound = *address;
    return vsock_put_back(&parts);
}

int vsock_bind(int fd, struct vsock_socket *socket, const struct sockaddr *given, socklen_t len)
{
    struct sockaddr_vm address;
    if (vsock_read_address(given, len, &address) < 0)
        return -1;
    if (socket->state == VSOCK_FAILED && begin_anew(fd, socket) < 0)
        return -1;
    int error = judge_bind(socket, &address);
    int reservation = error == 0 ? vsock_reserve(fd, &address) : -1;
    if (reservation < 0) {
        errno = error != 0 ? error : errno;
        return -1;
    }
    return put_reservation(fd, &socket->bound, &address, reservation);
}

/* ---- listen ---- */

/* As on Linux, one more connection may wait than was asked for, and a negative number counts as a
 * large one. */
static int listen_places(int backlog)
{
    return backlog < 0 || backlog >= BACKLOG_MAX ? BACKLOG_MAX : backlog + 1;
}

static int call_listen(int fd, const struct vsock_parts *parts, int backlog)
{
    struct compact_writer call;
    const int fds[2] = {parts->far_end, parts->reservation};
    compact_begin(&call, COMPACT_CALL, "idc.listen");
    if (vsock_type(fd) == SOCK_SEQPACKET)
        compact_put_text(&call, "type", "seqpacket");
    compact_put_number(&call, "backlog", listen_places(backlog));
    compact_put_boolean(&call, "far_end", true);
    if (libidc_call_with(libidc_socket_path(NULL), &call, CALL_MS, fds, 2, NULL, NULL) < 0)
        return listen_explain("listen");
    return 0;
}

int vsock_listen(int fd, struct vsock_socket *socket, int backlog)
{
    struct vsock_parts parts;
    if (socket->state == VSOCK_LISTENING)
        return 0; /* again, perhaps with another backlog: it stays as it is */
    if (socket->state != VSOCK_FRESH || socket->bound.svm_port == VMADDR_PORT_ANY) {
        errno = EINVAL;
        return -1;
    }
    if (listen_take(fd, "listen", &socket->bound, &parts) < 0)
        return -1;
    if (call_listen(fd, &parts, backlog) < 0) {
        int error = errno;
        vsock_put_back(&parts);
        errno = error;
        return -1;
    }
    vsock_options(fd)->bound_cid = parts.bound.svm_cid;
    vsock_close_parts(&parts);
    return 0;
}

/* ---- accept ---- */

static int set_flags(int fd, int flags)
{
    if (!(flags & SOCK_CLOEXEC) && fcntl(fd, F_SETFD, 0) < 0)
        return -1;
    return flags & SOCK_NONBLOCK ? fcntl(fd, F_SETFL, O_NONBLOCK) : 0;
}

static void inherit_options(struct vsock_options *to, const struct vsock_options *from)
{
    to->buffer_size = from->buffer_size;
    to->buffer_min = from->buffer_min;
    to->buffer_max = from->buffer_max;
    to->connect_timeout_ms = from->connect_timeout_ms;
}

/* As with TCP. */
static void inherit_keepalive(int fd, int ms)
{
    int one = 1;
    vsock_next()->setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
    vsock_keep_alive(fd, ms);
}

int vsock_accept(int listener, struct vsock_socket *socket, struct sockaddr *address,
                 socklen_t *len, int flags)
{
    struct vsock_options options;
    struct idc_addr peer;
    int fd = -EINVAL;
    /* another socket may have the listener's number after the wait */
    inherit_options(&options, vsock_options(listener));
    int keepalive = socket->state == VSOCK_LISTENING ? vsock_keepalive(listener) : 0;
    if (socket->state == VSOCK_LISTENING && address != NULL && len == NULL)
        fd = -EFAULT;
    else if (socket->state == VSOCK_LISTENING && !(flags & ~(SOCK_CLOEXEC | SOCK_NONBLOCK)))
        fd = handover_accept(listener, socket->name.serial, &peer, 0);
    if (fd < 0) {
        /* A listener whose link_mgr has ended is over for good, and polls readable for good. */
        if (fd == -ECONNABORTED)
            poll(NULL, 0, DEAD_LISTENER_MS);
        errno = fd == -ECONNABORTED ? EINVAL : -fd;
        return -1;
    }
    if (set_flags(fd, flags) < 0) {
        close(fd);
        return -1;
    }
    vsock_enter(fd, VSOCK_OURS);
    inherit_options(vsock_options(fd), &options);
    if (peer.type == IDC_SEQPACKET)
        vsock_prepare_messages(fd);
    if (keepalive > 0)
        inherit_keepalive(fd, keepalive);
    struct sockaddr_vm from = vsock_address(vsock_cid_of(peer.domid), peer.port);
    if (address != NULL)
        vsock_give_address(&from, address, len);
    return fd;
}
