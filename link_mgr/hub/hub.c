/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What programs ask for; hub.h has the contract. A connect to another domain goes to the core; one
 * within the domain needs no link (hub_within.c).
 */
#include "link_mgr/hub/hub.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/service_name.h"
#include "link_mgr/core/judge.h"
#include "link_mgr/program/acceptor.h"
#include "link_mgr/hub/hub_private.h"
#include "link_mgr/hub/hub_run.h"
#include "link_mgr/base/clock.h"
#include "link_mgr/base/log.h"
#include "link_mgr/base/own_error.h"
#include "link_mgr/base/timer.h"

uint64_t hub_new_serial(struct hub *hub)
{
    hub->next_serial = (hub->next_serial + 1) & ((1ull << HANDOVER_SERIAL_BITS) - 1);
    return hub->next_serial;
}

/* ---- the end of a connect ---- */

void hub_close_if_open(int fd)
{
    if (fd >= 0)
        close(fd);
}

static void pending_free(struct hub_pending *pending)
{
    event_del(&pending->timer);
    event_del(&pending->retry);
    hub_close_if_open(pending->request.far_end);
    hub_close_if_open(pending->request.held_end);
    hub_close_if_open(pending->result.fd);
    free(pending);
}

void hub_answer(struct hub_pending *pending, int error, const char *why,
                const struct hub_connected *result)
{
    pending->done(pending->arg, error, why, result);
    pending_free(pending);
}

static void hub_abandon(struct hub_pending *pending)
{
    if (pending->conn)
        conn_abandon(pending->conn);
    pending->conn = NULL;
}

void hub_cancel(struct hub_pending *pending)
{
    hub_abandon(pending);
    pending_free(pending);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct hub_pending *pending = arg;
    char why[HUB_WHY_MAX];
    (void)fd, (void)what;
    /* A connect that waits already knows a reason, even while it asks once more. */
    bool heard = pending->conn && pending->request.wait && pending->why[0];
    if (heard || event_pending(&pending->retry, EV_TIMEOUT, NULL)) {
        hub_abandon(pending);
        snprintf(why, sizeof(why), "%.*s (waited %lld ms)", HUB_WHY_MAX - 64, pending->why,
                 (long long)pending->request.timeout_ms);
        hub_answer(pending, -ETIMEDOUT, why, NULL);
        return;
    }
    if (pending->conn) {
        snprintf(why, sizeof(why), "domain %u did not answer within %lld ms",
                 pending->request.domid, (long long)pending->request.timeout_ms);
        hub_abandon(pending);
        hub_answer(pending, -ETIMEDOUT, why, NULL);
        return;
    }
    struct hub_connected result = pending->result;
    pending->result.fd = -1;
    hub_answer(pending, pending->error, pending->why, pending->error ? NULL : &result);
}

/* ---- waiting for a listener ---- */

#define PAUSE_FIRST_MS 5
#define PAUSE_MAX_MS 200

/* Errors that a program or a link_mgr could heal by starting. A refusal by a rule is final, because
 * the rule says what is wanted. */
static bool hub_may_heal(int error)
{
    return error == -ECONNREFUSED || error == -EHOSTUNREACH || error == -ECONNRESET ||
           error == -ETIMEDOUT;
}

static void hub_plan(struct hub_pending *pending, int64_t ms)
{
    timer_set(&pending->retry, (uint64_t)ms);
}

/* Nothing tells this side when a program in another domain begins to listen. So it asks again, less
 * and less often. */
bool hub_try_again(struct hub_pending *pending, int error, const char *why)
{
    if (!pending->request.wait || !hub_may_heal(error))
        return false;
    pending->conn = NULL;
    pending->error = error;
    if (why != pending->why)
        snprintf(pending->why, sizeof(pending->why), "%s", why);
    hub_plan(pending, pending->pause_ms);
    pending->pause_ms = pending->pause_ms < PAUSE_MAX_MS / 2 ? 2 * pending->pause_ms : PAUSE_MAX_MS;
    return true;
}

void hub_answer_known(struct hub_pending *pending, int error)
{
    pending->error = error;
    event_active(&pending->timer, EV_TIMEOUT, 0);
}

void hub_answer_soon(struct hub_pending *pending, int error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(pending->why, sizeof(pending->why), format, args);
    va_end(args);
    hub_answer_known(pending, error);
}

/* ---- connect ---- */

