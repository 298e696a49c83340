/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * users.h - what each local user may have of the daemon: the kinds of things that are counted for a
 * uid (quota.h), their names, and their usual limits. Root and the daemon's own uid are counted,
 * and not limited. --quota changes a limit.
 */
#ifndef IDC_USERS_H
#define IDC_USERS_H

#include <stddef.h>

#include "link_mgr/base/quota.h"

enum user_kind {
    USER_RPC_CONNECTIONS,
    USER_CALLS,
    USER_HANDLES,
    USER_RPC_MEMORY,
    USER_LISTENERS,
    USER_CONNECTIONS,
    USER_UNACCEPTED,
    USER_KINDS
};

struct user_limits {
    uint64_t each[USER_KINDS];
};

/* The name for --quota. */
const char *users_name(enum user_kind kind);
void users_usual(struct user_limits *limits);
/* Takes NAME=N. False: it is not that. */
bool users_set(struct user_limits *limits, const char *text);
/* The name at the beginning of NAME=N, or NULL if there is no such name. */
const char *users_name_in(const char *text);
void users_init(struct quota *users, const struct user_limits *limits);
/* One line for a program that is refused: what it has too many of. */
void users_explain(const struct quota *users, uint32_t uid, enum user_kind kind, char *text,
                   size_t size);

#endif
