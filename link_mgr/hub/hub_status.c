/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What `idc status` shows: the core's objects, and what the hub knows in addition. */
#include "link_mgr/hub/hub_private.h"

/* The hub reads the programs' answers when somebody asks how many connections wait. */
static void status_look(struct hub *hub)
{
    const struct listener *listener;
    for (int i = 0; i < LISTENER_BUCKETS; i++)
        LIST_FOREACH (listener, &hub->core->listeners.ports[i], by_port)
            acceptor_look(listener->owner);
}

void hub_visit(struct hub *hub, const struct status_visitor *visitor)
{
    status_look(hub);
    core_visit(hub->core, visitor);
    visitor->counter(visitor->arg, &(struct status_counter){"within_domain", hub->joined});
}

int hub_domid(const struct hub *hub)
{
    return hub->core->domid;
}

const char *hub_platform(const struct hub *hub)
{
    return hub->host.ops->name;
}
