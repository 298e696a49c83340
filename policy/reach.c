/* SPDX-License-Identifier: GPL-2.0-or-later */
/* reach.c - see reach.h. */
#include "policy/reach.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "idc.h"
#include "policy/ruleset_private.h"

typedef char reach_name[IDC_SERVICE_MAX + 1];

/* What is tried. */
struct reach_trial {
    const struct reach_above *above;
    const struct reach_source *source;
    uint32_t *ports, *uids;
    reach_name *names;
    size_t port_count, uid_count, name_count;
    size_t marks; /* the most `?` of a name above */
    char letter;  /* that no name above has */
    bool unsure;  /* not all names are tried that might be allowed */
};

/* ---- rules above ---- */

static bool reach_is_over(const struct ruleset_rule *rule, int64_t now)
{
    return rule_options_has(&rule->options, RULE_UNTIL) && now >= rule->options.until;
}

/* The rule above with that index, if it denies now; else NULL. */
static const struct ruleset_rule *reach_deny(const struct reach_above *above, size_t index)
{
    const struct ruleset_rule *rule = &above->ruleset->rules[above->rules[index]];
    return rule->allow || reach_is_over(rule, above->now) ? NULL : rule;
}

static bool reach_is_denied(const struct reach_above *above,
                            const struct ruleset_question *question)
{
    for (size_t i = 0; i < above->count; i++) {
        const struct ruleset_rule *rule = reach_deny(above, i);
        if (rule == NULL)
            continue;
        const struct verdict_fit fit = verdict_fit_connection(rule, question);
        if (fit.missed == 0 && fit.unknown == 0)
            return true;
    }
    return false;
}

/* ---- ports and uids ---- */

static int reach_add_number(uint32_t **list, size_t *count, uint32_t number)
{
    uint32_t *more = ruleset_more(*list, *count, sizeof(*more));
    if (more == NULL)
        return -ENOMEM;
    *list = more;
    (*list)[(*count)++] = number;
    return 0;
}

static int reach_add_first(uint32_t **list, size_t *count, const struct services_range *ranges,
                           unsigned range_count)
{
    int result = 0;
    for (unsigned i = 0; result == 0 && i < range_count; i++)
        result = reach_add_number(list, count, ranges[i].first);
    return result;
}

static int reach_add_behind(uint32_t **list, size_t *count, const struct services_range *ranges,
                            unsigned range_count, uint32_t most)
{
    int result = 0;
    for (unsigned i = 0; result == 0 && i < range_count; i++)
        if (ranges[i].last < most)
            result = reach_add_number(list, count, ranges[i].last + 1);
    return result;
}

static int reach_add_numbers(struct reach_trial *trial)
{
    const struct reach_source *source = trial->source;
    int result = reach_add_number(&trial->ports, &trial->port_count, VERDICT_PORT_MANAGER + 1);
    if (result == 0)
        result = reach_add_number(&trial->uids, &trial->uid_count, 0);
    if (result == 0)
        result = reach_add_first(&trial->ports, &trial->port_count, source->what->ranges,
                                 source->what->range_count);
    if (result == 0)
        result = reach_add_first(&trial->uids, &trial->uid_count, source->uids, source->uid_count);
    for (size_t i = 0; result == 0 && i < trial->above->count; i++) {
        const struct ruleset_rule *rule = reach_deny(trial->above, i);
        if (rule == NULL)
            continue;
        result = reach_add_behind(&trial->ports, &trial->port_count, rule->what.ranges,
                                  rule->what.range_count, UINT32_MAX);
        if (result == 0)
            result = reach_add_behind(&trial->uids, &trial->uid_count, rule->options.uids,
                                      rule->options.uid_count, RULE_UID_MAX);
    }
    return result;
}

/* ---- names ---- */

static size_t reach_count(const char *text, char c)
{
    size_t count = 0;
    for (; *text != '\0'; text++)
        count += *text == c;
    return count;
}

/* Finds the letter, and the most `?`. */
static void reach_look_at_names(struct reach_trial *trial)
{
    static const char letters[] = "zyxwvutsrqponmlkjihgfedcbaZYXWVUTSRQPONMLKJIHGFEDCBA9876543210_";
    bool seen[256] = {false};
    for (size_t i = 0; i < trial->above->count; i++) {
        const struct ruleset_rule *rule = reach_deny(trial->above, i);
        for (unsigned j = 0; rule != NULL && j < rule->what.name_count; j++) {
            const char *name = rule->what.names[j];
            const size_t marks = reach_count(name, '?');
            trial->marks = marks > trial->marks ? marks : trial->marks;
            for (; *name != '\0'; name++)
                seen[(unsigned char)*name] = true;
        }
    }
    const char *letter = letters;
    while (letter[1] != '\0' && seen[(unsigned char)*letter])
        letter++;
    trial->letter = *letter;
    trial->unsure = seen[(unsigned char)*letter];
}

