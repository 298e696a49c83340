/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * old_kernel.h - a kernel before Linux 6.16, which cannot refuse descriptors (common/guard.h). To
 * be included by one file of a test program. A test that has set old_kernel is on such a one.
 */
#ifndef IDC_OLD_KERNEL_H
#define IDC_OLD_KERNEL_H

#include <errno.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83
#endif

static bool old_kernel;

/* Stands before the C library's. */
int setsockopt(int fd, int level, int optname, const void *optval, socklen_t optlen)
{
    if (old_kernel && level == SOL_SOCKET && optname == SO_PASSRIGHTS) {
        errno = ENOPROTOOPT;
        return -1;
    }
    return (int)syscall(SYS_setsockopt, fd, level, optname, optval, optlen);
}

/* Can this one refuse them? It is asked to: QEMU's user emulation tells the host's value, but can't
 * set it. */
static inline bool kernel_refuses_descriptors(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool known =
        syscall(SYS_setsockopt, fd, SOL_SOCKET, SO_PASSRIGHTS, &(int){0}, sizeof(int)) == 0;
    close(fd);
    return known;
}

#endif
