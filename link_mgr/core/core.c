/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The parts of core.h that no single peer owns. Policy nodes come in here, and make and remove
 * peers. Events find their peer here, and peers get their turns and deadlines.
 */
#include "link_mgr/core/core.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "common/text_cut.h"
#include "link_mgr/core/judge.h"
#include "link_mgr/core/link.h"

void core_log(struct core *core, int priority, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    text_mark_cut(text, sizeof(text), vsnprintf(text, sizeof(text), format, args));
    va_end(args);
    core->host->log(core->host, &core->log_limit, priority, text);
}

/* ---- life ---- */

static int watch_policy(struct core *core, bool begin)
{
    char path[PLATFORM_PATH_MAX + 1];
    const struct platform_ops *ops = core->host->ops;
    snprintf(path, sizeof(path), "/local/domain/%d/idc/policy", core->domid);
    return begin ? ops->subscribe(core->host->platform, path)
                 : ops->unsubscribe(core->host->platform, path);
}

/* Takes its place in the store: cleans up after an earlier run, and asks for the policy. */
static int core_begin(struct core *core)
{
    char path[PLATFORM_PATH_MAX + 1];
    const struct platform_ops *ops = core->host->ops;
    core->domid = ops->domid(core->host->platform);
    core->policy_known = false;
    do
        core->epoch = core->host->random64(core->host);
    while (core->epoch == 0);
    snprintf(path, sizeof(path), "/local/domain/%d/data/idc", core->domid);
    int error = ops->retract(core->host->platform, path);
    if (error && error != -ENOENT)
        core_log(core, LOG_WARNING, "cannot remove what an earlier run left in %s: %s", path,
                 strerror(-error));
    return watch_policy(core, true);
}

static void core_end(struct core *core, enum reason reason)
{
    struct peer *peer;
    while ((peer = TAILQ_FIRST(&core->peers)))
        peer_free(peer, reason);
    watch_policy(core, false);
}

struct core *core_new(struct host *host, const struct core_config *config)
{
    struct core *core = calloc(1, sizeof(*core));
    if (!core)
        return NULL;
    core->host = host;
    core->config = *config;
    core->deadline = UINT64_MAX;
    TAILQ_INIT(&core->peers);
    TAILQ_INIT(&core->busy);
    listener_table_init(&core->listeners, (uint32_t)host->random64(host));
    if (core_begin(core)) {
        free(core);
        return NULL;
    }
    return core;
}

void core_free(struct core *core)
{
    char path[PLATFORM_PATH_MAX + 1];
    struct host *host = core->host;
    core_end(core, REASON_SHUTDOWN);
    snprintf(path, sizeof(path), "/local/domain/%d/data/idc", core->domid);
    host->ops->retract(host->platform, path);
    free(core);
}

/* ---- store events ---- */

/* Reads the domid at text in a path, which a slash or the end must follow. Returns what follows, or
 * NULL. */
static const char *parse_domid(const char *text, int *domid)
{
    const char *rest = text;
    uint32_t number = 0;
    for (; *rest >= '0' && *rest <= '9'; rest++) {
        number = 10 * number + (uint32_t)(*rest - '0');
        if (number >= IDC_DOMID_SELF)
            return NULL;
    }
    if (rest == text || (*rest != '\0' && *rest != '/'))
        return NULL;
    *domid = (int)number;
    return rest;
}

static void policy_event(struct core *core, const char *rest, const struct store_event *event)
{
    int domid;
    struct peer *peer, *next;
    core->policy_known = true;
    if (*rest != '\0' && *rest != '/')
        return;
    if (*rest == '\0') { /* the directory itself */
        for (peer = TAILQ_FIRST(&core->peers); peer && !event->present; peer = next) {
            next = TAILQ_NEXT(peer, all);
            peer_set_policy(peer, NULL);
        }
        return;
    }
    rest = parse_domid(rest + 1, &domid);
    if (!rest || *rest != '\0' || domid == core->domid)
        return;
    peer = core->by_domid[domid];
    if (!peer && event->present)
        peer = peer_new(core, domid);
    if (peer)
        peer_set_policy(peer, event->present ? event->value : NULL);
}

static void rendezvous_event(struct core *core, int domid, const char *rest,
                             const struct store_event *event)
{
    struct peer *peer = core->by_domid[domid];
    if (peer && (*rest == '/' || *rest == '\0'))
        peer_store_event(peer, *rest == '/' ? rest + 1 : NULL,
                         event->present ? event->value : NULL);
}

