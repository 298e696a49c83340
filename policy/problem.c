/* SPDX-License-Identifier: GPL-2.0-or-later */
/* problem.c - see problem.h. */
#include "policy/problem.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

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
    size_t used = 0;
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        if (used + sizeof("\\xff" TEXT_CUT_MARK) > PROBLEM_SHOWN_MAX) {
            memcpy(shown + used, TEXT_CUT_MARK, sizeof(TEXT_CUT_MARK));
            return shown;
        }
        if (c < 0x20 || c > 0x7e)
            used += (size_t)snprintf(shown + used, PROBLEM_SHOWN_MAX - used, "\\x%02x", c);
        else
            shown[used++] = (char)c;
    }
    shown[used] = '\0';
    return shown;
}

bool problem_memory(struct problem *problem, unsigned column)
{
    return problem_set(problem, column, "try again when there is more", "out of memory");
}
