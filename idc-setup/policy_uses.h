/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * policy_uses.h - which connections there are on this host, and what the rules say about each.
 *
 * Theory of operation
 *
 * Each link_mgr knows its own connections. It is asked by a number in its policy/ask, and answers
 * in nodes of its own (docs/xenstore.md, "What is in use"). All are asked first, then all are
 * awaited together for a limited time: several that do not answer delay no longer than one. The
 * question is taken back then, also if SIGINT, SIGTERM or SIGHUP ends the program meanwhile.
 *
 * What a domain writes there is its own word, and only domain 0 is trusted. So an answer is parsed
 * as hostile text: its length and its lines are limited, and of it nothing is printed but numbers
 * and service names. A connection has two sides, and each tells of it. What the two say is kept
 * side by side, and whoever prints it says where they differ.
 *
 * No answer says which rule allows a connection. Dom0 finds that by the rules themselves.
 */
#ifndef IDC_SETUP_POLICY_USES_H
#define IDC_SETUP_POLICY_USES_H

#include <stdio.h>

#include "common/service_name.h"
#include "idc-setup/policy_load.h"

/* How long answers are awaited: by who only looks, and by who is about to take something away. */
#define USES_WAIT_MS 1000
#define USES_WAIT_CHANGE_MS 250
#define USES_NAME_MAX 79

/* Connections that are the same to every rule. */
struct policy_use {
    int from, to; /* domids */
    uint32_t port, uid;
    enum rule_type type;
    char name[USES_NAME_MAX + 1]; /* of the service, or "" */
    bool name_known;              /* the listening side has told, so "" means that it has none */
    int64_t from_says, to_says;   /* -1: that domain has not answered */
    int64_t count;                /* what is taken for true */
};

enum uses_answer {
    USES_NOT_ASKED, /* no link_mgr has been there */
    USES_SILENT,
    USES_WRONG, /* its answer can't be read */
    USES_ANSWERED,
};

struct policy_uses_domain {
    int domid;
    enum uses_answer answer;
    uint64_t left; /* connections that it has only counted */
};

struct policy_uses {
    struct policy_use *list; /* by from, to and port */
    size_t count;
    struct policy_uses_domain *domains; /* as in the world that was asked */
    size_t domain_count;
};

/* Asks all domains of the world, and waits. One idc-setup at a time asks: it holds the state's lock
 * meanwhile, if there is a directory to lock. 0 or -ENOMEM. */
int policy_uses_ask(struct policy_uses *uses, const struct policy_world *world,
                    struct policy_state *state, unsigned wait_ms);
void policy_uses_free(struct policy_uses *uses);
bool policy_uses_any_answer(const struct policy_uses *uses);

struct use_verdict {
    bool allowed, by_node;
    size_t rule; /* that decides; rule_count: none */
};

/* The rules' world is looked at, and policy nodes in the store. 0 or -ENOMEM. */
int policy_uses_judge(const struct policy_use *use, const struct policy_rules *rules,
                      struct setup_store *store, struct use_verdict *verdict);

#endif
