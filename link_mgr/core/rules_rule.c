/* SPDX-License-Identifier: GPL-2.0-or-later */
/* rules_rule.c - the line of one rule: what it is about, its options, its place. */
#include <string.h>

#include "common/service_name.h"
#include "link_mgr/core/rules_private.h"

#define RULE_COUNT_MAX 1000000u           /* of connections=, and of rate= */
#define RULE_BANDWIDTH_MAX 1000000000000u /* bytes in a second */
#define RULE_UNTIL_MAX 253402300799u      /* the end of the year 9999 */

static const char bad_what[] =
    "an item of WHAT is neither a port, a range, a service name nor a glob of names";

/* ---- WHAT, and lists of uids ---- */

static size_t rule_count_items(const struct rules_word *list)
{
    size_t count = 1;
    for (size_t i = 0; i < list->length; i++)
        count += list->at[i] == ',';
    return count;
}

static bool rule_read_range(struct rules_word item, uint32_t least, uint32_t most,
                            struct rules_range *range)
{
    struct rules_word part;
    uint64_t first, last;
    rules_next_word(&item, '-', &part);
    if (!rules_number(&part, least, most, &first))
        return false;
    last = first;
    if (item.at && !rules_number(&item, first, most, &last))
        return false;
    *range = (struct rules_range){.first = (uint32_t)first, .last = (uint32_t)last};
    return true;
}

static const char *rule_read_name(struct rules *rules, const struct rules_word *item,
                                  const char **name)
{
    char *out = rules_take(rules, item->length + 1, 1);
    if (!out)
        return rules_no_memory;
    memcpy(out, item->at, item->length);
    *name = out;
    return NULL;
}

static const char *rule_read_what(struct rules *rules, struct rules_word what, struct rule *rule)
{
    struct rules_word item;
    size_t count = rule_count_items(&what);
    if (rules_word_is(&what, "*")) {
        rule->all = true;
        return NULL;
    }
    struct rules_range *ranges = rules_take(rules, count, sizeof(*ranges));
    const char **names = rules_take(rules, count, sizeof(*names));
    if (!ranges || !names)
        return rules_no_memory;
    rule->ranges = ranges;
    rule->names = names;
    while (rules_next_word(&what, ',', &item)) {
        enum service_item sort = service_item(item.at, item.length, "*?");
        if (sort == SERVICE_ITEM_WRONG ||
            (sort == SERVICE_ITEM_PORTS &&
             !rule_read_range(item, 1, UINT32_MAX, &ranges[rule->range_count++])))
            return bad_what;
        if (sort == SERVICE_ITEM_NAME && rule_read_name(rules, &item, &names[rule->name_count++]))
            return rules_no_memory;
    }
    return NULL;
}

static const char *rule_read_uids(struct rules *rules, struct rules_word list, struct rule *rule)
{
    struct rules_word item;
    struct rules_range *uids = rules_take(rules, rule_count_items(&list), sizeof(*uids));
    if (!uids)
        return rules_no_memory;
    rule->uids = uids;
    while (rules_next_word(&list, ',', &item))
        if (!rule_read_range(item, 0, UINT32_MAX - 1, &uids[rule->uid_count++]))
            return "uid= is not a list of uids";
    return NULL;
}

/* ---- options ---- */

static const char *rule_read_type(struct rules *rules, struct rules_word value, struct rule *rule)
{
    (void)rules;
    rule->type = rules_word_is(&value, "stream") ? IDC_STREAM : IDC_SEQPACKET;
    return rule->type == IDC_STREAM || rules_word_is(&value, "seqpacket")
               ? NULL
               : "type= is neither stream nor seqpacket";
}

static const char *rule_read_until(struct rules *rules, struct rules_word value, struct rule *rule)
{
    (void)rules;
    return rules_number(&value, 0, RULE_UNTIL_MAX, &rule->until)
               ? NULL
               : "until= is not a number of seconds";
}

static const char *rule_read_count(const struct rules_word *value, uint32_t *count)
{
    uint64_t number;
    if (!rules_number(value, 1, RULE_COUNT_MAX, &number))
        return "connections= or rate= is not a number from 1 to 1000000";
    *count = (uint32_t)number;
    return NULL;
}

static const char *rule_read_connections(struct rules *rules, struct rules_word value,
                                         struct rule *rule)
{
    (void)rules;
    return rule_read_count(&value, &rule->connections);
}

static const char *rule_read_rate(struct rules *rules, struct rules_word value, struct rule *rule)
{
    (void)rules;
    return rule_read_count(&value, &rule->rate);
}

static const char *rule_read_bandwidth(struct rules *rules, struct rules_word value,
                                       struct rule *rule)
{
    (void)rules;
    return rules_number(&value, 1, RULE_BANDWIDTH_MAX, &rule->bandwidth)
               ? NULL
               : "bandwidth= is not a number from 1 to 1000000000000";
}

static const char *rule_read_log(struct rules *rules, struct rules_word value, struct rule *rule)
{
    (void)rules;
    rule->log = rules_word_is(&value, "yes");
    return rule->log || rules_word_is(&value, "no") ? NULL : "log= is neither yes nor no";
}

static const char *rule_read_place(struct rules *rules, struct rules_word value, struct rule *rule)
{
    return rules_read_text(rules, &value, &rule->place);
}

static const struct rule_option {
    const char *name;
    const char *(*read)(struct rules *rules, struct rules_word value, struct rule *rule);
    bool limit; /* only in allow rules */
} rule_options[] = {
    {"uid", rule_read_uids, false},    {"type", rule_read_type, false},
    {"until", rule_read_until, false}, {"connections", rule_read_connections, true},
    {"rate", rule_read_rate, true},    {"bandwidth", rule_read_bandwidth, true},
    {"log", rule_read_log, false},     {"at", rule_read_place, false},
};
#define RULE_OPTIONS (sizeof(rule_options) / sizeof(rule_options[0]))

static size_t rule_find_option(const struct rules_word *name)
{
    size_t i = 0;
    while (i < RULE_OPTIONS && !rules_word_is(name, rule_options[i].name))
        i++;
    return i;
}

/* *given has a bit for each option that there was. */
static const char *rule_read_option(struct rules *rules, struct rules_word word, struct rule *rule,
                                    unsigned *given)
{
    struct rules_word name;
    rules_next_word(&word, '=', &name);
    size_t option = rule_find_option(&name);
    if (option == RULE_OPTIONS || !word.at)
        return "an option that is not known here";
    if (*given & 1u << option)
        return "an option is given twice";
    if (rule_options[option].limit && !rule->allow)
        return "a deny rule has a limit";
    *given |= 1u << option;
    return rule_options[option].read(rules, word, rule);
}

const char *rules_read_rule(struct rules *rules, struct rules_word rest, struct rule *rule)
{
    struct rules_word word;
    unsigned given = 0;
    const char *wrong = NULL;
    if (!rules_next_word(&rest, ' ', &word))
        return "a rule without an action";
    rule->allow = rules_word_is(&word, "allow");
    if (!rule->allow && !rules_word_is(&word, "deny"))
        return "a rule neither allows nor denies";
    rule->log = !rule->allow;
    rule->until = RULES_FOREVER;
    if (!rules_next_word(&rest, ' ', &word))
        return "a rule without WHAT";
    wrong = rule_read_what(rules, word, rule);
    while (!wrong && !rule->place && rules_next_word(&rest, ' ', &word))
        wrong = rule_read_option(rules, word, rule, &given);
    if (!wrong && (!rule->place || rest.at))
        wrong = "a rule does not end with its place";
    return wrong;
}
