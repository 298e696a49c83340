/* SPDX-License-Identifier: GPL-2.0-or-later */
/* uses_show.h - connections (policy_uses.h) beside the rules that allow them, as they are shown. */
#ifndef IDC_SETUP_USES_SHOW_H
#define IDC_SETUP_USES_SHOW_H

#include "idc-setup/policy_uses.h"

struct uses_show {
    struct policy_uses uses;
    struct use_verdict *verdicts; /* of each use */
    const struct policy_world *world;
};

/* Asks, and judges all by the rules in force. Exit status. */
int uses_show_make(struct uses_show *show, struct policy_rules *rules);
void uses_show_free(struct uses_show *show);

/* A line for each pair of domains and port whose connections that rule allows. */
void uses_show_rule(FILE *out, const struct uses_show *show, size_t rule);
/* The same for the policy node of domid for peer: connections from domid to peer. */
void uses_show_node(FILE *out, const struct uses_show *show, int domid, int peer);
/* Connections that no rule in force allows, and domains that did not tell everything. */
void uses_show_rest(FILE *out, const struct uses_show *show);
/* How many connections there are from one domain to another. */
int64_t uses_show_between(const struct uses_show *show, int from, int to);
/* Members of an object: `uses` and `not_known`. */
void uses_show_json(FILE *out, const struct uses_show *show);

/* "3 connections from web (1) to db (2), port 80 (org.example.www)", and whose word that is. */
void uses_print_one(FILE *out, const struct policy_world *world, const struct policy_use *use);
/* Lines about domains that did not tell everything, each behind the text before. */
void uses_print_unknown(FILE *out, const char *before, const struct policy_uses *uses,
                        const struct policy_world *world);

#endif
