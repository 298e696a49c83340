/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * policy_commands.h - the commands that are about rules of policy files: a word, options, words.
 */
#ifndef IDC_SETUP_POLICY_COMMANDS_H
#define IDC_SETUP_POLICY_COMMANDS_H

#include <stdbool.h>
#include <stdint.h>

#include "idc-setup/policy_load.h"

struct policy_options {
    struct policy_source source;
    struct setup_platform platform;
    bool json, dot, connected, dry_run, permanent, all;
    bool done;   /* --help was answered */
    int64_t uid; /* -1: not given */
    enum rule_type type;
};

/* Is the word one of these commands? */
bool policy_is_command(const char *word);
/* Runs the command argv[1], which is one. Its exit status. */
int policy_command(int argc, char **argv);

/* policy_explain.c; arguments are FROM, TO and WHAT. */
int policy_explain(const struct policy_options *options, struct policy_rules *rules,
                   char **arguments);
/* policy_graph.c */
int policy_graph(const struct policy_options *options, struct policy_rules *rules,
                 char **arguments);

/* What is said once for each answer that is about files. */
void policy_note_not_in_force(const struct policy_rules *rules);

#endif
