/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * compile.c - see compile.h. First each rule is matched once with each domain. After that a pair of
 * domains costs two bits for each rule that concerns the first of them.
 */
#include "policy/compile.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "policy/compile_private.h"
#include "policy/ruleset_private.h"

enum compile_part { COMPILE_FROM = 1, COMPILE_TO = 2 };

/* ---- rules and domains ---- */

/* Fits every connection of its pair, for ever. */
static bool compile_decides_all(const struct ruleset_rule *rule)
{
    return rule->what.all && !rule_options_has(&rule->options, RULE_UID) &&
           !rule_options_has(&rule->options, RULE_UNTIL) && rule->options.type == RULE_TYPE_ANY;
}

/* Of a domain, by rule: a pair of domains is two rows side by side. */
static uint8_t *compile_parts(const struct compile *compile, size_t domain)
{
    return compile->parts + domain * compile->input.ruleset->rule_count;
}

static int compile_match_domain(struct compile *compile, size_t domain, uint8_t *groups)
{
    const struct ruleset *ruleset = compile->input.ruleset;
    const struct ruleset_domain *it = &compile->input.domains[domain];
    if (!it->complete || it->domid < 0)
        return -EINVAL;
    ruleset_membership(ruleset, it, groups);
    for (size_t i = 0; i < ruleset->rule_count; i++) {
        const struct ruleset_rule *rule = &ruleset->rules[i];
        uint8_t parts = 0;
        if (domain_fits(&rule->from, it, groups) == DOMAIN_YES)
            parts |= COMPILE_FROM;
        if (domain_fits(&rule->to, it, groups) == DOMAIN_YES)
            parts |= COMPILE_TO;
        compile_parts(compile, domain)[i] = parts;
    }
    return 0;
}

static int compile_match(struct compile *compile)
{
    uint8_t *groups = calloc(compile->input.ruleset->group_count + 1, 1);
    int result = groups == NULL ? -ENOMEM : 0;
    for (size_t i = 0; result == 0 && i < compile->input.count; i++)
        result = compile_match_domain(compile, i, groups);
    free(groups);
    return result;
}

struct compile_key {
    int domid;
    size_t domain;
};

static int compile_compare(const void *a, const void *b)
{
    const struct compile_key *one = a, *other = b;
    return (one->domid > other->domid) - (one->domid < other->domid);
}

/* The order of peers, by domid. */
static int compile_sort(struct compile *compile)
{
    size_t count = compile->input.count;
    int result = 0;
    struct compile_key *keys = calloc(count + 1, sizeof(*keys));
    if (keys == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++)
        keys[i] = (struct compile_key){.domid = compile->input.domains[i].domid, .domain = i};
    qsort(keys, count, sizeof(*keys), compile_compare);
    for (size_t i = 0; i < count; i++) {
        compile->order[i] = keys[i].domain;
        if (i > 0 && keys[i].domid == keys[i - 1].domid)
            result = -EINVAL;
    }
    free(keys);
    return result;
}

static int compile_compare_nodes(const void *a, const void *b)
{
    const struct compile_node *one = a, *other = b;
    if (one->domid != other->domid)
        return one->domid < other->domid ? -1 : 1;
    return (one->peer > other->peer) - (one->peer < other->peer);
}

static bool compile_has_node(const struct compile *compile, size_t domain, size_t other)
{
    const struct compile_node node = {.domid = compile->input.domains[domain].domid,
                                      .peer = compile->input.domains[other].domid};
    return bsearch(&node, compile->nodes, compile->input.node_count, sizeof(node),
                   compile_compare_nodes) != NULL;
}

static int compile_take_nodes(struct compile *compile)
{
    size_t count = compile->input.node_count;
    compile->nodes = calloc(count + 1, sizeof(*compile->nodes));
    if (compile->nodes == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++)
        compile->nodes[i] = compile->input.nodes[i];
    qsort(compile->nodes, count, sizeof(*compile->nodes), compile_compare_nodes);
    return 0;
}

int compile_new(struct compile **made, const struct compile_input *input)
{
    struct compile *compile = calloc(1, sizeof(*compile));
    int result = -ENOMEM;
    if (compile == NULL)
        return -ENOMEM;
    compile->input = *input;
    compile->parts = calloc(input->ruleset->rule_count + 1, input->count + 1);
    compile->order = calloc(input->count + 1, sizeof(*compile->order));
    if (compile->parts != NULL && compile->order != NULL)
        result = compile_match(compile);
    if (result == 0)
        result = compile_sort(compile);
    if (result == 0)
        result = compile_take_nodes(compile);
    if (result != 0) {
        compile_free(compile);
        return result;
    }
    *made = compile;
    return 0;
}

void compile_free(struct compile *compile)
{
    if (compile == NULL)
        return;
    free(compile->parts);
    free(compile->order);
    free(compile->nodes);
    free(compile);
}

/* ---- what one domain is given ---- */

/* The rules that concern a domain at all. */
static int compile_concerned(const struct compile *compile, size_t domain,
                             struct compile_list *list)
{
    list->count = 0;
    list->rules = calloc(compile->input.ruleset->rule_count + 1, sizeof(*list->rules));
    if (list->rules == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < compile->input.ruleset->rule_count; i++)
        if (compile_parts(compile, domain)[i] != 0)
            list->rules[list->count++] = (uint32_t)i;
    return 0;
}

