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
 * A listener is a SOCK_SEQPACKET pair, or a SOCK_STREAM pair that the program has made. In a stream
 * the descriptors keep the daemon's messages apart, and all answers have the same length. For each
 * connection that waits the daemon sends one message (struct handover_waiting, encoded) with the
 * connection's descriptor beside it. The messages have
 * numbers, one after the other. The program answers each connection that it took with
 * HANDOVER_TAKEN and the number of its message. The socket keeps the order, so an answer also says
 * that the messages before that one have left the socket. An answer to nothing ends the listener.
 * By shutdown(SHUT_WR) the program ends the listener for all processes that share it; the daemon
 * then closes its end.
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
 * daemon to a program from HANDOVER_PLAIN_MAX + 1 bytes on. A front has the length that
 * common/front.h finds: to a program at least HANDOVER_PLAIN_MAX, and from program to program,
 * within a domain, at least HANDOVER_INLINE_MAX, where the socket's buffer can carry that. The
 * number of long messages that lie in a socket is bounded by it.
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
#define HANDOVER_TAKEN_SIZE 5 /* HANDOVER_TAKEN, and the number in four bytes */
#define HANDOVER_INLINE_MAX (128u * 1024)
#define HANDOVER_PLAIN_MAX (320u * 1024)
/* SO_SNDBUF of a socket that has to send messages of HANDOVER_PLAIN_MAX as they are. The kernel
 * doubles it, counts some 332,000 bytes for such a message, and must have room for one when there
 * is another. It is no more than everybody may have (net.core.wmem_max). */
#define HANDOVER_PLAIN_BUFFER 166200
/* SO_SNDBUF of a program's end of a stream. The kernel doubles it, and wakes a writer only when at
 * most a quarter of that is taken. The block that link_mgr holds (link_mgr/program/endpoint.h)
 * takes up to 64 KiB. It is no more than everybody may have. */
#define HANDOVER_STREAM_BUFFER 212992
#define HANDOVER_WAITING_SIZE (20 + IDC_SERVICE_MAX + 1)
#define HANDOVER_FDS_MAX 4
/* Control messages that a program may ask for at its end: times, credentials, a label, a descriptor
 * of the sender's process. The kernel puts most of them before the descriptors that were sent. */
#define HANDOVER_CONTROL_OTHER 512
#define HANDOVER_SERIAL_BITS 48
/* Room for all that can come beside a message: 253 descriptors, which is the most that the kernel
 * lets through (SCM_MAX_FD), credentials, a security label. What does not fit would be closed by
 * the kernel before recvmsg returns. */
#define HANDOVER_CONTROL_SIZE 2048

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
/* Is fd, which has a name, the peer of other? Both are Unix sockets. */
bool handover_is_peer_of(int fd, int other);
/* Has fd itself been named as a listener's far end before? */
bool handover_is_named(int fd);

/* How descriptors that came and are not wanted are closed, from now on; at first, by close(2). The
 * daemon must not wait for that (link_mgr/base/closer.h), nor must a server (libidc/aside.c). Call
 * it before there are threads. */
void handover_closes_by(void (*close_one)(int fd));

/* One sendmsg (MSG_NOSIGNAL | flags) with up to HANDOVER_FDS_MAX descriptors. Bytes sent or
 * negative errno. */
ssize_t handover_send(int sock, const void *buf, size_t len, const int *fds, int count, int flags);
/* As handover_send, with the bytes from several places. */
ssize_t handover_sendv(int sock, const struct iovec *parts, int part_count, const int *fds,
                       int count, int flags);
/* One recvmsg (MSG_CMSG_CLOEXEC | flags); *count is the room in fds, and then the number that came.
 * Descriptors that do not fit are closed. */
ssize_t handover_recv(int sock, void *buf, size_t len, int *fds, int *count, int flags);
/* As handover_recv, but that what came is kept when this process has no descriptors left. *lacks:
 * those that did not come were lost. The first ones are there. */
ssize_t handover_recv_lacking(int sock, void *buf, size_t len, int *fds, int *count, int flags,
                              bool *lacks);
/* Whoever gives recvmsg a control buffer passes what came in it to this function, and no descriptor
 * is forgotten. The first `room` descriptors that were sent go to fds; all others are closed.
 * Returns how many were sent and arrived. Also closed are descriptors of the sender's process
 * (SO_PASSPIDFD): a program may ask for them at an end that it has given to the daemon. */
