/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * compile_routes.c - the routes that a domain is given. For each service the first line that fits
 * the domain counts, and none after it. Of that line's domains it is told those that it may know.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "policy/compile_private.h"
#include "policy/ruleset_private.h"

static bool routes_have(const struct ruleset *ruleset, const uint8_t *fits, size_t before,
                        const char *service)
{
    for (size_t i = 0; i < before; i++)
        if (fits[i] && strcmp(ruleset->routes[i].service, service) == 0)
            return true;
    return false;
}

static int routes_add_domid(struct compile_route *route, int domid)
{
    for (size_t i = 0; i < route->count; i++)
        if (route->domids[i] == domid)
            return 0; /* two TOs may mean the same domain */
    if (route->count == RULESET_ROUTE_DOMAINS_MAX)
        return 0; /* several domains of one name */
    int *more = ruleset_more(route->domids, route->count, sizeof(*more));
    if (more == NULL)
        return -ENOMEM;
    route->domids = more;
    route->domids[route->count++] = domid;
    return 0;
}

/* Several domains may have one name: they are tried in the order of their domids. */
static int routes_resolve(const struct compile *compile, const struct compile_view *view,
                          const struct domain_term *term, struct compile_route *route)
{
    int result = 0;
    for (size_t i = 0; result == 0 && i < compile->input.count; i++) {
        size_t domain = compile->order[i];
        const struct ruleset_domain *it = &compile->input.domains[domain];
        if (domain_fits(term, it, NULL) == DOMAIN_YES &&
            (domain == view->domain || compile_view_peer(view, domain) != NULL))
            result = routes_add_domid(route, it->domid);
    }
    return result;
}

static int routes_add(const struct compile *compile, struct compile_view *view, size_t index)
{
    const struct ruleset_route *from = &compile->input.ruleset->routes[index];
    struct compile_route route = {.route = index};
    int result = 0;
    for (unsigned i = 0; result == 0 && i < from->to_count; i++)
        result = routes_resolve(compile, view, &from->to[i], &route);
    struct compile_route *more = NULL;
    if (result == 0 && route.count > 0) {
        more = ruleset_more(view->routes, view->route_count, sizeof(*more));
        result = more == NULL ? -ENOMEM : 0;
    }
    if (more == NULL) {
        free(route.domids);
        return result;
    }
    view->routes = more;
    view->routes[view->route_count++] = route;
    return 0;
}

int compile_view_routes(const struct compile *compile, struct compile_view *view)
{
    const struct ruleset *ruleset = compile->input.ruleset;
    const struct ruleset_domain *it = &compile->input.domains[view->domain];
    uint8_t *groups = calloc(ruleset->group_count + ruleset->route_count + 1, 1);
    int result = 0;
    if (groups == NULL)
        return -ENOMEM;
    uint8_t *fits = groups + ruleset->group_count;
    ruleset_membership(ruleset, it, groups);
    for (size_t i = 0; result == 0 && i < ruleset->route_count; i++) {
        const struct ruleset_route *route = &ruleset->routes[i];
        if (domain_fits(&route->from, it, groups) != DOMAIN_YES)
            continue;
        if (!routes_have(ruleset, fits, i, route->service))
            result = routes_add(compile, view, i);
        fits[i] = 1;
    }
    free(groups);
    return result;
}