/* An error of this side explains more than "no link came about". */
static const char *hub_cause(const struct hub *hub, const struct hub_connect *request,
                             enum reason reason)
{
    const struct peer *peer =
        request->domid < IDC_DOMID_SELF ? hub->core->by_domid[request->domid] : NULL;
    bool own = (reason == REASON_NO_RESOURCES || reason == REASON_UNREACHABLE) && peer &&
               peer->own_error[0];
    return own ? peer->own_error : reason_text(reason);
}

void hub_explain(const struct hub *hub, const struct hub_connect *request, enum reason reason,
                 char *text, size_t size)
{
    char whose[48] = "";
    const struct judge_question question = {.direction = JUDGE_OUT,
                                            .domid = request->domid,
                                            .port = request->port,
                                            .name = request->name,
                                            .type = request->type,
                                            .uid = request->caller.uid};
    if (reason == REASON_POLICY && judge_allows(hub->core, &question))
        snprintf(whose, sizeof(whose), " (the rule of domain %u)", request->domid);
    else if (reason == REASON_POLICY)
        snprintf(whose, sizeof(whose), " (the rule of this domain)");
    snprintf(text, size, "%s%s", hub_cause(hub, request, reason), whose);
}

static void hub_start(struct hub *hub, struct hub_pending *pending)
{
    struct hub_connect *request = &pending->request;
    enum reason reason;
    char text[HUB_CAUSE_MAX];
    const struct core_request wanted = {.domid = request->domid,
                                        .port = request->port,
                                        .name = request->name,
                                        .local_port = request->local_port,
                                        .type = request->type,
                                        .uid = request->caller.uid,
                                        .cookie = pending};
    pending->conn = core_connect(hub->core, &wanted, &reason);
    if (!pending->conn) {
        hub_explain(hub, request, reason, text, sizeof(text));
        snprintf(pending->why, sizeof(pending->why), "domain %u: %s", request->domid, text);
        if (!hub_try_again(pending, -reason_errno(reason), pending->why))
            hub_answer_known(pending, -reason_errno(reason));
        return;
    }
}

static void hub_attempt(struct hub *hub, struct hub_pending *pending)
{
    if (pending->request.domid == IDC_DOMID_SELF ||
        pending->request.domid == (uint32_t)hub->core->domid)
        hub_connect_within(hub, pending);
    else if (pending->request.gone(pending->arg))
        hub_answer_soon(pending, -ECANCELED, "the program has given up");
    else
        hub_start(hub, pending);
}

static void on_retry(evutil_socket_t fd, short what, void *arg)
{
    struct hub_pending *pending = arg;
    (void)fd, (void)what;
    hub_attempt(pending->hub, pending);
}

/* 0 or negative errno. */
static int hub_set_limit(struct hub_pending *pending)
{
    int64_t ms = pending->request.timeout_ms;
    const struct timeval timeout = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    return ms < 0 || event_add(&pending->timer, &timeout) == 0 ? 0 : -ENOMEM;
}

struct hub_pending *hub_connect(struct hub *hub, const struct hub_connect *request,
                                hub_connect_done *done, void *arg)
{
    struct hub_pending *pending = calloc(1, sizeof(*pending));
    if (!pending) {
        hub_close_if_open(request->far_end);
        hub_close_if_open(request->held_end);
        return NULL;
    }
    *pending = (struct hub_pending){
        .hub = hub, .request = *request, .done = done, .arg = arg, .result = {.fd = -1}};
    pending->pause_ms = PAUSE_FIRST_MS;
    evtimer_assign(&pending->timer, hub->base, on_timer, pending);
    evtimer_assign(&pending->retry, hub->base, on_retry, pending);
    if (hub_set_limit(pending) < 0)
        hub_answer_soon(pending, -ENOMEM, "%s", own_error_text(-ENOMEM));
    else if (request->name[0] && !service_name_valid(request->name, strlen(request->name)))
        hub_answer_soon(pending, -EINVAL, "%s is not a service name", request->name);
    else if ((request->port == 0) == (request->name[0] == '\0'))
        hub_answer_soon(pending, -EINVAL,
                        "either a port (1..4294967295) or a service name must be given");
    else if (request->domid > IDC_DOMID_SELF)
        hub_answer_soon(pending, -EINVAL, "%u is not a domid: they go from 0 to %u", request->domid,
                        IDC_DOMID_SELF - 1);
    else
        hub_attempt(hub, pending);
    return pending;
}

/* ---- listen ---- */

