/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * handover.h - what passes between link_mgr and libidc besides RPC: descriptors, the names of
 * sockets, and the messages on a listener.
 *
 * A connection is a socket pair. The daemon binds its own end to an abstract Unix address that
 * encodes both addresses of the connection. So getpeername(2) on the program's end returns them,
 * after dup, fork and exec too. The library needs no table, and asks the daemon nothing. The name
 * is 27 bytes of binary and the service name, 107 bytes at most.
 *
 * A listener is a SOCK_SEQPACKET pair. For each connection that waits the daemon sends one message
 * (struct handover_waiting, encoded) with the connection's descriptor beside it. The program
 * answers each connection that it took with one byte HANDOVER_TAKEN. By shutdown(SHUT_WR) it ends
 * the listener for all processes that share it; the daemon then closes its end.
 *
 * When a connection ends before a program has taken it, its other end must see a reset. The daemon
 * resets a connection from another domain. A connection within the domain has no daemon at either
 * end. So it comes with one byte in it, the mark, which the message announces. If it is closed with
 * the mark unread, the kernel resets it, whoever held it. Whoever takes the connection takes the
 * mark out first.
 *
 * AF_UNIX carries no message that exceeds the socket's buffer. So a long message of a seqpacket
 * connection passes as its *front*, its first bytes. A sealed memfd with the whole message is
 * beside it. Thus a plain recv gets the beginning of a message that is too long, as from any
 * seqpacket socket. From libidc a message is long from HANDOVER_INLINE_MAX + 1 bytes on, from the
 * daemon to a program from HANDOVER_PLAIN_MAX + 1 bytes on. A front has one of three lengths:
 *      HANDOVER_PLAIN_MAX    from the daemon to a program
 *      HANDOVER_INLINE_MAX   from program to program, within a domain
 *      HANDOVER_FRONT_SHORT  to the daemon, which always takes the whole message
 * Where the socket's buffer cannot carry that, the next shorter one is taken.
 */
#ifndef IDC_HANDOVER_H
#define IDC_HANDOVER_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "idc.h"

#define HANDOVER_TAKEN 'a'
#define HANDOVER_INLINE_MAX (128u * 1024)
#define HANDOVER_PLAIN_MAX (320u * 1024)
/* It never fills a buffer while it is held (link_mgr/program/endpoint_room.c). */
#define HANDOVER_FRONT_SHORT 192u
/* SO_SNDBUF of a socket that has to send messages of HANDOVER_PLAIN_MAX as they are. The kernel
 * doubles it, counts some 332,000 bytes for such a message, and must have room for one when there
 * is another. It is no more than everybody may have (net.core.wmem_max). */
#define HANDOVER_PLAIN_BUFFER 166200
/* SO_SNDBUF of a program's end of a stream. The kernel doubles it, and wakes a writer only when at
 * most a quarter of that is taken. The block that link_mgr holds (link_mgr/program/endpoint.h)
 * takes up to 64 KiB. It is no more than everybody may have. */
#define HANDOVER_STREAM_BUFFER 212992
#define HANDOVER_WAITING_SIZE (16 + IDC_SERVICE_MAX + 1)
#define HANDOVER_FDS_MAX 4
#define HANDOVER_SERIAL_BITS 48

/* What the name of the daemon's end says, seen from the program. For a listener peer is zero. */
struct handover_name {
    uint64_t serial; /* HANDOVER_SERIAL_BITS bits */
    bool listener;
    bool local_only;       /* a listener for this domain's own programs */
    struct idc_addr local; /* uid is not kept: -1 */
    struct idc_addr peer;
};

/* Binds fd: the daemon's end, or, for a connection within a domain, each end with the other's view.
 * 0 or negative errno. */
int handover_bind(int fd, const struct handover_name *name);
/* Reads the name of fd's peer. 0, -ENOTSOCK, or -EINVAL when the name is not one of ours. */
int handover_name(int fd, struct handover_name *name);

