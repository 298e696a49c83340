/* SPDX-License-Identifier: GPL-2.0-or-later */
/* rules_force.c - see rules_force.h. */
#include "link_mgr/core/rules_force.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <syslog.h>

#include "link_mgr/core/core.h"
#include "link_mgr/core/judge.h"

uint64_t rules_time(const struct core *core)
{
    return core->host->wall(core->host) / 1000;
}

bool rules_are_awaited(const struct core *core)
{
    return !core->rules_settled && (core->rules_store.named || core->store_more);
}

void rules_event(struct core *core, const char *rest, const char *value)
{
    rules_store_event(&core->rules_store, rest, value);
}

static void rules_set_due(struct core *core, uint64_t due)
{
    core->rules_due = due;
    if (due < core->deadline)
        core->deadline = due;
}

/* What failed is tried again, unless something is due before that. */
static void rules_set_due_again(struct core *core)
{
    const uint64_t due = core->host->now(core->host) + RULES_AGAIN_MS;
    if (core->rules_due > due)
        rules_set_due(core, due);
}

/* When to look again, as far as time decides. */
static void rules_plan(struct core *core)
{
    uint64_t wall = core->host->wall(core->host);
    uint64_t end = core->rules ? rules_next_end(core->rules, wall / 1000) : RULES_FOREVER;
    if (end == RULES_FOREVER) {
        rules_set_due(core, UINT64_MAX);
        return;
    }
    uint64_t wait = end * 1000 - wall;
    rules_set_due(core,
                  core->host->now(core->host) + (wait < RULES_LOOK_MS ? wait : RULES_LOOK_MS));
}

/* True: there was no memory for a peer. */
static bool rules_make_peers(struct core *core)
{
    bool failed = false;
    for (uint32_t i = 0; core->rules && i < core->rules->peer_count; i++) {
        uint32_t domid = core->rules->peers[i].domid;
        if (!core->by_domid[domid] && judge_joins(core, domid))
            failed |= !peer_new(core, (int)domid);
    }
    return failed;
}

/* Has a rule ended since all was judged? Or is one in force again, because the clock was set? */
static bool rules_time_changes(const struct core *core)
{
    const uint64_t now = rules_time(core);
    for (uint32_t i = 0; core->rules && i < core->rules->rule_count; i++) {
        const uint64_t until = core->rules->rules[i].until;
        if ((until <= now) != (until <= core->rules_judged))
            return true;
    }
    return false;
}

/* Nothing points into former sets any more. */
static void rules_forget_before(struct core *core)
{
    struct rules *rules;
    while ((rules = core->rules_before)) {
        core->rules_before = rules->before;
        rules_free(rules);
    }
}

/* A peer whose connections are more than a turn can judge goes behind the others. */
void rules_judge(struct core *core)
{
    struct peer *peer;
    core->judge_left = RULES_JUDGE_TURN;
    if (!core->judging)
        return;
    core->judging = false;
    TAILQ_FOREACH (peer, &core->peers, all)
        if (!peer_judge_more(peer))
            break;
    if (peer) {
        TAILQ_REMOVE(&core->peers, peer, all);
        TAILQ_INSERT_TAIL(&core->peers, peer, all);
    } else {
        rules_forget_before(core);
    }
}

/* The rules have changed, or the time has. */
static void rules_apply(struct core *core)
{
    struct peer *peer, *next;
    core->rules_judged = rules_time(core);
    bool failed = rules_make_peers(core);
    core->rules_incomplete = failed;
    core->judging = false; /* what it was set for comes again */
    for (peer = TAILQ_FIRST(&core->peers); peer; peer = next) {
        next = TAILQ_NEXT(peer, all);
        peer_judge_again(peer);
    }
    rules_plan(core);
    if (failed)
        rules_set_due(core, core->host->now(core->host) + RULES_AGAIN_MS);
}

/* Keeps the present set, for connections that are judged later. */
static void rules_keep_before(struct core *core)
{
    int count = 0;
    if (!core->rules)
        return;
    core->rules->before = core->rules_before;
    core->rules_before = core->rules;
    for (struct rules *rules = core->rules; rules; rules = rules->before)
        count++;
    if (count > RULES_BEFORE_MAX)
        core->judge_left = UINT32_MAX;
}

static void rules_enter(struct core *core, struct rules *rules)
{
    struct peer *peer;
    TAILQ_FOREACH (peer, &core->peers, all)
        rule_use_follow(peer, rules);
    rules_keep_before(core);
    core->rules = rules;
    core->rules_settled = true;
    rules_apply(core);
    if (!core->judging)
        rules_forget_before(core);
}

static void rules_say_wrong(struct core *core, const struct rules_problem *problem)
{
    const char *then = core->rules_settled ? "the former ones stay" : "nothing is allowed";
    if (problem->line)
        core_log(core, LOG_ERR,
                 "the rules of generation %" PRIu64 " can't be read, so %s: line %u: %s",
                 core->rules_store.done, then, problem->line, problem->what);
    else
        core_log(core, LOG_ERR, "the rules can't be read, so %s: %s", then, problem->what);
}

void rules_turn(struct core *core)
{
    struct rules *rules = NULL;
    struct rules_problem problem;
    switch (rules_store_take(&core->rules_store, &rules, &problem)) {
    case RULES_NEW:
        rules_enter(core, rules);
        break;
    case RULES_WRONG:
        rules_say_wrong(core, &problem);
        break;
    case RULES_MEMORY:
        rules_set_due_again(core);
        break;
    case RULES_SAME:
        core->rules_settled |= core->policy_known && !core->store_more && !core->rules_store.named;
        break;
    }
}

/* The store must tell all nodes again. The watch stays, so no change of the policy is missed. */
static void rules_ask_again(struct core *core)
{
    int error = core_watch_policy(core, true);
    if (!error)
        rules_store_relist(&core->rules_store);
    else if (!core->rules_unread)
        core_log(core, LOG_ERR, "cannot read the policy again, and try it each second: %s",
                 strerror(-error));
    core->rules_unread = error != 0;
}

void rules_used(struct core *core, const struct rule *rule)
{
    if (rule && rule->until != RULES_FOREVER && rule->until <= core->rules_judged)
        rules_set_due(core, core->host->now(core->host));
}

void rules_due(struct core *core)
{
    if (core->rules_store.lost)
        rules_ask_again(core);
    /* To judge all connections by all rules may take long, so it is not done for nothing. */
    if (core->rules_incomplete || rules_time_changes(core))
        rules_apply(core);
    else
        rules_plan(core);
    if (core->rules_store.lost)
        rules_set_due_again(core);
}

void rules_end(struct core *core)
{
    rules_store_clear(&core->rules_store);
    rules_forget_before(core);
    rules_free(core->rules);
    core->rules = NULL;
    core->rules_due = UINT64_MAX;
}
