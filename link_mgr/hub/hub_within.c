/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Connections within the domain. The two programs get the two ends of one socket pair, and the
 * daemon has no part in it. Until a program accepts the connection, the mark of common/handover.h
 * is in it.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/connecting.h"
#include "link_mgr/core/judge.h"
#include "link_mgr/program/acceptor.h"
#include "link_mgr/hub/hub_private.h"
#include "link_mgr/base/own_error.h"

/* Each end is bound to the name that the program at the other end sees. */
static int name_ends(struct hub *hub, const struct hub_connect *request,
                     const struct listener *listener, int server, int client,
                     struct hub_connected *result)
{
    struct idc_addr at_client = {
        .domid = result->peer_domid, .port = result->local_port, .type = request->type};
    struct idc_addr at_server = {
        .domid = result->peer_domid, .port = listener->port, .type = request->type};
    struct handover_name seen_by_client = {
        .serial = result->serial, .local = at_client, .peer = at_server};
    struct handover_name seen_by_server = {
        .serial = hub_new_serial(hub), .local = at_server, .peer = at_client};
    seen_by_client.peer.uid = (uint32_t)-1;
    seen_by_server.peer.uid = request->caller.uid;
    strcpy(seen_by_client.peer.service, request->name);
    strcpy(seen_by_server.peer.service, listener->name);
    int error = handover_bind(server, &seen_by_client);
    if (!error && client >= 0)
        error = handover_bind(client, &seen_by_server);
    return error;
}

static int make_joint(struct hub_pending *pending, int fds[2])
{
    struct hub_connect *request = &pending->request;
    int type = request->type == IDC_STREAM ? SOCK_STREAM : SOCK_SEQPACKET;
    if (request->far_end < 0) {
        if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds) < 0)
            return -errno;
        return send(fds[1], "", 1, MSG_DONTWAIT) == 1 ? 0 : -errno; /* the mark */
    }
    fds[0] = request->far_end;
    request->far_end = -1;
    return 0;
}

static int within_join(struct hub *hub, struct hub_pending *pending, struct listener *listener)
{
    struct hub_connect *request = &pending->request;
    struct hub_connected *result = &pending->result;
    int fds[2] = {-1, -1};
    struct idc_addr peer = {
        .domid = (uint32_t)hub->core->domid, .uid = request->caller.uid, .type = request->type};
    result->serial = hub_new_serial(hub);
    result->local_port = peer.port = request->local_port != 0
                                         ? request->local_port
                                         : listener_ephemeral_port(&hub->core->listeners);
    result->peer_domid = peer.domid;
    result->peer_port = listener->port;
    strcpy(peer.service, request->name);
    bool own_pair = request->far_end >= 0;
    int error = make_joint(pending, fds);
    if (!error)
        error = name_ends(hub, request, listener, fds[0], own_pair ? request->held_end : fds[1],
                          result);
    /* the names come first: when the filler goes, the program's end polls writable; what is left in
     * it is the mark */
    if (!error && own_pair)
        error = connecting_drain(fds[0]);
    /* while we hold a copy of the program's end, nothing shows that the program has closed it */
    hub_close_if_open(request->held_end);
    request->held_end = -1;
    if (!error && request->gone(pending->arg))
        error = -ECANCELED;
    if (!error)
        error = acceptor_offer(listener->owner, NULL, fds[0], &peer, NULL);
    if (error) {
        hub_close_if_open(fds[0]);
        hub_close_if_open(fds[1]);
        return error;
    }
    result->fd = fds[1];
    hub->joined++;
    return 0;
}

/* Within the domain, a listener that turns out to be shut down counts as absent. */
static enum reason within_reason(struct hub *hub, struct hub_pending *pending, int *error)
{
    const struct hub_connect *request = &pending->request;
    const struct judge_question question = {.direction = JUDGE_IN,
                                            .domid = (uint32_t)hub->core->domid,
                                            .port = request->port,
                                            .name = request->name,
                                            .type = request->type,
                                            .uid = request->caller.uid};
    struct listener *listener;
    enum reason reason = judge_admits(hub->core, &question, &listener);
    *error = reason == REASON_OK ? within_join(hub, pending, listener) : 0;
    return *error == -EPIPE ? REASON_NO_LISTENER : reason;
}

void hub_connect_within(struct hub *hub, struct hub_pending *pending)
{
    const struct hub_connect *request = &pending->request;
    int error;
    enum reason reason = within_reason(hub, pending, &error);
    bool tried = error != 0 || reason == REASON_OK;
    const char *why = error ? own_error_text(error) : "";
    error = own_error(error);
    if (reason != REASON_OK) {
        why = reason_text(reason);
        error = -reason_errno(reason);
    }
    if (request->name[0])
        snprintf(pending->why, sizeof(pending->why), "service %s of this domain: %s", request->name,
                 why);
    else
        snprintf(pending->why, sizeof(pending->why), "port %u of this domain: %s", request->port,
                 why);
    /* an attempt that got beyond this point has used up the program's far end */
    if (tried || !hub_try_again(pending, error, pending->why))
        hub_answer_known(pending, error);
}
