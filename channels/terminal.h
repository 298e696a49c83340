/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * terminal.h - a pty that many programs use, one after the other: each finds it as it was made.
 *
 * Theory of operation
 *
 * The settings of a pty belong to it, and not to who has it open. It never closes altogether, for
 * this process keeps it open, so that it does not hang up. So a program's echo and line editing
 * would meet the bytes of the next one, and its TIOCEXCL would lock out all that come later. They
 * are taken back when the last program has closed it.
 *
 * inotify tells that it was closed, but not by how many, since it joins changes that are alike. So
 * some time after that, this process closes it too, and looks whether the master has been hung up.
 * Then it opens it again. As long as others have it open, that is repeated, because one that closes
 * it in the middle of that is not told of. Bytes that wait in the terminal stay there.
 */
#ifndef IDC_CHANNELS_TERMINAL_H
#define IDC_CHANNELS_TERMINAL_H

#include <stdbool.h>
#include <sys/queue.h>
#include <termios.h>

struct event_base;

struct terminal {
    int master, slave; /* not its own; but it exchanges the latter */
    int watch;
    bool left; /* closed by somebody; it is to be looked at */
    char name[64];
    struct termios settings;
    LIST_ENTRY(terminal) entry;
};

/* One for the process. Without it, or where inotify can't be had, settings stay. */
void terminals_begin(struct event_base *base);
void terminals_end(void);

/* Both sides are open, and its settings are those from now on. The number of slave stays, whatever
 * is opened anew. name is /dev/pts/N. */
void terminal_begin(struct terminal *terminal, int master, int slave, const char *name);
void terminal_end(struct terminal *terminal);

#endif
