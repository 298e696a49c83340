/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * unix_diag.h - what the kernel knows of the other end of a Unix socket pair (sock_diag(7)).
 *
 * No privilege is needed. The kernel answers only for the asker's network namespace. A kernel built
 * without CONFIG_UNIX_DIAG does not answer at all. Each question is two system calls that do not
 * wait.
 */
#ifndef IDC_UNIX_DIAG_H
#define IDC_UNIX_DIAG_H

#include <stdint.h>

/* The bytes that a socket has sent and nobody has consumed, as the kernel charges them; and its
 * SO_SNDBUF. */
struct unix_diag_memory {
    uint32_t charged;
    uint32_t send_buffer;
};

/* A descriptor for the questions below, or a negative errno. */
int unix_diag_open(void);
/* The inode of fd's peer, or a negative errno. */
int64_t unix_diag_peer(int diag, int fd);
/* 0 or a negative errno: -ENOENT when there is no such socket (any more, or in this namespace). */
int unix_diag_memory(int diag, uint32_t inode, struct unix_diag_memory *memory);

#endif