/* The glob as a name, where each `*` has as many letters as lengths says: a number whose digits, to
 * that base, are those of the `*` in turn. False: it would be too long. */
static bool reach_fill(const char *glob, char letter, size_t lengths, size_t base, reach_name name)
{
    size_t length = 0;
    for (; *glob != '\0'; glob++) {
        size_t times = *glob == '*' ? lengths % base : 1;
        if (*glob == '*')
            lengths /= base;
        if (length + times > IDC_SERVICE_MAX)
            return false;
        memset(name + length, *glob == '*' || *glob == '?' ? letter : *glob, times);
        length += times;
    }
    name[length] = '\0';
    return true;
}

static int reach_add_name(struct reach_trial *trial, const char *glob)
{
    const size_t base = trial->marks + 2;
    size_t fillings = 1;
    for (size_t i = reach_count(glob, '*'); i > 0 && fillings < REACH_NAMES_MAX; i--)
        fillings *= base;
    for (size_t i = 0; i < fillings && i < REACH_NAMES_MAX; i++) {
        reach_name *more = ruleset_more(trial->names, trial->name_count, sizeof(*more));
        if (more == NULL)
            return -ENOMEM;
        trial->names = more;
        trial->name_count += reach_fill(glob, trial->letter, i, base, more[trial->name_count]);
    }
    trial->unsure = trial->unsure || fillings >= REACH_NAMES_MAX;
    return 0;
}

static int reach_add_names(struct reach_trial *trial)
{
    const struct services *what = trial->source->what;
    int result = 0;
    reach_look_at_names(trial);
    for (unsigned i = 0; result == 0 && i < what->name_count; i++)
        result = reach_add_name(trial, what->names[i]);
    return result;
}

/* ---- trying ---- */

static bool reach_try(const struct reach_trial *trial, const struct ruleset_question *question)
{
    return trial->source->fits(trial->source->arg, question) &&
           !reach_is_denied(trial->above, question);
}

/* With each name, and without one. */
static bool reach_try_port(const struct reach_trial *trial, uint32_t port, uint32_t uid,
                           enum rule_type type)
{
    struct ruleset_question question = {
        .port = port, .name_known = true, .uid = uid, .type = type, .now = trial->above->now};
    bool found = reach_try(trial, &question);
    for (size_t i = 0; !found && port != VERDICT_PORT_MANAGER && i < trial->name_count; i++) {
        question.name = trial->names[i];
        found = reach_try(trial, &question);
    }
    return found;
}

static bool reach_try_all(const struct reach_trial *trial, const uint32_t *ports, size_t count)
{
    for (size_t uid = 0; uid < trial->uid_count; uid++)
        for (size_t i = 0; i < count; i++)
            if (reach_try_port(trial, ports[i], trial->uids[uid], RULE_TYPE_STREAM) ||
                reach_try_port(trial, ports[i], trial->uids[uid], RULE_TYPE_SEQPACKET))
                return true;
    return false;
}

static enum reach reach_judge(struct reach_trial *trial)
{
    static const uint32_t manager = VERDICT_PORT_MANAGER;
    size_t kept = 0;
    for (size_t i = 0; i < trial->port_count; i++)
        if (trial->ports[i] != VERDICT_PORT_MANAGER)
            trial->ports[kept++] = trial->ports[i];
    if (reach_try_all(trial, trial->ports, kept) || (trial->unsure && trial->name_count > 0))
        return REACH_SERVICES;
    return reach_try_all(trial, &manager, 1) ? REACH_MANAGER : REACH_NOTHING;
}

int reach_find(const struct reach_above *above, const struct reach_source *source,
               enum reach *reach)
{
    struct reach_trial trial = {.above = above, .source = source};
    int result = reach_add_numbers(&trial);
    if (result == 0)
        result = reach_add_names(&trial);
    if (result == 0)
        *reach = reach_judge(&trial);
    free(trial.ports);
    free(trial.uids);
    free(trial.names);
    return result;
}

/* ---- a rule ---- */

static bool reach_rule_fits(const void *arg, const struct ruleset_question *question)
{
    const struct verdict_fit fit = verdict_fit_connection(arg, question);
    return fit.missed == 0 && fit.unknown == 0;
}

int reach_of_rule(const struct reach_above *above, const struct ruleset_rule *rule,
                  enum reach *reach)
{
    const struct reach_source source = {.what = &rule->what,
                                        .uids = rule->options.uids,
                                        .uid_count = rule->options.uid_count,
                                        .fits = reach_rule_fits,
                                        .arg = rule};
    *reach = REACH_NOTHING;
    if (!rule->allow || reach_is_over(rule, above->now))
        return 0;
    return reach_find(above, &source, reach);
}
