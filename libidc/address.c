/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>

#include "common/connecting.h"
#include "common/handover.h"
#include "libidc/internal.h"

/* A connect that is under way, or that has failed, has no addresses yet. It may get its name
 * between two looks, so its outcome decides. */
static int address_name(int fd, struct handover_name *name)
{
    char why[CONNECTING_WHY_MAX];
    int error = handover_name(fd, name);
    int outcome = error == -EINVAL ? connecting_outcome(fd, why) : CONNECTING_NONE;
    if (outcome == 0)
        error = handover_name(fd, name);
    else if (outcome != CONNECTING_NONE)
        return libidc_fail(ENOTCONN, "descriptor %d is not connected", fd);
    if (error == -EBADF)
        return libidc_fail(EBADF, "%d is not an open descriptor", fd);
    if (error < 0)
        return libidc_fail(-error, "descriptor %d is not one of IDC's", fd);
    return 0;
}

static int address_give(int fd, const struct idc_addr *from, struct idc_addr *address)
{
    if (address == NULL)
        return libidc_fail(EFAULT, "there is no room for the address of descriptor %d: NULL", fd);
    *address = *from;
    return 0;
}

int idc_getsockname(int fd, struct idc_addr *address)
{
    struct handover_name name;
    return address_name(fd, &name) < 0 ? -1 : address_give(fd, &name.local, address);
}

int idc_getpeername(int fd, struct idc_addr *address)
{
    struct handover_name name;
    if (address_name(fd, &name) < 0)
        return -1;
    if (name.listener)
        return libidc_fail(ENOTCONN, "descriptor %d is a listener", fd);
    return address_give(fd, &name.peer, address);
}
