/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * memory.h - the memory of offered channels of the local platform, which outlives them (lent.h).
 *
 * Theory of operation
 *
 * A piece is a memfd that is mapped here. As long as another process maps it, or has the
 * descriptor, the kernel can't use the memory otherwise, and charges it to this process's cgroup.
 *
 * The kernel does not tell who maps a memfd. What it tells is that the peer has closed the socket
 * by which the memory was handed over, or has ended. So this side keeps its end of that socket.
 * While the peer has its own open, the piece is held. link_mgr closes it last, and the kernel does
 * so for a process that is killed. A peer that closes the socket and keeps the memory gets the same
 * memory again for its next link.
 */
#ifndef IDC_LOCAL_MEMORY_H
#define IDC_LOCAL_MEMORY_H

#include "link_mgr/platform/lent.h"

struct shared;

/* Its argument is the struct platform. */
extern const struct lender_ops local_memory;

const struct shared *local_memory_shared(const struct lent *lent);
int local_memory_fd(const struct lent *lent);
/* The channel has ended, which had this socket; takes it over. */
void local_memory_leave_socket(struct lent *lent, int socket);

#endif
