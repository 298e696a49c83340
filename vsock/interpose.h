/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * interpose.h - shared by interpose.c, interpose_receive.c and interpose_path.c. It declares the
 * functions that a program calls in place of the C library's, and has questions that most of them
 * ask.
 */
#ifndef IDC_VSOCK_INTERPOSE_H
#define IDC_VSOCK_INTERPOSE_H

#include <errno.h>

#include "vsock/vsock.h"

/* In C they have names of their own, and the program finds them under the usual names. So the
 * headers' declarations, with unions and inline functions, do not get in the way.
 * NOLINTNEXTLINE(bugprone-macro-parentheses): they are no expressions */
#define X(name, type, parameters) \
    __attribute__((visibility("default"))) type on_##name parameters __asm__(#name);
VSOCK_FUNCTIONS(X)
#undef X

static inline bool interpose_is_ours(int fd, struct vsock_socket *socket)
{
    enum vsock_mark mark = vsock_mark(fd);
    return (mark == VSOCK_OURS || mark == VSOCK_UNKNOWN) && fd >= 0 && vsock_look(fd, socket);
}

static inline void interpose_forget(int fd)
{
    struct vsock_entry *entry = fd >= 0 ? vsock_entry(fd) : NULL;
    if (entry != NULL)
        atomic_store_explicit(&entry->mark, VSOCK_UNKNOWN, memory_order_relaxed);
}

/* Has a call on fd returned an error that vsock does not know, and that the next call will not
 * return? Then the next call's result is the one to return. */
static inline bool interpose_try_again(int fd, ssize_t result)
{
    return __builtin_expect(result < 0 && errno == ECONNRESET, 0) && vsock_is_reset_within(fd);
}

#endif
