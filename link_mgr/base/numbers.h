/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * numbers.h - is link_mgr short of numbers for descriptors?
 *
 * Theory of operation
 *
 * Whoever receives descriptors must have numbers for them, because the kernel closes those for
 * which there is none. To ask the kernel takes two system calls (dup, close), for each call of a
 * program. So link_mgr does not ask as long as it can tell that there are enough.
 *
 * The kernel always gives the lowest free number. So while nobody has got a number of the upper
 * NUMBERS_RESERVE ones, all of these are free. Places that open descriptors report the numbers
 * (numbers_note). Not all do: before a report comes, fewer numbers than the reserve are given
 * unseen. One message of a program takes at most 253 (common/handover.h), and the closer reports
 * those that are too many.
 *
 * Once a high number was seen, numbers are scarce, and the kernel is asked each time. From time to
 * time it is also asked whether all of the reserve is free again.
 *
 * An administrator may lower the limit while link_mgr runs (prlimit(1)). That is noticed when a
 * call fails with EMFILE.
 */
#ifndef IDC_NUMBERS_H
#define IDC_NUMBERS_H

#include <stdbool.h>

#define NUMBERS_RESERVE 1024

/* From now on there are as many numbers as RLIMIT_NOFILE says. Before, and if that is less than
 * four times the reserve, they always count as scarce. */
void numbers_begin(void);
/* A descriptor has got this number. Negative ones are ignored. */
void numbers_note(int fd);
/* A call has failed with EMFILE. */
void numbers_lack(void);
/* Is it unknown whether there are free ones? */
bool numbers_are_scarce(void);

#endif
