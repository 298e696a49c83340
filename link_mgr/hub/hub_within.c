/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Connections within the domain. The two programs get the two ends of one socket pair, and the
 * daemon has no part in it. Until a program accepts the connection, the mark of common/handover.h
 * is in it.
 *
 * A program that connects without waiting hands over a duplicate of its near end too, to be named.
 * While we hold the duplicate, nothing shows that the program has closed its end. So the near end
 * is named first, the duplicate is closed, and then the attempt goes on. We may have the last
 * copy, with anything in its queue, so the closer closes it (base/closer.h), and tells when that
 * is done. An attempt that waits for a listener does not know the listener's port yet. It is left
 * out of the name: handover_name finds it in the name of the far end.
 *
 * The accepting program is told by that name whom it talks to. So a near end without a name must
 * not get there: its program could give it any name. A near end has no other name than ours,
 * because a second bind fails, and it is the far end's peer, because the far end's peer has that
 * name. Without the duplicate there is no connection.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/connecting.h"
#include "link_mgr/base/closer.h"
#include "link_mgr/core/judge.h"
#include "link_mgr/program/acceptor.h"
#include "link_mgr/hub/hub_private.h"
#include "link_mgr/base/numbers.h"
#include "link_mgr/base/own_error.h"

/* Each end is bound to the name that the program at the other end sees. */
static int name_server_end(const struct hub_connect *request, const struct listener *listener,
                           int fd, const struct hub_connected *result)
{
    struct handover_name seen_by_client = {
        .serial = result->serial,
        .local = {.domid = result->peer_domid, .port = result->local_port, .type = request->type},
        .peer = {.domid = result->peer_domid, .port = listener->port, .type = request->type},
    };
    seen_by_client.peer.uid = listener->uid;
    strcpy(seen_by_client.peer.service, request->name);
    return handover_bind(fd, &seen_by_client);
}

/* listener: NULL if it is not known yet. */
static int name_client_end(struct hub *hub, const struct hub_connect *request,
                           const struct listener *listener, int fd, uint32_t local_port)
{
    struct handover_name seen_by_server = {.serial = hub_new_serial(hub)};
    seen_by_server.local = seen_by_server.peer =
        (struct idc_addr){.domid = (uint32_t)hub->core->domid, .type = request->type};
    seen_by_server.local.port = listener ? listener->port : 0;
    seen_by_server.peer.port = local_port;
    seen_by_server.peer.uid = request->caller.uid;
    if (listener)
        strcpy(seen_by_server.peer.service, listener->name);
    return handover_bind(fd, &seen_by_server);
}

/* Urgent bytes come in their place, as between domains. Otherwise the kernel would drop the byte at
 * the urgent mark. Each end has to have it. A program may take it away from its own end. */
static int within_prepare(int server, int client, uint32_t type)
{
    const int one = 1;
    if (type != IDC_STREAM)
        return 0;
    if (setsockopt(server, SOL_SOCKET, SO_OOBINLINE, &one, sizeof(one)) < 0 ||
        (client >= 0 && setsockopt(client, SOL_SOCKET, SO_OOBINLINE, &one, sizeof(one)) < 0))
        return -errno;
    return 0;
}

static void near_end_is_closed(void *arg)
{
    struct hub_pending *pending = arg;
    pending->near_end = NULL;
    pending->error = 0;
    pending->why[0] = '\0';
    hub_attempt(pending->hub, pending);
}

/* Those of more than 93 bytes would be cut (common/connecting.c). */
const char *hub_near_end_text(int error)
{
    if (error == -EINVAL)
        return "the near end that came is not the far end's peer, or has a name already";
    return own_error_text(error);
}

/* See the top. 0: the attempt goes on when the near end is closed. */
int hub_part_with_near_end(struct hub_pending *pending, const struct listener *listener)
{
    struct hub *hub = pending->hub;
    struct hub_connect *request = &pending->request;
    if (request->local_port == 0)
        request->local_port = listener_ephemeral_port(&hub->core->listeners);
    int error = within_prepare(request->far_end, request->held_end, request->type);
    if (!error)
        error = name_client_end(hub, request, listener, request->held_end, request->local_port);
    if (!error && !handover_is_peer_of(request->held_end, request->far_end))
        error = -EINVAL;
    if (error)
        return error;
    pending->near_end_named = true;
    pending->near_end =
        closer_close_then(request->held_end, request->caller.uid, near_end_is_closed, pending);
    if (!pending->near_end)
        return -ENOMEM;
    request->held_end = -1;
    /* should it take too long, because of what this user has sent */
    pending->error = -ETIMEDOUT;
    snprintf(pending->why, sizeof(pending->why),
             "descriptors that programs of uid %u sent take long to close", request->caller.uid);
    return 0;
}

