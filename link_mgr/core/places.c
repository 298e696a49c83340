/* SPDX-License-Identifier: GPL-2.0-or-later */
/* places.c - see places.h. */
#include "link_mgr/core/places.h"

#include <assert.h>
#include <stdlib.h>

#define PLACES_SIZE_MAX (1u << 24)

void places_init(struct places *places)
{
    LIST_INIT(&places->first);
    places->lists = &places->first;
    places->size = 1;
    places->count = 0;
}

void places_end(struct places *places)
{
    assert(places->count == 0);
    if (places->lists != &places->first)
        free(places->lists);
    places_init(places);
}

uint32_t places_hash(const char *text)
{
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (; *text; text++)
        hash = (hash ^ (uint8_t)*text) * 16777619u;
    return hash;
}

static struct place_list *places_list(const struct places *places, uint32_t hash)
{
    return &places->lists[hash & (places->size - 1)];
}

static void places_grow(struct places *places)
{
    struct places more = {.size = 2 * places->size};
    struct place *place;
    more.lists = calloc(more.size, sizeof(*more.lists));
    if (!more.lists)
        return;
    for (uint32_t i = 0; i < places->size; i++) {
        while ((place = LIST_FIRST(&places->lists[i]))) {
            LIST_REMOVE(place, same);
            LIST_INSERT_HEAD(places_list(&more, place->hash), place, same);
        }
    }
    if (places->lists != &places->first)
        free(places->lists);
    places->lists = more.lists;
    places->size = more.size;
}

void places_add(struct places *places, struct place *place, uint32_t hash)
{
    if (places->count >= places->size && places->size < PLACES_SIZE_MAX)
        places_grow(places);
    place->hash = hash;
    LIST_INSERT_HEAD(places_list(places, hash), place, same);
    places->count++;
}

void places_remove(struct places *places, struct place *place)
{
    LIST_REMOVE(place, same);
    places->count--;
}

static struct place *places_from(struct place *place, uint32_t hash)
{
    while (place && place->hash != hash)
        place = LIST_NEXT(place, same);
    return place;
}

struct place *places_first(const struct places *places, uint32_t hash)
{
    return places_from(LIST_FIRST(places_list(places, hash)), hash);
}

struct place *places_next(const struct place *place)
{
    return places_from(LIST_NEXT(place, same), place->hash);
}
