/* SPDX-License-Identifier: GPL-2.0-or-later */
/* judge.h has the contract. */
#include "link_mgr/core/judge.h"

#include <string.h>

#include "link_mgr/core/core.h"
#include "link_mgr/core/pace.h"
#include "link_mgr/core/rule_use.h"
#include "link_mgr/core/rules_force.h"

static bool judge_is_own(const struct core *core, uint32_t domid)
{
    return domid == (uint32_t)core->domid;
}

static const struct peer *judge_peer(const struct core *core, uint32_t domid)
{
    return domid < IDC_DOMID_SELF ? core->by_domid[domid] : NULL;
}

static bool judge_by_node(const struct core *core, const struct judge_question *question)
{
    const struct peer *peer = judge_peer(core, question->domid);
    if (!peer || !peer->named)
        return false;
    return question->direction == JUDGE_IN
               ? policy_allows_in(&peer->policy, question->port, question->name)
               : policy_allows_out(&peer->policy, question->port, question->name);
}

/* Whether rules up to this number decide. */
static bool judge_by_rules(const struct core *core, const struct judge_question *question,
                           uint64_t first, uint32_t last, struct judge_verdict *verdict)
{
    const bool out = question->direction == JUDGE_OUT;
    const struct rule_question asked = {.port = question->port,
                                        .name = question->name,
                                        .name_known = !out,
                                        .type = question->type,
                                        .uid = question->uid,
                                        .now = rules_time(core)};
    if (!core->rules || first > last ||
        !rules_decide(core->rules, rules_between(core->rules, question->domid, out),
                      (uint32_t)first, last, &asked, &verdict->rules))
        return false;
    verdict->allowed = verdict->rules.rule->allow;
    verdict->by = JUDGE_BY_RULE;
    return true;
}

void judge_ask(const struct core *core, const struct judge_question *question,
               struct judge_verdict *verdict)
{
    *verdict = (struct judge_verdict){.allowed = judge_is_own(core, question->domid)};
    if (verdict->allowed || rules_are_awaited(core))
        return;
    const uint32_t commands = core->rules ? core->rules->commands : 0;
    if (judge_by_rules(core, question, 1, commands, verdict))
        return;
    if (judge_by_node(core, question)) {
        verdict->allowed = true;
        verdict->by = JUDGE_BY_NODE;
        return;
    }
    judge_by_rules(core, question, (uint64_t)commands + 1, UINT32_MAX, verdict);
}

bool judge_allows(const struct core *core, const struct judge_question *question)
{
    struct judge_verdict verdict;
    judge_ask(core, question, &verdict);
    return verdict.allowed;
}

bool judge_joins(const struct core *core, uint32_t domid)
{
    const struct peer *peer = judge_peer(core, domid);
    if (judge_is_own(core, domid))
        return false;
    if (peer && peer->named)
        return true;
    return core->rules &&
           (rules_allow_something(core->rules, rules_between(core->rules, domid, true),
                                  rules_time(core)) ||
            rules_allow_something(core->rules, rules_between(core->rules, domid, false),
                                  rules_time(core)));
}

/* The listener's program may have closed it, and the host will notice only later. */
static bool judge_hears(const struct core *core, struct listener *listener, bool offer)
{
    return listener->backlog > 0 && core->host->listening(core->host, listener, offer);
}

bool judge_shows(const struct core *core, uint32_t domid, uint32_t uid, struct listener *listener)
{
    const struct judge_question question = {.direction = JUDGE_IN,
                                            .domid = domid,
                                            .port = listener->port,
                                            .name = listener->name,
                                            .type = listener->type,
                                            .uid = uid};
    return judge_allows(core, &question) && judge_hears(core, listener, false);
}

static struct listener *judge_find(struct core *core, const struct judge_question *question)
{
    struct listener *listener = question->name[0]
                                    ? listener_by_name(&core->listeners, question->name)
                                    : listener_by_port(&core->listeners, question->port);
    bool hidden = listener && listener->local_only && !judge_is_own(core, question->domid);
    return hidden ? NULL : listener;
}

enum reason judge_admits(struct core *core, const struct judge_question *question,
                         struct listener **listener, struct judge_verdict *verdict)
{
    struct listener *found = judge_find(core, question);
    struct judge_question full = *question;
    if (found) {
        full.port = found->port;
        full.name = found->name;
    }
    *listener = found;
    judge_ask(core, &full, verdict);
    if (!verdict->allowed)
        return REASON_POLICY;
    if (!found || !judge_hears(core, found, true))
        return REASON_NO_LISTENER;
    if (found->type != question->type)
        return REASON_WRONG_TYPE;
    if (found->waiting >= found->backlog)
        return REASON_BACKLOG_FULL;
    return REASON_OK;
}

static bool judge_is_same(const struct judge_question *one, const struct judge_question *other)
{
    return one->direction == other->direction && one->domid == other->domid &&
           one->port == other->port && one->type == other->type && one->uid == other->uid &&
           strcmp(one->name, other->name) == 0;
}

static void judge_ask_memo(const struct core *core, const struct judge_question *question,
                           struct judge_memo *memo)
{
    if (memo->is_set && judge_is_same(&memo->question, question))
        return;
    memo->question = *question;
    strcpy(memo->name, question->name); /* its connection may be freed before the next one comes */
    memo->question.name = memo->name;
    memo->is_set = true;
    judge_ask(core, question, &memo->verdict);
    if (core->rules)
        memo->looks +=
            rules_between(core->rules, question->domid, question->direction == JUDGE_OUT)->count;
}

bool judge_keeps(struct conn *conn, struct judge_memo *memo)
{
    const struct judge_question question = {
        .direction = conn->incoming ? JUDGE_IN : JUDGE_OUT,
        .domid = (uint32_t)conn->peer->domid,
        .port = conn->incoming ? conn->local_port : conn->peer_port,
        .name = conn->incoming ? conn->service : conn->name,
        .type = conn->type,
        .uid = conn->uid,
    };
    judge_ask_memo(conn->peer->core, &question, memo);
    const struct judge_verdict *verdict = &memo->verdict;
    if (verdict->allowed) {
        conn->rule = verdict->rules.rule;
        rules_used(conn->peer->core, conn->rule);
    }
    if (verdict->rules.perhaps)
        rule_use_leave(conn, false);
    else if (conn->phase < CONN_ENDING && verdict->allowed)
        rule_use_move(conn);
    return verdict->allowed && pace_follow(conn);
}
