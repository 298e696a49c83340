/* SPDX-License-Identifier: GPL-2.0-or-later */
/* method_listener.c - idc.listen, accept, unlisten. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/handover.h"
#include "link_mgr/base/closer.h"
#include "link_mgr/base/groups.h"
#include "link_mgr/base/log.h"
#include "link_mgr/base/own_error.h"
#include "link_mgr/rpc/descriptor.h"
#include "link_mgr/rpc/handle.h"
#include "link_mgr/rpc/methods.h"
#include "link_mgr/rpc/value.h"

#define BACKLOG_DEFAULT 128
/* The hub closes its end in its next turn. This limit is only for a hub that cannot. */
#define UNLISTEN_TIMEOUT_MS 5000

/* ---- listen ---- */

/* The answer without a handle, if want_fd. */
static void reply_listening(struct rpc_call *call, const struct hub_listening *result,
                            enum idc_type type, bool want_fd, uint32_t keep_ms)
{
    struct rpc_struct s;
    struct rpc_handle *made;
    const struct rpc_handle_for what = {.fd = result->fd,
                                        .listener = true,
                                        .type = type,
                                        .charge = call->fd_charge,
                                        .port = result->port,
                                        .keep_ms = keep_ms};
    /* The descriptor is -1 when the program has it already. */
    if (!rpc_handle_reply(&s, call, &what, want_fd, &made))
        return;
    call->fd_own = true;
    rpc_struct_int(&s, "port", result->port);
    rpc_handle_replied(&s, made);
}

/* The groups are asked for only now, as few calls need them. */
static int listen_for_client(struct rpc_call *call, const struct hub_listen *asked,
                             struct hub_listening *result, char why[HUB_WHY_MAX])
{
    struct groups groups = groups_of_peer(call->session->fd);
    struct hub_listen request = *asked;
    request.groups = &groups;
    int error = hub_listen(call->session->server->hub, &request, result, why);
    groups_free(&groups);
    return error;
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
    request->peer_timeout_ms = rpc_params_peer_timeout(params, 0);
}

/* The port was reserved before, and the listener is the program's own socket. The call's
 * descriptors are its far end and the reservation. */
static void listen_reserved(struct rpc_params *params, const struct hub_listen *request)
{
    struct rpc_call *call = params->call;
    struct hub_listening result = {.fd = -1};
    char why[HUB_WHY_MAX] = "";
    if (rpc_params_has(params, "port") || rpc_params_has(params, "name") || request->reserve ||
        rpc_params_has(params, "local") || rpc_params_has(params, "reset_is_end") ||
        rpc_params_has(params, "peer_timeout_ms"))
        rpc_params_refuse(
            params, "member \"far_end\": the reservation has the port, and says who may connect");
    else if (call->fd_count > 2)
        rpc_params_refuse_descriptors(params);
    else if (call->fd_count != 2 || !rpc_is_fitting_end(call->fds[0], request->type))
        rpc_params_refuse(params,
                          "needs an end of an AF_UNIX socket pair of the type, and a reservation");
    if (!rpc_params_ok(params))
        return;
    int far_end = rpc_take_fd(call, 0);
    int error = hub_listen_reserved(call->session->server->hub, call->fds[1], far_end,
                                    request->backlog, &result, why);
    if (error != 0) {
        closer_close(far_end, call->uid);
        rpc_fault(call, -error, "%s", why);
    } else {
        reply_listening(call, &result, request->type, true, 0);
    }
}

void rpc_do_listen(struct rpc_call *call, struct rpc_params *params)
{
    struct hub_listen request;
    struct hub_listening result = {.fd = -1};
    char why[HUB_WHY_MAX] = "";

    read_listen(params, &request);
    uint32_t keep_ms = rpc_params_keep(params, 0);
    if (rpc_params_ok(params) && rpc_params_bool(params, "far_end", false)) {
        listen_reserved(params, &request);
        return;
    }
    bool want_fd = rpc_params_want_fd(params);
    request.kept = rpc_params_bool(params, "kept", false);
    if (call->fd_count != request.kept)
        rpc_params_refuse_descriptors(params);
    else if (request.kept &&
             (!want_fd || request.reserve || !rpc_is_fitting_end(call->fds[0], IDC_SEQPACKET)))
        rpc_params_refuse(params, "member \"kept\" goes with \"fd\", without \"reserve\", and with "
                                  "an end of an AF_UNIX pair of type seqpacket");
    if (!rpc_params_has(params, "port") && request.name[0] == '\0')
        rpc_params_refuse(params, "needs \"port\" (0: any) or \"name\"");
    if (request.reserve && (request.name[0] != '\0' || !want_fd))
        rpc_params_refuse(params, "member \"reserve\" goes with \"fd\", and without \"name\"");
    if (!rpc_params_ok(params))
        return;
    request.far_end = request.kept ? rpc_take_fd(call, 0) : -1;
    int error = listen_for_client(call, &request, &result, why);
    if (error != 0 && request.kept)
        closer_close(request.far_end, call->uid);
    if (error != 0)
        rpc_fault(call, -error, "%s", why);
    else
        reply_listening(call, &result, request.type, want_fd, keep_ms);
}

