/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * foreign.h - what a program may put into a Unix socket besides bytes: descriptors.
 *
 * Theory of operation
 *
 * The last close of a descriptor may take for ever (docs/design.md, "Descriptors that programs
 * send"). The kernel does it where a socket is read or closed that the descriptor was sent through.
 * That would hold up all other connections of the process. Descriptors can't pass a bridge, so none
 * is wanted, and there are three defences:
 *
 * * Since Linux 6.16 a socket can refuse them, and the sender gets EPERM. What listens, what
 *   connects to a Unix socket and what a command gets do so before anybody can send (the kernel
 *   hands it down from a listener to what it accepts).
 * * What cannot refuse them is read with room for all that may come. They are closed by threads
 *   (link_mgr/base/closer.h), and the connection is cut off with EPERM.
 * * Such a socket is itself closed by these threads, since something may be in its queue. One that
 *   has refused them from the beginning is closed at once.
 *
 * Each close is charged to the user at the other end of the socket, as the kernel knows him. So a
 * user's slow closes delay only closes of that user. Those who are connected to by IDC count as
 * this process's own user, who made the socket.
 *
 * Where foreign_begin was not called, everything is closed at once.
 */
#ifndef IDC_CHANNELS_FOREIGN_H
#define IDC_CHANNELS_FOREIGN_H

#include <stdbool.h>
#include <sys/types.h>
#include <sys/uio.h>

#define FOREIGN_AGAIN_MS 50

/* 0 or negative errno: no thread can be made. */
int foreign_begin(void);
/* In each turn of the loop. True: something waits, and there has to be another turn within
 * FOREIGN_AGAIN_MS. */
bool foreign_flush(void);
/* Waits for a second at most; the end of the process closes the rest. */
void foreign_end(void);

/* The socket takes no descriptors from now on, nor does what it accepts. False: the kernel does not
 * have that. */
bool foreign_refuse(int fd);
/* Takes bytes out of a Unix socket, without waiting: how many, 0 at the end, or negative errno.
 * -EPERM: descriptors came with them. */
ssize_t foreign_recv(int fd, struct iovec *parts, size_t count);
/* Closes a Unix socket. Its other end may notice that a moment later. */
void foreign_close(int fd);

#endif
