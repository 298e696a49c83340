/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>

#include "common/handover.h"
#include "libidc/internal.h"

static int read_name(int fd, struct handover_name *name)
{
    int error = handover_name(fd, name);
    if (error < 0)
        return libidc_fail(-error, "descriptor %d is not one of IDC's", fd);
    return 0;
}

int idc_getsockname(int fd, struct idc_addr *address)
{
    struct handover_name name;
    if (read_name(fd, &name) < 0)
        return -1;
    *address = name.local;
    return 0;
}

int idc_getpeername(int fd, struct idc_addr *address)
{
    struct handover_name name;
    if (read_name(fd, &name) < 0)
        return -1;
    if (name.listener)
        return libidc_fail(ENOTCONN, "descriptor %d is a listener", fd);
    *address = name.peer;
    return 0;
}
