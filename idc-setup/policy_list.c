/* SPDX-License-Identifier: GPL-2.0-or-later */
/* policy_list.c - see policy_list.h. */
#include "idc-setup/policy_list.h"

#include "common/json.h"
#include "common/shown.h"

static bool list_expired(const struct ruleset_rule *rule, int64_t now)
{
    return rule_options_has(&rule->options, RULE_UNTIL) && now >= rule->options.until;
}

static const char *list_action(const struct ruleset_rule *rule)
{
    return rule->allow ? "allow" : "deny";
}

/* ---- for people ---- */

static void list_words(FILE *out, const char *const *words)
{
    for (size_t i = 0; words[i] != NULL; i++) {
        fputs(i == 0 ? "" : " ", out);
        shown_print(out, words[i]);
    }
}

void policy_print_place(FILE *out, const struct ruleset_place *place)
{
    shown_print(out, place->file);
    fprintf(out, ":%u: ", place->line);
}

void policy_print_rule(FILE *out, const struct ruleset_rule *rule)
{
    policy_print_place(out, &rule->place);
    list_words(out, (const char *const[]){list_action(rule), rule->from_text, rule->to_text,
                                          rule->what_text, NULL});
    if (rule->options_text[0] != '\0')
        list_words(out, (const char *const[]){"", rule->options_text, NULL});
}

void policy_print_route(FILE *out, const struct ruleset_route *route)
{
    policy_print_place(out, &route->place);
    list_words(out, (const char *const[]){"route", route->from_text, route->service, route->to_text,
                                          NULL});
}

static void list_rules(FILE *out, const struct ruleset *ruleset, size_t from, size_t to,
                       const struct list_now *now)
{
    for (size_t i = from; i < to; i++) {
        fprintf(out, "%-5zu ", i + 1);
        policy_print_rule(out, &ruleset->rules[i]);
        fputs(list_expired(&ruleset->rules[i], now->time) ? " (expired)\n" : "\n", out);
        if (now->uses != NULL)
            uses_show_rule(out, now->uses, i);
    }
}

static void list_nodes(FILE *out, const struct policy_rules *rules, const struct list_now *now)
{
    char value[SETUP_VALUE_MAX + 1];
    for (size_t i = 0; i < rules->world.node_count; i++) {
        const struct compile_node *node = &rules->world.nodes[i];
        struct setup_store *store = rules->state.store;
        if (store->ops->read(store, node->domid, node->peer, value) < 0)
            continue;
        fprintf(out, "node  domain %d for %d: ", node->domid, node->peer);
        shown_print(out, value);
        fputc('\n', out);
        if (now->uses != NULL)
            uses_show_node(out, now->uses, node->domid, node->peer);
    }
}

/* In the order in which all is looked at. */
void policy_list_table(FILE *out, const struct policy_rules *rules, const struct list_now *now)
{
    const struct ruleset *ruleset = rules->ruleset;
    if (ruleset->rule_count == 0 && ruleset->route_count == 0 && rules->world.node_count == 0)
        fputs("no rules\n", out);
    list_rules(out, ruleset, 0, rules->commands, now);
    list_nodes(out, rules, now);
    list_rules(out, ruleset, rules->commands, ruleset->rule_count, now);
    for (size_t i = 0; i < ruleset->route_count; i++) {
        fputs("-     ", out);
        policy_print_route(out, &ruleset->routes[i]);
        fputc('\n', out);
    }
    if (now->uses != NULL)
        uses_show_rest(out, now->uses);
}

/* ---- for programs ---- */

static void list_member(FILE *out, const char *name, const char *text)
{
    fprintf(out, ", \"%s\": ", name);
    json_string(out, text);
}

static void list_place(FILE *out, const struct ruleset_place *place)
{
    fputs("\"file\": ", out);
    json_string(out, place->file);
    fprintf(out, ", \"line\": %u", place->line);
}

void policy_json_rule(FILE *out, const struct ruleset *ruleset, const struct ruleset_rule *rule,
                      int64_t now)
{
    fprintf(out, "{\"number\": %zu, ", (size_t)(rule - ruleset->rules) + 1);
    list_place(out, &rule->place);
    list_member(out, "action", list_action(rule));
    list_member(out, "from", rule->from_text);
    list_member(out, "to", rule->to_text);
    list_member(out, "what", rule->what_text);
    list_member(out, "options", rule->options_text);
    list_member(out, "note", rule->options.note);
    fprintf(out, ", \"expired\": %s}", list_expired(rule, now) ? "true" : "false");
}

void policy_json_route(FILE *out, const struct ruleset_route *route)
{
    fputc('{', out);
    list_place(out, &route->place);
    list_member(out, "from", route->from_text);
    list_member(out, "service", route->service);
    list_member(out, "to", route->to_text);
    fputc('}', out);
}

static void list_json_nodes(FILE *out, const struct policy_rules *rules)
{
    struct setup_store *store = rules->state.store;
    char value[SETUP_VALUE_MAX + 1];
    const char *before = "";
    for (size_t i = 0; i < rules->world.node_count; i++) {
        const struct compile_node *node = &rules->world.nodes[i];
        if (store->ops->read(store, node->domid, node->peer, value) < 0)
            continue;
        fprintf(out, "%s\n  {\"domid\": %d, \"peer\": %d, \"value\": ", before, node->domid,
                node->peer);
        json_string(out, value);
        fputc('}', out);
        before = ",";
    }
}

void policy_list_json(FILE *out, const struct policy_rules *rules, const struct list_now *now)
{
    const struct ruleset *ruleset = rules->ruleset;
    fprintf(out, "{\"in_force\": %s, \"commands\": %zu, \"rules\": [",
            rules->in_force ? "true" : "false", rules->commands);
    for (size_t i = 0; i < ruleset->rule_count; i++) {
        fputs(i == 0 ? "\n  " : ",\n  ", out);
        policy_json_rule(out, ruleset, &ruleset->rules[i], now->time);
    }
    fputs("], \"routes\": [", out);
    for (size_t i = 0; i < ruleset->route_count; i++) {
        fputs(i == 0 ? "\n  " : ",\n  ", out);
        policy_json_route(out, &ruleset->routes[i]);
    }
    fputs("], \"nodes\": [", out);
    list_json_nodes(out, rules);
    fputc(']', out);
    if (now->uses != NULL)
        uses_show_json(out, now->uses);
    fputs("}\n", out);
}
