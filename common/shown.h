/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * shown.h - texts of others in what people read.
 *
 * Theory of operation
 *
 * Names come from other domains, from files and from users, and may have any bytes: a newline that
 * begins a forged line, a sequence that rules a terminal, a mark that turns the order of letters
 * round, letters that nobody sees. Whatever prints such a text for people, on a terminal or in a
 * log, prints it by these functions.
 *
 * Shown as they are: printable ASCII, and characters in well-formed UTF-8 that are printable and
 * stand for themselves. Each other byte becomes \xNN: control characters (C0, C1, DEL), separators
 * of lines, marks of direction and of joining, what has no width, tags, what Unicode keeps for
 * private use, and bytes that are no UTF-8. It is the same in every locale.
 *
 * For JSON there is json.h, which escapes everything beyond ASCII.
 */
#ifndef IDC_SHOWN_H
#define IDC_SHOWN_H

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

enum shown_how {
    SHOWN_UTF8 = 0,
    SHOWN_ASCII = 1,     /* nothing beyond ASCII is shown as it is */
    SHOWN_BACKSLASH = 2, /* a backslash is escaped too, so that no two texts look the same */
};

/* The length of the character at the beginning of a text that is not empty, if it may be shown as
 * it is. 0: its first byte is to be escaped. */
size_t shown_character(const char *text, size_t length);

/* Copies text. What has no room is left out, but nothing is cut: neither a character nor a \xNN.
 * Returns how many bytes of the text were taken. how: of enum shown_how. */
size_t shown_text(char *out, size_t size, const char *text, size_t length, unsigned how);
/* In place of a text in so much room, of which at most 4,096 bytes are used. What has no room then
 * is left out. */
void shown_in_place(char *text, size_t size, unsigned how);
/* By SHOWN_UTF8. */
void shown_print(FILE *out, const char *text);
/* What the format makes, by shown_print: a newline at its end must be printed by itself. */
void shown_printf(FILE *out, const char *format, ...) __attribute__((format(printf, 2, 3)));
void shown_vprintf(FILE *out, const char *format, va_list arguments)
    __attribute__((format(printf, 2, 0)));

#endif
