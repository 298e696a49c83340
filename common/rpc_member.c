/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* rpc_member.c - see rpc_member.h. A test compares the table with link_mgr's methods. */
#include "common/rpc_member.h"

#include <string.h>

static const struct rpc_member members[] = {
    {"domid", RPC_MEMBER_NUMBER},        {"domain", RPC_MEMBER_TEXT},
    {"port", RPC_MEMBER_NUMBER},         {"name", RPC_MEMBER_TEXT},
    {"type", RPC_MEMBER_TEXT},           {"timeout_ms", RPC_MEMBER_NUMBER},
    {"wait", RPC_MEMBER_BOOLEAN},        {"reset_is_end", RPC_MEMBER_BOOLEAN},
    {"keep_ms", RPC_MEMBER_NUMBER},      {"peer_timeout_ms", RPC_MEMBER_NUMBER},
    {"backlog", RPC_MEMBER_NUMBER},      {"local", RPC_MEMBER_BOOLEAN},
    {"handle", RPC_MEMBER_NUMBER},       {"data", RPC_MEMBER_BYTES},
    {"end", RPC_MEMBER_BOOLEAN},         {"max", RPC_MEMBER_NUMBER},
    {"serial", RPC_MEMBER_NUMBER},       {"detail", RPC_MEMBER_BOOLEAN},
    {"from", RPC_MEMBER_NUMBER},         {"fd", RPC_MEMBER_DESCRIPTOR},
    {"far_end", RPC_MEMBER_DESCRIPTOR},  {"reserve", RPC_MEMBER_DESCRIPTOR},
    {"reserved", RPC_MEMBER_DESCRIPTOR}, {"shown", RPC_MEMBER_DESCRIPTOR},
    {"kept", RPC_MEMBER_DESCRIPTOR},
};

const struct rpc_member *rpc_member_find(const char *name, size_t len)
{
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++)
        if (strlen(members[i].name) == len && memcmp(members[i].name, name, len) == 0)
            return &members[i];
    return NULL;
}
