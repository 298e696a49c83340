/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * policy_line.h - a line of a policy file, made of a command's arguments; and texts of such lines.
 */
#ifndef IDC_SETUP_POLICY_LINE_H
#define IDC_SETUP_POLICY_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* FROM, TO, then WHAT (or none) and options, up to a NULL. *line is "ACTION FROM TO WHAT OPTIONS",
 * without a newline, which the caller frees. until=+90m becomes a time. Exit status; what is wrong
 * was told. */
int policy_line_make(const char *action, char **arguments, int64_t now, char **line);

/* The argument that stands at a column, from 1, of a line that was made of these arguments. NULL:
 * none does. */
const char *policy_line_argument(const char *line, char **arguments, unsigned column);
/* Do words without a = follow WHAT? A shell that was given a * makes such ones. */
bool policy_line_has_more_words(char **arguments);

/* Is it a rule of allow or deny? The line has no newline at its end. */
bool policy_line_is_rule(const char *line, size_t length);
/* Is it such a rule that has the words "FROM TO" after its action, and after them WHAT, unless what
 * is NULL? All are as policy_line_make writes them. */
bool policy_line_is(const char *line, size_t length, const char *pair, const char *what);
/* An argument as a word of a line, which the caller frees. NULL: there is no memory. */
char *policy_line_word(const char *argument);

#endif
