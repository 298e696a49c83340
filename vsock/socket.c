/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* socket.c - socket(2), and the states of a vsock socket; vsock.h has the theory. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/connecting.h"
#include "common/text_cut.h"
#include "libidc/internal.h"
#include "vsock/vsock.h"

#define MAGIC "IDCvsock"
#define PEEKS 10 /* at most, where memory lacks */

/* The message in a fresh socket's queue. */
struct note {
    char magic[8];
    uint32_t cid, port; /* bound; VMADDR_PORT_ANY: not */
};

/* ---- making ---- */

static int put_note(const struct vsock_parts *parts)
{
    struct note note = {.cid = parts->bound.svm_cid, .port = parts->bound.svm_port};
    const int fds[2] = {parts->far_end, parts->reservation};
    memcpy(note.magic, MAGIC, sizeof(note.magic));
    ssize_t sent = handover_send(parts->far_end, &note, sizeof(note), fds,
                                 parts->reservation >= 0 ? 2 : 1, MSG_DONTWAIT);
    return sent < 0 ? (int)sent : 0;
}

/* The near end has the number that socket(2) would have given. Only the near end gets the flags,
 * because the far end may become another program's socket. */
static int set_flags(int near_end, int flags)
{
    if (!(flags & SOCK_CLOEXEC) && fcntl(near_end, F_SETFD, 0) < 0)
        return -1;
    return flags & SOCK_NONBLOCK ? fcntl(near_end, F_SETFL, O_NONBLOCK) : 0;
}

static int make_fresh(int type, int flags, const struct sockaddr_vm *bound, int reservation)
{
    int pair[2];
    struct vsock_parts parts = {.reservation = reservation, .bound = *bound};
    if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair) < 0)
        return -1;
    parts.far_end = pair[1];
    int error = put_note(&parts);
    if (error == 0 && set_flags(pair[0], flags) < 0)
        error = -errno;
    close(pair[1]);
    if (error == 0)
        return pair[0];
    close(pair[0]);
    errno = -error;
    return -1;
}

/* The errors that vsock returns for things that it does not have. */
static int judge_socket(int type, int protocol)
{
    if (protocol != 0 && protocol != AF_VSOCK)
        return EPROTONOSUPPORT;
    if (type == SOCK_DGRAM)
        return ENODEV;
    return type == SOCK_STREAM || type == SOCK_SEQPACKET ? 0 : ESOCKTNOSUPPORT;
}

int vsock_socket(int type, int protocol)
{
    const int flags = type & (SOCK_CLOEXEC | SOCK_NONBLOCK);
    int error = judge_socket(type & ~flags, protocol);
    if (error != 0) {
        errno = error;
        return -1;
    }
    const struct sockaddr_vm not_bound = vsock_address(VMADDR_CID_ANY, VMADDR_PORT_ANY);
    int fd = make_fresh(type & ~flags, flags, &not_bound, -1);
    if (fd >= 0)
        vsock_enter(fd, VSOCK_OURS);
    if (fd >= 0 && (type & ~flags) == SOCK_SEQPACKET)
        vsock_prepare_messages(fd);
    else if (fd >= 0)
        handover_make_stream_room(fd);
    return fd;
}

int vsock_type(int fd)
{
    int type = SOCK_STREAM;
    socklen_t len = sizeof(type);
    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 ? type : SOCK_STREAM;
}

bool vsock_is_seqpacket(int fd)
{
    return vsock_has_messages && vsock_type(fd) == SOCK_SEQPACKET;
}

bool vsock_is_nonblocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    return flags >= 0 && (flags & O_NONBLOCK);
}

/* ---- once more ---- */

static void copy_option(int from, int to, int name)
{
    union {
        int number;
        struct timeval time;
        struct linger linger;
    } value, present;
    socklen_t len = sizeof(value), present_len = sizeof(present);
    if (getsockopt(from, SOL_SOCKET, name, &value, &len) < 0 ||
        getsockopt(to, SOL_SOCKET, name, &present, &present_len) < 0 ||
        (len == present_len && memcmp(&value, &present, len) == 0))
        return;
    if (name == SO_SNDBUF && value.number < present.number)
        return;
    if (name == SO_RCVBUF || name == SO_SNDBUF)
        value.number /= 2; /* the kernel doubles it */
    setsockopt(to, SOL_SOCKET, name, &value, len);
}

/* The options that a program sets on a socket before it connects, as far as they have a meaning
 * here, or can be read back. */
static void copy_options(int from, int to)
{
    static const int names[] = {SO_RCVTIMEO, SO_SNDTIMEO,  SO_RCVLOWAT,  SO_RCVBUF,  SO_SNDBUF,
                                SO_LINGER,   SO_KEEPALIVE, SO_REUSEADDR, SO_PRIORITY};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        copy_option(from, to, names[i]);
}