static int judge_listen(const struct hub_listen *request, char why[HUB_WHY_MAX])
{
    bool privileged = request->caller.uid == 0 || request->caller.uid == geteuid();
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
    if (request->port != 0 && request->port <= IDC_PORT_PRIVILEGED_MAX && !privileged) {
        snprintf(why, HUB_WHY_MAX, "ports up to %u are for root and for link_mgr's own user",
                 IDC_PORT_PRIVILEGED_MAX);
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

static int listen_on(struct hub *hub, const struct hub_listen *request,
                     struct hub_listening *result, char why[HUB_WHY_MAX])
{
    struct listener *listener;
    struct acceptor *acceptor;
    core_catch_up(hub->core);
    int error = add_listener(hub, request, &listener, why);
    if (error)
        return error;
    listener->type = request->type;
    listener->uid = request->caller.uid;
    listener->local_only = request->local_only;
    listener->reset_is_end = request->reset_is_end;
    listener->backlog = request->reserve ? 0 : hub_backlog(request->backlog);
    error = acceptor_new(&hub->acceptors, hub->core, listener, hub_new_serial(hub), &acceptor,
                         &result->fd);
    if (error) {
        snprintf(why, HUB_WHY_MAX, "no socket could be made: %s", own_error_text(error));
        listener_remove(listener);
        return own_error(error);
    }
    result->port = listener->port;
    return 0;
}

int hub_listen(struct hub *hub, const struct hub_listen *request, struct hub_listening *result,
               char why[HUB_WHY_MAX])
{
    int error = judge_listen(request, why);
    return error ? error : listen_on(hub, request, result, why);
}

/* ---- life ---- */

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
    struct hub *hub = arg;
    (void)fd, (void)what;
    hub->timer_deadline = 0; /* a turn follows every batch of events, and sets the timer again */
}

/* The timer follows the core's deadline. */
static void set_timer(struct hub *hub)
{
    uint64_t deadline = core_deadline(hub->core), now = clock_now_ms();
    if (deadline == hub->timer_deadline)
        return;
    hub->timer_deadline = deadline;
    if (deadline == UINT64_MAX) {
        event_del(&hub->deadline);
        return;
    }
    timer_set(&hub->deadline, deadline > now ? deadline - now + 1 : 1);
}

bool hub_turn(struct hub *hub)
{
    bool more = core_turn(hub->core);
    set_timer(hub);
    return more;
}

void hub_store_event(struct hub *hub, const struct store_event *event)
{
    core_store_event(hub->core, event);
}

bool hub_is_ready(const struct hub *hub)
{
    return hub->core->policy_known;
}

static int start_manager(struct hub *hub)
{
    char why[HUB_WHY_MAX] = "";
    struct hub_listening listening;
    struct hub_listen request = {.caller = {.uid = geteuid(), .pid = getpid()},
                                 .port = IDC_PORT_MANAGER,
                                 .type = IDC_STREAM,
                                 .backlog = 64};
    int error = listen_on(hub, &request, &listening, why);
    if (error)
        return error;
    hub->manager = port_manager_new(hub->base, hub->core, listening.fd);
    return hub->manager ? 0 : -ENOMEM;
}

int hub_new(const struct hub_config *config, struct hub **result)
{
    struct hub *hub = calloc(1, sizeof(*hub));
    if (!hub)
        return -ENOMEM;
    hub->base = config->base;
    hub->timer_deadline = UINT64_MAX;
    hub_records_init(hub);
    trim_init(&hub->trim, hub->base);
    endpoints_init(&hub->endpoints, hub->base);
    hub_fill_host(hub);
    hub->host.ops = config->ops;
    hub->host.platform = config->platform;
    hub->next_serial = hub->host.random64(&hub->host);
    evtimer_assign(&hub->deadline, hub->base, on_deadline, hub);
    int error = acceptors_init(&hub->acceptors, hub->base);
    hub->core = error ? NULL : core_new(&hub->host, &config->core);
    if (!error)
        error = hub->core ? start_manager(hub) : -ENOMEM;
    if (error) {
        hub_free(hub);
        return error;
    }
    *result = hub;
    return 0;
}

static void end_listeners(struct hub *hub)
{
    for (int i = 0; i < LISTENER_BUCKETS; i++)
        while (!LIST_EMPTY(&hub->core->listeners.ports[i]))
            acceptor_free(LIST_FIRST(&hub->core->listeners.ports[i])->owner);
}

void hub_free(struct hub *hub)
{
    if (hub->core) {
        end_listeners(hub);
        core_free(hub->core);
    }
    acceptors_end(&hub->acceptors);
    if (hub->manager)
        port_manager_free(hub->manager);
    event_del(&hub->deadline);
    endpoints_end(&hub->endpoints);
    trim_stop(&hub->trim);
    hub_records_free(hub);
    free(hub);
}
