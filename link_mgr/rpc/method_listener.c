/* SPDX-License-Identifier: GPL-2.0-or-later */
/* rpc_listener.c - idc.listen, accept, unlisten. */
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/handover.h"
#include "link_mgr/base/own_error.h"
#include "link_mgr/rpc/methods.h"
#include "link_mgr/rpc/handle.h"
#include "link_mgr/rpc/value.h"

#define BACKLOG_DEFAULT 128
/* The hub closes its end in its next turn; this is only in case that it cannot. */
#define UNLISTEN_TIMEOUT_MS 5000

/* ---- listen ---- */

static void reply_listening(struct rpc_call *call, const struct hub_listening *result,
                            enum idc_type type, bool want_fd)
{
    struct rpc_struct s;
    /* The descriptor is -1 when the program has it already. */
    if (!rpc_handle_reply(&s, call, result->fd, want_fd, true, type))
        return;
    rpc_struct_int(&s, "port", result->port);
    rpc_struct_reply(&s);
}

static void read_listen(struct rpc_params *params, struct hub_listen *request)
{
    *request = (struct hub_listen){.caller = params->call->session->caller};
    request->port = (uint32_t)rpc_params_int(params, "port", 0, UINT32_MAX, 0);
    rpc_params_service(params, "name", request->name);
    request->type = rpc_params_type(params);
    request->backlog =
        (int)rpc_params_int(params, "backlog", INT32_MIN, INT32_MAX, BACKLOG_DEFAULT);
    request->local_only = rpc_params_bool(params, "local", false);
    request->reserve = rpc_params_bool(params, "reserve", false);
    request->reset_is_end = rpc_params_bool(params, "reset_is_end", false);
}

/* The port was reserved before, and the descriptor is the program's own: descriptors are its far
 * end and the reservation. */
static void listen_reserved(struct rpc_params *params, const struct hub_listen *request)
{
    struct rpc_call *call = params->call;
    struct hub_listening result = {.fd = -1};
    char why[HUB_WHY_MAX] = "";
    if (rpc_params_has(params, "port") || rpc_params_has(params, "name") || request->reserve ||
        rpc_params_has(params, "local") || rpc_params_has(params, "reset_is_end"))
        rpc_params_refuse(params,
                          "member \"far_end\": the reservation says the port, and for whom it is");
    else if (call->fd_count != 2 || !rpc_is_fitting_end(call->fds[0], request->type))
        rpc_params_refuse(params,
                          "needs an end of an AF_UNIX socket pair of the type, and a reservation");
    if (!rpc_params_ok(params))
        return;
    int far_end = rpc_take_fd(call, 0);
    int error = hub_listen_reserved(call->session->server->hub, call->fds[1], far_end,
                                    request->backlog, &result, why);
    if (error != 0)
        rpc_fault(call, -error, "%s", why);
    else
        reply_listening(call, &result, request->type, true);
}

void rpc_do_listen(struct rpc_call *call, struct rpc_params *params)
{
    struct hub_listen request;
    struct hub_listening result = {.fd = -1};
    char why[HUB_WHY_MAX] = "";

    read_listen(params, &request);
    if (rpc_params_ok(params) && rpc_params_bool(params, "far_end", false)) {
        listen_reserved(params, &request);
        return;
    }
    bool want_fd = rpc_params_want_fd(params);
    if (call->fd_count != 0)
        rpc_params_refuse(params, "%d descriptors came with the call", call->fd_count);
    if (!rpc_params_has(params, "port") && request.name[0] == '\0')
        rpc_params_refuse(params, "needs \"port\" (0: any) or \"name\"");
    if (request.reserve && (request.name[0] != '\0' || !want_fd))
        rpc_params_refuse(params, "member \"reserve\" goes with \"fd\", and without \"name\"");
    if (!rpc_params_ok(params))
        return;
    int error = hub_listen(call->session->server->hub, &request, &result, why);
    if (error != 0)
        rpc_fault(call, -error, "%s", why);
    else
        reply_listening(call, &result, request.type, want_fd);
}

/* ---- accept ---- */

static void reply_accepted(struct rpc_call *call, int fd, const struct idc_addr *peer)
{
    struct rpc_struct s;
    struct rpc_handle *handle = rpc_handle_new(call->session, fd, false, (enum idc_type)peer->type);
    if (handle == NULL) {
        rpc_fault(call, ENOBUFS, "too many handles");
        return;
    }
    rpc_struct_begin(&s, call);
    rpc_struct_int(&s, "handle", handle->number);
    rpc_struct_int(&s, "peer_domid", peer->domid);
    rpc_struct_int(&s, "peer_port", peer->port);
    rpc_struct_int(&s, "peer_uid", peer->uid);
    rpc_struct_text(&s, "type", rpc_type_name((enum idc_type)peer->type));
    rpc_struct_text(&s, "service", peer->service);
    rpc_struct_int(&s, "serial", (int64_t)handle->serial);
    rpc_struct_reply(&s);
}

/* handover_accept could wait for us, who have to read its answers, so room for the answer is asked
 * for first. */
static bool attempt_accept(struct rpc_call *call)
{
    int listener = call->wait.handle->fd;
    struct pollfd p = {.fd = listener, .events = POLLOUT};
    struct idc_addr peer;

    if (poll(&p, 1, 0) == 1 && !(p.revents & (POLLOUT | POLLHUP | POLLERR)))
        return false;
    int fd = handover_accept(listener, &peer, MSG_DONTWAIT);
    if (fd == -EAGAIN || fd == -EINTR)
        return false;
    if (fd >= 0)
        reply_accepted(call, fd, &peer);
    else if (fd == -ECONNABORTED)
        rpc_fault(call, ECONNABORTED, "the listener was ended");
    else
        rpc_fault(call, own_error(-fd), "the connection cannot be taken: %s", own_error_text(fd));
    return true;
}

void rpc_do_accept(struct rpc_call *call, struct rpc_params *params)
{
    int64_t timeout = rpc_params_timeout(params, 0, -1);
    struct rpc_handle *handle = rpc_params_ok(params) ? rpc_handle_of(params, true) : NULL;
    if (handle != NULL && !rpc_wait(call, handle, &handle->readers, attempt_accept, timeout))
        rpc_fault(call, EAGAIN, "no connection waits now");
}

/* ---- unlisten ---- */

static void reply_unlistened(struct rpc_call *call, struct rpc_handle *handle)
{
    rpc_wait_end(call);
    rpc_handle_close(handle);
    rpc_reply_empty(call);
}

/* Connections that waited are dropped until the hub has closed its end. */
static bool attempt_unlisten(struct rpc_call *call)
{
    uint8_t message[HANDOVER_WAITING_SIZE];
    int count = 0;
    ssize_t got;
    do
        got = handover_recv(call->wait.handle->fd, message, sizeof(message), NULL, &count,
                            MSG_DONTWAIT);
    while (got > 0);
    if (got == -EAGAIN || got == -EINTR)
        return false;
    reply_unlistened(call, call->wait.handle);
    return true;
}

void rpc_do_unlisten(struct rpc_call *call, struct rpc_params *params)
{
    struct rpc_handle *handle = rpc_handle_of(params, true);
    if (handle == NULL)
        return;
    rpc_handle_end_waits(handle);
    if (shutdown(handle->fd, SHUT_WR) < 0)
        reply_unlistened(call, handle);
    else
        rpc_wait(call, handle, &handle->readers, attempt_unlisten, UNLISTEN_TIMEOUT_MS);
}
