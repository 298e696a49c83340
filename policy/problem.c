/* SPDX-License-Identifier: GPL-2.0-or-later */
/* problem.c - see problem.h. */
#include "policy/problem.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/shown.h"
#include "common/text_cut.h"

void problem_fill(struct problem *problem, unsigned column, const char *hint, const char *format,
                  ...)
{
    va_list arguments;
    problem->column = column;
    va_start(arguments, format);
    int length = vsnprintf(problem->text, sizeof(problem->text), format, arguments);
    va_end(arguments);
    text_mark_cut(problem->text, sizeof(problem->text), length);
    length = snprintf(problem->hint, sizeof(problem->hint), "%s", hint);
    text_mark_cut(problem->hint, sizeof(problem->hint), length);
}

const char *problem_shown(char shown[PROBLEM_SHOWN_MAX], const char *text, size_t length)
{
    const size_t room = PROBLEM_SHOWN_MAX - strlen(TEXT_CUT_MARK);
    if (shown_text(shown, room, text, length, SHOWN_ASCII) < length)
        strcat(shown, TEXT_CUT_MARK);
    return shown;
}

bool problem_memory(struct problem *problem, unsigned column)
{
    return problem_set(problem, column, "try again when there is more", "out of memory");
}
