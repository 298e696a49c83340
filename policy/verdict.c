/* SPDX-License-Identifier: GPL-2.0-or-later */
/* verdict.c - see verdict.h. */
#include "policy/verdict.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void verdict_note(struct verdict_fit *fit, enum verdict_aspect aspect, enum domain_fit how)
{
    if (how == DOMAIN_NO)
        fit->missed |= aspect;
    else if (how == DOMAIN_PERHAPS)
        fit->unknown |= aspect;
}

/* Port 1 is part of each allow line. A deny line has it only if it says so, so a last line that
 * denies everything takes it from nobody who was allowed something. */
static bool verdict_includes_manager(const struct ruleset_rule *rule)
{
    return rule->allow || services_have_port(&rule->what, VERDICT_PORT_MANAGER);
}

/* A service that is asked for by name has some port, and not that of the manager. */
static bool verdict_has_all_ports(const struct services *what)
{
    return services_ranges_cover(what->ranges, what->range_count, VERDICT_PORT_MANAGER + 1,
                                 UINT32_MAX);
}

static enum domain_fit verdict_what(const struct ruleset_rule *rule,
                                    const struct ruleset_question *question)
{
    const struct services *what = &rule->what;
    if (what->all)
        return DOMAIN_YES;
    if (question->port == VERDICT_PORT_MANAGER)
        return verdict_includes_manager(rule) ? DOMAIN_YES : DOMAIN_NO;
    if (question->port != 0 && services_have_port(what, question->port))
        return DOMAIN_YES;
    if (question->name != NULL && services_have_name(what, question->name))
        return DOMAIN_YES;
    if (question->port == 0 && verdict_has_all_ports(what))
        return DOMAIN_YES;
    bool name_known = question->name != NULL || question->name_known;
    if ((question->port == 0 && what->range_count > 0) || (!name_known && what->name_count > 0))
        return DOMAIN_PERHAPS;
    return DOMAIN_NO;
}

static enum domain_fit verdict_uid(const struct rule_options *options, int64_t uid)
{
    if (!rule_options_has(options, RULE_UID))
        return DOMAIN_YES;
    if (uid < 0)
        return services_ranges_cover(options->uids, options->uid_count, 0, RULE_UID_MAX)
                   ? DOMAIN_YES
                   : DOMAIN_PERHAPS;
    return services_in_ranges(options->uids, options->uid_count, (uint32_t)uid) ? DOMAIN_YES
                                                                                : DOMAIN_NO;
}

static bool verdict_type(const struct ruleset_rule *rule, const struct ruleset_question *question)
{
    bool manager = rule->allow && question->port == VERDICT_PORT_MANAGER;
    return manager || rule->options.type == RULE_TYPE_ANY || rule->options.type == question->type;
}

struct verdict_fit verdict_fit_connection(const struct ruleset_rule *rule,
                                          const struct ruleset_question *question)
{
    struct verdict_fit fit = {0};
    verdict_note(&fit, VERDICT_WHAT, verdict_what(rule, question));
    verdict_note(&fit, VERDICT_UID, verdict_uid(&rule->options, question->uid));
    if (!verdict_type(rule, question))
        fit.missed |= VERDICT_TYPE;
    if (rule_options_has(&rule->options, RULE_UNTIL) && question->now >= rule->options.until)
        fit.missed |= VERDICT_UNTIL;
    return fit;
}

int verdict_fits(const struct ruleset *ruleset, const struct ruleset_question *question,
                 struct verdict_fit *fits)
{
    uint8_t *groups = calloc(ruleset->group_count + 1, 2);
    if (groups == NULL)
        return -ENOMEM;
    uint8_t *to_groups = groups + ruleset->group_count + 1;
    ruleset_membership(ruleset, &question->from, groups);
    ruleset_membership(ruleset, &question->to, to_groups);
    for (size_t i = 0; i < ruleset->rule_count; i++) {
        const struct ruleset_rule *rule = &ruleset->rules[i];
        fits[i] = verdict_fit_connection(rule, question);
        verdict_note(&fits[i], VERDICT_FROM, domain_fits(&rule->from, &question->from, groups));
        verdict_note(&fits[i], VERDICT_TO, domain_fits(&rule->to, &question->to, to_groups));
    }
    free(groups);
    return 0;
}

size_t verdict_decides(const struct verdict_fit *fits, size_t count)
{
    size_t i = 0;
    while (i < count && (fits[i].missed != 0 || fits[i].unknown != 0))
        i++;
    return i;
}

bool verdict_is_perhaps(const struct verdict_fit *fit)
{
    return fit->missed == 0 && fit->unknown != 0;
}

/* ---- routes ---- */

static size_t verdict_find_route(const struct ruleset *ruleset,
                                 const struct ruleset_question *question, const uint8_t *groups,
                                 bool *perhaps)
{
    for (size_t i = 0; i < ruleset->route_count; i++) {
        const struct ruleset_route *route = &ruleset->routes[i];
        enum domain_fit fit = domain_fits(&route->from, &question->from, groups);
        if (strcmp(route->service, question->name) != 0 || fit == DOMAIN_NO)
            continue;
        *perhaps = fit == DOMAIN_PERHAPS;
        return i;
    }
    return ruleset->route_count;
}

int verdict_route(const struct ruleset *ruleset, const struct ruleset_question *question,
                  bool *perhaps)
{
    *perhaps = false;
    if (question->name == NULL)
        return (int)ruleset->route_count;
    uint8_t *groups = calloc(ruleset->group_count + 1, 1);
    if (groups == NULL)
        return -ENOMEM;
    ruleset_membership(ruleset, &question->from, groups);
    size_t found = verdict_find_route(ruleset, question, groups, perhaps);
    free(groups);
    return (int)found;
}
