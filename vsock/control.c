/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * control.c - ioctl(2), shutdown(2), and /dev/vsock, which may not exist. A program that opens it
 * gets a descriptor of /dev/null, on which we answer its one request.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <linux/sockios.h>

#include "libidc/internal.h"
#include "vsock/vsock.h"

#define CALL_MS 5000
#define DEVICE "/dev/vsock"
#define STAND_IN "/dev/null"

int vsock_shutdown(int fd, const struct vsock_socket *socket, int how)
{
    if (socket->state == VSOCK_CONNECTED || socket->state == VSOCK_CONNECTING)
        return vsock_next()->shutdown(fd, how);
    errno = ENOTCONN;
    return -1;
}

/* ---- /dev/vsock ---- */

bool vsock_is_device(const char *path)
{
    return path != NULL && path[0] == '/' && strcmp(path, DEVICE) == 0;
}

const char *vsock_real_path(const char *path)
{
    return vsock_is_device(path) ? STAND_IN : path;
}

int vsock_open_device(int flags)
{
    return vsock_next()->open(STAND_IN, flags & (O_ACCMODE | O_CLOEXEC | O_NONBLOCK));
}

/* We keep no state, because exec would lose it. Nothing else makes this request of a null
 * device. */
static bool is_device(int fd)
{
    struct stat status;
    return fstat(fd, &status) == 0 && S_ISCHR(status.st_mode) && status.st_rdev == makedev(1, 3);
}

static int give_cid(unsigned *cid)
{
    if (cid == NULL) {
        errno = EFAULT;
        return -1;
    }
    *cid = vsock_own_cid();
    return 0;
}

/* ---- ioctl ---- */

/* The bytes that link_mgr has not yet taken. Only link_mgr knows: it always leaves something in the
 * socket, and the kernel counts the memory that it has spent on the bytes. Within the domain, bytes
 * that are sent are at once in the other program's hands, read or not. */
static int ask_unsent(int fd, const struct handover_name *name, int *out)
{
    struct compact_writer call;
    struct libidc_answer answer;
    *out = 0;
    if (name->local.domid == name->peer.domid)
        return 0;
    compact_begin(&call, COMPACT_CALL, "idc.unsent");
    compact_put_number(&call, "serial", (int64_t)name->serial);
    compact_put_boolean(&call, "shown", true); /* the program may have changed its uid */
    if (libidc_call_with(libidc_socket_path(NULL), &call, CALL_MS, &fd, 1, &answer, NULL) == 0)
        *out = (int)libidc_answer_int(&answer, "bytes", 0);
    return 0; /* do so even when the connection or link_mgr is gone */
}

static int control_unsent(int fd, const struct vsock_socket *socket, int *out)
{
    if (socket->state == VSOCK_LISTENING) {
        errno = EINVAL;
        return -1;
    }
    *out = 0;
    return socket->state == VSOCK_CONNECTED ? ask_unsent(fd, &socket->name, out) : 0;
}

bool vsock_ioctl(int fd, unsigned long request, void *argument, int *result)
{
    struct vsock_socket socket;
    if (request == IOCTL_VM_SOCKETS_GET_LOCAL_CID && is_device(fd)) {
        *result = give_cid(argument);
        return true;
    }
    enum vsock_mark mark = vsock_mark(fd);
    if ((mark != VSOCK_UNKNOWN && mark != VSOCK_OURS) || argument == NULL ||
        !vsock_look(fd, &socket))
        return false;
    if (request == SIOCOUTQ) {
        *result = control_unsent(fd, &socket, argument);
        return true;
    }
    if (request == FIONREAD && (socket.state == VSOCK_FRESH || socket.state == VSOCK_LISTENING)) {
        *(int *)argument = 0; /* the bytes there are not the program's */
        *result = 0;
        return true;
    }
    return false;
}
