/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "channels/foreign.h"

#include <errno.h>
#include <stdint.h>
#include <sys/socket.h>

#include "common/guard.h"
#include "common/handover.h"
#include "link_mgr/base/closer.h"
#include "link_mgr/base/log.h"

#define RIGHTS_MAX 253 /* SCM_MAX_FD of the kernel */
#define END_MS 1000

int foreign_begin(void)
{
    log_set_program("idc");
    return closer_start();
}

bool foreign_flush(void)
{
    return closer_flush();
}

void foreign_end(void)
{
    closer_stop(END_MS);
}

bool foreign_refuse(int fd)
{
    return guard_begin(fd);
}

static uint32_t foreign_uid(int fd)
{
    struct ucred peer = {.uid = (uid_t)-1};
    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &(socklen_t){sizeof(peer)});
    return peer.uid;
}

static void foreign_drop(int fd, const int *fds, int count)
{
    uint32_t uid = foreign_uid(fd);
    for (int i = 0; i < count; i++)
        closer_close(fds[i], uid);
}

ssize_t foreign_recv(int fd, struct iovec *parts, size_t count)
{
    union {
        struct cmsghdr header;
        char space[HANDOVER_CONTROL_SIZE];
    } control;
    struct msghdr message = {.msg_iov = parts,
                             .msg_iovlen = count,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};
    int fds[RIGHTS_MAX];
    ssize_t got = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (got < 0)
        return -errno;
    if (message.msg_controllen == 0)
        return got;
    int came = handover_take_fds(&message, fds, RIGHTS_MAX);
    foreign_drop(fd, fds, came < RIGHTS_MAX ? came : RIGHTS_MAX);
    return came > 0 || (message.msg_flags & MSG_CTRUNC) ? -EPERM : got;
}

void foreign_close(int fd)
{
    closer_close(fd, foreign_uid(fd));
}
