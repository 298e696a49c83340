/* SPDX-License-Identifier: GPL-2.0-or-later */
/* names.h has the contract. */
#include "link_mgr/core/names.h"

#include <string.h>

#include "link_mgr/core/core.h"
#include "link_mgr/core/rules.h"

bool names_next(const struct core *core, unsigned *at, struct names_domain *domain)
{
    const struct rules *rules = core->rules;
    unsigned index = (*at)++;
    if (!rules || index > rules->peer_count)
        return false;
    if (index == 0) {
        *domain = (struct names_domain){(uint32_t)core->domid, rules->name, rules->uuid};
    } else {
        const struct rules_peer *peer = &rules->peers[index - 1];
        *domain = (struct names_domain){peer->domid, peer->name, peer->uuid};
    }
    return true;
}

unsigned names_route(const struct core *core, const char *service, uint32_t domids[NAMES_ROUTE_MAX])
{
    const struct rules *rules = core->rules;
    for (uint32_t i = 0; rules && i < rules->route_count; i++) {
        const struct rules_route *route = &rules->routes[i];
        if (strcmp(route->service, service) != 0)
            continue;
        unsigned count =
            route->domid_count < NAMES_ROUTE_MAX ? route->domid_count : NAMES_ROUTE_MAX;
        memcpy(domids, route->domids, count * sizeof(domids[0]));
        return count;
    }
    return 0;
}
