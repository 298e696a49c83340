/* SPDX-License-Identifier: GPL-2.0-or-later */
/* rules_store.c - see rules_store.h. */
#include "link_mgr/core/rules_store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "link_mgr/core/rules_private.h"

#define NUMBER_MAX 999999999999999999u /* of a generation: 18 digits */
#define SPACE_FIRST 16u                /* places for parts of a new generation */

/* ---- generations ---- */

static void generation_free(struct rules_store *store, struct rules_generation *generation)
{
    for (uint32_t i = 0; i < generation->space; i++)
        free(generation->parts[i]);
    free(generation->parts);
    LIST_REMOVE(generation, all);
    store->kept--;
    free(generation);
}

static struct rules_generation *generation_find(const struct rules_store *store, uint64_t number)
{
    struct rules_generation *generation;
    LIST_FOREACH (generation, &store->generations, all)
        if (generation->number == number)
            break;
    return generation;
}

/* The one to give up when there are too many. The one that `now` names stays. */
static struct rules_generation *generation_lowest(const struct rules_store *store)
{
    struct rules_generation *generation, *lowest = NULL;
    LIST_FOREACH (generation, &store->generations, all)
        if (!(store->named_well && generation->number == store->number) &&
            (!lowest || generation->number < lowest->number))
            lowest = generation;
    return lowest;
}

static struct rules_generation *generation_new(struct rules_store *store, uint64_t number)
{
    struct rules_generation *generation = calloc(1, sizeof(*generation));
    if (!generation) {
        store->lost = true;
        return NULL;
    }
    generation->number = number;
    LIST_INSERT_HEAD(&store->generations, generation, all);
    if (++store->kept <= RULES_STORE_GENERATIONS)
        return generation;
    struct rules_generation *lowest = generation_lowest(store);
    generation_free(store, lowest);
    return lowest == generation ? NULL : generation;
}

void rules_store_init(struct rules_store *store)
{
    *store = (struct rules_store){.kept = 0};
    LIST_INIT(&store->generations);
}

static void store_forget_parts(struct rules_store *store)
{
    while (!LIST_EMPTY(&store->generations))
        generation_free(store, LIST_FIRST(&store->generations));
}

void rules_store_clear(struct rules_store *store)
{
    bool taken = store->taken;
    store_forget_parts(store);
    rules_store_init(store);
    store->taken = taken;
}

void rules_store_relist(struct rules_store *store)
{
    store_forget_parts(store);
    store->done = store->forgotten = 0;
    store->lost = false;
}

/* ---- parts ---- */

static bool part_make_place(struct rules_generation *generation, uint32_t part)
{
    uint32_t space = generation->space ? generation->space : SPACE_FIRST;
    while (space <= part)
        space *= 2;
    if (space == generation->space)
        return true;
    char **parts = realloc(generation->parts, space * sizeof(*parts));
    if (!parts)
        return false;
    memset(parts + generation->space, 0, (space - generation->space) * sizeof(*parts));
    generation->parts = parts;
    generation->space = space;
    return true;
}

static void part_drop(struct rules_generation *generation, uint32_t part)
{
    if (part >= generation->space || !generation->parts[part])
        return;
    generation->bytes -= (uint32_t)strlen(generation->parts[part]);
    generation->have--;
    free(generation->parts[part]);
    generation->parts[part] = NULL;
}

static void part_keep(struct rules_store *store, struct rules_generation *generation, uint32_t part,
                      const char *value)
{
    size_t length = strlen(value);
    part_drop(generation, part);
    if (generation->bytes + length > RULES_TEXT_MAX) {
        generation->too_long = true;
        return;
    }
    char *copy = part_make_place(generation, part) ? malloc(length + 1) : NULL;
    if (!copy) {
        store->lost = true;
        return;
    }
    memcpy(copy, value, length + 1);
    generation->parts[part] = copy;
    generation->bytes += (uint32_t)length;
    generation->have++;
}

static void part_event(struct rules_store *store, uint64_t number, uint32_t part, const char *value)
{
    struct rules_generation *generation = generation_find(store, number);
    if (number == store->done)
        return;
    if (!generation && value)
        generation = generation_new(store, number);
    if (!generation)
        return;
    if (value)
        part_keep(store, generation, part, value);
    else
        part_drop(generation, part);
    if (generation->have == 0 && !generation->too_long)
        generation_free(store, generation);
}

