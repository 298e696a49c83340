/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * policy_change.h - commands that change what is in force: apply, allow, deny, retract; and watch.
 */
#ifndef IDC_SETUP_POLICY_CHANGE_H
#define IDC_SETUP_POLICY_CHANGE_H

#include "idc-setup/policy_commands.h"
#include "idc-setup/policy_load.h"

/* Each returns an exit status; what is wrong was told. */
int policy_apply(struct policy_options *options, char **arguments);
int policy_allow(struct policy_options *options, char **arguments);
int policy_deny(struct policy_options *options, char **arguments);
int policy_retract(struct policy_options *options, char **arguments);
int policy_watch(struct policy_options *options, char **arguments);
int policy_name(struct policy_options *options, char **arguments);

/* The rules in force before a change; NULL: there were none that can be read. The caller frees
 * them. */
struct ruleset *policy_former(const struct policy_state *state);

/* Publishes what is in force to the domains as they are, after something else than the rules has
 * changed. *rules as for policy_change_make. Exit status. */
int policy_publish_again(const struct setup_platform *platform, struct policy_rules *rules);

/* What one publishing changes. */
struct policy_change {
    struct policy_state *state;          /* locked, and read */
    const struct policy_texts *texts;    /* the files' new texts; NULL: as before */
    const struct policy_text *commands;  /* the commands' new text; NULL: as before */
    const struct policy_text *permanent; /* a file to be written too; or NULL */
    bool dry;
};

/* All of it or nothing: the files of the state, and the domains' rules. *rules is what is in force
 * then; the caller frees it, unless the status is not 0. */
int policy_change_make(const struct policy_change *change, struct policy_rules *rules,
                       struct publish_result *result);

#endif
