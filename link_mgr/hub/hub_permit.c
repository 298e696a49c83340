/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hub_permit.c - who may listen, and what happens when one may no longer.
 *
 * Theory of operation
 *
 * A permit says who listens on what: the uid and the groups that the program had, the port and the
 * name that it asked for. Its listener holds it, and so does each connection that the listener has
 * got from another domain, which may live longer. When there are new rules, each permit is judged
 * again. What holds one that is no longer good ends: connections with REASON_REVOKED, then the
 * listener. Connections within the domain hold none, since the hub has no part in them.
 *
 * The log has a line for each of them, however many: whoever has changed the rules asked for it.
 *
 * Root and link_mgr's own user may do everything: they could change the rules, or this process.
 * Without rules the others may have every port above 1023 and every name. The listener of port 1
 * has no permit.
 *
 * If a listener has a port that link_mgr picked, and a name, the name alone counts.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "link_mgr/program/acceptor.h"
#include "link_mgr/hub/hub_private.h"
#include "link_mgr/hub/hub_run.h"
#include "link_mgr/base/log.h"
#include "link_mgr/base/own_error.h"

struct hub_permit {
    LIST_ENTRY(hub_permit) list;
    unsigned holders;
    struct listener *listener; /* NULL: not yet, or no more */
    uint32_t uid;
    struct groups groups;
    uint32_t port;                  /* 0: only the name counts */
    char name[IDC_SERVICE_MAX + 1]; /* "": none */
    bool revoked;
};

/* ---- judging ---- */

struct judgement {
    bool allowed;
    uint32_t port; /* 0: it is about the name */
    unsigned line; /* of the rules; 0: none fits */
};

static struct judgement judge_place(const struct hub *hub, const struct hub_permit *permit,
                                    uint32_t port)
{
    const struct listen_question question = {
        .uid = permit->uid, .groups = &permit->groups, .port = port, .name = permit->name};
    struct judgement judgement = {.port = port};
    if (permit->uid == 0 || permit->uid == geteuid())
        judgement.allowed = true;
    else if (hub->rules.rules)
        judgement.allowed = listen_rules_allow(hub->rules.rules, &question, &judgement.line);
    else
        judgement.allowed = port == 0 || port > IDC_PORT_PRIVILEGED_MAX;
    return judgement;
}

/* Both the name and the port must be allowed, if both count. */
static struct judgement judge_permit(const struct hub *hub, const struct hub_permit *permit)
{
    struct judgement judgement = {.allowed = true};
    if (permit->name[0])
        judgement = judge_place(hub, permit, 0);
    if (judgement.allowed && permit->port)
        judgement = judge_place(hub, permit, permit->port);
    return judgement;
}

/* The path, or its end if it is so long that it would fill a message. */
static const char *shown_path(const struct hub *hub)
{
    const char *slash = strrchr(hub->rules.path, '/');
    return strlen(hub->rules.path) > 255 && slash ? slash + 1 : hub->rules.path;
}

/* Which line decided. `tell`: whoever reads this may know it. */
static void explain_judgement(const struct hub *hub, const struct hub_permit *permit,
                              const struct judgement *judgement, bool tell, char why[HUB_WHY_MAX])
{
    char place[IDC_SERVICE_MAX + 16];
    if (judgement->port)
        snprintf(place, sizeof(place), "port %u", judgement->port);
    else
        snprintf(place, sizeof(place), "service %s", permit->name);
    if (!hub->rules.rules)
        snprintf(why, HUB_WHY_MAX, "ports up to %u are for root and for link_mgr's own user",
                 IDC_PORT_PRIVILEGED_MAX);
    else if (!tell)
        snprintf(why, HUB_WHY_MAX,
                 "uid %u may not listen on %s: the rules of this domain do not allow it",
                 permit->uid, place);
    else if (judgement->line)
        snprintf(why, HUB_WHY_MAX, "uid %u may not listen on %s: %.255s:%u", permit->uid, place,
                 shown_path(hub), judgement->line);
    else
        snprintf(why, HUB_WHY_MAX, "uid %u may not listen on %s: no line of %.255s allows it",
                 permit->uid, place, shown_path(hub));
}

/* The log may say all, the program what everybody may read. */
static int refuse_permit(struct hub *hub, const struct hub_permit *permit,
                         const struct judgement *judgement, char why[HUB_WHY_MAX])
{
    hub->listens_refused++;
    explain_judgement(hub, permit, judgement, true, why);
    if (hub->rules.rules)
        log_limited(LOG_NOTICE, "%s", why);
    explain_judgement(hub, permit, judgement, hub->rules.is_public, why);
    return -EACCES;
}

