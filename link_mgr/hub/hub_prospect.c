/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hub_prospect.c - what would become of a connect, as far as this side decides (hub.h).
 *
 * The questions are those of a connect, in its order: the rules, the limits of the rule, the user's
 * quota. Then the link. Nothing is counted, and the other domain hears nothing of it. The caller
 * learns what a connect of its own would have told it, about its own uid, and nothing more.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/service_name.h"
#include "common/shown.h"
#include "link_mgr/core/judge.h"
#include "link_mgr/core/rule_use.h"
#include "link_mgr/hub/hub_private.h"

/* The name of a policy file may have any byte. */
static void prospect_show(char *out, size_t size, const char *text)
{
    shown_text(out, size, text, strlen(text), SHOWN_ASCII | SHOWN_BACKSLASH);
}

static void prospect_by(const struct judge_verdict *verdict, bool own, struct hub_prospect *out)
{
    static const char *const names[] = {
        [JUDGE_BY_NONE] = "none", [JUDGE_BY_NODE] = "node", [JUDGE_BY_RULE] = "rule"};
    out->by = own ? "own" : names[verdict->by];
    out->perhaps = verdict->rules.perhaps;
    if (verdict->by == JUDGE_BY_RULE)
        prospect_show(out->rule, sizeof(out->rule), verdict->rules.rule->place);
}

/* A connect would fail at this side, for this reason. */
static void prospect_refuse(const struct hub *hub, const struct judge_question *question,
                            enum reason reason, struct hub_prospect *out)
{
    char rule[HUB_RULE_MAX];
    judge_explain(hub->core, question, reason, NULL, rule, sizeof(rule));
    out->error = reason_errno(reason);
    int length = snprintf(out->why, sizeof(out->why), "%s", reason_text(reason));
    if (length >= 0 && (size_t)length < sizeof(out->why))
        prospect_show(out->why + length, sizeof(out->why) - (size_t)length, rule);
}

static void prospect_quota(struct hub *hub, uint32_t uid, struct hub_prospect *out)
{
    const uint64_t limit = hub->users->limits[USER_CONNECTIONS].each;
    out->connections = quota_held(hub->users, uid, USER_CONNECTIONS);
    const bool limited = uid != 0 && uid != hub->users->own && limit != QUOTA_NO_LIMIT;
    out->connections_max = limited ? limit : 0;
    if (out->error || quota_may_take(hub->users, uid, USER_CONNECTIONS, 1))
        return;
    out->error = EDQUOT;
    users_explain(hub->users, uid, USER_CONNECTIONS, out->why, sizeof(out->why));
}

static void prospect_link(const struct peer *peer, struct hub_prospect *out)
{
    out->link = peer ? peer_state_name(peer) : "down";
    if (!peer)
        return;
    out->present = peer->alive != 0;
    prospect_show(out->link_error, sizeof(out->link_error),
                  peer->own_error[0] ? peer->own_error : peer->last_error);
}

static void prospect_judge(struct hub *hub, const struct hub_connect *request,
                           struct hub_prospect *out)
{
    const struct judge_question question = {.direction = JUDGE_OUT,
                                            .domid = out->domid,
                                            .port = request->port,
                                            .name = request->name,
                                            .type = request->type,
                                            .uid = request->caller.uid};
    const bool own = out->domid == (uint32_t)hub->core->domid;
    struct peer *peer = own ? NULL : hub->core->by_domid[out->domid];
    enum reason reason = REASON_OK;
    struct judge_verdict verdict;
    judge_ask(hub->core, &question, &verdict);
    prospect_by(&verdict, own, out);
    if (!verdict.allowed)
        reason = REASON_POLICY;
    else if (peer && !verdict.rules.perhaps)
        reason = rule_use_check(peer, verdict.rules.rule, request->port, true);
    if (reason != REASON_OK)
        prospect_refuse(hub, &question, reason, out);
    if (own)
        return;
    prospect_quota(hub, request->caller.uid, out);
    prospect_link(peer, out);
}

int hub_prospect(struct hub *hub, const struct hub_connect *request, struct hub_prospect *out,
                 char why[HUB_WHY_MAX])
{
    *out = (struct hub_prospect){.by = "none", .link = "none"};
    int error = hub_resolve(hub, &request->to, &out->domid, why);
    if (error < 0)
        return error;
    if (out->domid == IDC_DOMID_SELF)
        out->domid = (uint32_t)hub->core->domid;
    if (out->domid > IDC_DOMID_SELF) {
        snprintf(why, HUB_WHY_MAX, "%u is not a domid: they go from 0 to %u", out->domid,
                 IDC_DOMID_SELF - 1);
        return -EINVAL;
    }
    if (request->name[0] && !service_name_valid(request->name, strlen(request->name))) {
        snprintf(why, HUB_WHY_MAX, "%s is not a service name", request->name);
        return -EINVAL;
    }
    prospect_judge(hub, request, out);
    return 0;
}