int vsock_renew(int fd, const struct sockaddr_vm *bound, int reservation)
{
    int fd_flags = fcntl(fd, F_GETFD), status_flags = fcntl(fd, F_GETFL), result = -1;
    int fresh = make_fresh(vsock_type(fd), SOCK_CLOEXEC, bound, reservation);
    vsock_widen(fd); /* if a signal has ended the waiting */
    if (fresh >= 0) {
        if (vsock_type(fresh) == SOCK_STREAM)
            handover_make_stream_room(fresh);
        copy_options(fd, fresh);
        if (vsock_type(fresh) == SOCK_SEQPACKET)
            vsock_prepare_messages(fresh);
        fcntl(fresh, F_SETFL, status_flags);
        result = vsock_next()->dup3(fresh, fd, fd_flags & FD_CLOEXEC ? O_CLOEXEC : 0);
    }
    int error = errno;
    if (fresh >= 0)
        close(fresh);
    if (reservation >= 0)
        close(reservation);
    if (result >= 0)
        vsock_options(fd)->error_taken = false;
    errno = error;
    return result < 0 ? -1 : 0;
}

/* ---- looking ---- */

/* Does fd's peer have a name of the kind that link_mgr gives? */
enum peer { PEER_OTHER, PEER_NAMELESS, PEER_NAMED };

static enum peer peer_name(int fd)
{
    struct sockaddr_un name = {0};
    socklen_t len = sizeof(name);
    if (getpeername(fd, (struct sockaddr *)&name, &len) < 0 || name.sun_family != AF_UNIX)
        return PEER_OTHER;
    if (len <= offsetof(struct sockaddr_un, sun_path))
        return PEER_NAMELESS;
    return name.sun_path[0] == '\0' ? PEER_NAMED : PEER_OTHER;
}

/* A lack of memory says nothing about the socket, and passes. Taken for "no note" it would make a
 * fresh socket one that connects, and bind would fail with EINVAL. */
static ssize_t peek_again(int fd, struct msghdr *message)
{
    ssize_t got = -1;
    for (int i = 0; i < PEEKS && got < 0; i++) {
        got = vsock_next()->recvmsg(fd, message, MSG_PEEK | MSG_DONTWAIT);
        if (got < 0 && errno != ENOMEM && errno != ENOBUFS && errno != EINTR)
            break;
    }
    return got;
}

/* Looks at the note without taking it. It leaves a program's own socket pair as it is, even one
 * whose peek offset is in use. The note is recognised by its bytes and by the descriptor beside it.
 * The descriptor is not taken out; MSG_CTRUNC shows it. */
static bool peek_note(int fd, enum vsock_mark mark, struct sockaddr_vm *bound)
{
    char bytes[sizeof(struct note) + 1];
    struct note note;
    int peek_offset = 0;
    socklen_t len = sizeof(peek_offset);
    if (mark != VSOCK_OURS &&
        (getsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &peek_offset, &len) < 0 || peek_offset >= 0))
        return false;
    struct iovec span = {bytes, sizeof(bytes)};
    struct msghdr message = {.msg_iov = &span, .msg_iovlen = 1};
    ssize_t got = peek_again(fd, &message);
    if (got != sizeof(note) || !(message.msg_flags & MSG_CTRUNC))
        return false;
    memcpy(&note, bytes, sizeof(note));
    if (memcmp(note.magic, MAGIC, sizeof(note.magic)) != 0)
        return false;
    *bound = vsock_address(note.cid, note.port);
    return true;
}

/* A socket whose peer has a name: it is ours, or somebody else's. */
static enum vsock_state socket_named(int fd, struct vsock_socket *socket)
{
    if (handover_name(fd, &socket->name) == 0)
        return socket->name.listener ? VSOCK_LISTENING : VSOCK_CONNECTED;
    int outcome = connecting_outcome(fd, socket->why);
    if (outcome >= 0 || outcome == CONNECTING_NONE || outcome == -EINPROGRESS)
        return VSOCK_NONE;
    socket->error = -outcome;
    return VSOCK_FAILED;
}

/* A socket whose peer has no name: it is fresh, it connects, or it is not one of ours. */
static enum vsock_state socket_nameless(int fd, enum vsock_mark mark, struct vsock_socket *socket)
{
    if (peek_note(fd, mark, &socket->bound))
        return VSOCK_FRESH;
    int outcome = connecting_outcome(fd, socket->why);
    if (outcome == -EINPROGRESS || (mark == VSOCK_OURS && outcome == CONNECTING_NONE))
        return VSOCK_CONNECTING;
    if (peer_name(fd) == PEER_NAMED) /* meanwhile */
        return socket_named(fd, socket);
    socket->error = outcome == CONNECTING_NONE ? ECONNRESET : -outcome;
    return mark == VSOCK_OURS ? VSOCK_FAILED : VSOCK_NONE;
}

