/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rules as a table for people and as JSON for programs. A value comes from the store, where
 * somebody may have written anything. So it is printed as it is only when it is a good policy, and
 * escaped otherwise.
 */
#include "idc-setup/print.h"

#include <string.h>

#include "common/json.h"

static const char *print_cell(const char *list)
{
    return list == NULL ? "-" : list;
}

static int print_width(const struct rules *rules, bool in)
{
    size_t most = 4;
    for (size_t i = 0; i < rules->count; i++) {
        size_t length = strlen(print_cell(in ? rules->list[i].in : rules->list[i].out));
        most = length > most ? length : most;
    }
    return (int)(most > 40 ? 40 : most);
}

static void print_note(FILE *out, const struct rule *rule)
{
    if (!rule->readable)
        fprintf(out, "allows nothing: %s", rule->wrong);
    else if (!rule->mutual)
        fprintf(out, "without effect: domain %d has no rule for %d", rule->peer, rule->domid);
}

void print_table(FILE *out, const struct rules *rules)
{
    int in = print_width(rules, true), outgoing = print_width(rules, false);
    if (rules->count == 0) {
        fputs("no rules\n", out);
        return;
    }
    fprintf(out, "%-6s %-6s %-*s %-*s %s\n", "DOMID", "PEER", in, "IN", outgoing, "OUT", "NOTE");
    for (size_t i = 0; i < rules->count; i++) {
        const struct rule *rule = &rules->list[i];
        bool noted = !rule->readable || !rule->mutual;
        fprintf(out, "%-6d %-6d %-*s %-*s", rule->domid, rule->peer, in, print_cell(rule->in),
                noted ? outgoing + 1 : 0, print_cell(rule->out));
        print_note(out, rule);
        fputc('\n', out);
    }
}

static const char *print_boolean(bool value)
{
    return value ? "true" : "false";
}

static void print_rule(FILE *out, const struct rule *rule)
{
    fprintf(out, "{\"domid\": %d, \"peer\": %d, \"in\": ", rule->domid, rule->peer);
    json_string(out, rule->in);
    fputs(", \"out\": ", out);
    json_string(out, rule->out);
    fprintf(out, ", \"mutual\": %s, \"readable\": %s, \"value\": ", print_boolean(rule->mutual),
            print_boolean(rule->readable));
    json_string(out, rule->value);
    fputs("}", out);
}

void print_json(FILE *out, const struct rules *rules, const char *platform)
{
    fprintf(out, "{\"platform\": \"%s\", \"rules\": [", platform);
    for (size_t i = 0; i < rules->count; i++) {
        fputs(i == 0 ? "\n  " : ",\n  ", out);
        print_rule(out, &rules->list[i]);
    }
    fputs(rules->count == 0 ? "]}\n" : "\n]}\n", out);
}
