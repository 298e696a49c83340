/* SPDX-License-Identifier: GPL-2.0-or-later */
/* descriptor.c - see descriptor.h. */
#include "link_mgr/rpc/descriptor.h"

#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "common/guard.h"

bool rpc_params_want_fd(struct rpc_params *params)
{
    bool wanted = rpc_params_bool(params, "fd", false);
    if (wanted && !params->call->session->transport->descriptors)
        rpc_params_refuse(
            params, "member \"fd\": a descriptor cannot travel over plain HTTP (docs/rpc.md, 4)");
    if (wanted && params->call->multicall)
        rpc_params_refuse(params, "member \"fd\" is not for a system.multicall");
    return wanted;
}

static int socket_option(int fd, int option)
{
    int value = -1;
    socklen_t len = sizeof(value);
    return getsockopt(fd, SOL_SOCKET, option, &value, &len) == 0 ? value : -1;
}

/* The ends of a socket pair have no names. The ends of connections to us, and of connections that
 * we made, have peers with names. As a far end they would make a loop that outlives the client. */
static bool has_nameless_peer(int fd)
{
    struct sockaddr_un address = {0};
    socklen_t len = sizeof(address);
    return getpeername(fd, (struct sockaddr *)&address, &len) == 0 &&
           address.sun_family == AF_UNIX && len <= offsetof(struct sockaddr_un, sun_path);
}

bool rpc_is_fitting_end(int fd, enum idc_type type)
{
    int wanted = type == IDC_SEQPACKET ? SOCK_SEQPACKET : SOCK_STREAM;
    return guard_is_unix(fd) && socket_option(fd, SO_TYPE) == wanted && has_nameless_peer(fd);
}

int rpc_take_fd(struct rpc_call *call, int at)
{
    bool there = at >= 0 && at < call->fd_count;
    int fd = there ? call->fds[at] : -1;
    if (there)
        call->fds[at] = -1;
    return fd;
}
