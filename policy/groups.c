/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * groups.c - see ruleset.h: names of groups become indexes, and groups get an order in which
 * members stand before those that contain them.
 *
 * The order comes from a walk that descends into each group once and notes it when it leaves it.
 * Its depth is at most the number of groups. A group that is met while the walk is in it contains
 * itself.
 */
#include <stdlib.h>
#include <string.h>

#include "policy/ruleset.h"

struct groups_entry {
    const char *name;
    uint32_t index;
};

#define GROUPS_MISSING UINT32_MAX /* the number of a group that is not there */

enum groups_state { GROUPS_NEW, GROUPS_INSIDE, GROUPS_DONE };

struct groups_work {
    struct ruleset *ruleset;
    const struct ruleset_reporter *reporter;
    struct groups_entry *names; /* in ascending order */
    uint8_t *states;
    size_t ordered;
    unsigned errors;
};

static int groups_compare(const void *a, const void *b)
{
    const struct groups_entry *one = a, *other = b;
    return strcmp(one->name, other->name);
}

static void groups_index(struct groups_work *work)
{
    const struct ruleset *ruleset = work->ruleset;
    for (size_t i = 0; i < ruleset->group_count; i++)
        work->names[i] =
            (struct groups_entry){.name = ruleset->groups[i].name, .index = (uint32_t)i};
    qsort(work->names, ruleset->group_count, sizeof(*work->names), groups_compare);
}

/* Gives a term its group's number. */
static void groups_resolve(struct groups_work *work, const struct ruleset_place *place,
                           struct domain_term *term)
{
    struct problem problem = {.line = place->line};
    if (term->kind != DOMAIN_GROUP)
        return;
    const struct groups_entry wanted = {.name = term->name};
    const struct groups_entry *found =
        bsearch(&wanted, work->names, work->ruleset->group_count, sizeof(wanted), groups_compare);
    if (found != NULL) {
        term->number = found->index;
        return;
    }
    term->number = GROUPS_MISSING;
    if (work->ruleset->groups_unsure)
        return;
    problem_fill(&problem, term->column, "make it by a line: group NAME = MEMBER...",
                 "there is no group %s", term->name);
    work->reporter->report(work->reporter->arg, place->file, &problem);
    work->errors++;
}

static void groups_resolve_all(struct groups_work *work)
{
    struct ruleset *ruleset = work->ruleset;
    for (size_t i = 0; i < ruleset->group_count; i++)
        for (size_t m = 0; m < ruleset->groups[i].member_count; m++)
            groups_resolve(work, &ruleset->groups[i].place, &ruleset->groups[i].members[m]);
    for (size_t i = 0; i < ruleset->rule_count; i++) {
        groups_resolve(work, &ruleset->rules[i].place, &ruleset->rules[i].from);
        groups_resolve(work, &ruleset->rules[i].place, &ruleset->rules[i].to);
    }
    for (size_t i = 0; i < ruleset->route_count; i++)
        groups_resolve(work, &ruleset->routes[i].place, &ruleset->routes[i].from);
}

static void groups_cycle(struct groups_work *work, const struct ruleset_group *group,
                         const struct domain_term *member)
{
    struct problem problem = {.line = group->place.line};
    problem_fill(&problem, member->column, "take one of the groups on the way out of the other",
                 "the group %s contains itself by way of this", group->name);
    work->reporter->report(work->reporter->arg, group->place.file, &problem);
    work->errors++;
}

static void groups_visit(struct groups_work *work, uint32_t index)
{
    const struct ruleset_group *group = &work->ruleset->groups[index];
    work->states[index] = GROUPS_INSIDE;
    for (size_t m = 0; m < group->member_count; m++) {
        const struct domain_term *member = &group->members[m];
        if (member->kind != DOMAIN_GROUP || member->number == GROUPS_MISSING)
            continue;
        if (work->states[member->number] == GROUPS_NEW)
            groups_visit(work, member->number);
        else if (work->states[member->number] == GROUPS_INSIDE)
            groups_cycle(work, group, member);
    }
    work->states[index] = GROUPS_DONE;
    work->ruleset->group_order[work->ordered++] = index;
}

static unsigned groups_out_of_memory(const struct ruleset_reporter *reporter)
{
    struct problem problem = {.line = 0};
    problem_memory(&problem, 0);
    reporter->report(reporter->arg, "", &problem);
    return 1;
}

static void groups_run(struct groups_work *work)
{
    groups_index(work);
    groups_resolve_all(work);
    for (uint32_t i = 0; i < work->ruleset->group_count; i++)
        if (work->states[i] == GROUPS_NEW)
            groups_visit(work, i);
}

unsigned ruleset_finish(struct ruleset *ruleset, const struct ruleset_reporter *reporter)
{
    size_t count = ruleset->group_count + 1; /* never 0 */
    struct groups_work work = {.ruleset = ruleset, .reporter = reporter};
    free(ruleset->group_order);
    ruleset->group_order = calloc(count, sizeof(*ruleset->group_order));
    work.names = calloc(count, sizeof(*work.names));
    work.states = calloc(count, sizeof(*work.states));
    if (ruleset->group_order == NULL || work.names == NULL || work.states == NULL)
        work.errors = groups_out_of_memory(reporter);
    else
        groups_run(&work);
    free(work.names);
    free(work.states);
    return work.errors;
}

void ruleset_membership(const struct ruleset *ruleset, const struct ruleset_domain *domain,
                        uint8_t *groups)
{
    for (size_t i = 0; i < ruleset->group_count; i++) {
        const struct ruleset_group *group = &ruleset->groups[ruleset->group_order[i]];
        uint8_t best = DOMAIN_NO;
        for (size_t m = 0; m < group->member_count && best != DOMAIN_YES; m++) {
            uint8_t fit = (uint8_t)domain_fits(&group->members[m], domain, groups);
            best = fit > best ? fit : best;
        }
        groups[ruleset->group_order[i]] = best;
    }
}
