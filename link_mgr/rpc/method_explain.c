/* SPDX-License-Identifier: GPL-2.0-or-later */
/* method_explain.c - idc.explain: what would become of a connect, as far as this side decides. */
#include "link_mgr/rpc/methods.h"
#include "link_mgr/rpc/value.h"

static void explain_reply(struct rpc_call *call, const struct hub_prospect *prospect)
{
    struct rpc_struct s;
    rpc_struct_begin(&s, call);
    rpc_struct_int(&s, "domid", prospect->domid);
    rpc_struct_text(&s, "by", prospect->by);
    rpc_struct_text(&s, "rule", prospect->rule);
    rpc_struct_bool(&s, "perhaps", prospect->perhaps);
    rpc_struct_int(&s, "errno", prospect->error);
    rpc_struct_text(&s, "why", prospect->why);
    rpc_struct_int(&s, "connections", (int64_t)prospect->connections);
    rpc_struct_int(&s, "connections_max", (int64_t)prospect->connections_max);
    rpc_struct_text(&s, "link", prospect->link);
    rpc_struct_bool(&s, "present", prospect->present);
    rpc_struct_text(&s, "link_error", prospect->link_error);
    rpc_struct_reply(&s);
}

void rpc_do_explain(struct rpc_call *call, struct rpc_params *params)
{
    struct hub_connect request = {.caller = call->session->caller, .far_end = -1, .held_end = -1};
    struct hub_prospect prospect;
    char why[HUB_WHY_MAX] = "";
    rpc_params_domain(params, &request.to);
    request.port = (uint32_t)rpc_params_int(params, "port", 1, UINT32_MAX, 0);
    rpc_params_service(params, "name", request.name);
    request.type = rpc_params_type(params);
    if ((request.port != 0) == (request.name[0] != '\0'))
        rpc_params_refuse(params, "needs either \"port\" or \"name\"");
    if (!rpc_params_ok(params))
        return;
    int error = hub_prospect(call->session->server->hub, &request, &prospect, why);
    if (error < 0)
        rpc_fault(call, -error, "%s", why);
    else
        explain_reply(call, &prospect);
}
