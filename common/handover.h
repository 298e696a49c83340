/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * handover.h - what passes between link_mgr and libidc besides RPC: descriptors, the names of
 * sockets, and the messages on a listener.
 *
 * A connection is a socket pair. The daemon binds its own end to an abstract Unix address that
 * encodes both addresses of the connection, so the program's end tells them by getpeername(2):
 * after dup, fork and exec too, with no table in the library and no question to the daemon. The
 * name is 27 bytes of binary and the service name, 107 bytes at most.
 *
 * A listener is a SOCK_SEQPACKET pair. For each connection that waits the daemon sends one message
 * (struct handover_waiting, encoded) with the connection's descriptor beside it. The program
 * answers each that it took with one byte HANDOVER_TAKEN, or ends the listener for all who share it
 * by shutdown(SHUT_WR), upon which the daemon closes its end.
 *
 * Whatever ends a connection that no program has taken must be seen as a reset at its other end.
 * One from another domain is the daemon's to reset. One within the domain has no daemon at either
 * end, so it comes with one byte in it, the mark (which the message tells of): closed with that
 * unread, it is reset by the kernel, whoever held it. Who takes the connection takes the mark out
 * first.
 *
 * A message of a seqpacket connection that is longer than HANDOVER_INLINE_MAX passes from libidc to
 * the daemon, and one that is longer than HANDOVER_PLAIN_MAX from the daemon to a program, as a
 * stub (HANDOVER_STUB_SIZE bytes: HANDOVER_STUB_MAGIC, length as 32-bit little-endian, zeros) with
 * a memfd of exactly that length beside it, since AF_UNIX carries no message that exceeds the
 * socket's buffer.
 */
#ifndef IDC_HANDOVER_H
#define IDC_HANDOVER_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "idc.h"

#define HANDOVER_TAKEN 'a'
#define HANDOVER_INLINE_MAX (128u * 1024)
#define HANDOVER_PLAIN_MAX (320u * 1024)
/* SO_SNDBUF of who is to send messages of HANDOVER_PLAIN_MAX without a stub; the kernel doubles it,
 * counts some 332,000 bytes for such a message, and must have room for one when there is another.
 * No more than everybody may have (net.core.wmem_max). */
#define HANDOVER_PLAIN_BUFFER 166200
/* SO_SNDBUF of a program's end of a stream. The kernel doubles it, and wakes a writer only when a
 * quarter of that is taken at most; the block that link_mgr holds (link_mgr/program/endpoint.h)
 * takes up to 64 KiB. No more than everybody may have. */
#define HANDOVER_STREAM_BUFFER 212992
#define HANDOVER_STUB_SIZE 16
#define HANDOVER_STUB_MAGIC "IDCmemfd"
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

/* Binds fd (the daemon's end, or for a connection within a domain each end, with the other's view).
 * 0 or negative errno. */
int handover_bind(int fd, const struct handover_name *name);
/* Reads the name of fd's peer. 0, -ENOTSOCK, or -EINVAL when it is none of ours. */
int handover_name(int fd, struct handover_name *name);

/* One sendmsg (MSG_NOSIGNAL | flags) with up to HANDOVER_FDS_MAX descriptors. Bytes sent or
 * negative errno. */
ssize_t handover_send(int sock, const void *buf, size_t len, const int *fds, int count, int flags);
/* The same from several places. */
ssize_t handover_sendv(int sock, const struct iovec *parts, int part_count, const int *fds,
                       int count, int flags);
/* One recvmsg (MSG_CMSG_CLOEXEC | flags); *count is the room in fds, then how many came. More than
 * that are closed. */
ssize_t handover_recv(int sock, void *buf, size_t len, int *fds, int *count, int flags);

/* The message on a listener, HANDOVER_WAITING_SIZE bytes. decode: 0 or -EINVAL. marked: the mark is
 * in it. */
void handover_encode_waiting(uint8_t out[HANDOVER_WAITING_SIZE], const struct idc_addr *peer,
                             bool marked);
int handover_decode_waiting(const uint8_t *in, size_t len, struct idc_addr *peer, bool *marked);
/* Takes the mark out of a connection. 0, -EPROTO: there is none, or what recv failed with. */
int handover_take_mark(int fd);

/* Takes the next waiting connection off a listener and tells the daemon so. Its descriptor, or
 * negative errno: -ECONNABORTED when the listener was ended, -EMFILE (with nothing taken) when the
 * process may open no more. flags as for recv(2). May wait, even with MSG_DONTWAIT, while the
 * listener's socket is full of answers: the daemon itself, which has to read them, asks first
 * (POLLOUT). */
int handover_accept(int listener, struct idc_addr *peer, int flags);

/*
 * Room in the send buffer of the program's end of a seqpacket connection, so that the
 * latest message can stay unread (link_mgr/program/endpoint.h): the kernel wakes a writer only when
 * what it has sent takes no more than a quarter of its buffer, and else link_mgr lets it go.
 * Without CAP_NET_ADMIN it is no more than net.core.wmem_max allows.
 */
void handover_make_room(int fd);

/* The same for a program's end of a stream: HANDOVER_STREAM_BUFFER, unless sockets have more by
 * default. fd is fresh. */
void handover_make_stream_room(int fd);

/* Is a message with the descriptor fd (-1: none) the stub of a long one? 0: no; 1: yes, of *total
 * bytes, which can be read from fd and never change; -EPROTO: it claims to be, but fd is not such a
 * file. */
int handover_stub(const uint8_t *message, size_t len, int fd, size_t *total);
/* Has it a stub's bytes? */
bool handover_is_stub(const uint8_t *message, size_t len);
/* One whole message of a seqpacket connection, by memfd when it is long; used by libidc and for
 * RPC handles. send: length or negative errno (EAGAIN when the socket is full and does not block).
 * recv: bytes put in buf (the rest is lost), and *length the message's own; HANDOVER_END at the
 * end; negative errno: EMFILE, with nothing lost, if there is no descriptor for a long one. flags
 * as for send(2) and recv(2). */
#define HANDOVER_END (-ESHUTDOWN)
ssize_t handover_send_message(int sock, const void *buf, size_t len, int flags);
/* As handover_send_message, from several places of len bytes together, and by memfd however short
 * it is. */
ssize_t handover_send_by_memfd(int sock, const struct iovec *spans, size_t count, size_t len,
                               int flags);
ssize_t handover_recv_message(int sock, void *buf, size_t len, int flags, size_t *length);

#endif
