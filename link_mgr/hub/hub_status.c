/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What `idc status` shows: the core's objects, and what the hub knows in addition. */
#include "link_mgr/hub/hub_private.h"

void hub_visit(struct hub *hub, const struct status_visitor *visitor)
{
    core_visit(hub->core, visitor);
    visitor->counter(visitor->arg, &(struct status_counter){"within_domain", hub->joined});
    visitor->counter(visitor->arg,
                     &(struct status_counter){"listens_refused", hub->listens_refused});
    visitor->counter(visitor->arg,
                     &(struct status_counter){"listeners_revoked", hub->listeners_revoked});
}

int hub_domid(const struct hub *hub)
{
    return hub->core->domid;
}

const char *hub_platform(const struct hub *hub)
{
    return hub->host.ops->name;
}
