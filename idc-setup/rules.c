/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Changing and collecting rules; rules.h has the contract.
 */
#include "idc-setup/rules.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "idc-setup/lists.h"

static int no_memory(char why[SETUP_WHY_MAX])
{
    snprintf(why, SETUP_WHY_MAX, "out of memory");
    return -ENOMEM;
}

/* ---- allowing ---- */

static int make_value(const struct policy *policy, char **value, char why[SETUP_WHY_MAX])
{
    char text[SETUP_WRITE_MAX + 1];
    if (policy_format(policy, text, sizeof(text)) < 0) {
        snprintf(why, SETUP_WHY_MAX,
                 "the list is too long for Xenstore; allow a range of ports, or * instead");
        return -E2BIG;
    }
    *value = strdup(text);
    return *value != NULL ? 0 : no_memory(why);
}

/* Reads domid's half of the rule; it is empty if it cannot be read. */
static void read_policy(struct setup_store *store, int domid, int peer, struct policy *policy)
{
    char value[SETUP_VALUE_MAX + 1];
    if (store->ops->read(store, domid, peer, value) < 0 || policy_parse(policy, value, NULL) != 0)
        memset(policy, 0, sizeof(*policy));
}

static int plan_change(struct setup_store *store, const struct rules_allowing *allowing,
                       struct setup_change *change, char why[SETUP_WHY_MAX])
{
    struct policy policy = {.in = *allowing->ports, .out = *allowing->ports};
    const char *wrong = "";
    char *value = NULL;
    if (allowing->add) {
        read_policy(store, change->domid, change->peer, &policy);
        if (lists_join(&policy.in, allowing->ports, &wrong) != 0 ||
            lists_join(&policy.out, allowing->ports, &wrong) != 0) {
            snprintf(why, SETUP_WHY_MAX, "the rule of domain %d for %d: %s; allow a range of ports",
                     change->domid, change->peer, wrong);
            return -E2BIG;
        }
    }
    int result = make_value(&policy, &value, why);
    change->value = value;
    return result;
}

/* The halves of all pairs, with those of one domid beside each other. */
static size_t list_pairs(const struct domids *domids, struct setup_change *changes)
{
    size_t count = 0;
    for (size_t i = 0; i < domids->count; i++)
        for (size_t j = 0; j < domids->count; j++)
            if (i != j)
                changes[count++] = (struct setup_change){domids->list[i], domids->list[j], NULL};
    return count;
}

static void free_values(struct setup_change *changes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free((void *)(uintptr_t)changes[i].value);
        changes[i].value = NULL;
    }
}

/* ---- notes on what is replaced ---- */

#define NOTES_MAX 8 /* of all the pairs of many domains */

/* What was allowed in either direction and no longer is; "" if nothing. */
static void list_ending(const struct policy *before, const struct policy_list *ports,
                        char ends[2 * LISTS_TEXT_MAX])
{
    char in[LISTS_TEXT_MAX], out[LISTS_TEXT_MAX];
    lists_missing(&before->in, ports, in);
    lists_missing(&before->out, ports, out);
    if (strcmp(in, out) == 0)
        out[0] = '\0';
    snprintf(ends, 2 * LISTS_TEXT_MAX, "%s%s%s", in, in[0] != '\0' && out[0] != '\0' ? "," : "",
             out);
}

/* NULL: nothing is replaced. It looks only at one half of a pair: the other half says the same,
 * unless somebody has written it by hand. */
static char *make_note(struct setup_store *store, const struct policy_list *ports,
                       const struct setup_change *half)
{
    struct policy policy;
    char before[POLICY_VALUE_MAX + 1] = "", now[POLICY_VALUE_MAX + 1] = "";
    char ends[2 * LISTS_TEXT_MAX];
    char *note = NULL;
    read_policy(store, half->domid, half->peer, &policy);
    policy_format_list(ports, now, sizeof(now));
    if (policy_format_list(&policy.in, before, sizeof(before)) == 0)
        policy_format_list(&policy.out, before, sizeof(before));
    list_ending(&policy, ports, ends);
    if (before[0] == '\0' || (strcmp(now, before) == 0 && ends[0] == '\0'))
        return NULL;
    int length =
        asprintf(&note, "domains %d and %d: %s replaces %s; %s%s%s", half->domid, half->peer, now,
                 before, ends[0] == '\0' ? "nothing ends" : "connections end: ", ends,
                 ends[0] == '\0' ? "" : " (--add would have kept them)");
    return length >= 0 ? note : NULL;
}

