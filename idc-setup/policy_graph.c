/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * policy_graph.c - who may reach what, and is connected, as text, or for Graphviz (DOT).
 *
 * Of the rules in force: an edge for each ordered pair of domains that are there now. It is bold if
 * there are connections. Of files: an edge for each allow line, between what it names.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "idc-setup/fail.h"
#include "idc-setup/policy_commands.h"
#include "idc-setup/uses_show.h"
#include "link_mgr/core/policy.h"

struct graph {
    const struct policy_rules *rules;
    const struct uses_show *uses;
    int64_t now;
    bool dot, connected; /* connected: only what is */
};

/* ---- labels ---- */

static bool graph_counts(const struct graph *graph, const struct ruleset_rule *rule)
{
    return !rule_options_has(&rule->options, RULE_UNTIL) || graph->now < rule->options.until;
}

/* Names may have any bytes; in DOT a quote and a backslash are special. */
static void graph_text(const struct graph *graph, FILE *out, const char *text)
{
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if (graph->dot && (c == '"' || c == '\\'))
            fputc('\\', out);
        fputc(c < 0x20 || c == 0x7f ? '?' : c, out);
    }
}

static void graph_rule(const struct graph *graph, FILE *out, const struct ruleset_rule *rule)
{
    fputs(rule->allow ? "" : "not ", out);
    graph_text(graph, out, rule->what_text);
    if (rule->options_text[0] == '\0')
        return;
    fputc(' ', out);
    graph_text(graph, out, rule->options_text);
}

static void graph_label(const struct graph *graph, FILE *out, const struct ruleset_rule *rule,
                        const char **before)
{
    fputs(*before, out);
    graph_rule(graph, out, rule);
    *before = graph->dot ? "\\n" : "; ";
}

/* What the policy nodes of both allow, as far as both do. */
static void graph_node(const struct graph *graph, FILE *out, int from, int to, const char **before)
{
    struct setup_store *store = graph->rules->state.store;
    char mine[SETUP_VALUE_MAX + 1], theirs[SETUP_VALUE_MAX + 1], text[POLICY_VALUE_MAX + 1];
    struct policy out_policy, in_policy;
    if (store->ops->read(store, from, to, mine) < 0 ||
        store->ops->read(store, to, from, theirs) < 0 ||
        policy_parse(&out_policy, mine, NULL) != 0 || policy_parse(&in_policy, theirs, NULL) != 0)
        return;
    if (policy_format_list(in_policy.in.all ? &out_policy.out : &in_policy.in, text,
                           sizeof(text)) <= 0)
        return;
    fprintf(out, "%snode %s", *before, text);
    *before = graph->dot ? "\\n" : "; ";
}

/* What one domain may reach in another; "" if nothing. NULL: no memory. */
static char *graph_edge(const struct graph *graph, const struct compile_peer *peer, int from,
                        int to)
{
    char *label = NULL;
    size_t size;
    const char *before = "";
    bool allows = false, node = false;
    FILE *out = open_memstream(&label, &size);
    if (out == NULL)
        return NULL;
    for (size_t i = 0; i <= peer->out.count; i++) {
        bool end = i == peer->out.count;
        if (!node && (end || peer->out.rules[i] >= graph->rules->commands)) {
            const char *former = before;
            node = true;
            graph_node(graph, out, from, to, &before);
            allows = allows || before != former;
        }
        const struct ruleset_rule *rule =
            end ? NULL : &graph->rules->ruleset->rules[peer->out.rules[i]];
        if (rule == NULL || !graph_counts(graph, rule))
            continue;
        graph_label(graph, out, rule, &before);
        allows = allows || rule->allow;
    }
    if (fclose(out) != 0)
        return NULL;
    if (!allows && label != NULL)
        label[0] = '\0';
    return label;
}

/* ---- edges ---- */

static void graph_name(const struct graph *graph, const struct ruleset_domain *domain)
{
    if (domain->name != NULL)
        graph_text(graph, stdout, domain->name);
    else
        printf("%d", domain->domid);
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
    graph_name(graph, from);
    fputs(" -> ", stdout);
    graph_name(graph, to);
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

static void graph_files(const struct graph *graph)
{
    for (size_t i = 0; i < graph->rules->ruleset->rule_count; i++) {
        const struct ruleset_rule *rule = &graph->rules->ruleset->rules[i];
        if (!rule->allow || !graph_counts(graph, rule))
            continue;
        fputs(graph->dot ? "  \"" : "", stdout);
        graph_text(graph, stdout, rule->from_text);
        fputs(graph->dot ? "\" -> \"" : " -> ", stdout);
        graph_text(graph, stdout, rule->to_text);
        fputs(graph->dot ? "\" [label=\"" : ": ", stdout);
        graph_rule(graph, stdout, rule);
        fputs(graph->dot ? "\"];\n" : "\n", stdout);
    }
}

static int graph_all(const struct graph *graph)
{
    int status = 0;
    if (graph->dot)
        fputs("digraph idc {\n  node [shape=box];\n", stdout);
    if (graph->rules->in_force)
        status = graph_in_force(graph);
    else
        graph_files(graph);
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
