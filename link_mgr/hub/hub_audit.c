/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hub_audit.c - which events of connections the audit is told of (audit.h), and what is known about
 * them.
 *
 * Each link_mgr writes what it sees at its own side, so a refusal is in the log of both. A refusal
 * is one by policy or by a limit, and no absence: that nothing listens, or that a program accepts
 * too slowly, is none. A connect that is tried again is refused once, at the end.
 */
#include <string.h>

#include "link_mgr/core/judge.h"
#include "link_mgr/hub/hub_private.h"

/* A rule allows it, and has had enough. */
static bool audit_is_limit_of_rule(enum reason reason)
{
    return reason == REASON_RULE_CONNECTIONS || reason == REASON_RULE_RATE;
}

static bool audit_is_refusal(enum reason reason)
{
    return reason == REASON_POLICY || reason == REASON_SHARE || reason == REASON_NO_RESOURCES ||
           audit_is_limit_of_rule(reason);
}

/* The names that the rules tell. */
static void audit_add_names(const struct hub *hub, struct audit_event *event)
{
    const struct rules *rules = hub->core->rules;
    const struct rules_peer *peer = rules ? rules_find_peer(rules, event->domid) : NULL;
    event->own_name = rules ? rules->name : NULL;
    event->name = peer ? peer->name : NULL;
}

/* Adds the rule of ours that decides, whatever it says. */
static void audit_add_verdict(const struct judge_verdict *verdict, struct audit_event *event)
{
    if (verdict->rules.rule)
        event->rule = verdict->rules.rule->place;
    if (!verdict->allowed && verdict->rules.near)
        event->near_rule = verdict->rules.near->place;
}

/* The same for a connect of ours. Does our own policy refuse it? */
static bool audit_add_rule(const struct hub *hub, const struct judge_question *question,
                           struct audit_event *event)
{
    struct judge_verdict verdict;
    judge_ask(hub->core, question, &verdict);
    audit_add_verdict(&verdict, event);
    return !verdict.allowed;
}

/* What is asked of the policy for a connect of ours. */
static struct judge_question audit_question_out(const struct hub_connect *request)
{
    return (struct judge_question){.direction = JUDGE_OUT,
                                   .domid = request->domid,
                                   .port = request->port,
                                   .name = request->name,
                                   .type = request->type,
                                   .uid = request->caller.uid};
}

void hub_audit_connect(struct hub *hub, const struct hub_pending *pending, enum reason reason,
                       const char *why)
{
    const struct hub_connect *request = &pending->request;
    const struct judge_question question = audit_question_out(request);
    struct audit_event event = {.kind = AUDIT_REFUSED,
                                .domid = request->domid,
                                .port = request->port,
                                .service = request->name,
                                .type = request->type,
                                .uid = request->caller.uid,
                                .peer_uid = UINT32_MAX,
                                .pid = request->caller.pid,
                                .reason = why ? why : reason_text(reason)};
    if (!audit_is_refusal(reason))
        return;
    event.by_peer =
        reason == REASON_SHARE || (audit_is_limit_of_rule(reason) && pending->conn != NULL);
    if (reason == REASON_POLICY)
        event.by_peer = !audit_add_rule(hub, &question, &event);
    else if (audit_is_limit_of_rule(reason) && !event.by_peer)
        audit_add_rule(hub, &question, &event);
    if (event.by_peer) /* ours allows it, and that is not what was asked */
        event.rule = NULL;
    audit_add_names(hub, &event);
    audit_note(&hub->audit, &event);
}

void hub_audit_request(struct hub *hub, const struct judge_question *question, enum reason reason,
                       const struct judge_verdict *verdict)
{
    struct listener_table *table = &hub->core->listeners;
    const struct listener *listener = question->name[0] ? listener_by_name(table, question->name)
                                                        : listener_by_port(table, question->port);
    struct judge_question full = *question;
    struct audit_event event = {.kind = AUDIT_REFUSED,
                                .incoming = true,
                                .domid = question->domid,
                                .type = question->type,
                                .uid = UINT32_MAX,
                                .peer_uid = question->uid,
                                .reason = reason_text(reason)};
    if (!audit_is_refusal(reason))
        return;
    if (listener && !listener->local_only) { /* others are not there for that domain */
        full.port = listener->port;
        full.name = listener->name;
        event.uid = listener->uid;
        event.pid = listener->pid;
    }
    event.port = full.port;
    event.service = full.name;
    if (reason == REASON_POLICY || audit_is_limit_of_rule(reason))
        audit_add_verdict(verdict, &event);
    audit_add_names(hub, &event);
    audit_note(&hub->audit, &event);
}

/* What is known of a connection that there is. */
static struct audit_event audit_event_of(const struct hub *hub, const struct conn *conn,
                                         enum audit_kind kind)
{
    struct audit_event event = {.kind = kind,
                                .incoming = conn->incoming,
                                .domid = (uint32_t)conn->peer->domid,
                                .port = conn->incoming ? conn->local_port : conn->peer_port,
                                .service = conn->incoming ? conn->service : conn->name,
                                .type = conn->type,
                                .uid = conn->incoming ? conn->listener_uid : conn->uid,
                                .peer_uid = conn->incoming ? conn->uid : conn->listener_uid,
                                .pid = conn->pid,
                                .serial = conn->serial,
                                .rule = conn->rule ? conn->rule->place : NULL};
    audit_add_names(hub, &event);
    return event;
}

void hub_audit_connected(struct hub *hub, const struct conn *conn)
{
    if (!conn->rule || !conn->rule->log)
        return;
    const struct audit_event event = audit_event_of(hub, conn, AUDIT_ACCEPTED);
    audit_note(&hub->audit, &event);
}

/* Our own reset finds the connection open, and that of the other side does not (conn.c). The rule
 * is the one that had allowed it. */
void hub_audit_ended(struct hub *hub, const struct conn *conn, enum reason reason)
{
    if (reason != REASON_REVOKED)
        return;
    struct audit_event event = audit_event_of(hub, conn, AUDIT_REVOKED);
    event.by_peer = conn->phase != CONN_OPEN;
    event.reason = reason_text(reason);
    audit_note(&hub->audit, &event);
}
