/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * screen.h - what is printed again and again: drawn anew in a terminal, one text below the other
 * elsewhere.
 *
 * The terminal's other screen is used, so that everything that was there comes back. A signal that
 * ends or stops the program gives the terminal back first, by a handler, whatever the program is
 * doing at that moment. One screen at a time.
 */
#ifndef IDC_TOOLS_SCREEN_H
#define IDC_TOOLS_SCREEN_H

#include <stdbool.h>
#include <stddef.h>

enum screen_key {
    SCREEN_TIME = 0, /* no key: time is up */
    SCREEN_LEFT = 256,
    SCREEN_RIGHT,
    SCREEN_UP,
    SCREEN_DOWN,
    SCREEN_SIZE, /* the terminal has another size */
};

void screen_begin(void);
void screen_end(void);
bool screen_is_terminal(void);
/* In columns, 80 at least. */
size_t screen_width(void);
/* In a terminal, lines that have no room are left out, and a last one says how many. False: it
 * can't be written. */
bool screen_show(const char *text);
/* A byte that was typed, or one of enum screen_key. */
int screen_wait(int ms);

#endif
