/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lexer.h - the words of one line of a policy file (idc-policy(5), "Grammar").
 *
 * A word knows for each of its bytes the column where it stands and whether it was quoted, so
 * every error can say its column, and a quoted `*` is no glob. A slice is a part of a word, and
 * lives as long as the word does.
 */
#ifndef IDC_POLICY_LEXER_H
#define IDC_POLICY_LEXER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "policy/problem.h"

#define LEXER_LINE_MAX 4096

struct word {
    char text[LEXER_LINE_MAX + 1]; /* without quotes; NUL-terminated */
    uint16_t at[LEXER_LINE_MAX + 1];
    bool quoted[LEXER_LINE_MAX + 1];
    size_t length;
    const char *raw; /* in the line, quotes and all */
    size_t raw_length;
};

struct slice {
    const char *text;   /* not NUL-terminated */
    const uint16_t *at; /* columns; at[length] is the one after the last byte */
    const bool *quoted;
    size_t length;
};

struct lexer {
    const char *line;
    size_t length, next;
};

enum lexer_result { LEXER_WORD, LEXER_END, LEXER_WRONG };

/* The line is without its newline, and at most LEXER_LINE_MAX bytes. */
void lexer_begin(struct lexer *lexer, const char *line, size_t length);
enum lexer_result lexer_next(struct lexer *lexer, struct word *word, struct problem *problem);
/* The column where the next word would stand. */
unsigned lexer_column(const struct lexer *lexer);

struct slice slice_of(const struct word *word);
/* The bytes from..to-1. */
struct slice slice_part(const struct slice *slice, size_t from, size_t to);
bool slice_is(const struct slice *slice, const char *text);
bool slice_begins(const struct slice *slice, const char *text);
/* Of the first such byte, or the slice's length. */
size_t slice_find(const struct slice *slice, char byte);
/* Has a byte of the set been written without quotes? *where says which. */
bool slice_has_bare(const struct slice *slice, const char *set, size_t *where);
/* How the slice may be shown in an error. */
const char *slice_shown(const struct slice *slice, char shown[PROBLEM_SHOWN_MAX]);

enum number_result { NUMBER_GOOD, NUMBER_NONE, NUMBER_ZEROS, NUMBER_RANGE };

/* The decimal number that the whole slice is, from least to most. NUMBER_NONE: it is not digits
 * only. NUMBER_ZEROS: it begins with zeros that are not needed. */
enum number_result slice_number(const struct slice *slice, uint64_t least, uint64_t most,
                                uint64_t *number);

#endif
