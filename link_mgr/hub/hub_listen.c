/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What programs ask for when they listen; hub.h has the contract. hub_permit.c says who may. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/service_name.h"
#include "link_mgr/program/acceptor.h"
#include "link_mgr/hub/hub_private.h"
#include "link_mgr/base/own_error.h"

/* What nobody may ask for. */
static int check_listen(const struct hub_listen *request, char why[HUB_WHY_MAX])
{
    if (request->name[0] && !service_name_valid(request->name, strlen(request->name))) {
        snprintf(why, HUB_WHY_MAX,
                 "%s is not a service name: up to %d of A-Z a-z 0-9 . _ -, with a letter",
                 request->name, IDC_SERVICE_MAX);
        return -EINVAL;
    }
    if (request->port == IDC_PORT_MANAGER) {
        snprintf(why, HUB_WHY_MAX, "port %u is the connection manager's", IDC_PORT_MANAGER);
        return -EACCES;
    }
    return 0;
}

static int add_listener(struct hub *hub, const struct hub_listen *request,
                        struct listener **listener, char why[HUB_WHY_MAX])
{
    struct listener *clash = NULL;
    int error = listener_add(&hub->core->listeners, request->port, request->name, listener, &clash);
    while (error == -EADDRINUSE && acceptor_is_gone(clash->owner)) {
        acceptor_free(clash->owner); /* its program has closed, and we had not looked yet */
        error = listener_add(&hub->core->listeners, request->port, request->name, listener, &clash);
    }
    if (error == -EADDRINUSE)
        snprintf(why, HUB_WHY_MAX, "a program of uid %u listens on port %u%s%s already", clash->uid,
                 clash->port, clash->name[0] ? ", service " : "", clash->name);
    else if (error)
        snprintf(why, HUB_WHY_MAX, "%s", own_error_text(error));
    return own_error(error);
}

int hub_backlog(int backlog)
{
    if (backlog < 1)
        return 1;
    return backlog > LISTENER_BACKLOG_MAX ? LISTENER_BACKLOG_MAX : backlog;
}

/* What has to be right before there is an acceptor. */
static int prepare_listener(struct hub *hub, const struct hub_listen *request,
                            struct hub_permit *permit, struct listener *listener,
                            char why[HUB_WHY_MAX])
{
    int error = permit ? hub_permit_picked(hub, permit, listener->port, why) : 0;
    if (error)
        return error;
    if (!quota_take(hub->users, request->caller.uid, USER_LISTENERS, 1)) {
        users_explain(hub->users, request->caller.uid, USER_LISTENERS, why, HUB_WHY_MAX);
        return -EDQUOT;
    }
    listener->type = request->type;
    listener->uid = request->caller.uid;
    listener->pid = request->caller.pid;
    listener->local_only = request->local_only;
    listener->reset_is_end = request->reset_is_end;
    listener->peer_timeout_ms = request->peer_timeout_ms;
    listener->backlog = request->reserve ? 0 : hub_backlog(request->backlog);
    return 0;
}

int hub_listen_on(struct hub *hub, const struct hub_listen *request, struct hub_permit *permit,
                  struct hub_listening *result, char why[HUB_WHY_MAX])
{
    struct listener *listener;
    struct acceptor *acceptor;
    core_catch_up(hub->core);
    int error = add_listener(hub, request, &listener, why);
    if (error)
        return error;
    error = prepare_listener(hub, request, permit, listener, why);
    if (error) {
        listener_remove(listener);
        return error;
    }
    error = acceptor_new(&hub->acceptors, hub->core, listener, hub_new_serial(hub), &acceptor,
                         &result->fd);
    if (error) {
        snprintf(why, HUB_WHY_MAX, "no socket could be made: %s", own_error_text(error));
        quota_give(hub->users, listener->uid, USER_LISTENERS, 1);
        listener_remove(listener);
        return own_error(error);
    }
    hub_permit_use(permit, listener);
    result->port = listener->port;
    error = request->kept ? acceptor_keep(acceptor, request->far_end, hub_new_serial(hub)) : 0;
    if (error) {
        snprintf(why, HUB_WHY_MAX, "%s", own_error_text(error));
        close(result->fd);
        acceptor_free(acceptor);
    }
    return own_error(error);
}

int hub_listen(struct hub *hub, const struct hub_listen *request, struct hub_listening *result,
               char why[HUB_WHY_MAX])
{
    struct hub_permit *permit = NULL;
    int error = check_listen(request, why);
    if (!error)
        error = hub_permit_new(hub, request, &permit, why);
    if (!error)
        error = hub_listen_on(hub, request, permit, result, why);
    hub_permit_put(permit); /* the listener, if there is one, holds it too */
    return error;
}
