/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ruleset_private.h - what the files of the set of rules share. */
#ifndef IDC_POLICY_RULESET_PRIVATE_H
#define IDC_POLICY_RULESET_PRIVATE_H

#include <stddef.h>

/* Room for one more element in a list of count elements, whose room doubles. NULL: no memory, and
 * the list stays as it is. */
void *ruleset_more(void *list, size_t count, size_t size);

#endif
