/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * problem.h - what is wrong in a line, where, and what to do: for whoever wrote the line.
 *
 * A text from a file may contain anything. It is shown cut, and with everything but printable
 * ASCII escaped, so it can do no harm on a terminal.
 */
#ifndef IDC_POLICY_PROBLEM_H
#define IDC_POLICY_PROBLEM_H

#include <stdbool.h>
#include <stddef.h>

#define PROBLEM_TEXT_MAX 400
#define PROBLEM_HINT_MAX 200
#define PROBLEM_SHOWN_MAX 128 /* of a text from a file, with its NUL */

struct problem {
    unsigned line, column; /* from 1; columns are bytes */
    char text[PROBLEM_TEXT_MAX];
    char hint[PROBLEM_HINT_MAX];
};

/* Sets all but the line. */
void problem_fill(struct problem *problem, unsigned column, const char *hint, const char *format,
                  ...) __attribute__((format(printf, 4, 5)));
/* The same as an expression that is false, for a parser to return. A macro, since clang-tidy must
 * see that it is false. */
#define problem_set(...) (problem_fill(__VA_ARGS__), false)
/* text as it may be shown. */
const char *problem_shown(char shown[PROBLEM_SHOWN_MAX], const char *text, size_t length);
/* There is no memory. */
bool problem_memory(struct problem *problem, unsigned column);

#endif
