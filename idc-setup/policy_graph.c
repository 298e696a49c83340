/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * policy_graph.c - who may reach what, and is connected, as text, or for Graphviz (DOT). An edge of
 * the rules in force is bold if there are connections. graph_edge.h says which edges there are.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "idc-setup/fail.h"
#include "idc-setup/graph_edge.h"
#include "idc-setup/policy_commands.h"

/* ---- edges ---- */

static void graph_name(const struct graph *graph, const struct ruleset_domain *domain)
{
    if (domain->name != NULL)
        graph_text(graph, stdout, domain->name);
    else
        printf("%d", domain->domid);
}

/* Could the name be that of another domain, or the domid of one without a name? */
static bool graph_is_ambiguous(const struct graph *graph, const struct ruleset_domain *domain)
{
    const struct policy_world *world = &graph->rules->world;
    if (domain->name == NULL)
        return false;
    for (size_t i = 0; i < world->domain_count; i++)
        if (world->domains[i].domid != domain->domid && world->domains[i].name != NULL &&
            strcmp(world->domains[i].name, domain->name) == 0)
            return true;
    return strspn(domain->name, "0123456789") == strlen(domain->name);
}

static void graph_end(const struct graph *graph, const struct ruleset_domain *domain)
{
    graph_name(graph, domain);
    if (graph_is_ambiguous(graph, domain))
        printf(" (%d)", domain->domid);
}

static void graph_print(const struct graph *graph, const struct ruleset_domain *from,
                        const struct ruleset_domain *to, const char *label)
{
    int64_t count = uses_show_between(graph->uses, from->domid, to->domid);
    if (graph->connected && count == 0)
        return;
    if (graph->dot && count > 0) {
        printf("  %d -> %d [label=\"%s\\n%" PRId64 " now\", style=bold];\n", from->domid, to->domid,
               label, count);
        return;
    }
    if (graph->dot) {
        printf("  %d -> %d [label=\"%s\"];\n", from->domid, to->domid, label);
        return;
    }
    graph_end(graph, from);
    fputs(" -> ", stdout);
    graph_end(graph, to);
    printf(": %s", label);
    if (count > 0)
        printf(" (%" PRId64 " now)", count);
    putchar('\n');
}

static int graph_domain(const struct graph *graph, size_t domain)
{
    const struct policy_world *world = &graph->rules->world;
    struct compile_view view;
    if (compile_view(world->compile, domain, &view) != 0)
        return policy_fail(SETUP_STATUS_FAILED, "out of memory");
    int status = 0;
    for (size_t i = 0; status == 0 && i < view.count; i++) {
        const struct ruleset_domain *to = &world->domains[view.peers[i].domain];
        char *label = graph_edge(graph, &view.peers[i], world->domains[domain].domid, to->domid);
        if (label == NULL)
            status = policy_fail(SETUP_STATUS_FAILED, "out of memory");
        else if (label[0] != '\0')
            graph_print(graph, &world->domains[domain], to, label);
        free(label);
    }
    compile_view_free(&view);
    return status;
}

static bool graph_has_node(const struct graph *graph, int domid)
{
    const struct policy_uses *uses = &graph->uses->uses;
    for (size_t i = 0; graph->connected && i < uses->count; i++)
        if (uses->list[i].from == domid || uses->list[i].to == domid)
            return true;
    return !graph->connected;
}

static int graph_in_force(const struct graph *graph)
{
    const struct policy_world *world = &graph->rules->world;
    int status = 0;
    for (size_t i = 0; graph->dot && i < world->domain_count; i++) {
        if (!graph_has_node(graph, world->domains[i].domid))
            continue;
        printf("  %d [label=\"", world->domains[i].domid);
        graph_name(graph, &world->domains[i]);
        if (world->domains[i].name != NULL)
            printf("\\n%d", world->domains[i].domid);
        fputs("\"];\n", stdout);
    }
    for (size_t i = 0; status == 0 && i < world->domain_count; i++)
        status = graph_domain(graph, i);
    return status;
}

/* ---- files ---- */

static void graph_files_print(const struct graph *graph, const struct ruleset_rule *rule,
                              enum reach reach)
{
    fputs(graph->dot ? "  \"" : "", stdout);
    graph_text(graph, stdout, rule->from_text);
    fputs(graph->dot ? "\" -> \"" : " -> ", stdout);
    graph_text(graph, stdout, rule->to_text);
    fputs(graph->dot ? "\" [label=\"" : ": ", stdout);
    graph_label(graph, stdout, rule, reach);
    fputs(graph->dot ? "\"];\n" : "\n", stdout);
}

static int graph_files(const struct graph *graph)
{
    const struct ruleset *ruleset = graph->rules->ruleset;
    uint32_t *above = calloc(ruleset->rule_count + 1, sizeof(*above));
    int result = above == NULL ? -ENOMEM : 0;
    for (size_t i = 0; result == 0 && i < ruleset->rule_count; i++) {
        const struct ruleset_rule *rule = &ruleset->rules[i];
        enum reach reach;
        result = graph_files_reach(graph, i, above, &reach);
        if (result == 0 && reach != REACH_NOTHING)
            graph_files_print(graph, rule, reach);
    }
    free(above);
    return result == 0 ? 0 : policy_fail(SETUP_STATUS_FAILED, "out of memory");
}

static int graph_all(const struct graph *graph)
{
    int status = 0;
    if (graph->dot)
        fputs("digraph idc {\n  node [shape=box];\n", stdout);
    if (graph->rules->in_force)
        status = graph_in_force(graph);
    else
        status = graph_files(graph);
    if (graph->dot)
        fputs("}\n", stdout);
    return status;
}

int policy_graph(const struct policy_options *options, struct policy_rules *rules, char **arguments)
{
    struct uses_show uses = {0};
    const struct graph graph = {.rules = rules,
                                .uses = &uses,
                                .now = time(NULL),
                                .dot = options->dot,
                                .connected = options->connected};
    (void)arguments;
    int status = rules->in_force ? uses_show_make(&uses, rules) : 0;
    if (status != 0)
        return status;
    status = graph_all(&graph);
    uses_print_unknown(stderr, "idc-setup: note: ", &uses.uses, &rules->world);
    uses_show_free(&uses);
    policy_note_not_in_force(rules);
    return status;
}