/* ---- life ---- */

void hub_permit_put(struct hub_permit *permit)
{
    if (!permit || --permit->holders > 0)
        return;
    LIST_REMOVE(permit, list);
    groups_free(&permit->groups);
    free(permit);
}

struct hub_permit *hub_permit_hold(struct hub_permit *permit)
{
    if (permit)
        permit->holders++;
    return permit;
}

int hub_permit_new(struct hub *hub, const struct hub_listen *request, struct hub_permit **permit,
                   char why[HUB_WHY_MAX])
{
    struct hub_permit *new = calloc(1, sizeof(*new));
    if (!new) {
        snprintf(why, HUB_WHY_MAX, "%s", own_error_text(-ENOMEM));
        return own_error(-ENOMEM);
    }
    new->holders = 1;
    new->uid = request->caller.uid;
    new->port = request->port;
    strcpy(new->name, request->name);
    if (request->groups)
        new->groups = groups_copy(request->groups);
    LIST_INSERT_HEAD(&hub->permits, new, list);
    *permit = new;
    const struct judgement judgement = judge_permit(hub, new);
    return judgement.allowed ? 0 : refuse_permit(hub, new, &judgement, why);
}

int hub_permit_picked(struct hub *hub, struct hub_permit *permit, uint32_t port,
                      char why[HUB_WHY_MAX])
{
    if (permit->port || permit->name[0])
        return 0;
    permit->port = port;
    const struct judgement judgement = judge_permit(hub, permit);
    return judgement.allowed ? 0 : refuse_permit(hub, permit, &judgement, why);
}

void hub_permit_use(struct hub_permit *permit, struct listener *listener)
{
    listener->permit = hub_permit_hold(permit);
    if (permit)
        permit->listener = listener;
}

void hub_permit_unlistened(const struct listener *listener)
{
    struct hub_permit *permit = listener->permit;
    if (permit)
        permit->listener = NULL;
    hub_permit_put(permit);
}

void hub_permits_end(struct hub *hub)
{
    assert(LIST_EMPTY(&hub->permits));
    listen_rules_free(hub->rules.rules);
}

/* ---- new rules ---- */

static bool holds_revoked(const struct conn *conn)
{
    const struct hub_permit *permit = conn->permit;
    return permit && permit->revoked;
}

static void end_revoked_listeners(struct hub *hub)
{
    struct hub_permit *permit, *next;
    for (permit = LIST_FIRST(&hub->permits); permit; permit = next) {
        next = LIST_NEXT(permit, list);
        if (!permit->revoked || !permit->listener)
            continue;
        hub->listeners_revoked++;
        acceptor_free(permit->listener->owner); /* it may have been the last holder */
    }
}

/* Judges everybody again. */
static void revoke_permits(struct hub *hub)
{
    struct hub_permit *permit;
    char why[HUB_WHY_MAX];
    bool any = false;
    LIST_FOREACH (permit, &hub->permits, list) {
        const struct judgement judgement = judge_permit(hub, permit);
        permit->revoked = !judgement.allowed;
        any = any || permit->revoked;
        if (judgement.allowed)
            continue;
        explain_judgement(hub, permit, &judgement, true, why);
        log_limited(LOG_NOTICE, "%s is ended: %s",
                    permit->listener ? "a listener" : "what a listener has left", why);
    }
    if (!any)
        return;
    core_break_off(hub->core, holds_revoked, REASON_REVOKED);
    end_revoked_listeners(hub);
}

/* A file that has gone, or that is just being replaced, does not open everything to everybody. */
int hub_read_rules(struct hub *hub, const struct listen_file *file, char why[LISTEN_WHY_MAX])
{
    struct hub_rules rules = {.path = file->path};
    const struct listen_file wanted = {file->path, file->must_exist || hub->rules.rules};
    int error = listen_file_read(&wanted, &rules.rules, &rules.is_public, why);
    hub->rules.is_old = error != 0;
    if (error)
        return error;
    unsigned count = rules.rules ? listen_rules_count(rules.rules) : 0;
    if (rules.rules)
        log_line(LOG_NOTICE, "who may listen: %s, %u rule%s", file->path, count,
                 count == 1 ? "" : "s");
    listen_rules_free(hub->rules.rules);
    hub->rules = rules;
    revoke_permits(hub);
    return 0;
}

int hub_rule_count(const struct hub *hub, bool *are_old)
{
    *are_old = hub->rules.is_old;
    return hub->rules.rules ? (int)listen_rules_count(hub->rules.rules) : -1;
}
