/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * glob.h - patterns of names: `*` is any bytes or none, `?` is one byte, and `\` makes the next
 * byte stand for itself.
 *
 * The work is bounded by the product of both lengths, for any pattern: only the latest `*` is ever
 * tried again.
 */
#ifndef IDC_GLOB_H
#define IDC_GLOB_H

#include <stdbool.h>

bool glob_fits(const char *pattern, const char *name);
/* The same, and *steps grows by the number of bytes that were compared. */
bool glob_fits_counted(const char *pattern, const char *name, unsigned long *steps);

#endif
