/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * guard.h - sockets to which no program can send descriptors (link_mgr/base/closer.h says why that
 * matters).
 *
 * Since Linux 6.16 a socket can refuse descriptors (SO_PASSRIGHTS): the sender's call fails with
 * EPERM, and nothing is sent. The option belongs to the socket. So it proves something only of a
 * socket that no program has ever held: a program could set it back, or have sent something before.
 * On older kernels the descriptors that come have to be received, and handed to the closer.
 */
#ifndef IDC_GUARD_H
#define IDC_GUARD_H

#include <stdbool.h>

/* Is fd, which came from a program, a Unix socket? This never waits, whatever fd is. Much else may
 * wait: getpeername of a TCP socket does, while somebody holds that socket's lock. */
bool guard_is_unix(int fd);

/* From now on descriptors are refused. False: the kernel cannot do that. A socket that is accepted
 * from a guarded one is guarded. */
bool guard_begin(int fd);
/* From now on they are received. */
void guard_end(int fd);

#endif
