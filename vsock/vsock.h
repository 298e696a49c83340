/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * vsock.h - what the parts of libidc-vsock.so share. The library is preloaded into programs that
 * speak AF_VSOCK, and gives them connections of IDC in place of vsock's (docs/vsock.md).
 *
 * Theory of operation
 *
 * A vsock socket is the near end of an AF_UNIX socket pair. The kernel keeps its whole state with
 * the socket itself, so the state is the same for each descriptor, thread, child and program that
 * has it:
 *
 *   fresh, bound   The far end lies, by SCM_RIGHTS, in the near end's own receive queue, in a
 *                  message that has the bound address. Beside it, once bound, lies the port's
 *                  reservation (docs/rpc.md, "Upgraded connections"). When the last copy of the
 *                  near end is closed the kernel closes what lies in its queue.
 *   connecting     link_mgr has the far end; common/connecting.h has the rest.
 *   connected,     link_mgr has the far end, and has bound it to a name that tells both addresses
 *                  (common/handover.h).
 *   listening      Data passes by the program's own read, write, poll and so on: none of these is
 *                  intercepted.
 *   failed         The far end was closed, and its name tells why. A socket that failed becomes a
 *                  new one when it is connected, bound or listened on again.
 *
 * Whoever takes the message off the queue has the far end alone. So when two threads connect one
 * socket, only one of them does.
 *
 *   next.c        the C library's own functions, behind ours
 *   table.c       what is known of each descriptor's number: is it one of ours?
 *   socket.c      the states above; socket(2)
 *   connect.c     connect(2)
 *   listen.c      bind(2), listen(2), accept(2)
 *   address.c     the map of CIDs; getsockname(2), getpeername(2)
 *   options.c     getsockopt(2), setsockopt(2)
 *   control.c     ioctl(2), shutdown(2), /dev/vsock
 *   message.c     long messages of seqpacket sockets, and empty ones
 *   message_receive.c
 *                 long messages that come to seqpacket sockets
 *   interpose.c, interpose_receive.c, interpose_path.c
 *                 the functions that a program calls in place of the C library's
 *
 * Functions named vsock_NAME do what NAME does to a vsock socket, and return as it does, -1 with
 * errno. The only locks held here are those of libidc, during a call to link_mgr; they survive
 * fork.
 */
#ifndef IDC_VSOCK_H
#define IDC_VSOCK_H

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#include <linux/vm_sockets.h>

#include "common/handover.h"

/* ---- table.c ---- */

enum vsock_mark {
    VSOCK_UNKNOWN, /* look at the descriptor */
    /* not one of ours. It is not looked at again until the number is closed, duplicated to or
     * received */
    VSOCK_OTHER,
    /* a vsock socket; looked at again before each use, since the number may have another meaning by
     * now */
    VSOCK_OURS,
};

/* Values that a program has set on a descriptor, and can read back. 0: never set. */
struct vsock_options {
    _Atomic uint64_t buffer_size, buffer_min, buffer_max;
    _Atomic uint32_t connect_timeout_ms;
    _Atomic uint32_t bound_cid; /* of a listener, when it was bound to one */
    _Atomic int
        told_send_buffer; /* SO_SNDBUF, as the program has set it, and the kernel tells it */
    /* SO_SNDBUF as it was before a connect made it small; 0: it was not made small */
    _Atomic int send_buffer;
    /* what it was bound to when connect began; port 0: nothing */
    _Atomic uint32_t from_cid, from_port;
    _Atomic bool error_taken; /* the program has got the error of a failed connect */
    _Atomic bool messages;    /* a seqpacket socket */
};

struct vsock_entry {
    _Atomic unsigned char mark;
    struct vsock_options options;
};

#define VSOCK_CHUNK 1024
#define VSOCK_CHUNKS 4096

extern _Atomic(struct vsock_entry *) vsock_chunks[VSOCK_CHUNKS];

static inline struct vsock_entry *vsock_entry(int fd)
{
    unsigned at = (unsigned)fd / VSOCK_CHUNK;
    struct vsock_entry *chunk =
        at < VSOCK_CHUNKS ? atomic_load_explicit(&vsock_chunks[at], memory_order_acquire) : NULL;
    return chunk != NULL ? &chunk[(unsigned)fd % VSOCK_CHUNK] : NULL;
}

static inline enum vsock_mark vsock_mark(int fd)
{
    const struct vsock_entry *entry = vsock_entry(fd);
    return entry != NULL ? (enum vsock_mark)atomic_load_explicit(&entry->mark, memory_order_relaxed)
                         : VSOCK_UNKNOWN;
}

