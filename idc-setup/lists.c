/* SPDX-License-Identifier: GPL-2.0-or-later */
/* lists.c - see lists.h. Both lists are canonical: ranges ascend and don't touch. */
#include "idc-setup/lists.h"

#include <stdio.h>
#include <string.h>

static bool lists_is_empty(const struct policy_list *list)
{
    return !list->all && list->range_count == 0 && list->name_count == 0;
}

/* There is always room: LISTS_TEXT_MAX is enough for the longest text. */
static void lists_append(char text[LISTS_TEXT_MAX], const char *item)
{
    size_t length = strlen(text), more = strlen(item);
    if (length + more + 2 > LISTS_TEXT_MAX)
        return;
    if (length > 0)
        text[length++] = ',';
    memcpy(text + length, item, more + 1);
}

static void append_range(char text[LISTS_TEXT_MAX], uint64_t first, uint64_t last)
{
    char item[32];
    if (first > last)
        return;
    snprintf(item, sizeof(item), first == last ? "%u" : "%u-%u", (unsigned)first, (unsigned)last);
    lists_append(text, item);
}

/* The parts of the range that no range of other covers. */
static void append_rest(char text[LISTS_TEXT_MAX], const struct policy_range *range,
                        const struct policy_list *other)
{
    uint64_t first = range->first;
    for (unsigned i = 0; i < other->range_count; i++) {
        const struct policy_range *taken = &other->ranges[i];
        if (taken->last < first || taken->first > range->last)
            continue;
        append_range(text, first, (uint64_t)taken->first - 1);
        first = (uint64_t)taken->last + 1;
    }
    append_range(text, first, range->last);
}

static bool lists_has_name(const struct policy_list *list, const char *name)
{
    for (unsigned i = 0; i < list->name_count; i++)
        if (strcmp(list->names[i], name) == 0)
            return true;
    return false;
}

void lists_missing(const struct policy_list *wanted, const struct policy_list *present,
                   char text[LISTS_TEXT_MAX])
{
    char but[POLICY_VALUE_MAX + 1];
    text[0] = '\0';
    if (present->all)
        return;
    if (wanted->all) {
        policy_format_list(present, but, sizeof(but));
        snprintf(text, LISTS_TEXT_MAX, "%s%s", lists_is_empty(present) ? "all" : "all but ", but);
        return;
    }
    for (unsigned i = 0; i < wanted->range_count; i++)
        append_rest(text, &wanted->ranges[i], present);
    for (unsigned i = 0; i < wanted->name_count; i++)
        if (!lists_has_name(present, wanted->names[i]))
            lists_append(text, wanted->names[i]);
}

int lists_join(struct policy_list *list, const struct policy_list *more, const char **why)
{
    char text[LISTS_TEXT_MAX], missing[LISTS_TEXT_MAX];
    if (list->all || more->all || lists_is_empty(list)) {
        *list = list->all ? *list : *more;
        return 0;
    }
    lists_missing(more, list, missing);
    policy_format_list(list, text, sizeof(text));
    if (missing[0] != '\0')
        lists_append(text, missing);
    return policy_parse_list(list, text, why);
}
