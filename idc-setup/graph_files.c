/* SPDX-License-Identifier: GPL-2.0-or-later */
/* graph_files.c - what a line of a file may reach, by the lines alone (graph_edge.h). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "idc-setup/graph_edge.h"

/* One domain, not several. */
static bool graph_is_single(const struct domain_term *term)
{
    return term->kind == DOMAIN_DOMID || term->kind == DOMAIN_UUID ||
           (term->kind == DOMAIN_NAME && !term->glob);
}

/* A line about one domain and itself is about nothing: its programs need none. */
static bool graph_is_within(const struct ruleset_rule *rule)
{
    return graph_is_single(&rule->from) && graph_is_single(&rule->to) &&
           domain_same(&rule->from, &rule->to);
}

/* One side of an allow line, and the groups that it is in. */
struct graph_side {
    const struct domain_term *term;
    const char *text;
    uint8_t *groups; /* NULL: it is not one domain */
    struct ruleset_domain domain;
    char name[DOMAIN_NAME_MAX + 1];
};

static int graph_side_make(const struct ruleset *ruleset, struct graph_side *side,
                           const struct domain_term *term, const char *text)
{
    side->term = term;
    side->text = text;
    side->groups = NULL;
    if (!graph_is_single(term))
        return 0;
    side->groups = calloc(ruleset->group_count + 1, 1);
    if (side->groups == NULL)
        return -ENOMEM;
    domain_of_term(term, side->name, &side->domain);
    ruleset_membership(ruleset, &side->domain, side->groups);
    return 0;
}

/* Does the term fit every domain that the side is for? */
static bool graph_side_within(const struct graph_side *side, const struct domain_term *term,
                              const char *text)
{
    return term->kind == DOMAIN_ANY || strcmp(text, side->text) == 0 ||
           (side->groups != NULL && domain_fits(term, &side->domain, side->groups) == DOMAIN_YES);
}

/* A list of the deny lines above that are for all domains of both sides. */
static size_t graph_files_above(const struct ruleset *ruleset, size_t index,
                                const struct graph_side *from, const struct graph_side *to,
                                uint32_t *above)
{
    size_t count = 0;
    for (size_t i = 0; i < index; i++) {
        const struct ruleset_rule *rule = &ruleset->rules[i];
        if (!rule->allow && graph_side_within(from, &rule->from, rule->from_text) &&
            graph_side_within(to, &rule->to, rule->to_text))
            above[count++] = (uint32_t)i;
    }
    return count;
}

int graph_files_reach(const struct graph *graph, size_t index, uint32_t *above, enum reach *reach)
{
    const struct ruleset *ruleset = graph->rules->ruleset;
    const struct ruleset_rule *rule = &ruleset->rules[index];
    struct graph_side from, to = {.groups = NULL};
    *reach = REACH_NOTHING;
    if (!rule->allow || graph_is_within(rule))
        return 0;
    int result = graph_side_make(ruleset, &from, &rule->from, rule->from_text);
    if (result == 0)
        result = graph_side_make(ruleset, &to, &rule->to, rule->to_text);
    if (result == 0) {
        const struct reach_above list = {.ruleset = ruleset,
                                         .rules = above,
                                         .count =
                                             graph_files_above(ruleset, index, &from, &to, above),
                                         .now = graph->now};
        result = reach_of_rule(&list, rule, reach);
    }
    free(from.groups);
    free(to.groups);
    return result;
}