/* Async-signal-safe, like all of these. The options stay as they are. */
void vsock_set_mark(int fd, enum vsock_mark mark);
/* A new descriptor with default options. */
void vsock_enter(int fd, enum vsock_mark mark);
/* to is now a duplicate of from. */
void vsock_copy(int from, int to);
void vsock_forget_range(unsigned first, unsigned last);
/* Never NULL: when memory is short, descriptors share one. */
struct vsock_options *vsock_options(int fd);

/* ---- socket.c ---- */

enum vsock_state {
    VSOCK_NONE,
    VSOCK_FRESH,
    VSOCK_CONNECTING,
    VSOCK_CONNECTED,
    VSOCK_LISTENING,
    VSOCK_FAILED
};

struct vsock_socket {
    enum vsock_state state;    /* VSOCK_NONE: not a vsock socket */
    struct handover_name name; /* when connected or listening */
    struct sockaddr_vm bound;  /* when fresh; VMADDR_PORT_ANY: not bound */
    int error;                 /* when failed */
    char why[128];
};

/* The contents of a fresh socket's queue. */
struct vsock_parts {
    int far_end, reservation; /* -1: none */
    struct sockaddr_vm bound;
};

int vsock_socket(int type, int protocol);
/* Looks at a descriptor that is marked unknown or ours, and marks it. False: it is not one of ours.
 * errno is kept. */
bool vsock_look(int fd, struct vsock_socket *socket);
/* Takes the parts of a fresh socket; bound is what vsock_look has found. 0, or -1 with errno;
 * EAGAIN: another thread or process was faster. */
int vsock_take(int fd, const struct sockaddr_vm *bound, struct vsock_parts *parts);
/* Puts the parts back, and closes our copies. 0, or -1 with errno; then the socket has failed. */
int vsock_put_back(struct vsock_parts *parts);
void vsock_close_parts(struct vsock_parts *parts);
/* Makes a failed socket a fresh one with the same number, type, flags and options, bound to
 * `bound`. The reservation, or -1, is taken over in every case. 0, or -1 with errno. */
int vsock_renew(int fd, const struct sockaddr_vm *bound, int reservation);
int vsock_type(int fd);
/* For a socket that vsock_look has seen; this mostly needs no system call. */
bool vsock_is_seqpacket(int fd);
bool vsock_is_nonblocking(int fd);
/* A call on fd has failed with ECONNRESET: is it a connection within the domain? There the kernel
 * reports in this way, once, that the peer has closed with data unread. With vsock, calls would go
 * on to read, and then find the end. errno is kept. */
bool vsock_is_reset_within(int fd);
/* A call that receives on fd has returned 0: is it a seqpacket connection? The kernel first looks
 * for a message, and then asks whether any can come. So only a second 0 is the end. errno is
 * kept. */
bool vsock_is_first_end(int fd);
/* One line on stderr, if $IDC_VSOCK_VERBOSE is set; errno is kept. */
void vsock_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ---- connect.c ---- */

/* Linux's default for vsock; $IDC_VSOCK_TIMEOUT_MS overrides it. */
#define VSOCK_CONNECT_TIMEOUT_MS 2000

/* SO_VM_SOCKETS_CONNECT_TIMEOUT of the socket, or the default. */
uint32_t vsock_connect_timeout(int fd);

int vsock_connect(int fd, struct vsock_socket *socket, const struct sockaddr *address,
                  socklen_t len);
/* Gives the send buffer the size that it had, if a connect has made it small. */
void vsock_widen(int fd);
/* The error that the program gets in place of a failed connect's own. */
int vsock_error_of(int error);

/* ---- listen.c ---- */

/* Reserves a port, and puts the reserved port into *bound. Returns the reservation, or -1 with
 * errno. */
int vsock_reserve(int fd, struct sockaddr_vm *bound);
/* The address to which a socket was bound before it connected, or failed to. False, and any
 * address, if it was not bound. */
bool vsock_bound_before(int fd, struct sockaddr_vm *bound);
int vsock_bind(int fd, struct vsock_socket *socket, const struct sockaddr *given, socklen_t len);
int vsock_listen(int fd, struct vsock_socket *socket, int backlog);
int vsock_accept(int listener, struct vsock_socket *socket, struct sockaddr *address,
                 socklen_t *len, int flags);

/* ---- address.c ---- */

#define VSOCK_CID_OF_DOMID 2u /* CID = domid + 2 */

