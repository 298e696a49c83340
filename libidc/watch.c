/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * watch.c - idc_peer_timeout. Only the link_mgr that has the connection can watch the other one.
 * Within a domain there is nothing to watch: there the kernel joins the two programs.
 */
#include <errno.h>
#include <string.h>

#include "common/handover.h"
#include "libidc/internal.h"

#define WATCH_MS 5000

static int watch_call(int fd, uint64_t serial, int ms)
{
    struct compact_writer call;
    const char *path = libidc_path_of_maker(fd);
    if (path == NULL) {
        if (libidc_maker_is_gone(fd))
            return 0; /* the connection is over */
        path = libidc_socket_path(NULL);
    }
    compact_begin(&call, COMPACT_CALL, "idc.peer_timeout");
    compact_put_number(&call, "serial", (int64_t)serial);
    compact_put_number(&call, "peer_timeout_ms", ms);
    compact_put_boolean(&call, "shown", true); /* the program may have changed its uid */
    if (libidc_call_with(path, &call, WATCH_MS, &fd, 1, NULL, NULL) == 0)
        return 0;
    if (errno == ENOENT && libidc_maker_is_gone(fd))
        return 0;
    return errno == ENOSYS ? libidc_fail(EINVAL, "this link_mgr is older than peer timeouts") : -1;
}

int idc_peer_timeout(int fd, int milliseconds)
{
    struct handover_name name;
    if (libidc_check_peer_timeout(milliseconds) < 0)
        return -1;
    int error = handover_name(fd, &name);
    if (error == -EBADF || error == -ENOTSOCK)
        return libidc_fail(-error, "descriptor %d: %s", fd, strerror(-error));
    if (error < 0 || name.listener)
        return libidc_fail(EINVAL, "descriptor %d is not a connection of IDC's", fd);
    if (name.local.domid == name.peer.domid)
        return 0;
    return watch_call(fd, name.serial, milliseconds);
}