static int make_joint(struct hub_pending *pending, int fds[2])
{
    struct hub_connect *request = &pending->request;
    int type = request->type == IDC_STREAM ? SOCK_STREAM : SOCK_SEQPACKET;
    if (request->far_end < 0) {
        if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds) < 0)
            return -errno;
        numbers_note(fds[1]);
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
    uint32_t listener_uid = listener->uid; /* whose programs can send something into fds[1] */
    struct idc_addr peer = {
        .domid = (uint32_t)hub->core->domid, .uid = request->caller.uid, .type = request->type};
    result->serial = hub_new_serial(hub);
    result->local_port = peer.port = request->local_port != 0
                                         ? request->local_port
                                         : listener_ephemeral_port(&hub->core->listeners);
    result->peer_domid = peer.domid;
    result->peer_port = listener->port;
    result->peer_uid = listener_uid;
    strcpy(peer.service, request->name);
    bool own_pair = request->far_end >= 0;
    int error = make_joint(pending, fds);
    if (!error)
        error = within_prepare(fds[0], fds[1], request->type);
    if (!error)
        error = name_server_end(request, listener, fds[0], result);
    if (!error && !own_pair)
        error = name_client_end(hub, request, listener, fds[1], result->local_port);
    /* the names come first: when the filler goes, the program's end polls writable; what is left in
     * it is the mark */
    if (!error && own_pair)
        error = connecting_drain(fds[0]);
    if (!error && request->gone(pending->arg))
        error = -ECANCELED;
    if (!error)
        error = acceptor_offer(listener->owner, NULL, fds[0], &peer, NULL);
    if (error) {
        closer_close(fds[0], request->caller.uid);
        closer_close(fds[1], listener_uid);
        return error;
    }
    result->fd = fds[1];
    hub->joined++;
    return 0;
}

/* Within the domain, a listener that turns out to be shut down counts as absent. */
static enum reason within_reason(struct hub *hub, struct hub_pending *pending, int *error)
{
    struct hub_connect *request = &pending->request;
    const struct judge_question question = {.direction = JUDGE_IN,
                                            .domid = (uint32_t)hub->core->domid,
                                            .port = request->port,
                                            .name = request->name,
                                            .type = request->type,
                                            .uid = request->caller.uid};
    struct listener *listener;
    struct judge_verdict verdict;
    enum reason reason = judge_admits(hub->core, &question, &listener, &verdict);
    if (reason == REASON_OK && !acceptor_has_room(listener->owner, question.uid)) {
        *error = -EDQUOT; /* before the far end is used up */
        return REASON_OK;
    }
    if (reason == REASON_OK && request->held_end >= 0) {
        *error = hub_part_with_near_end(pending, listener);
        return REASON_OK;
    }
    bool shared = reason == REASON_OK && listener->port == IDC_PORT_MANAGER;
    if (shared && !port_manager_take(hub->manager, question.domid, question.uid))
        reason = REASON_SHARE;
    *error = reason == REASON_OK ? within_join(hub, pending, listener) : 0;
    if (shared && *error)
        port_manager_give(hub->manager, question.domid, question.uid);
    return *error == -EPIPE ? REASON_NO_LISTENER : reason;
}

static void within_explain(struct hub_pending *pending, int error, const char *why)
{
    const struct hub_connect *request = &pending->request;
    if (error == -EDQUOT)
        users_explain(pending->hub->users, request->caller.uid, USER_UNACCEPTED, pending->why,
                      sizeof(pending->why));
    else if (request->name[0])
        snprintf(pending->why, sizeof(pending->why), "service %s of this domain: %s", request->name,
                 why);
    else
        snprintf(pending->why, sizeof(pending->why), "port %u of this domain: %s", request->port,
                 why);
}

static const char *within_error_text(const struct hub_pending *pending, int error)
{
    if (!error)
        return "";
    return pending->request.held_end >= 0 ? hub_near_end_text(error) : own_error_text(error);
}

/* What cannot be mended by another attempt. NULL: nothing. */
static const char *within_unfit(const struct hub_pending *pending)
{
    const struct hub_connect *request = &pending->request;
    return request->far_end >= 0 && request->held_end < 0 && !pending->near_end_named
               ? "within the domain, the near end has to come with the far end"
               : NULL;
}

void hub_connect_within(struct hub *hub, struct hub_pending *pending)
{
    struct hub_connect *request = &pending->request;
    int error = 0;
    enum reason reason = REASON_OK;
    bool own_pair = request->far_end >= 0;
    const char *why = within_unfit(pending);
    if (why)
        error = -EINVAL;
    else if (request->wait && request->held_end >= 0)
        error = hub_part_with_near_end(pending, NULL);
    else
        reason = within_reason(hub, pending, &error);
    if (pending->near_end)
        return; /* it comes back here */
    bool tried = (error != 0 && own_pair) || reason == REASON_OK;
    if (!why)
        why = within_error_text(pending, error);
    error = own_error(error);
    if (reason != REASON_OK) {
        why = reason_text(reason);
        error = -reason_errno(reason);
    }
    within_explain(pending, error, why);
    /* an attempt that got beyond this point has used up the program's far end */
    if (tried || !hub_try_again(pending, reason, error, pending->why))
        hub_answer_known(pending, error);
}
