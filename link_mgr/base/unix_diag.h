/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * unix_diag.h - what the kernel knows of the other end of a Unix socket pair (sock_diag(7)).
 *
 * No privilege is needed. The kernel answers only for the network namespace in which the asking
 * socket was made. So there may be two of these: link_mgr's own, for the pairs that it makes, and
 * one that was opened where the programs are. systemd opens that one when it starts link_mgr in a
 * network namespace of its own (dist/link_mgr.socket). A kernel built without CONFIG_UNIX_DIAG does
 * not answer at all. Each question is two system calls that do not wait. Inode numbers of sockets
 * are the kernel's, and not a namespace's.
 */
#ifndef IDC_UNIX_DIAG_H
#define IDC_UNIX_DIAG_H

#include <stdbool.h>
#include <stdint.h>

/* The bytes that a socket has sent and nobody has consumed, as the kernel charges them; and its
 * SO_SNDBUF. */
struct unix_diag_memory {
    uint32_t charged;
    uint32_t send_buffer;
};

/* A quarter of the smallest buffer that the kernel allows (4,608 bytes); and the length for which
 * the kernel charges no more than that. */
#define UNIX_DIAG_CHARGE_SURE 1152
#define UNIX_DIAG_BATCH_SURE 192

/* Sockets that are asked one after the other; -1: there is none. */
struct unix_diag {
    int own;   /* closed by unix_diag_close */
    int given; /* see unix_diag_inherit */
};

/* To be called once, before other descriptors are opened: looks among the descriptors that systemd
 * has passed (sd_listen_fds(3)) for a socket for these questions. Later unix_diag_open uses it. */
void unix_diag_inherit(void);
void unix_diag_open(struct unix_diag *diag);
void unix_diag_close(struct unix_diag *diag);
/* The inode of fd's peer, or a negative errno. */
int64_t unix_diag_peer(const struct unix_diag *diag, int fd);
/* 0 or a negative errno: -ENOENT when there is no such socket (any more, or in these namespaces),
 * -EBADF if there is nobody to ask. */
int unix_diag_memory(const struct unix_diag *diag, uint32_t inode, struct unix_diag_memory *memory);
/* Does the kernel wake this socket's writer, and let it poll writable? */
bool unix_diag_writable(const struct unix_diag_memory *memory);
/* A block that was seen no longer grows, except before Linux 6.5, where sendfile may add pages to
 * it. */
bool unix_diag_blocks_grow(void);
/* The bytes that a socket's program has not read yet; errors are the same. */
int64_t unix_diag_unread(const struct unix_diag *diag, uint32_t inode);

#endif
