/* SPDX-License-Identifier: GPL-2.0-or-later */
/* method_capture.c - idc.capture: a descriptor from which frames are read (docs/capture.md). */
#include "common/capture.h"
#include "link_mgr/rpc/descriptor.h"
#include "link_mgr/rpc/methods.h"
#include "link_mgr/rpc/value.h"

static void capture_reply(struct rpc_call *call, int fd)
{
    struct rpc_struct s;
    call->fd_out = fd;
    call->fd_own = true;
    rpc_struct_begin(&s, call);
    rpc_struct_int(&s, "version", CAPTURE_VERSION);
    rpc_struct_int(&s, "domid", hub_domid(call->session->server->hub));
    rpc_struct_reply(&s);
}

/* Whose frames. False: the call was answered. */
static bool capture_peer(struct rpc_params *params, struct hub_capture_request *request)
{
    struct naming naming;
    char why[HUB_WHY_MAX] = "";
    if (!rpc_params_has(params, "domid") && !rpc_params_has(params, "domain"))
        return true;
    rpc_params_domain(params, &naming);
    if (!rpc_params_ok(params))
        return false;
    request->one_peer = true;
    int error = hub_resolve(params->call->session->server->hub, &naming, &request->domid, why);
    if (error < 0)
        rpc_fault(params->call, -error, "%s", why);
    return error == 0;
}

void rpc_do_capture(struct rpc_call *call, struct rpc_params *params)
{
    struct hub_capture_request request = {.caller = call->session->caller};
    char why[HUB_WHY_MAX] = "";
    int fd;
    bool want_fd = rpc_params_want_fd(params);
    request.port = (uint32_t)rpc_params_int(params, "port", 0, UINT32_MAX, 0);
    request.data = (uint32_t)rpc_params_int(params, "data", 0, UINT32_MAX, 0);
    if (!want_fd)
        rpc_params_refuse(params, "member \"fd\" must be true, on an upgraded connection");
    if (!rpc_params_ok(params) || !capture_peer(params, &request))
        return;
    int error = hub_capture(call->session->server->hub, &request, &fd, why);
    if (error < 0)
        rpc_fault(call, -error, "%s", why);
    else
        capture_reply(call, fd);
}
