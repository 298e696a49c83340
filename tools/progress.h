/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * progress.h - how far a long copy is, on stderr: one line that is written anew each second in a
 * terminal, and a line each ten seconds elsewhere.
 *
 * A thread of its own prints, so the copy waits for no terminal. One at a time.
 */
#ifndef IDC_TOOLS_PROGRESS_H
#define IDC_TOOLS_PROGRESS_H

#include <stddef.h>

/* The total is that of stdin, if it is a regular file. */
void progress_begin(void);
/* Any thread. Without a begin it only counts. */
void progress_sent(size_t bytes);
void progress_received(size_t bytes);
/* Prints the last line, with the rate of the whole. */
void progress_end(void);

#endif
