/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of what is counted for each user; users.h says what for. */
#include "link_mgr/base/users.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* all: how many there are, as other limits of the daemon have it. */
static const struct {
    const char *name, *what;
    uint64_t each, all;
} users_kinds[USER_KINDS] = {
    [USER_RPC_CONNECTIONS] = {"rpc-connections", "connections to link_mgr", 1024, 8192},
    [USER_CALLS] = {"calls", "calls under way", 4096, QUOTA_NO_LIMIT},
    [USER_HANDLES] = {"handles", "handles", 4096, 65535},
    [USER_RPC_MEMORY] = {"rpc-memory", "bytes of calls and answers", 64 << 20, 256 << 20},
    [USER_LISTENERS] = {"listeners", "listeners", 256, QUOTA_NO_LIMIT},
    [USER_CONNECTIONS] = {"connections", "connections to other domains", 4096, QUOTA_NO_LIMIT},
    [USER_UNACCEPTED] = {"unaccepted", "unaccepted connections within the domain", 4096, 16384},
};

const char *users_name(enum user_kind kind)
{
    return users_kinds[kind].name;
}

void users_usual(struct user_limits *limits)
{
    for (int kind = 0; kind < USER_KINDS; kind++)
        limits->each[kind] = users_kinds[kind].each;
}

const char *users_name_in(const char *text)
{
    size_t length = strcspn(text, "=");
    for (int kind = 0; kind < USER_KINDS; kind++)
        if (text[length] == '=' && strlen(users_kinds[kind].name) == length &&
            strncmp(text, users_kinds[kind].name, length) == 0)
            return users_kinds[kind].name;
    return NULL;
}

bool users_set(struct user_limits *limits, const char *text)
{
    for (int kind = 0; kind < USER_KINDS; kind++) {
        size_t length = strlen(users_kinds[kind].name);
        const char *number = text + length + 1;
        char *rest;
        if (strncmp(text, users_kinds[kind].name, length) != 0 || text[length] != '=')
            continue;
        errno = 0;
        limits->each[kind] = strtoull(number, &rest, 10);
        return number[0] >= '0' && number[0] <= '9' && *rest == '\0' && errno == 0;
    }
    return false;
}

void users_init(struct quota *users, const struct user_limits *limits)
{
    struct quota_limit table[QUOTA_KINDS] = {0};
    for (int kind = 0; kind < USER_KINDS; kind++)
        table[kind] = (struct quota_limit){limits->each[kind], users_kinds[kind].all};
    quota_init(users, table, true);
    users->own = geteuid();
}

void users_explain(const struct quota *users, uint32_t uid, enum user_kind kind, char *text,
                   size_t size)
{
    uint64_t each = users->limits[kind].each;
    if (quota_held(users, uid, kind) >= each)
        snprintf(text, size, "uid %u has as many %s as one user may have, %" PRIu64, uid,
                 users_kinds[kind].what, each);
    else
        snprintf(text, size, "uid %u has its share of the %s that there are", uid,
                 users_kinds[kind].what);
}