static enum vsock_state socket_look(int fd, enum vsock_mark mark, struct vsock_socket *socket)
{
    switch (peer_name(fd)) {
    case PEER_NAMED:
        return socket_named(fd, socket);
    case PEER_NAMELESS:
        return socket_nameless(fd, mark, socket);
    default:
        return VSOCK_NONE;
    }
}

bool vsock_look(int fd, struct vsock_socket *socket)
{
    enum vsock_mark mark = vsock_mark(fd);
    int error = errno;
    socket->state = socket_look(fd, mark, socket);
    if (socket->state == VSOCK_NONE) {
        vsock_set_mark(fd, VSOCK_OTHER);
    } else if (mark != VSOCK_OURS) {
        vsock_enter(fd, VSOCK_OURS);
        if (vsock_type(fd) == SOCK_SEQPACKET)
            vsock_prepare_messages(fd);
    }
    /* A signal has ended the waiting for it, or it was somebody else's. */
    if (socket->state == VSOCK_CONNECTED &&
        (mark != VSOCK_OURS || vsock_options(fd)->send_buffer != 0))
        vsock_widen(fd);
    errno = error;
    return socket->state != VSOCK_NONE;
}

/* ---- the parts of a fresh socket ---- */

/* Without room for them, the descriptors would be lost with the note. The reservation needs one
 * more. */
static int check_room(int fd, bool bound)
{
    int one = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    int two = one >= 0 && bound ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : one;
    int error = errno;
    if (one >= 0)
        close(one);
    if (two >= 0 && two != one)
        close(two);
    errno = error;
    return two < 0 ? -1 : 0;
}

int vsock_take(int fd, const struct sockaddr_vm *bound, struct vsock_parts *parts)
{
    struct note note;
    int fds[2] = {-1, -1}, count = 2;
    if (check_room(fd, bound->svm_port != VMADDR_PORT_ANY) < 0)
        return -1;
    ssize_t got = handover_recv(fd, &note, sizeof(note), fds, &count, MSG_DONTWAIT);
    if (got != sizeof(note) || count < 1 || memcmp(note.magic, MAGIC, sizeof(note.magic)) != 0) {
        errno = got < 0 ? (int)-got : EBADFD;
        return -1;
    }
    *parts = (struct vsock_parts){.far_end = fds[0],
                                  .reservation = count > 1 ? fds[1] : -1,
                                  .bound = vsock_address(note.cid, note.port)};
    return 0;
}

void vsock_close_parts(struct vsock_parts *parts)
{
    int error = errno;
    close(parts->far_end);
    if (parts->reservation >= 0)
        close(parts->reservation);
    errno = error;
}

int vsock_put_back(struct vsock_parts *parts)
{
    int error = put_note(parts);
    vsock_close_parts(parts);
    if (error < 0)
        errno = -error;
    return error < 0 ? -1 : 0;
}

/* ---- ends ---- */

bool vsock_is_reset_within(int fd)
{
    struct vsock_socket socket;
    enum vsock_mark mark = vsock_mark(fd);
    return fd >= 0 && (mark == VSOCK_OURS || mark == VSOCK_UNKNOWN) && vsock_look(fd, &socket) &&
           socket.state == VSOCK_CONNECTED && socket.name.local.domid == socket.name.peer.domid;
}

bool vsock_is_first_end(int fd)
{
    struct vsock_socket socket;
    enum vsock_mark mark = vsock_mark(fd);
    return vsock_has_messages && fd >= 0 && (mark == VSOCK_OURS || mark == VSOCK_UNKNOWN) &&
           vsock_look(fd, &socket) && socket.state == VSOCK_CONNECTED &&
           vsock_type(fd) == SOCK_SEQPACKET;
}

/* ---- telling ---- */

void vsock_say(const char *format, ...)
{
    va_list args;
    int error = errno;
    const char *asked = secure_getenv("IDC_VSOCK_VERBOSE");
    if (asked != NULL && asked[0] != '\0') {
        char line[LIBIDC_TEXT_MAX];
        va_start(args, format);
        text_mark_cut(line, sizeof(line), vsnprintf(line, sizeof(line), format, args));
        va_end(args);
        dprintf(STDERR_FILENO, "idc-vsock: %s\n", line);
    }
    errno = error;
}
