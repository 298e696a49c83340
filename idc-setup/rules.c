/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Changing and collecting rules; rules.h has the contract.
 */
#include "idc-setup/rules.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int no_memory(char why[SETUP_WHY_MAX])
{
    snprintf(why, SETUP_WHY_MAX, "out of memory");
    return -ENOMEM;
}

/* ---- allowing ---- */

static int make_value(const struct policy_list *ports, char value[SETUP_WRITE_MAX + 1],
                      char why[SETUP_WHY_MAX])
{
    struct policy policy = {.in = *ports, .out = *ports};
    int length = policy_format(&policy, value, SETUP_WRITE_MAX + 1);
    if (length >= 0)
        return 0;
    snprintf(why, SETUP_WHY_MAX,
             "--ports: the list is too long for Xenstore; allow a range of ports, or * instead");
    return -E2BIG;
}

int rules_allow(struct setup_store *store, const struct domids *domids,
                const struct policy_list *ports, char why[SETUP_WHY_MAX])
{
    char value[SETUP_WRITE_MAX + 1];
    int result = make_value(ports, value, why);
    if (result != 0)
        return result;
    size_t n = domids->count, count = 0;
    struct setup_change *changes = calloc(n * n, sizeof(*changes));
    if (changes == NULL)
        return no_memory(why);
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < n; j++) {
            if (i != j)
                changes[count++] = (struct setup_change){domids->list[i], domids->list[j], value};
        }
    }
    result = store->ops->apply(store, changes, count, why);
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
    rule->wrong = "it is no text of at most 4095 bytes, or can't be read";
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
        rules_free(rules);
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

void rules_free(struct rules *rules)
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
    rules_free(&rules);
    if (changes == NULL)
        return no_memory(why);
    result = count == 0 ? 0 : store->ops->apply(store, changes, count, why);
    free(changes);
    return result != 0 ? result : (int)count;
}
