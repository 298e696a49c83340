/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * rpc_member.h - the members that the methods of link_mgr take (docs/rpc.md), and what kind of
 * value each has. A member of one name is of one kind, whichever method takes it.
 */
#ifndef IDC_RPC_MEMBER_H
#define IDC_RPC_MEMBER_H

#include <stdbool.h>
#include <stddef.h>

enum rpc_member_kind {
    RPC_MEMBER_NUMBER,
    RPC_MEMBER_TEXT,
    RPC_MEMBER_BOOLEAN,
    RPC_MEMBER_BYTES,
    RPC_MEMBER_DESCRIPTOR /* a boolean about descriptors, which only upgraded connections have */
};

struct rpc_member {
    const char *name;
    enum rpc_member_kind kind;
};

/* The least peer_timeout_ms but 0. */
#define RPC_PEER_TIMEOUT_MIN 100

/* NULL: no method takes a member of that name, of len bytes. */
const struct rpc_member *rpc_member_find(const char *name, size_t len);

#endif
