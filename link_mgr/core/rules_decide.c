/* SPDX-License-Identifier: GPL-2.0-or-later */
/* rules_decide.c - see rules.h: how a rule and a connection go together, and which rule decides. */
#include "common/glob.h"
#include "link_mgr/core/rules.h"

enum rule_match { RULE_NO, RULE_PERHAPS, RULE_YES };

static bool rule_in_ranges(const struct rules_range *ranges, uint32_t count, uint32_t number)
{
    for (uint32_t i = 0; i < count; i++)
        if (number >= ranges[i].first && number <= ranges[i].last)
            return true;
    return false;
}

static bool rule_has_name(const struct rule *rule, const char *name)
{
    for (uint32_t i = 0; i < rule->name_count; i++)
        if (glob_fits(rule->names[i], name))
            return true;
    return false;
}

static enum rule_match rule_match_what(const struct rule *rule,
                                       const struct rule_question *question)
{
    bool named = question->name[0] != '\0';
    bool has_port =
        question->port != 0 && rule_in_ranges(rule->ranges, rule->range_count, question->port);
    if (rule->all || has_port)
        return RULE_YES;
    /* Port 1 has no name. Each allow rule includes it. */
    if (question->port == IDC_PORT_MANAGER)
        return rule->allow ? RULE_YES : RULE_NO;
    if (named && rule_has_name(rule, question->name))
        return RULE_YES;
    if (question->port == 0 && rule->range_count > 0)
        return RULE_PERHAPS;
    return !named && !question->name_known && rule->name_count > 0 ? RULE_PERHAPS : RULE_NO;
}

static bool rule_match_type(const struct rule *rule, const struct rule_question *question)
{
    bool manager = rule->allow && question->port == IDC_PORT_MANAGER;
    return manager || rule->type == 0 || rule->type == question->type;
}

struct rule_fit rule_fits(const struct rule *rule, const struct rule_question *question)
{
    struct rule_fit fit = {0};
    enum rule_match what = rule_match_what(rule, question);
    if (what == RULE_NO)
        fit.missed |= RULES_WHAT;
    else if (what == RULE_PERHAPS)
        fit.unknown |= RULES_WHAT;
    if (rule->uid_count > 0 && !rule_in_ranges(rule->uids, rule->uid_count, question->uid))
        fit.missed |= RULES_UID;
    if (!rule_match_type(rule, question))
        fit.missed |= RULES_TYPE;
    if (question->now >= rule->until)
        fit.missed |= RULES_UNTIL;
    return fit;
}

/* A rule that does not fit: what to tell somebody who is refused. */
static void rules_note_near(const struct rule *rule, const struct rule_fit *fit,
                            struct rules_verdict *verdict)
{
    if (!rule->allow || verdict->near || (fit->missed & RULES_WHAT))
        return;
    verdict->near = rule;
    verdict->near_missed = fit->missed;
}

bool rules_decide(const struct rules *rules, const struct rules_list *list, uint32_t first,
                  uint32_t last, const struct rule_question *question,
                  struct rules_verdict *verdict)
{
    for (uint32_t i = 0; i < list->count; i++) {
        const struct rule *rule = &rules->rules[list->at[i]];
        if (rule->number < first || rule->number > last)
            continue;
        const struct rule_fit fit = rule_fits(rule, question);
        if (fit.missed) {
            rules_note_near(rule, &fit, verdict);
            continue;
        }
        verdict->perhaps |= fit.unknown != 0;
        if (fit.unknown && !rule->allow)
            continue;
        verdict->rule = rule;
        return true;
    }
    return false;
}

bool rules_allow_something(const struct rules *rules, const struct rules_list *list, uint64_t now)
{
    for (uint32_t i = 0; i < list->count; i++) {
        const struct rule *rule = &rules->rules[list->at[i]];
        if (now >= rule->until)
            continue;
        if (rule->allow)
            return true;
        if (rule->all && rule->uid_count == 0 && rule->type == 0)
            return false;
    }
    return false;
}