/* ---- accept ---- */

/* What accept and unlisten keep. It begins with the wait, for handle.c. */
struct listener_wait {
    struct rpc_wait wait;
    uint32_t keep_ms; /* of the accepted connection's handle */
};

/* This ends it. */
static void wait_undo(void *state)
{
    struct listener_wait *waiting = state;
    rpc_wait_end(&waiting->wait);
    free(waiting);
}

/* Prepares a call that waits for something from the listener. False: it was answered. */
static bool wait_keep(struct rpc_call *call, const struct rpc_hooks *hooks,
                      struct rpc_handle *handle, bool (*attempt)(struct rpc_wait *wait),
                      int64_t timeout_ms, uint32_t keep_ms)
{
    struct listener_wait *waiting = calloc(1, sizeof(*waiting));
    if (waiting == NULL) {
        rpc_fault_own(call, ENOMEM);
        return false;
    }
    waiting->wait = (struct rpc_wait){.call = call,
                                      .handle = handle,
                                      .queue = &handle->readers,
                                      .attempt = attempt,
                                      .timeout_ms = timeout_ms};
    waiting->keep_ms = keep_ms;
    rpc_call_keep(call, hooks, waiting);
    return true;
}

static bool reply_taken(struct rpc_call *call, const struct rpc_handle *handle,
                        const struct idc_addr *peer)
{
    struct rpc_struct s;
    rpc_struct_begin(&s, call);
    rpc_struct_int(&s, "handle", handle->number);
    rpc_struct_int(&s, "peer_domid", peer->domid);
    rpc_struct_int(&s, "peer_port", peer->port);
    rpc_struct_int(&s, "peer_uid", peer->uid);
    rpc_struct_text(&s, "type", rpc_type_name((enum idc_type)peer->type));
    rpc_struct_text(&s, "service", peer->service);
    rpc_struct_int(&s, "serial", (int64_t)handle->serial);
    return rpc_struct_reply(&s);
}

/* Looks at the connection that waits first, and leaves it there. Returns a duplicate of its
 * descriptor, or negative errno. */
static int accept_look(const struct rpc_handle *handle, struct handover_waiting *waiting)
{
    uint8_t message[HANDOVER_WAITING_SIZE + 1];
    int fd = -1, count = 1;
    closer_charge(handle->charge);
    ssize_t got =
        handover_recv(handle->fd, message, sizeof(message), &fd, &count, MSG_DONTWAIT | MSG_PEEK);
    if (got == 0 || got == -ECONNRESET)
        return -ECONNABORTED;
    if (got < 0)
        return (int)got;
    if (count == 1 && handover_decode_waiting(message, (size_t)got, waiting) == 0)
        return fd;
    if (count == 1)
        closer_close(fd, handle->charge);
    return -EPROTO;
}

/* Takes the connection off the listener. There is room for the answer to the hub, because we have
 * looked. */
static void accept_take(int listener)
{
    uint8_t message[HANDOVER_WAITING_SIZE] = {0};
    int none = 0;
    ssize_t got = handover_recv(listener, message, sizeof(message), NULL, &none, MSG_DONTWAIT);
    uint32_t number = handover_waiting_number(message, sizeof(message));
    /* Without a free descriptor number the message is taken all the same (-EMFILE). */
    if ((got >= 0 || got == -EMFILE) && handover_tell_taken(listener, number) < 0)
        log_limited(LOG_WARNING, "a listener's connection was taken, and not counted as taken");
}

