/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* guard.c - see guard.h. */
#include "common/guard.h"

#include <errno.h>
#include <sys/socket.h>

/* Since Linux 6.16. */
#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83
#endif

bool guard_is_unix(int fd)
{
    int domain = -1;
    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &(socklen_t){sizeof(domain)}) == 0 &&
           domain == AF_UNIX;
}

static bool guard_set(int fd, int pass)
{
    static bool unknown; /* to the kernel, which is asked once */
    if (unknown)
        return false;
    bool set = setsockopt(fd, SOL_SOCKET, SO_PASSRIGHTS, &pass, sizeof(pass)) == 0;
    unknown = !set && errno == ENOPROTOOPT;
    return set;
}

bool guard_begin(int fd)
{
    return guard_set(fd, 0);
}

void guard_end(int fd)
{
    guard_set(fd, 1);
}
