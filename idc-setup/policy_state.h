/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * policy_state.h - what is in force: the copy of the files that were applied, the rules that
 * commands made, and the store to which both are published.
 *
 * On Xen the two files are in /run/idc-policy, which only root can enter (/run/idc is link_mgr's).
 * Like Xenstore, they are gone when dom0 starts again. On the local platform they are in the
 * store's directory. Whoever changes something holds the lock from reading until it is published,
 * so two idc-setup do it one after the other.
 */
#ifndef IDC_SETUP_POLICY_STATE_H
#define IDC_SETUP_POLICY_STATE_H

#include <limits.h>

#include "idc-setup/policy_texts.h"
#include "idc-setup/setup_platform.h"

#define POLICY_STATE_DIRECTORY "/run/idc-policy"

struct policy_state {
    struct setup_store *store;
    char directory[PATH_MAX], commands_path[PATH_MAX], applied_path[PATH_MAX];
    int lock; /* a descriptor, or -1 */
    bool has_commands, has_applied;
    struct policy_texts commands; /* one, or none */
    struct policy_texts applied;
};

/* Exit status; what is wrong was told. make: the directories are made. */
int policy_state_open(struct policy_state *state, const struct setup_platform *platform, bool make);
void policy_state_close(struct policy_state *state);
/* The directory on Xen: nobody else may have made it, or may open it. Whoever can open a directory
 * can lock it, and so stop every idc-setup. Exit status; make: it is made, and closed to others. */
int policy_state_check_directory(const char *directory, bool make);
/* The lock is given back when the state is closed, or by unlock. What is printed meanwhile comes
 * then (held.h), and so does the effect of Ctrl-Z: nobody stands still and holds the lock. */
int policy_state_lock(struct policy_state *state);
void policy_state_unlock(struct policy_state *state);

/* Reads both files anew. */
int policy_state_read(struct policy_state *state);
/* The commands' rules, or NULL. */
const struct policy_text *policy_state_commands(const struct policy_state *state);

#endif
