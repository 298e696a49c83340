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
#include <sys/random.h>
#include <unistd.h>

#include "common/service_name.h"
#include "common/shown.h"
#include "link_mgr/core/judge.h"
#include "link_mgr/program/acceptor.h"
#include "link_mgr/hub/hub_private.h"
#include "link_mgr/hub/hub_run.h"
#include "link_mgr/base/clock.h"
#include "link_mgr/base/closer.h"
#include "link_mgr/base/log.h"
#include "link_mgr/base/own_error.h"
#include "link_mgr/base/timer.h"

static void hub_draw_serials(struct hub *hub)
{
    if (getrandom(hub->serials, sizeof(hub->serials), 0) == sizeof(hub->serials))
        return;
    for (int i = 0; i < HUB_SERIALS; i++) /* this cannot be */
        hub->serials[i] = hub->host.random64(&hub->host);
}

/* Serials are random, because names are made of them. Anybody may bind the names that a program
 * expects to come next. 48 bits cannot be guessed, so a name that is taken is no case for a second
 * try. One call of the kernel yields many. */
uint64_t hub_new_serial(struct hub *hub)
{
    uint64_t serial;
    do {
        if (hub->serials_left == 0) {
            hub_draw_serials(hub);
            hub->serials_left = HUB_SERIALS;
        }
        serial = hub->serials[--hub->serials_left] & ((1ull << HANDOVER_SERIAL_BITS) - 1);
    } while (serial == 0 || hub_record_exists(hub, serial));
    return serial;
}

/* ---- the end of a connect ---- */

