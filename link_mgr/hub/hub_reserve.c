/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hub_reserve.c - ports that a program has taken and does not listen on yet, as bind(2) comes
 * before listen(2) and connect(2).
 *
 * A reservation is a listener with a backlog of 0, which refuses every connection. The program
 * holds its descriptor, and shows it as the proof that the port is its own: to listen on it, or to
 * connect from it.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/guard.h"
#include "common/handover.h"
#include "link_mgr/base/own_error.h"
#include "link_mgr/hub/hub_private.h"
#include "link_mgr/program/acceptor.h"

static struct listener *reserved_by(struct hub *hub, int fd)
{
    struct handover_name name;
    struct listener *listener = NULL;
    if (guard_is_unix(fd) && handover_name(fd, &name) == 0 && name.listener)
        listener = listener_by_port(&hub->core->listeners, name.local.port);
    return listener && listener->backlog == 0 && acceptor_has_end(listener->owner, fd) ? listener
                                                                                       : NULL;
}

uint32_t hub_reserved_port(struct hub *hub, int fd)
{
    const struct listener *listener = reserved_by(hub, fd);
    return listener ? listener->port : 0;
}

int hub_listen_reserved(struct hub *hub, int reservation, int far_end, int backlog,
                        struct hub_listening *result, char why[HUB_WHY_MAX])
{
    struct listener *listener = reserved_by(hub, reservation);
    int error = listener ? acceptor_move(listener->owner, far_end, hub_new_serial(hub)) : -EINVAL;
    if (error) {
        snprintf(why, HUB_WHY_MAX, "%s",
                 listener ? own_error_text(error) : "that is no reservation of a port");
        return own_error(error);
    }
    core_catch_up(hub->core);
    listener->backlog = hub_backlog(backlog);
    *result = (struct hub_listening){.fd = -1, .port = listener->port};
    return 0;
}
