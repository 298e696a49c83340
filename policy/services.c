/* SPDX-License-Identifier: GPL-2.0-or-later */
/* services.c - see services.h. */
#include "policy/services.h"

#include <stdio.h>
#include <string.h>

#include "common/glob.h"
#include "common/service_name.h"
#include "idc.h"

#define SERVICES_ITEMS_MAX (LEXER_LINE_MAX / 2)

/* The items of one list, before they are copied to where they stay. */
struct services_draft {
    struct services_range ranges[SERVICES_ITEMS_MAX];
    const char *names[SERVICES_ITEMS_MAX];
    unsigned range_count, name_count;
};

/* ---- numbers and ranges ---- */

static bool services_number_wrong(const struct slice *slice, const struct services_numbers *numbers,
                                  enum number_result result, struct problem *problem)
{
    char hint[PROBLEM_HINT_MAX], shown[PROBLEM_SHOWN_MAX];
    snprintf(hint, sizeof(hint), "%s are %llu to %llu%s", numbers->what,
             (unsigned long long)numbers->least, (unsigned long long)numbers->most,
             result == NUMBER_ZEROS ? ", without leading zeros" : "");
    return problem_set(
        problem, slice->at[0], hint, "%s \"%s\"",
        result == NUMBER_RANGE ? "out of range:" : "not a number:", slice_shown(slice, shown));
}

static bool services_number(const struct slice *slice, const struct services_numbers *numbers,
                            uint32_t *number, struct problem *problem)
{
    uint64_t value;
    enum number_result result = slice_number(slice, numbers->least, numbers->most, &value);
    if (result != NUMBER_GOOD)
        return services_number_wrong(slice, numbers, result, problem);
    *number = (uint32_t)value;
    return true;
}

static bool services_range(const struct slice *slice, const struct services_numbers *numbers,
                           struct services_range *range, struct problem *problem)
{
    size_t dash = slice_find(slice, '-');
    struct slice first = slice_part(slice, 0, dash);
    if (!services_number(&first, numbers, &range->first, problem))
        return false;
    range->last = range->first;
    if (dash == slice->length)
        return true;
    struct slice last = slice_part(slice, dash + 1, slice->length);
    if (!services_number(&last, numbers, &range->last, problem))
        return false;
    if (range->last < range->first)
        return problem_set(problem, slice->at[0], "write the smaller number first",
                           "a range that ends before it begins");
    return true;
}

/* The next item of a comma-separated list, which begins at *from. */
static bool services_item(const struct slice *slice, size_t *from, struct slice *item,
                          struct problem *problem)
{
    struct slice rest = slice_part(slice, *from, slice->length);
    size_t length = slice_find(&rest, ',');
    *item = slice_part(&rest, 0, length);
    *from += length + 1;
    if (length == 0)
        return problem_set(problem, item->at[0], "items are separated by one comma, without blanks",
                           "an item of the list is empty");
    return true;
}

bool services_in_ranges(const struct services_range *ranges, unsigned count, uint32_t number)
{
    for (unsigned i = 0; i < count; i++)
        if (number >= ranges[i].first && number <= ranges[i].last)
            return true;
    return false;
}

/* The range that goes on furthest from where the former ones end, until none does. */
bool services_ranges_cover(const struct services_range *ranges, unsigned count, uint32_t first,
                           uint32_t last)
{
    uint64_t next = first, before;
    do {
        before = next;
        for (unsigned i = 0; i < count; i++)
            if (ranges[i].first <= next && ranges[i].last >= next)
                next = (uint64_t)ranges[i].last + 1;
    } while (next > before && next <= last);
    return next > last;
}

bool services_parse_ranges(struct arena *arena, const struct slice *slice,
                           const struct services_numbers *numbers,
                           const struct services_range **ranges, unsigned *count,
                           struct problem *problem)
{
    struct services_range draft[SERVICES_ITEMS_MAX + 1];
    struct slice item;
    *count = 0;
    for (size_t from = 0; from <= slice->length;)
        if (!services_item(slice, &from, &item, problem) ||
            !services_range(&item, numbers, &draft[(*count)++], problem))
            return false;
    *ranges = arena_copy(arena, draft, *count, sizeof(draft[0]));
    return *ranges != NULL || problem_memory(problem, slice->at[0]);
}

/* ---- WHAT ---- */

static bool services_name(struct arena *arena, const struct slice *item, const char **name,
                          struct problem *problem)
{
    char shown[PROBLEM_SHOWN_MAX];
    if (slice_is(item, "*"))
        return problem_set(problem, item->at[0], "* is every service; write it alone",
                           "* in a list with others");
    if (service_item(item->text, item->length, "*?") != SERVICE_ITEM_NAME)
        return problem_set(problem, item->at[0],
                           "a name, or a glob of names, has 1 to 79 of A-Z a-z 0-9 . _ -, with a "
                           "letter",
                           "\"%s\" is neither a port nor a service name", slice_shown(item, shown));
    *name = arena_text(arena, item->text, item->length);
    return *name != NULL || problem_memory(problem, item->at[0]);
}

static bool services_add(struct arena *arena, const struct slice *item,
                         struct services_draft *draft, struct problem *problem)
{
    static const struct services_numbers ports = {"ports", 1, UINT32_MAX};
    if (service_item(item->text, item->length, "*?") == SERVICE_ITEM_PORTS)
        return services_range(item, &ports, &draft->ranges[draft->range_count++], problem);
    return services_name(arena, item, &draft->names[draft->name_count++], problem);
}

static bool services_bare(const struct slice *slice, struct problem *problem)
{
    for (size_t i = 0; i < slice->length; i++)
        if (slice->quoted[i])
            return problem_set(problem, slice->at[i], "leave the quotes away",
                               "quotes in a list of services");
    if (slice_find(slice, '=') < slice->length)
        return problem_set(problem, slice->at[0],
                           "ACTION FROM TO WHAT [OPTION=VALUE]...; every service is *",
                           "WHAT is missing before the options");
    return true;
}

bool services_parse(struct arena *arena, const struct slice *slice, struct services *services,
                    struct problem *problem)
{
    struct services_draft draft;
    struct slice item;
    draft.range_count = draft.name_count = 0;
    *services = (struct services){.all = slice_is(slice, "*")};
    if (!services_bare(slice, problem))
        return false;
    if (services->all)
        return true;
    for (size_t from = 0; from <= slice->length;)
        if (!services_item(slice, &from, &item, problem) ||
            !services_add(arena, &item, &draft, problem))
            return false;
    services->range_count = draft.range_count;
    services->name_count = draft.name_count;
    services->ranges = arena_copy(arena, draft.ranges, draft.range_count, sizeof(draft.ranges[0]));
    services->names = arena_copy(arena, draft.names, draft.name_count, sizeof(draft.names[0]));
    return (services->ranges != NULL && services->names != NULL) ||
           problem_memory(problem, slice->at[0]);
}

bool services_have_port(const struct services *services, uint32_t port)
{
    return services->all || services_in_ranges(services->ranges, services->range_count, port);
}

bool services_have_name(const struct services *services, const char *name)
{
    if (services->all)
        return true;
    for (unsigned i = 0; i < services->name_count; i++)
        if (glob_fits(services->names[i], name))
            return true;
    return false;
}