/* Makes the notes before the change; they are printed after it. There are as many as changes. NULL:
 * no memory. */
static char **make_notes(struct setup_store *store, const struct policy_list *ports,
                         const struct setup_change *changes, size_t count)
{
    char **notes = calloc(count, sizeof(*notes));
    for (size_t i = 0; notes != NULL && i < count; i++)
        if (changes[i].domid < changes[i].peer)
            notes[i] = make_note(store, ports, &changes[i]);
    return notes;
}

static void tell_notes(char **notes, size_t count, void (*tell)(const char *text))
{
    char rest[64];
    size_t told = 0;
    for (size_t i = 0; notes != NULL && i < count; i++) {
        told += notes[i] != NULL;
        if (notes[i] != NULL && told <= NOTES_MAX)
            tell(notes[i]);
    }
    snprintf(rest, sizeof(rest), "rules of %zu more pairs are replaced", told - NOTES_MAX);
    if (told > NOTES_MAX)
        tell(rest);
}

static void free_notes(char **notes, size_t count)
{
    for (size_t i = 0; notes != NULL && i < count; i++)
        free(notes[i]);
    free(notes);
}

/* ---- the whole ---- */

struct allow_plan {
    const struct rules_allowing *allowing;
    struct setup_change *changes;
    size_t count;
    char **notes;
};

/* May be asked again: what was planned before is forgotten. */
static int plan_allow(struct setup_store *store, void *arg, char why[SETUP_WHY_MAX])
{
    struct allow_plan *plan = arg;
    const struct rules_allowing *allowing = plan->allowing;
    int result = 0;
    free_notes(plan->notes, plan->count);
    free_values(plan->changes, plan->count);
    plan->notes =
        allowing->add ? NULL : make_notes(store, allowing->ports, plan->changes, plan->count);
    for (size_t i = 0; i < plan->count && result == 0; i++)
        result = plan_change(store, allowing, &plan->changes[i], why);
    return result;
}

int rules_allow(struct setup_store *store, const struct rules_allowing *allowing,
                char why[SETUP_WHY_MAX])
{
    size_t n = allowing->domids->count;
    struct setup_change *changes = calloc(n * n, sizeof(*changes));
    if (changes == NULL)
        return no_memory(why);
    struct allow_plan plan = {.allowing = allowing, .changes = changes};
    plan.count = list_pairs(allowing->domids, changes);
    const struct setup_work work = {changes, plan.count, plan_allow, &plan};
    int result = store->ops->apply(store, &work, why);
    if (result == 0)
        tell_notes(plan.notes, plan.count, allowing->note);
    free_notes(plan.notes, plan.count);
    free_values(changes, plan.count);
    free(changes);
    return result;
}

/* ---- collecting ---- */

static bool rules_selected(const struct domids *domids, int domid, int peer)
{
    if (domids->count == 0)
        return true;
    if (domids->count == 1)
        return domids->has[domid] || domids->has[peer];
    return domids->has[domid] && domids->has[peer];
}

struct collecting {
    const struct domids *domids;
    struct rules *rules;
};

static int collect_one(void *arg, int domid, int peer)
{
    const struct collecting *collecting = arg;
    struct rules *rules = collecting->rules;
    if (!rules_selected(collecting->domids, domid, peer))
        return 0;
    if (rules->count == rules->room) {
        size_t room = rules->room == 0 ? 64 : rules->room * 2;
        struct rule *list = reallocarray(rules->list, room, sizeof(*list));
        if (list == NULL)
            return -ENOMEM;
        rules->list = list;
        rules->room = room;
    }
    rules->list[rules->count++] = (struct rule){.domid = domid, .peer = peer};
    return 0;
}