/* ---- events ---- */

/* "GENERATION PARTS", or another two numbers with the separator between. */
static bool store_two_numbers(const char *text, char separator, uint64_t *first, uint64_t *second)
{
    struct rules_word rest = {text, strlen(text)}, word;
    return rules_next_word(&rest, separator, &word) && rules_number(&word, 1, NUMBER_MAX, first) &&
           rest.at && rules_number(&rest, 0, RULES_STORE_PARTS_MAX, second);
}

static bool number_is_forgotten(const struct rules_store *store)
{
    return store->named_well && store->number != store->done && store->number <= store->forgotten &&
           !generation_find(store, store->number);
}

static void now_event(struct rules_store *store, const char *value)
{
    uint64_t number, parts;
    store->named = value;
    store->named_well = value && store_two_numbers(value, ' ', &number, &parts) && parts > 0;
    store->number = store->named_well ? number : 0;
    store->parts = store->named_well ? (uint32_t)parts : 0;
    if (!value)
        store->done = 0;
    /* It was in force before, or it is an earlier one. */
    if (number_is_forgotten(store))
        store->lost = true;
}

void rules_store_event(struct rules_store *store, const char *rest, const char *value)
{
    uint64_t number, part;
    if (!rest)
        rules_store_clear(store);
    else if (strcmp(rest, "/now") == 0)
        now_event(store, value);
    else if (rest[0] == '/' && store_two_numbers(rest + 1, '/', &number, &part) &&
             part < RULES_STORE_PARTS_MAX)
        part_event(store, number, (uint32_t)part, value);
    else
        return;
    store->changed = true;
}

/* ---- the whole text ---- */

static bool store_is_whole(const struct rules_store *store,
                           const struct rules_generation *generation)
{
    if (store->parts > generation->space || generation->have < store->parts)
        return false;
    for (uint32_t i = 0; i < store->parts; i++)
        if (!generation->parts[i])
            return false;
    return true;
}

/* NULL: there is no memory. */
static char *store_join(const struct rules_store *store, const struct rules_generation *generation,
                        size_t *length)
{
    char *text = malloc((size_t)generation->bytes + 1);
    *length = 0;
    for (uint32_t i = 0; text && i < store->parts; i++) {
        size_t part = strlen(generation->parts[i]);
        memcpy(text + *length, generation->parts[i], part);
        *length += part;
    }
    return text;
}

/* The generation has been read. */
static void store_done(struct rules_store *store)
{
    struct rules_generation *generation, *next;
    for (generation = LIST_FIRST(&store->generations); generation; generation = next) {
        next = LIST_NEXT(generation, all);
        if (generation->number <= store->number)
            generation_free(store, generation);
    }
    store->done = store->number;
    if (store->done > store->forgotten)
        store->forgotten = store->done;
}

static enum rules_news store_wrong(struct rules_problem *problem, const char *what)
{
    *problem = (struct rules_problem){.what = what};
    return RULES_WRONG;
}

static enum rules_news store_read(struct rules_store *store,
                                  const struct rules_generation *generation, struct rules **rules,
                                  struct rules_problem *problem)
{
    size_t length;
    char *text = store_join(store, generation, &length);
    int error = text ? rules_new(rules, text, length, problem) : -ENOMEM;
    free(text);
    if (error == -ENOMEM) {
        store->changed = true;
        return RULES_MEMORY;
    }
    store_done(store);
    store->taken |= !error;
    return error ? RULES_WRONG : RULES_NEW;
}

enum rules_news rules_store_take(struct rules_store *store, struct rules **rules,
                                 struct rules_problem *problem)
{
    bool changed = store->changed;
    store->changed = false;
    if (store->lost)
        return RULES_MEMORY;
    if (!changed || (store->named_well && store->number == store->done))
        return RULES_SAME;
    if (!store->named) {
        bool taken = store->taken;
        store->taken = false;
        *rules = NULL;
        return taken ? RULES_NEW : RULES_SAME;
    }
    if (!store->named_well)
        return store_wrong(problem, "policy/rules/now is not a generation and a number of parts");
    const struct rules_generation *generation = generation_find(store, store->number);
    if (!generation)
        return RULES_SAME;
    if (generation->too_long) {
        store_done(store);
        return store_wrong(problem, "the text is too long");
    }
    return store_is_whole(store, generation) ? store_read(store, generation, rules, problem)
                                             : RULES_SAME;
}
