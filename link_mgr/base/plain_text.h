/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * plain_text.h - text of others in lines that people read. A program chooses its name, and can put
 * any byte into it: a newline that begins a forged line, or a sequence that rules a terminal.
 */
#ifndef IDC_PLAIN_TEXT_H
#define IDC_PLAIN_TEXT_H

#include <stddef.h>

/* Copies text. Each byte that is not printable ASCII, and each backslash, becomes \xNN. What has no
 * room is left out, but no \xNN is cut. */
void plain_text(char *out, size_t size, const char *text, size_t length);

#endif