int handover_take_fds(struct msghdr *message, int *fds, int room);

/* The message on a listener. */
struct handover_waiting {
    struct idc_addr peer;
    bool marked;     /* the mark is in the connection */
    uint32_t number; /* 1, 2, and so on; 1 follows UINT32_MAX */
};
void handover_encode_waiting(uint8_t out[HANDOVER_WAITING_SIZE],
                             const struct handover_waiting *waiting);
/* 0 or -EINVAL. */
int handover_decode_waiting(const uint8_t *in, size_t len, struct handover_waiting *waiting);
/* The message's number, even if the rest of it is not sound; 0: it has none. */
uint32_t handover_waiting_number(const uint8_t *in, size_t len);
/* Answers a message, without waiting. 0 or negative errno. */
int handover_tell_taken(int listener, uint32_t number);
/* The number of an answer; 0: it is not an answer. */
uint32_t handover_taken_number(const uint8_t *in, size_t len);
/* Takes the mark out of a connection. 0, -EPROTO: there is none, or descriptors came with it, or
 * what recv failed with. */
int handover_take_mark(int fd);

/* Another message on a listener, without a descriptor: what libidc has to say about a listener that
 * it keeps (libidc/keep.c). error: why it cannot be registered anew; 0: it has been. quiet: only
 * for who asks. */
#define HANDOVER_NOTE_TEXT 240
#define HANDOVER_NOTE_SIZE (9 + HANDOVER_NOTE_TEXT)
struct handover_note {
    int error;
    bool quiet;
    char text[HANDOVER_NOTE_TEXT + 1];
};
/* Sends it to the other end of far_end, without waiting. The text is cut. 0 or negative errno. */
int handover_send_note(int far_end, const struct handover_note *note);

/* Takes the next waiting connection off a listener and tells the daemon so. serial is that of the
 * listener's name. Returns the connection's descriptor, or negative errno: -ECONNABORTED when the
 * listener was ended, -EMFILE (with nothing taken) when the process may open no more, -EBADF when
 * another thread has closed the listener meanwhile. A connection whose client has taken the mark
 * is dropped, and the next one is waited for. flags are those of recv(2). A program
 * may have made the listener's SO_SNDBUF so small that the answer finds no room. Then SO_SNDBUF is
 * set to what all answers need. The call may still wait, even with MSG_DONTWAIT, if the socket is
 * full all the same. Only the daemon reads answers, so it asks first (POLLOUT). */
int handover_accept(int listener, uint64_t serial, struct idc_addr *peer, int flags);
/* The same, but the mark stays in the connection, if there is one. *marked: is it there? If marked
 * is NULL, it is taken out, as above. */
int handover_accept_marked(int listener, uint64_t serial, struct idc_addr *peer, int flags,
                           bool *marked);
/* The same, but a note may come instead: then it returns HANDOVER_NOTED. */
#define HANDOVER_NOTED (-ERESTART)
int handover_accept_noted(int listener, uint64_t serial, struct idc_addr *peer, int flags,
                          bool *marked, struct handover_note *note);

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
/* One whole message of a seqpacket connection, by memfd when it is long; used by libidc and for RPC
 * handles. send returns the length or negative errno: EAGAIN when the socket is full and does not
 * block, ETOOMANYREFS when it does not block and too many descriptors of the user are under way.
 * recv returns the number of bytes put in buf (the rest is lost); *length gets the message's own
 * length. It returns HANDOVER_END at the end, or negative errno: EMFILE, with nothing lost, if
 * there is no descriptor for a long one; EBADF, with nothing taken, if recv has waited and another
 * thread has closed sock meanwhile. flags are those of send(2) and recv(2). */
#define HANDOVER_END (-ESHUTDOWN)
ssize_t handover_send_message(int sock, const void *buf, size_t len, int flags);
/* As handover_send_message, but always by memfd, and from several places that have len bytes
 * together. len is more than FRONT_SHORT. */
ssize_t handover_send_by_memfd(int sock, const struct iovec *spans, size_t count, size_t len,
                               int flags);
ssize_t handover_recv_message(int sock, void *buf, size_t len, int flags, size_t *length);

#endif
