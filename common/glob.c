/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * glob.c - see glob.h.
 *
 * When the bytes after a `*` don't fit, that `*` takes one byte more. An earlier `*` need not be
 * tried again: what it left to the later one was as much as possible.
 */
#include "common/glob.h"

#include <stddef.h>

/* The pattern's next element fits the byte. *next is the place after that element. */
static bool glob_element(const char *pattern, char byte, const char **next)
{
    bool literal = pattern[0] == '\\' && pattern[1] != '\0';
    char wanted = literal ? pattern[1] : pattern[0];
    *next = pattern + (literal ? 2 : 1);
    return wanted != '\0' && ((!literal && wanted == '?') || wanted == byte);
}

bool glob_fits_counted(const char *pattern, const char *name, unsigned long *steps)
{
    const char *star = NULL, *taken = NULL; /* after the latest `*`, and what it has not taken */
    while (*name != '\0') {
        const char *next;
        ++*steps;
        if (*pattern == '*') {
            star = ++pattern;
            taken = name;
        } else if (glob_element(pattern, *name, &next)) {
            pattern = next;
            name++;
        } else if (star != NULL) {
            pattern = star;
            name = ++taken;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return *pattern == '\0';
}

bool glob_fits(const char *pattern, const char *name)
{
    unsigned long steps = 0;
    return glob_fits_counted(pattern, name, &steps);
}
