/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * policy_log.h - changes of rules, in the system's log: who made them, and what they are.
 *
 * Who it was is what the kernel knows: the uid, and the uid of the login, which stays the same
 * through su(1) and sudo(8). What it was are lines of rules, made by others, so no byte of them can
 * begin a line of its own.
 */
#ifndef IDC_SETUP_POLICY_LOG_H
#define IDC_SETUP_POLICY_LOG_H

#include "idc-setup/setup_store.h"
#include "policy/ruleset.h"

#define POLICY_LOG_LINES 200 /* of one change; more are counted */

/* On Xen only: the local platform is for tries. */
void policy_log(const struct setup_store *store, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* From now on nothing waits for the log (system_log.h): for a service. */
void policy_log_wait_for_nobody(void);
/* A line for each rule that only one of them has. before may be NULL: no rules. */
void policy_log_changes(const struct setup_store *store, const struct ruleset *before,
                        const struct ruleset *after);

#endif