/* The domain has got another domid. Everything begins again, but the listeners stay. */
static void core_domid_changed(struct core *core)
{
    core_log(core, LOG_NOTICE, "this domain was domain %d and is domain %d now", core->domid,
             core->host->ops->domid(core->host->platform));
    core_end(core, REASON_LINK_LOST);
    if (core_begin(core))
        core_log(core, LOG_ERR, "cannot watch the policy of the new domid");
}

void core_store_event(struct core *core, const struct store_event *event)
{
    static const char prefix[] = "/local/domain/";
    char policy[32], data[32];
    int domid;
    if (strcmp(event->path, "domid") == 0) {
        core_domid_changed(core);
        return;
    }
    if (strncmp(event->path, prefix, sizeof(prefix) - 1) != 0)
        return;
    const char *rest = parse_domid(event->path + sizeof(prefix) - 1, &domid);
    int policy_length = snprintf(policy, sizeof(policy), "/idc/policy");
    int data_length = snprintf(data, sizeof(data), "/data/idc/%d", core->domid);
    if (rest && domid == core->domid && strncmp(rest, policy, (size_t)policy_length) == 0)
        policy_event(core, rest + policy_length, event);
    else if (rest && strncmp(rest, data, (size_t)data_length) == 0)
        rendezvous_event(core, domid, rest + data_length, event);
}

void core_channel_event(struct core *core, void *token)
{
    (void)core;
    peer_channel_event(token);
}

/* ---- programs ---- */

struct conn *core_connect(struct core *core, const struct core_request *request,
                          enum reason *reason)
{
    const struct judge_question question = {.direction = JUDGE_OUT,
                                            .domid = request->domid,
                                            .port = request->port,
                                            .name = request->name,
                                            .type = request->type,
                                            .uid = request->uid};
    core->count.connects++;
    *reason = REASON_POLICY;
    if (!judge_allows(core, &question))
        return NULL;
    struct peer *peer = core->by_domid[request->domid];
    struct conn *conn = conn_new(peer, request->type);
    *reason = REASON_NO_RESOURCES;
    if (!conn)
        return NULL;
    conn->cookie = request->cookie;
    conn->uid = request->uid;
    conn->local_port =
        request->local_port ? request->local_port : listener_ephemeral_port(&core->listeners);
    conn->peer_port = request->port;
    strcpy(conn->name, request->name);
    peer_request(peer, conn);
    return conn;
}

void core_catch_up(struct core *core)
{
    struct peer *peer;
    TAILQ_FOREACH (peer, &core->peers, all)
        peer_catch_up(peer);
}

void core_unlisten(struct core *core, struct listener *listener)
{
    struct peer *peer;
    struct conn *conn, *next;
    TAILQ_FOREACH (peer, &core->peers, all) {
        for (conn = TAILQ_FIRST(&peer->conns); conn; conn = next) {
            next = TAILQ_NEXT(conn, of_peer);
            if (conn->listener != listener)
                continue;
            conn_reset(conn, REASON_LISTENER_CLOSED);
            conn_settle(conn);
        }
    }
    listener_remove(listener);
}

/* ---- turns ---- */

/* Peers whose deadline has passed, and the earliest of the others. */
static void core_expire(struct core *core)
{
    uint64_t now = core->host->now(core->host);
    struct peer *peer, *next;
    if (now < core->deadline)
        return;
    core->deadline = UINT64_MAX;
    for (peer = TAILQ_FIRST(&core->peers); peer; peer = next) {
        next = TAILQ_NEXT(peer, all);
        if (peer->deadline <= now)
            peer_expired(peer);
        if (peer->deadline < core->deadline)
            core->deadline = peer->deadline;
    }
}

/* A peer that the policy no longer names, and that nothing refers to. */
static void forget_if_over(struct peer *peer)
{
    if (!peer->allowed && !peer->channel && peer->conn_count == 0)
        peer_free(peer, REASON_REVOKED);
}

bool core_turn(struct core *core)
{
    struct peer_list busy;
    struct peer *peer;
    core_expire(core);
    /* Peers that become busy meanwhile have their turn after the next batch of events. */
    TAILQ_INIT(&busy);
    TAILQ_CONCAT(&busy, &core->busy, busy);
    while ((peer = TAILQ_FIRST(&busy))) {
        TAILQ_REMOVE(&busy, peer, busy);
        /* it still counts as busy, because what it does itself need not wake it again */
        bool more = peer_turn(peer);
        peer->is_busy = false;
        if (more)
            peer_wake(peer);
        else
            forget_if_over(peer);
    }
    return !TAILQ_EMPTY(&core->busy);
}

uint64_t core_deadline(const struct core *core)
{
    return core->deadline;
}
