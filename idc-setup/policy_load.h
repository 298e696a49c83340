/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * policy_load.h - the rules that a command is about: those in force, or those of files.
 */
#ifndef IDC_SETUP_POLICY_LOAD_H
#define IDC_SETUP_POLICY_LOAD_H

#include "idc-setup/policy_files.h"
#include "idc-setup/policy_state.h"
#include "idc-setup/policy_world.h"

struct policy_rules {
    struct ruleset *ruleset;
    size_t commands;           /* so many of the rules were made by commands */
    bool in_force;             /* then state is open, and world is made */
    struct policy_state state; /* only to read */
    struct policy_world world;
};

/* Exit status; what is wrong was told. The rules of the directory or files that source names are
 * read as files; otherwise those in force. */
int policy_rules_load(struct policy_rules *rules, const struct policy_source *source,
                      struct setup_platform *platform);
void policy_rules_free(struct policy_rules *rules);

/* The rules of a state that was read, with other texts in place of those applied, unless texts is
 * NULL. Exit status. */
int policy_rules_parse(struct policy_rules *rules, const struct policy_text *commands,
                       const struct policy_texts *texts);
/* Makes the world, from the state's store. Exit status. */
int policy_rules_meet(struct policy_rules *rules, struct setup_store *store);

#endif
