/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * policy_ends.h - which connections end when other rules come, for whoever brings them.
 *
 * The domains are asked before the change, and what they say is judged by the rules before and
 * after. So it is as true as their word is (policy_uses.h), and a connection that begins or ends
 * meanwhile is missing. The change itself does not depend on it: each link_mgr judges for itself.
 */
#ifndef IDC_SETUP_POLICY_ENDS_H
#define IDC_SETUP_POLICY_ENDS_H

#include "idc-setup/policy_uses.h"

struct policy_ends {
    struct policy_rules former; /* its ruleset is NULL if what was in force can't be read */
    struct policy_uses uses;
    bool known; /* the domains were asked */
};

/* The state was read. Exit status. */
int policy_ends_begin(struct policy_ends *ends, struct policy_state *state, unsigned wait_ms);
/* What ends, or would end, by the rules that are to come; always has a word, also if nothing does.
 */
void policy_ends_print(FILE *out, const struct policy_ends *ends, const struct policy_rules *rules,
                       struct setup_store *store, bool would, bool always);
void policy_ends_free(struct policy_ends *ends);

#endif
