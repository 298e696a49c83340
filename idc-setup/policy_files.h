/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * policy_files.h - the policy files of idc-policy(5), read into texts, and texts into a set of
 * rules.
 *
 * A file of the directory is believed only if nobody but root and the caller could have written it,
 * by its owner and mode, and by those of all directories above it. So is a file that is named, if
 * it is to be put in force.
 */
#ifndef IDC_SETUP_POLICY_FILES_H
#define IDC_SETUP_POLICY_FILES_H

#include "idc-setup/policy_texts.h"
#include "policy/ruleset.h"

#define POLICY_DIRECTORY "/etc/idc"
#define POLICY_STATUS_WRONG 2 /* exit status: a file is wrong */

struct policy_source {
    const char *directory; /* has `policy` and `policy.d` */
    bool directory_given;  /* then it must be there */
    char **files;          /* instead of those, up to a NULL; or NULL */
    bool in_force;         /* they are to be put in force */
};

/* Exit status: 0, 1 (something can't be read) or 2 (something is wrong). All of that has been told
 * on stderr. */
int policy_files_read(const struct policy_source *source, struct policy_texts *texts);
/* commands: the rules that commands made, which stand before those of texts, the last one first;
 * or NULL. *command_rules: how many these are. If it fails, *ruleset is NULL. */
int policy_files_parse(const struct policy_text *commands, const struct policy_texts *texts,
                       struct ruleset **ruleset, size_t *command_rules);
/* A line of the commands' rules that was made of arguments: what is wrong in it is told by naming
 * the argument, and not the line. */
struct policy_typed {
    const char *file;
    unsigned line;
    const char *text; /* of the line, as policy_line_make made it */
    char **arguments;
};
int policy_files_parse_typed(const struct policy_text *commands, const struct policy_texts *texts,
                             const struct policy_typed *typed, struct ruleset **ruleset,
                             size_t *command_rules);
/* Both. */
int policy_files_load(const struct policy_source *source, struct ruleset **ruleset);

#endif
