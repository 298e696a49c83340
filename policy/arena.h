/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * arena.h - memory that is given back all at once: what belongs to one set of rules.
 *
 * Nothing in it is freed by itself. Where there is no memory the answer is NULL. An arena of zeros
 * is an empty one.
 */
#ifndef IDC_POLICY_ARENA_H
#define IDC_POLICY_ARENA_H

#include <stddef.h>

struct arena_chunk;

struct arena {
    struct arena_chunk *chunks; /* the latest first */
};

/* Aligned for anything, not cleared. A size of 0 gives a pointer too. */
void *arena_take(struct arena *arena, size_t size);
/* A copy, to which a NUL is added. */
char *arena_text(struct arena *arena, const char *text, size_t length);
/* A copy of count elements of that size. */
void *arena_copy(struct arena *arena, const void *elements, size_t count, size_t size);
void arena_free(struct arena *arena);

#endif
