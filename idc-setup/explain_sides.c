/* SPDX-License-Identifier: GPL-2.0-or-later */
/* explain_sides.c - see explain_sides.h. */
#include "idc-setup/explain_sides.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "common/shown.h"
#include "link_mgr/core/policy.h"

/* ---- what each side has ---- */

static bool sides_alive(struct setup_store *store, int domid, int peer)
{
    char path[SETUP_NODE_MAX], value[SETUP_VALUE_MAX + 1];
    snprintf(path, sizeof(path), "/local/domain/%d/data/idc/%d/alive", domid, peer);
    return store->ops->get(store, path, value) >= 0;
}

bool explain_node_allows(struct setup_store *store, const struct ruleset_question *question,
                         bool out)
{
    char value[SETUP_VALUE_MAX + 1];
    struct policy policy;
    int domid = out ? question->from.domid : question->to.domid;
    int peer = out ? question->to.domid : question->from.domid;
    if (store->ops->read(store, domid, peer, value) < 0 || policy_parse(&policy, value, NULL) != 0)
        return false;
    return out ? policy_allows_out(&policy, question->port, question->name)
               : policy_allows_in(&policy, question->port, question->name);
}

/* Has it the text that it is to have? *is is what it has, which the caller frees, or NULL. */
static bool sides_published(struct setup_store *store, const struct policy_rules *rules,
                            const struct compile_view *view, char **is)
{
    size_t length = 0, had = 0;
    char *text = compile_text(rules->world.compile, view, &length);
    *is = NULL;
    int got = publish_read(store, rules->world.domains[view->domain].domid, is, &had);
    bool same = text != NULL && got == 0 && had == length && memcmp(text, *is, length) == 0;
    if (text != NULL && got == -ENOENT)
        same = strcmp(text, "version 1\nend\n") == 0;
    free(text);
    return same;
}

static void sides_know(struct explain_sides *sides, const struct compile_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        sides->knows[list->rules[i]] = true;
}

static int sides_look(struct explain_sides *sides, const struct policy_rules *rules, size_t from,
                      size_t to)
{
    struct compile_view view;
    int result = compile_view(rules->world.compile, from, &view);
    if (result != 0)
        return result;
    const struct compile_peer *peer = compile_view_peer(&view, to);
    sides->joined = peer != NULL;
    sides_know(sides, peer != NULL ? &peer->out : &view.other_out);
    sides->from.published = sides_published(rules->state.store, rules, &view, &sides->told);
    compile_view_free(&view);
    result = compile_view(rules->world.compile, to, &view);
    if (result != 0)
        return result;
    char *is;
    sides->to.published = sides_published(rules->state.store, rules, &view, &is);
    free(is);
    compile_view_free(&view);
    return 0;
}

int explain_sides_make(struct explain_sides *sides, const struct policy_rules *rules,
                       const struct ruleset_question *question)
{
    const struct policy_world *world = &rules->world;
    struct setup_store *store = rules->state.store;
    int from_domid = question->from.domid, to_domid = question->to.domid;
    size_t from = policy_world_find(world, from_domid), to = policy_world_find(world, to_domid);
    *sides = (struct explain_sides){.commands = rules->commands};
    sides->knows = calloc(rules->ruleset->rule_count + 1, sizeof(*sides->knows));
    int result = sides->knows == NULL ? -ENOMEM : sides_look(sides, rules, from, to);
    if (result != 0) {
        explain_sides_free(sides);
        return result;
    }
    sides->from.domain = &world->domains[from];
    sides->to.domain = &world->domains[to];
    sides->from.node = explain_node_allows(store, question, true);
    sides->to.node = explain_node_allows(store, question, false);
    sides->from.link_mgr = sides_alive(store, from_domid, to_domid);
    sides->to.link_mgr = sides_alive(store, to_domid, from_domid);
    return 0;
}

void explain_sides_free(struct explain_sides *sides)
{
    free(sides->knows);
    free(sides->told);
    sides->knows = NULL;
    sides->told = NULL;
}

/* ---- the answer ---- */

bool explain_sides_knows(const struct explain_sides *sides, size_t rule)
{
    return sides->knows[rule];
}

/* A line "peer DOMID name=TEXT uuid=TEXT ...". */
bool explain_sides_told(const struct explain_sides *sides, int domid, bool uuid)
{
    char peer[32];
    const char *word = uuid ? " uuid=" : " name=";
    snprintf(peer, sizeof(peer), "\npeer %d ", domid);
    const char *line = sides->told == NULL ? NULL : strstr(sides->told, peer);
    if (line == NULL)
        return false;
    const char *end = strchrnul(line + 1, '\n'), *found = strstr(line, word);
    return found != NULL && found < end;
}

void explain_sides_decide(struct explain_sides *sides, size_t rule, bool allows)
{
    struct explain_side *both[] = {&sides->from, &sides->to};
    for (size_t i = 0; i < 2; i++) {
        both[i]->by_node = both[i]->node && rule >= sides->commands;
        both[i]->allowed = both[i]->by_node || allows;
    }
}

bool explain_sides_by_node(const struct explain_sides *sides)
{
    return sides->from.by_node && sides->to.by_node;
}

/* ---- as text ---- */

void explain_sides_print_node(FILE *out, const struct explain_sides *sides)
{
    fprintf(out, "policy nodes of domains %d and %d (idc-setup --list)", sides->from.domain->domid,
            sides->to.domain->domid);
}

static void sides_print_one(FILE *out, const struct explain_side *side, const char *does,
                            bool joined)
{
    fprintf(out, "  domain %d", side->domain->domid);
    if (side->domain->name != NULL) {
        fputs(" (", out);
        shown_print(out, side->domain->name);
        fputc(')', out);
    }
    fprintf(out, " %s %s%s", side->allowed ? "allows" : "refuses", does,
            side->by_node ? " by its policy node" : "");
    if (joined)
        fputs(side->link_mgr ? "; its link_mgr is there" : "; no link_mgr is there", out);
    if (!side->published)
        fputs("; it has other rules than these, until idc-setup apply", out);
    fputc('\n', out);
}

void explain_sides_print(FILE *out, const struct explain_sides *sides)
{
    sides_print_one(out, &sides->from, "its program to connect", sides->joined);
    sides_print_one(out, &sides->to, "the connection", sides->joined);
    if (!sides->joined)
        fputs("  nothing joins them, so neither is told of the other\n", out);
}

static void sides_json_one(FILE *out, const char *name, const struct explain_side *side)
{
    static const char *const words[] = {"false", "true"};
    fprintf(out, "\"%s\": {\"domid\": %d, \"name\": ", name, side->domain->domid);
    json_string(out, side->domain->name);
    fprintf(out, ", \"allowed\": %s, \"by_node\": %s, \"link_mgr\": %s, \"published\": %s}",
            words[side->allowed], words[side->by_node], words[side->link_mgr],
            words[side->published]);
}

void explain_sides_json(FILE *out, const struct explain_sides *sides)
{
    fputc('{', out);
    sides_json_one(out, "from", &sides->from);
    fputs(", ", out);
    sides_json_one(out, "to", &sides->to);
    fputc('}', out);
}
