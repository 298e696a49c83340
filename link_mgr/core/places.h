/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * places.h - what a peer has accounts of, found by the place of its rule, FILE:LINE: a hash table.
 *
 * Each struct place is part of what is kept, and its first member. The table grows as it fills and
 * owns no more than its array. Without memory for a larger one, it goes on with the one it has, and
 * a search takes longer. Places may be equal.
 */
#ifndef IDC_PLACES_H
#define IDC_PLACES_H

#include <stdint.h>
#include <sys/queue.h>

struct place {
    LIST_ENTRY(place) same; /* of one list of the table */
    uint32_t hash;
};
LIST_HEAD(place_list, place);

struct places {
    struct place_list first; /* the only list, until there are more */
    struct place_list *lists;
    uint32_t size; /* of lists: a power of two */
    uint32_t count;
};

void places_init(struct places *places);
/* It must be empty. */
void places_end(struct places *places);

uint32_t places_hash(const char *text);
void places_add(struct places *places, struct place *place, uint32_t hash);
void places_remove(struct places *places, struct place *place);

/* All those that have this hash, in no order; NULL: no more. */
struct place *places_first(const struct places *places, uint32_t hash);
struct place *places_next(const struct place *place);

#endif
