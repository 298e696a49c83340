/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fail.c - see fail.h. */
#include "idc-setup/fail.h"

#include <stdarg.h>
#include <stdio.h>

#include "common/shown.h"

int setup_complain(const char *help, int status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("idc-setup: ", stderr);
    shown_vprintf(stderr, format, arguments); /* names, and what users have typed */
    va_end(arguments);
    if (status == SETUP_STATUS_USAGE)
        fprintf(stderr, " (see idc-setup%s --help)\n", help);
    else
        fputc('\n', stderr);
    return status;
}

void setup_note(const char *text)
{
    fputs("idc-setup: note: ", stderr);
    shown_print(stderr, text);
    fputc('\n', stderr);
}