static int compile_list_add(struct compile_list *list, uint32_t rule)
{
    uint32_t *more = ruleset_more(list->rules, list->count, sizeof(*more));
    if (more == NULL)
        return -ENOMEM;
    list->rules = more;
    list->rules[list->count++] = rule;
    return 0;
}

/* The rules from one domain to another. *allows is set if one of them allows something. */
static int compile_pair(const struct compile *compile, const struct compile_list *among,
                        size_t from, size_t to, struct compile_list *list, bool *allows)
{
    const uint8_t *from_parts = compile_parts(compile, from);
    const uint8_t *to_parts = compile_parts(compile, to);
    for (size_t i = 0; i < among->count; i++) {
        uint32_t index = among->rules[i];
        if ((from_parts[index] & COMPILE_FROM) == 0 || (to_parts[index] & COMPILE_TO) == 0)
            continue;
        const struct ruleset_rule *rule = &compile->input.ruleset->rules[index];
        if (compile_list_add(list, among->rules[i]) != 0)
            return -ENOMEM;
        *allows = *allows || rule->allow;
        if (compile_decides_all(rule))
            break;
    }
    return 0;
}

static void compile_peer_free(struct compile_peer *peer)
{
    free(peer->out.rules);
    free(peer->in.rules);
}

/* Adds the peer to the view, if the domain may know it. */
static int compile_add_peer(const struct compile *compile, const struct compile_list *among,
                            size_t domain, size_t other, struct compile_view *view)
{
    struct compile_peer peer = {.domain = other};
    bool allows = compile_has_node(compile, domain, other);
    int result = compile_pair(compile, among, domain, other, &peer.out, &allows);
    if (result == 0)
        result = compile_pair(compile, among, other, domain, &peer.in, &allows);
    if (result == 0 && allows)
        view->peers[view->count++] = peer;
    else
        compile_peer_free(&peer);
    return result;
}

/* Deny rules whose other side is every domain. They tell of nobody. */
static int compile_others(const struct compile *compile, const struct compile_list *among,
                          struct compile_view *view)
{
    bool out_decided = false, in_decided = false;
    int result = 0;
    for (size_t i = 0; result == 0 && i < among->count; i++) {
        const struct ruleset_rule *rule = &compile->input.ruleset->rules[among->rules[i]];
        uint8_t parts = compile_parts(compile, view->domain)[among->rules[i]];
        if (rule->allow)
            continue; /* if its other side is every domain, there are no others */
        bool out = (parts & COMPILE_FROM) != 0 && rule->to.kind == DOMAIN_ANY && !out_decided;
        bool in = (parts & COMPILE_TO) != 0 && rule->from.kind == DOMAIN_ANY && !in_decided;
        if (out)
            result = compile_list_add(&view->other_out, among->rules[i]);
        if (in && result == 0)
            result = compile_list_add(&view->other_in, among->rules[i]);
        out_decided = out_decided || (out && compile_decides_all(rule));
        in_decided = in_decided || (in && compile_decides_all(rule));
    }
    return result;
}

int compile_view(const struct compile *compile, size_t domain, struct compile_view *view)
{
    struct compile_list among;
    int result = compile_concerned(compile, domain, &among);
    if (result != 0)
        return result;
    *view = (struct compile_view){.domain = domain,
                                  .peers = calloc(compile->input.count + 1, sizeof(*view->peers))};
    if (view->peers == NULL) {
        free(among.rules);
        return -ENOMEM;
    }
    for (size_t i = 0; result == 0 && i < compile->input.count; i++)
        if (compile->order[i] != domain)
            result = compile_add_peer(compile, &among, domain, compile->order[i], view);
    if (result == 0)
        result = compile_others(compile, &among, view);
    if (result == 0)
        result = compile_view_routes(compile, view);
    free(among.rules);
    if (result != 0)
        compile_view_free(view);
    return result;
}

void compile_view_free(struct compile_view *view)
{
    for (size_t i = 0; i < view->count; i++)
        compile_peer_free(&view->peers[i]);
    for (size_t i = 0; i < view->route_count; i++)
        free(view->routes[i].domids);
    free(view->routes);
    free(view->other_out.rules);
    free(view->other_in.rules);
    free(view->peers);
    *view = (struct compile_view){0};
}

const struct compile_peer *compile_view_peer(const struct compile_view *view, size_t domain)
{
    for (size_t i = 0; i < view->count; i++)
        if (view->peers[i].domain == domain)
            return &view->peers[i];
    return NULL;
}

const struct ruleset_rule *compile_decides(const struct compile *compile,
                                           const struct compile_list *list,
                                           const struct ruleset_question *question)
{
    for (size_t i = 0; i < list->count; i++) {
        const struct ruleset_rule *rule = &compile->input.ruleset->rules[list->rules[i]];
        struct verdict_fit fit = verdict_fit_connection(rule, question);
        if (fit.missed == 0 && fit.unknown == 0)
            return rule;
    }
    return NULL;
}
