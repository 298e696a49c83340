/* SPDX-License-Identifier: GPL-2.0-or-later */
/* policy_diff.h - what is different between two sets of rules, for people. */
#ifndef IDC_SETUP_POLICY_DIFF_H
#define IDC_SETUP_POLICY_DIFF_H

#include <stdio.h>

#include "policy/ruleset.h"

/* Prints "+ FILE:LINE: RULE" and "- ..." for rules and routes that only one of them has, whatever
 * their places. Returns how many; those of which only the order differs count as one. -1: no
 * memory. before may be NULL: no rules. */
int policy_diff(FILE *out, const struct ruleset *before, const struct ruleset *after);

#endif
