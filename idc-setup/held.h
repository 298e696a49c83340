/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * held.h - what is printed while the lock is held is kept until it is given back.
 *
 * Theory of operation
 *
 * A reader of our output may stop, such as a pager. A program that waits for it must not hold the
 * lock, or nobody could take a permission away meanwhile. So while the lock is held, stdout and
 * stderr are streams into memory. Afterwards all of it goes to where it was meant for, in the order
 * in which it was printed.
 */
#ifndef IDC_SETUP_HELD_H
#define IDC_SETUP_HELD_H

/* These do not nest. Without memory, what is printed goes out at once. */
void held_begin(void);
void held_end(void);

#endif
