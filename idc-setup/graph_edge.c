/* SPDX-License-Identifier: GPL-2.0-or-later */
/* graph_edge.c - see graph_edge.h. */
#include "idc-setup/graph_edge.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/shown.h"
#include "link_mgr/core/policy.h"

/* ---- labels ---- */

/* In DOT a quote and a backslash are special, also the backslash of what is escaped. A '&' begins
 * an entity of HTML. */
static void graph_text_dot(FILE *out, const char *text)
{
    size_t length = strlen(text);
    char piece[256];
    while (length > 0) {
        const size_t taken = shown_text(piece, sizeof(piece), text, length, SHOWN_UTF8);
        for (const char *c = piece; *c != '\0'; c++) {
            fprintf(out, *c == '"' || *c == '\\' ? "\\%c" : "%c", *c);
            fputs(*c == '&' ? "amp;" : "", out);
        }
        text += taken;
        length -= taken;
    }
}

void graph_text(const struct graph *graph, FILE *out, const char *text)
{
    if (graph->dot)
        graph_text_dot(out, text);
    else
        shown_print(out, text);
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

void graph_label(const struct graph *graph, FILE *out, const struct ruleset_rule *rule,
                 enum reach reach)
{
    if (reach == REACH_MANAGER && strcmp(rule->what_text, "1") != 0)
        fputs("only port 1 of ", out);
    graph_rule(graph, out, rule);
}

/* ---- policy nodes ---- */

/* Both nodes of a direction. */
struct graph_nodes {
    struct policy out, in;
};

static bool graph_nodes_read(const struct graph *graph, int from, int to, struct graph_nodes *nodes)
{
    struct setup_store *store = graph->rules->state.store;
    char mine[SETUP_VALUE_MAX + 1], theirs[SETUP_VALUE_MAX + 1];
    return store->ops->read(store, from, to, mine) >= 0 &&
           store->ops->read(store, to, from, theirs) >= 0 &&
           policy_parse(&nodes->out, mine, NULL) == 0 &&
           policy_parse(&nodes->in, theirs, NULL) == 0;
}

static bool graph_nodes_fit(const void *arg, const struct ruleset_question *question)
{
    const struct graph_nodes *nodes = arg;
    return policy_allows_out(&nodes->out, question->port, question->name) &&
           policy_allows_in(&nodes->in, question->port, question->name);
}

/* The items of both lists, for reach_find. */
struct graph_items {
    struct services_range ranges[2 * POLICY_ITEMS_MAX];
    const char *names[2 * POLICY_ITEMS_MAX];
    struct services what;
};

static void graph_items_add(struct graph_items *items, const struct policy_list *list)
{
    struct services *what = &items->what;
    for (unsigned i = 0; i < list->range_count; i++)
        items->ranges[what->range_count++] =
            (struct services_range){.first = list->ranges[i].first, .last = list->ranges[i].last};
    for (unsigned i = 0; i < list->name_count; i++)
        items->names[what->name_count++] = list->names[i];
}

static int graph_nodes_reach(const struct reach_above *above, const struct graph_nodes *nodes,
                             enum reach *reach)
{
    struct graph_items items = {.what = {0}};
    const struct reach_source source = {.what = &items.what, .fits = graph_nodes_fit, .arg = nodes};
    graph_items_add(&items, &nodes->out.out);
    graph_items_add(&items, &nodes->in.in);
    items.what.ranges = items.ranges;
    items.what.names = items.names;
    return reach_find(above, &source, reach);
}

/* One list where both say the same, or where one of them says everything. */
static void graph_nodes_label(FILE *out, const struct graph_nodes *nodes, enum reach reach)
{
    char outgoing[POLICY_VALUE_MAX + 1], incoming[POLICY_VALUE_MAX + 1];
    if (policy_format_list(&nodes->out.out, outgoing, sizeof(outgoing)) < 0 ||
        policy_format_list(&nodes->in.in, incoming, sizeof(incoming)) < 0)
        return;
    fprintf(out, "%snode ", reach == REACH_MANAGER ? "only port 1 of " : "");
    if (nodes->in.in.all || strcmp(outgoing, incoming) == 0)
        fputs(outgoing, out);
    else if (nodes->out.out.all)
        fputs(incoming, out);
    else
        fprintf(out, "out=%s in=%s", outgoing, incoming);
}

/* ---- what an edge says ---- */

/* What may be said at an edge, as it is written: deny lines are held back until an allow line
 * follows, and stay away if none does. */
struct graph_edge {
    const struct graph *graph;
    const struct compile_list *list;
    FILE *out;
    size_t held; /* the first rule of the list that was not written yet */
    const char *before;
    int from, to;
};

static struct reach_above graph_above(const struct graph_edge *edge, size_t index)
{
    return (struct reach_above){.ruleset = edge->graph->rules->ruleset,
                                .rules = edge->list->rules,
                                .count = index,
                                .now = edge->graph->now};
}

static bool graph_is_over(const struct graph *graph, const struct ruleset_rule *rule)
{
    return rule_options_has(&rule->options, RULE_UNTIL) && graph->now >= rule->options.until;
}

static void graph_separate(struct graph_edge *edge)
{
    fputs(edge->before, edge->out);
    edge->before = edge->graph->dot ? "\\n" : "; ";
}

/* Writes the deny lines that stand above the index. */
static void graph_edge_held(struct graph_edge *edge, size_t index)
{
    for (; edge->held < index; edge->held++) {
        const struct ruleset_rule *rule =
            &edge->graph->rules->ruleset->rules[edge->list->rules[edge->held]];
        if (rule->allow || graph_is_over(edge->graph, rule))
            continue;
        graph_separate(edge);
        graph_rule(edge->graph, edge->out, rule);
    }
}

static int graph_edge_nodes(struct graph_edge *edge, size_t index)
{
    const struct reach_above above = graph_above(edge, index);
    struct graph_nodes nodes;
    enum reach reach = REACH_NOTHING;
    if (!graph_nodes_read(edge->graph, edge->from, edge->to, &nodes))
        return 0;
    int result = graph_nodes_reach(&above, &nodes, &reach);
    if (result != 0 || reach == REACH_NOTHING)
        return result;
    graph_edge_held(edge, index);
    graph_separate(edge);
    graph_nodes_label(edge->out, &nodes, reach);
    return 0;
}

static int graph_edge_rule(struct graph_edge *edge, size_t index)
{
    const struct ruleset_rule *rule = &edge->graph->rules->ruleset->rules[edge->list->rules[index]];
    const struct reach_above above = graph_above(edge, index);
    enum reach reach;
    int result = reach_of_rule(&above, rule, &reach);
    if (result != 0 || reach == REACH_NOTHING)
        return result;
    graph_edge_held(edge, index);
    graph_separate(edge);
    graph_label(edge->graph, edge->out, rule, reach);
    return 0;
}

/* The nodes stand behind the rules of commands. */
static int graph_edge_write(struct graph_edge *edge)
{
    const struct compile_list *list = edge->list;
    size_t nodes = 0;
    int result = 0;
    while (nodes < list->count && list->rules[nodes] < edge->graph->rules->commands)
        nodes++;
    for (size_t i = 0; result == 0 && i <= list->count; i++) {
        if (i == nodes)
            result = graph_edge_nodes(edge, i);
        if (result == 0 && i < list->count)
            result = graph_edge_rule(edge, i);
    }
    return result;
}

char *graph_edge(const struct graph *graph, const struct compile_peer *peer, int from, int to)
{
    char *label = NULL;
    size_t size;
    struct graph_edge edge = {.graph = graph,
                              .list = &peer->out,
                              .out = open_memstream(&label, &size),
                              .before = "",
                              .from = from,
                              .to = to};
    if (edge.out == NULL)
        return NULL;
    int result = graph_edge_write(&edge);
    if (fclose(edge.out) == 0 && result == 0)
        return label;
    free(label);
    return NULL;
}