/* The domid of a CID to connect to; -1: no domain has it. */
int64_t vsock_domid_of(uint32_t cid);
uint32_t vsock_cid_of(uint32_t domid);
/* VMADDR_CID_ANY when no link_mgr can be asked. */
uint32_t vsock_own_cid(void);
/* 0, or -1 with EINVAL. */
int vsock_read_address(const struct sockaddr *address, socklen_t len, struct sockaddr_vm *out);
struct sockaddr_vm vsock_address(uint32_t cid, uint32_t port);
/* Does as the kernel does: cuts the address to *len, and sets *len to the whole length. */
void vsock_give_address(const struct sockaddr_vm *from, struct sockaddr *to, socklen_t *len);
int vsock_getsockname(int fd, const struct vsock_socket *socket, struct sockaddr *address,
                      socklen_t *len);
int vsock_getpeername(const struct vsock_socket *socket, struct sockaddr *address, socklen_t *len);

/* ---- options.c ---- */

int vsock_getsockopt(int fd, const struct vsock_socket *socket, int level, int name, void *value,
                     socklen_t *len);
/* What SO_KEEPALIVE means; $IDC_VSOCK_KEEPALIVE_MS overrides it. */
#define VSOCK_KEEPALIVE_MS 60000
/* The time that SO_KEEPALIVE of the socket gives a peer; 0: the option is off. */
int vsock_keepalive(int fd);
/* Begins that for a connected socket, or ends it (0). errno is kept. */
void vsock_keep_alive(int fd, int ms);
/* SO_VM_SOCKETS_BUFFER_SIZE. */
uint64_t vsock_buffer_size(int fd);
int vsock_setsockopt(int fd, const struct vsock_socket *socket, int level, int name,
                     const void *value, socklen_t len);

/* ---- control.c ---- */

int vsock_shutdown(int fd, const struct vsock_socket *socket, int how);
/* True when the request was ours to answer; *result is what ioctl returns. */
bool vsock_ioctl(int fd, unsigned long request, void *argument, int *result);
/* Is it /dev/vsock? Then flags are those of an open of that. */
bool vsock_is_device(const char *path);
/* The path of a stand-in for /dev/vsock, which exists. Another path is returned as it is. */
const char *vsock_real_path(const char *path);
int vsock_open_device(int flags);

/* ---- message.c ---- */

/* The process has had a seqpacket socket. */
extern _Atomic bool vsock_has_messages;
void vsock_prepare_messages(int fd);
/* A longer message needs care, and so does an empty one. When a program makes the buffers of a
 * socket smaller, this limit becomes smaller for all of its sockets. */
#define VSOCK_LONG (40u * 1024)
extern _Atomic size_t vsock_long;
static inline bool vsock_is_unusual(size_t len)
{
    return __builtin_expect(len - 1 >= atomic_load_explicit(&vsock_long, memory_order_relaxed), 0);
}
/* True: we have sent it, and *result is what send returns. */
bool vsock_send_unusual(int fd, const void *bytes, size_t len, int flags, ssize_t *result);
/* As vsock_send_unusual, for any length. False: the message is not unusual. */
bool vsock_send_spans(int fd, const struct iovec *spans, size_t count, int flags, ssize_t *result);
/* As vsock_send_unusual, in the way of sendmmsg. */
bool vsock_send_several(int fd, struct mmsghdr *messages, unsigned count, int flags, int *result);

/* ---- message_receive.c ---- */

/* Is fd a seqpacket socket of ours? Then these receive from it, as recvmsg, readv and recv do.
 * errno is kept. */
bool vsock_receives_messages(int fd);
ssize_t vsock_receive_message(int fd, struct msghdr *message, int flags);
ssize_t vsock_receive_spans(int fd, const struct iovec *spans, size_t count, int flags);
ssize_t vsock_receive_bytes(int fd, void *buf, size_t len, int flags);

/* ---- next.c ---- */