static void pending_free(struct hub_pending *pending)
{
    event_del(&pending->timer);
    event_del(&pending->retry);
    event_del(&pending->silence);
    closer_forget(pending->near_end);
    closer_close(pending->request.far_end, pending->request.caller.uid);
    closer_close(pending->request.held_end, pending->request.caller.uid);
    closer_close(pending->result.fd, pending->result.peer_uid);
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
    char why[HUB_WHY_MAX], called[HUB_CALLED_MAX];
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
        snprintf(why, sizeof(why), "%s did not answer within %lld ms", hub_called(pending, called),
                 (long long)pending->request.timeout_ms);
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
#define ROUTE_SHARE_MS 5000 /* of a silent domain, at most, if others are left */

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

/* Does nobody serve there now? A listener that is there and refuses is a decision, and so is a
 * rule. */
static bool hub_is_absence(enum reason reason)
{
    return reason == REASON_NO_LISTENER || reason == REASON_UNREACHABLE ||
           reason == REASON_LINK_LOST || reason == REASON_PROTOCOL || reason == REASON_SHUTDOWN;
}

static void hub_keep(struct hub_pending *pending, int error, const char *why)
{
    event_del(&pending->silence);
    pending->conn = NULL;
    pending->error = error;
    if (why != pending->why)
        snprintf(pending->why, sizeof(pending->why), "%s", why);
}

/* Nothing tells this side when a program in another domain begins to listen. So it asks again, less
 * and less often. The next domain of a route is asked at once, but not from inside the core. */
bool hub_try_again(struct hub_pending *pending, enum reason reason, int error, const char *why)
{
    if (pending->route.next < pending->route.count && hub_is_absence(reason)) {
        hub_keep(pending, error, why);
        hub_plan(pending, 0);
        return true;
    }
    pending->route.count = pending->route.next = 0; /* the next round has the route of its time */
    if (!pending->request.wait || !hub_may_heal(error))
        return false;
    hub_keep(pending, error, why);
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

void hub_explain(const struct hub *hub, const struct hub_connect *request, const struct conn *conn,
                 enum reason reason, char *text, size_t size)
{
    char rule[HUB_RULE_MAX];
    const struct judge_question question = {.direction = JUDGE_OUT,
                                            .domid = request->domid,
                                            .port = conn ? conn->peer_port : request->port,
                                            .name = request->name,
                                            .type = request->type,
                                            .uid = request->caller.uid};
    /* Of a connect that waits for its answer, it is the rule that lets the request through. */
    const struct rule *theirs = conn && conn->phase == CONN_ENDING ? conn->rule : NULL;
    judge_explain(hub->core, &question, reason, theirs, rule, sizeof(rule));
    int length = snprintf(text, size, "%s", hub_cause(hub, request, reason));
    /* The name of a policy file may have any byte. */
    if (length >= 0 && (size_t)length < size)
        shown_text(text + length, size - (size_t)length, rule, strlen(rule),
                   SHOWN_ASCII | SHOWN_BACKSLASH);
}

/* May the user have no more connections? Then the connect is counted as refused. */
static bool hub_is_over_quota(struct hub *hub, struct hub_pending *pending)
{
    uint32_t uid = pending->request.caller.uid;
    if (quota_may_take(hub->users, uid, USER_CONNECTIONS, 1))
        return false;
    users_explain(hub->users, uid, USER_CONNECTIONS, pending->why, sizeof(pending->why));
    core_count_refused(hub->core);
    hub_audit_connect(hub, pending, REASON_NO_RESOURCES, pending->why);
    return true;
}

/* ---- a domain of a route that does not answer ---- */

/* The share of a domain that is not the last one: of the time that is left, as much as each of
 * those behind it would get. */
static uint64_t hub_share_ms(const struct hub_pending *pending)
{
    const struct hub_route *route = &pending->route;
    const uint64_t now = clock_now_ms(), left = pending->due > now ? pending->due - now : 0;
    const uint64_t share = left / (route->count - route->next + 1);
    return share < ROUTE_SHARE_MS ? share : ROUTE_SHARE_MS;
}

static void on_silence(evutil_socket_t fd, short what, void *arg)
{
    struct hub_pending *pending = arg;
    char why[HUB_WHY_MAX], called[HUB_CALLED_MAX];
    (void)fd, (void)what;
    if (!pending->conn || pending->route.next >= pending->route.count)
        return;
    hub_abandon(pending);
    snprintf(why, sizeof(why), "%s did not answer in its share of the time",
             hub_called(pending, called));
    hub_try_again(pending, REASON_UNREACHABLE, -ETIMEDOUT, why);
}

/* Without memory for that, the domain is waited for. */
static void hub_limit_silence(struct hub_pending *pending)
{
    const uint64_t ms = hub_share_ms(pending);
    const struct timeval share = {.tv_sec = (time_t)(ms / 1000),
                                  .tv_usec = (suseconds_t)(ms % 1000 * 1000)};
    event_add(&pending->silence, &share);
}

static void hub_start(struct hub *hub, struct hub_pending *pending)
{
    struct hub_connect *request = &pending->request;
    enum reason reason;
    char text[HUB_CAUSE_MAX], called[HUB_CALLED_MAX];
    const struct core_request wanted = {.domid = request->domid,
                                        .port = request->port,
                                        .name = request->name,
                                        .local_port = request->local_port,
                                        .type = request->type,
                                        .uid = request->caller.uid,
                                        .peer_timeout_ms = request->peer_timeout_ms,
                                        .cookie = pending};
    pending->conn = core_connect(hub->core, &wanted, &reason);
    if (!pending->conn) {
        hub_explain(hub, request, NULL, reason, text, sizeof(text));
        snprintf(pending->why, sizeof(pending->why), "%s: %s", hub_called(pending, called), text);
        if (hub_try_again(pending, reason, -reason_errno(reason), pending->why))
            return;
        hub_audit_connect(hub, pending, reason, NULL);
        hub_answer_known(pending, -reason_errno(reason));
        return;
    }
    pending->conn->pid = request->caller.pid;
    if (pending->route.next < pending->route.count)
        hub_limit_silence(pending);
}

static bool hub_is_own(const struct hub *hub, uint32_t domid)
{
    return domid == IDC_DOMID_SELF || domid == (uint32_t)hub->core->domid;
}

/* The near end serves within the domain only. */
static void hub_drop_near_end(struct hub_connect *request)
{
    if (request->held_end >= 0)
        closer_close(request->held_end, request->caller.uid);
    request->held_end = -1;
}

/* A connect that may go to this domain only in a later attempt parts with the near end before the
 * first one. */
static void hub_part_early(struct hub_pending *pending)
{
    int error = hub_part_with_near_end(pending, NULL);
    if (error)
        hub_answer_soon(pending, own_error(error), "%s", hub_near_end_text(error));
}

static void hub_attempt_elsewhere(struct hub *hub, struct hub_pending *pending)
{
    hub_drop_near_end(&pending->request);
    if (pending->request.gone(pending->arg))
        hub_answer_soon(pending, -ECANCELED, "the program has given up");
    else if (hub_is_over_quota(hub, pending))
        hub_answer_known(pending, -EDQUOT);
    else
        hub_start(hub, pending);
}

void hub_attempt(struct hub *hub, struct hub_pending *pending)
{
    struct hub_connect *request = &pending->request;
    if (request->held_end >= 0 && hub_is_open_ended(request))
        hub_part_early(pending); /* it comes back here */
    else if (!hub_find_domain(hub, pending))
        return;
    else if (hub_is_own(hub, request->domid))
        hub_connect_within(hub, pending);
    else
        hub_attempt_elsewhere(hub, pending);
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
    pending->due = ms < 0 ? UINT64_MAX : clock_now_ms() + (uint64_t)ms;
    const struct timeval timeout = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    return ms < 0 || event_add(&pending->timer, &timeout) == 0 ? 0 : -ENOMEM;
}

struct hub_pending *hub_connect(struct hub *hub, const struct hub_connect *request,
                                hub_connect_done *done, void *arg)
{
    struct hub_pending *pending = calloc(1, sizeof(*pending));
    if (!pending) {
        closer_close(request->far_end, request->caller.uid);
        closer_close(request->held_end, request->caller.uid);
        return NULL;
    }
    *pending = (struct hub_pending){
        .hub = hub, .request = *request, .done = done, .arg = arg, .result = {.fd = -1}};
    pending->pause_ms = PAUSE_FIRST_MS;
    evtimer_assign(&pending->timer, hub->base, on_timer, pending);
    evtimer_assign(&pending->retry, hub->base, on_retry, pending);
    evtimer_assign(&pending->silence, hub->base, on_silence, pending);
    if (hub_set_limit(pending) < 0)
        hub_answer_soon(pending, -ENOMEM, "%s", own_error_text(-ENOMEM));
    else if (request->name[0] && !service_name_valid(request->name, strlen(request->name)))
        hub_answer_soon(pending, -EINVAL, "%s is not a service name", request->name);
    else if ((request->port == 0) == (request->name[0] == '\0'))
        hub_answer_soon(pending, -EINVAL,
                        "either a port (1..4294967295) or a service name must be given");
    else if (request->to.kind == NAMING_ANY && request->name[0] == '\0')
        hub_answer_soon(pending, -EINVAL,
                        "any goes by the name of a service; a port needs the name of a domain");
    else if (request->to.kind == NAMING_DOMID && request->domid > IDC_DOMID_SELF)
        hub_answer_soon(pending, -EINVAL, "%u is not a domid: they go from 0 to %u", request->domid,
                        IDC_DOMID_SELF - 1);
    else
        hub_attempt(hub, pending);
    return pending;
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
    if (!LIST_EMPTY(&hub->captures.list))
        hub_captures_write(hub);
    set_timer(hub);
    return more;
}

int hub_take_store_events(struct hub *hub)
{
    return core_take_store_events(hub->core);
}

bool hub_is_ready(const struct hub *hub)
{
    return hub->core->policy_known && !hub->core->store_more;
}

static int start_manager(struct hub *hub)
{
    char why[HUB_WHY_MAX] = "";
    struct hub_listening listening;
    struct hub_listen request = {.caller = {.uid = geteuid(), .pid = getpid()},
                                 .port = IDC_PORT_MANAGER,
                                 .type = IDC_STREAM,
                                 .backlog = LISTENER_BACKLOG_MAX};
    int error = hub_listen_on(hub, &request, NULL, &listening, why);
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
    hub->users = config->users;
    hub->timer_deadline = UINT64_MAX;
    hub_records_init(hub);
    LIST_INIT(&hub->permits);
    LIST_INIT(&hub->captures.list);
    trim_init(&hub->trim, hub->base);
    audit_begin(&hub->audit, hub->base);
    endpoints_init(&hub->endpoints, hub->base);
    hub_fill_host(hub);
    hub->host.ops = config->ops;
    hub->host.platform = config->platform;
    evtimer_assign(&hub->deadline, hub->base, on_deadline, hub);
    int error = acceptors_init(&hub->acceptors, hub->base, hub->users);
    hub->core = error ? NULL : core_new(&hub->host, &config->core);
    if (hub->core)
        hub->audit.domid = hub->core->domid;
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
    hub_captures_end(hub);
    audit_end(&hub->audit);
    hub_permits_end(hub);
    acceptors_end(&hub->acceptors);
    if (hub->manager)
        port_manager_free(hub->manager);
    event_del(&hub->deadline);
    endpoints_end(&hub->endpoints);
    trim_stop(&hub->trim);
    hub_records_free(hub);
    free(hub);
}
