/* SPDX-License-Identifier: GPL-2.0-or-later */
/* method_domain.c - idc.domid and idc.resolve: which domain this is, and which one a name means. */
#include "link_mgr/rpc/methods.h"
#include "link_mgr/rpc/value.h"

static void domain_reply(struct rpc_call *call, uint32_t domid)
{
    struct hub_domain domain = hub_domain_of(call->session->server->hub, domid);
    struct rpc_struct s;
    rpc_struct_begin(&s, call);
    rpc_struct_int(&s, "domid", domid);
    rpc_struct_text(&s, "name", domain.name);
    rpc_struct_text(&s, "uuid", domain.uuid);
    rpc_struct_reply(&s);
}

void rpc_do_domid(struct rpc_call *call, struct rpc_params *params)
{
    (void)params;
    domain_reply(call, (uint32_t)hub_domid(call->session->server->hub));
}

void rpc_do_resolve(struct rpc_call *call, struct rpc_params *params)
{
    struct naming naming;
    char why[HUB_WHY_MAX] = "";
    uint32_t domid = 0;
    rpc_params_domain(params, &naming);
    if (!rpc_params_ok(params))
        return;
    int error = hub_resolve(call->session->server->hub, &naming, &domid, why);
    if (error < 0)
        rpc_fault(call, -error, "%s", why);
    else
        domain_reply(call, domid);
}