/* Answers with the connection, and only then takes it off the listener. */
static void accept_hand_over(struct rpc_wait *wait, int fd, const struct handover_waiting *waiting)
{
    const struct idc_addr *peer = &waiting->peer;
    struct rpc_call *call = wait->call;
    int listener = wait->handle->fd;
    uint32_t charge = waiting->marked ? peer->uid : wait->handle->charge;
    const struct rpc_handle_for what = {.fd = fd,
                                        .type = (enum idc_type)peer->type,
                                        .charge = charge,
                                        .port = wait->handle->port,
                                        .keep_ms = ((const struct listener_wait *)wait)->keep_ms};
    struct rpc_handle *handle = rpc_handle_new(call->session, &what);
    if (handle == NULL) {
        rpc_handle_explain_lack(call);
    } else if (!reply_taken(call, handle, peer)) {
        rpc_handle_close(handle);
    } else {
        closer_charge(charge);
        accept_take(listener);
        if (waiting->marked && handover_take_mark(handle->fd) < 0)
            shutdown(handle->fd, SHUT_RDWR); /* the client has kept a copy, and taken it */
    }
}

/* The hub has to read the answer, and the hub is this process. So we may not wait for it, and first
 * ask whether there is room for the answer. */
static bool accept_attempt(struct rpc_wait *wait)
{
    int listener = wait->handle->fd;
    struct pollfd p = {.fd = listener, .events = POLLOUT};
    struct handover_waiting waiting;

    if (poll(&p, 1, 0) == 1 && !(p.revents & (POLLOUT | POLLHUP | POLLERR)))
        return false;
    int fd = accept_look(wait->handle, &waiting);
    if (fd == -EAGAIN || fd == -EINTR)
        return false;
    if (fd == -EPROTO)
        accept_take(listener); /* otherwise it would be in the way for ever */
    if (fd >= 0)
        accept_hand_over(wait, fd, &waiting);
    else if (fd == -ECONNABORTED)
        rpc_fault(wait->call, ECONNABORTED, "the listener was ended");
    else
        rpc_fault(wait->call, own_error(-fd), "the connection cannot be taken: %s",
                  own_error_text(fd));
    return true;
}

static void accept_begin(void *state)
{
    rpc_wait(state, "no connection waits now");
}

void rpc_do_accept(struct rpc_call *call, struct rpc_params *params)
{
    static const struct rpc_hooks hooks = {.begin = accept_begin, .undo = wait_undo};
    int64_t timeout = rpc_params_timeout(params, 0, -1);
    struct rpc_handle *handle = rpc_params_ok(params) ? rpc_handle_of(params, true) : NULL;
    /* A client that keeps the listener cannot use a connection that it does not keep. */
    uint32_t keep_ms = handle != NULL ? rpc_params_keep(params, handle->keep_ms) : 0;
    if (rpc_params_ok(params) && handle != NULL)
        wait_keep(call, &hooks, handle, accept_attempt, timeout, keep_ms);
}

/* ---- unlisten ---- */

static void reply_unlistened(struct rpc_wait *wait)
{
    struct rpc_call *call = wait->call;
    struct rpc_handle *handle = wait->handle;
    rpc_call_undo(call); /* otherwise closing the handle would answer the call */
    rpc_handle_close(handle);
    rpc_reply_empty(call);
}

/* Drops the connections that waited, until the hub has closed its end. */
static bool unlisten_attempt(struct rpc_wait *wait)
{
    ssize_t got;
    do
        got = rpc_handle_drop_waiting(wait->handle);
    while (got > 0 || got == -EMFILE);
    if (got == -EAGAIN || got == -EINTR)
        return false;
    reply_unlistened(wait);
    return true;
}

static void unlisten_begin(void *state)
{
    struct rpc_wait *wait = state;
    if (wait->call->multicall)
        return; /* it would have to wait for the hub: it is refused, and has done nothing */
    rpc_handle_end_waits(wait->handle);
    if (shutdown(wait->handle->fd, SHUT_WR) < 0)
        reply_unlistened(wait);
    else
        rpc_wait(wait, NULL);
}

void rpc_do_unlisten(struct rpc_call *call, struct rpc_params *params)
{
    static const struct rpc_hooks hooks = {.begin = unlisten_begin, .undo = wait_undo};
    struct rpc_handle *handle = rpc_handle_of(params, true);
    if (handle != NULL)
        wait_keep(call, &hooks, handle, unlisten_attempt, UNLISTEN_TIMEOUT_MS, 0);
}