static int compare_rules(const void *a, const void *b)
{
    const struct rule *x = a, *y = b;
    return x->domid != y->domid ? x->domid - y->domid : x->peer - y->peer;
}

static char *list_text(const struct policy_list *list)
{
    char text[POLICY_VALUE_MAX + 1];
    return policy_format_list(list, text, sizeof(text)) > 0 ? strdup(text) : NULL;
}

/* False: the rule has gone meanwhile. */
static bool read_rule(struct setup_store *store, struct rule *rule)
{
    char value[SETUP_VALUE_MAX + 1];
    struct policy policy;
    int length = store->ops->read(store, rule->domid, rule->peer, value);
    if (length == -ENOENT)
        return false;
    rule->wrong = "it is not a text of at most 4095 bytes, or can't be read";
    if (length < 0)
        return true;
    rule->value = strdup(value);
    rule->readable = policy_parse(&policy, value, &rule->wrong) == 0;
    rule->in = list_text(&policy.in);
    rule->out = list_text(&policy.out);
    return true;
}

static void free_rule(struct rule *rule)
{
    free(rule->value);
    free(rule->in);
    free(rule->out);
}

static void read_rules(struct setup_store *store, struct rules *rules)
{
    size_t kept = 0;
    for (size_t i = 0; i < rules->count; i++) {
        if (read_rule(store, &rules->list[i]))
            rules->list[kept++] = rules->list[i];
    }
    rules->count = kept;
}

static void find_mutual(struct rules *rules)
{
    for (size_t i = 0; i < rules->count; i++) {
        struct rule *rule = &rules->list[i];
        struct rule other = {.domid = rule->peer, .peer = rule->domid};
        rule->mutual =
            bsearch(&other, rules->list, rules->count, sizeof(other), compare_rules) != NULL;
    }
}

static int find_rules(struct setup_store *store, const struct domids *domids, struct rules *rules,
                      char why[SETUP_WHY_MAX])
{
    struct collecting collecting = {.domids = domids, .rules = rules};
    *rules = (struct rules){0};
    int result = store->ops->walk(store, collect_one, &collecting);
    if (result != 0) {
        snprintf(why, SETUP_WHY_MAX, "cannot list the rules: %s", strerror(-result));
        rules_collected_free(rules);
        return result;
    }
    if (rules->count != 0)
        qsort(rules->list, rules->count, sizeof(rules->list[0]), compare_rules);
    return 0;
}

int rules_collect(struct setup_store *store, const struct domids *domids, struct rules *rules,
                  char why[SETUP_WHY_MAX])
{
    int result = find_rules(store, domids, rules, why);
    if (result != 0)
        return result;
    read_rules(store, rules);
    find_mutual(rules);
    return 0;
}

void rules_collected_free(struct rules *rules)
{
    for (size_t i = 0; i < rules->count; i++)
        free_rule(&rules->list[i]);
    free(rules->list);
    *rules = (struct rules){0};
}

/* ---- forbidding ---- */

int rules_forbid(struct setup_store *store, const struct domids *domids, char why[SETUP_WHY_MAX])
{
    struct rules rules;
    int result = find_rules(store, domids, &rules, why);
    if (result != 0)
        return result;
    size_t count = rules.count;
    struct setup_change *changes = calloc(count + 1, sizeof(*changes));
    for (size_t i = 0; changes != NULL && i < count; i++)
        changes[i] = (struct setup_change){rules.list[i].domid, rules.list[i].peer, NULL};
    rules_collected_free(&rules);
    if (changes == NULL)
        return no_memory(why);
    const struct setup_work work = {.changes = changes, .count = count};
    result = count == 0 ? 0 : store->ops->apply(store, &work, why);
    free(changes);
    return result != 0 ? result : (int)count;
}