/* One sendmsg (MSG_NOSIGNAL | flags) with up to HANDOVER_FDS_MAX descriptors. Bytes sent or
 * negative errno. */
ssize_t handover_send(int sock, const void *buf, size_t len, const int *fds, int count, int flags);
/* As handover_send, with the bytes from several places. */
ssize_t handover_sendv(int sock, const struct iovec *parts, int part_count, const int *fds,
                       int count, int flags);
/* One recvmsg (MSG_CMSG_CLOEXEC | flags); *count is the room in fds, and then the number that came.
 * Descriptors that do not fit are closed. */
ssize_t handover_recv(int sock, void *buf, size_t len, int *fds, int *count, int flags);
/* Whoever gives recvmsg a control buffer passes what came in it to this function, and no descriptor
 * is forgotten. The first `room` descriptors that were sent go to fds; all others are closed.
 * Returns how many were sent and arrived. Also closed are descriptors of the sender's process
 * (SO_PASSPIDFD): a program may ask for them at an end that it has given to the daemon. */
int handover_take_fds(struct msghdr *message, int *fds, int room);

/* The message on a listener, HANDOVER_WAITING_SIZE bytes. decode: 0 or -EINVAL. marked: the mark is
 * in the connection. */
void handover_encode_waiting(uint8_t out[HANDOVER_WAITING_SIZE], const struct idc_addr *peer,
                             bool marked);
int handover_decode_waiting(const uint8_t *in, size_t len, struct idc_addr *peer, bool *marked);
/* Takes the mark out of a connection. 0, -EPROTO: there is none, or what recv failed with. */
int handover_take_mark(int fd);

/* Takes the next waiting connection off a listener and tells the daemon so. Returns its descriptor,
 * or negative errno: -ECONNABORTED when the listener was ended, -EMFILE (with nothing taken) when
 * the process may open no more. flags are those of recv(2). It may wait, even with MSG_DONTWAIT,
 * while the listener's socket is full of answers. The daemon itself has to read them, so it asks
 * first (POLLOUT). */
int handover_accept(int listener, struct idc_addr *peer, int flags);

/*
 * Makes room in the send buffer of the program's end of a seqpacket connection, so that the latest
 * message can stay unread (link_mgr/program/endpoint.h). The kernel wakes a writer only when its
 * sent bytes take at most a quarter of its buffer. If they take more, link_mgr lets the message go.
 * Without CAP_NET_ADMIN the room is no more than net.core.wmem_max allows.
 */
void handover_make_room(int fd);

/* Makes room for a program's end of a stream: HANDOVER_STREAM_BUFFER, unless sockets have more by
 * default. fd is new. */
void handover_make_stream_room(int fd);

/* Is a message the front of a long one? It has len bytes, of which the first `there` are in bytes,
 * and fd is the only descriptor beside it (-1: none, or several). Returns the length of the whole
 * message, which can be read from fd and never changes, or 0. */
size_t handover_front(const uint8_t *bytes, size_t there, size_t len, int fd);
/* Is len the length of a front? */
bool handover_may_be_front(size_t len);
/* One whole message of a seqpacket connection, by memfd when it is long; used by libidc and for RPC
 * handles. send returns the length or negative errno (EAGAIN when the socket is full and does not
 * block). recv returns the number of bytes put in buf (the rest is lost); *length gets the
 * message's own length. It returns HANDOVER_END at the end, or negative errno: EMFILE, with nothing
 * lost, if there is no descriptor for a long one. flags are those of send(2) and recv(2). */
#define HANDOVER_END (-ESHUTDOWN)
ssize_t handover_send_message(int sock, const void *buf, size_t len, int flags);
/* As handover_send_message, but always by memfd, and from several places that have len bytes
 * together. len is more than HANDOVER_FRONT_SHORT. */
ssize_t handover_send_by_memfd(int sock, const struct iovec *spans, size_t count, size_t len,
                               int flags);
ssize_t handover_recv_message(int sock, void *buf, size_t len, int flags, size_t *length);

#endif