/* The C library's functions behind ours, by the names that they have there. */
#define VSOCK_FUNCTIONS(X)                                                                         \
    X(socket, int, (int, int, int))                                                                \
    X(socketpair, int, (int, int, int, int *))                                                     \
    X(bind, int, (int, const struct sockaddr *, socklen_t))                                        \
    X(listen, int, (int, int))                                                                     \
    X(connect, int, (int, const struct sockaddr *, socklen_t))                                     \
    X(accept, int, (int, struct sockaddr *, socklen_t *))                                          \
    X(accept4, int, (int, struct sockaddr *, socklen_t *, int))                                    \
    X(getsockname, int, (int, struct sockaddr *, socklen_t *))                                     \
    X(getpeername, int, (int, struct sockaddr *, socklen_t *))                                     \
    X(getsockopt, int, (int, int, int, void *, socklen_t *))                                       \
    X(setsockopt, int, (int, int, int, const void *, socklen_t))                                   \
    X(shutdown, int, (int, int))                                                                   \
    X(write, ssize_t, (int, const void *, size_t))                                                 \
    X(writev, ssize_t, (int, const struct iovec *, int))                                           \
    X(send, ssize_t, (int, const void *, size_t, int))                                             \
    X(sendto, ssize_t, (int, const void *, size_t, int, const struct sockaddr *, socklen_t))       \
    X(pwritev2, ssize_t, (int, const struct iovec *, int, off_t, int))                             \
    X(pwritev64v2, ssize_t, (int, const struct iovec *, int, off_t, int))                          \
    X(sendmsg, ssize_t, (int, const struct msghdr *, int))                                         \
    X(sendmmsg, int, (int, struct mmsghdr *, unsigned, int))                                       \
    X(read, ssize_t, (int, void *, size_t))                                                        \
    X(__read_chk, ssize_t, (int, void *, size_t, size_t))                                          \
    X(readv, ssize_t, (int, const struct iovec *, int))                                            \
    X(preadv2, ssize_t, (int, const struct iovec *, int, off_t, int))                              \
    X(preadv64v2, ssize_t, (int, const struct iovec *, int, off_t, int))                           \
    X(recv, ssize_t, (int, void *, size_t, int))                                                   \
    X(__recv_chk, ssize_t, (int, void *, size_t, size_t, int))                                     \
    X(recvfrom, ssize_t, (int, void *, size_t, int, struct sockaddr *, socklen_t *))               \
    X(__recvfrom_chk, ssize_t, (int, void *, size_t, size_t, int, struct sockaddr *, socklen_t *)) \
    X(recvmsg, ssize_t, (int, struct msghdr *, int))                                               \
    X(recvmmsg, int, (int, struct mmsghdr *, unsigned, int, struct timespec *))                    \
    X(ioctl, int, (int, unsigned long, ...))                                                       \
    X(fcntl, int, (int, int, ...))                                                                 \
    X(fcntl64, int, (int, int, ...))                                                               \
    X(open, int, (const char *, int, ...))                                                         \
    X(open64, int, (const char *, int, ...))                                                       \
    X(__open_2, int, (const char *, int))                                                          \
    X(__open64_2, int, (const char *, int))                                                        \
    X(openat, int, (int, const char *, int, ...))                                                  \
    X(openat64, int, (int, const char *, int, ...))                                                \
    X(__openat_2, int, (int, const char *, int))                                                   \
    X(__openat64_2, int, (int, const char *, int))                                                 \
    X(access, int, (const char *, int))                                                            \
    X(eaccess, int, (const char *, int))                                                           \
    X(euidaccess, int, (const char *, int))                                                        \
    X(faccessat, int, (int, const char *, int, int))                                               \
    X(stat, int, (const char *, void *))                                                           \
    X(stat64, int, (const char *, void *))                                                         \
    X(lstat, int, (const char *, void *))                                                          \
    X(lstat64, int, (const char *, void *))                                                        \
    X(fstatat, int, (int, const char *, void *, int))                                              \
    X(fstatat64, int, (int, const char *, void *, int))                                            \
    X(statx, int, (int, const char *, int, unsigned, void *))                                      \
    X(__xstat, int, (int, const char *, void *))                                                   \
    X(__xstat64, int, (int, const char *, void *))                                                 \
    X(__lxstat, int, (int, const char *, void *))                                                  \
    X(__lxstat64, int, (int, const char *, void *))                                                \
    X(__fxstatat, int, (int, int, const char *, void *, int))                                      \
    X(__fxstatat64, int, (int, int, const char *, void *, int))                                    \
    X(fopen, void *, (const char *, const char *))                                                 \
    X(fopen64, void *, (const char *, const char *))                                               \
    X(freopen, void *, (const char *, const char *, void *))                                       \
    X(freopen64, void *, (const char *, const char *, void *))                                     \
    X(close, int, (int))                                                                           \
    X(dup, int, (int))                                                                             \
    X(dup2, int, (int, int))                                                                       \
    X(dup3, int, (int, int, int))                                                                  \
    X(close_range, int, (unsigned, unsigned, int))                                                 \
    X(closefrom, void, (int))

struct vsock_next {
/* NOLINTNEXTLINE(bugprone-macro-parentheses): it is no expression */
#define X(name, type, parameters) type(*name) parameters;
    VSOCK_FUNCTIONS(X)
#undef X
};

extern struct vsock_next vsock_next_functions;
extern bool vsock_next_found;
void vsock_find_next(void);

/* As a rule they are found before main, but other libraries' constructors may call us sooner. */
static inline const struct vsock_next *vsock_next(void)
{
    if (__builtin_expect(!vsock_next_found, 0))
        vsock_find_next();
    return &vsock_next_functions;
}

#endif
