/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * explain_sides.h - what the link_mgr of the two domains of a question do with it: what each was
 * told, what its policy node says, and whether it is there.
 */
#ifndef IDC_SETUP_EXPLAIN_SIDES_H
#define IDC_SETUP_EXPLAIN_SIDES_H

#include <stdio.h>

#include "idc-setup/policy_load.h"
#include "policy/verdict.h"

struct explain_side {
    const struct ruleset_domain *domain;
    bool node;      /* its policy node allows it */
    bool by_node;   /* and that decides here */
    bool allowed;   /* by this side */
    bool link_mgr;  /* it has told the other one that it is there */
    bool published; /* what it was given is what it is to be given */
};

struct explain_sides {
    struct explain_side from, to;
    bool *knows; /* for each rule: FROM goes by it in this question */
    size_t commands;
    bool joined; /* they know of each other */
    char *told;  /* what FROM was given (docs/xenstore.md); NULL: nothing */
};

/* Both domains are in the rules' world. 0 or -ENOMEM. */
int explain_sides_make(struct explain_sides *sides, const struct policy_rules *rules,
                       const struct ruleset_question *question);
void explain_sides_free(struct explain_sides *sides);
bool explain_sides_knows(const struct explain_sides *sides, size_t rule);
/* Was FROM told the name of this domain, or its UUID? */
bool explain_sides_told(const struct explain_sides *sides, int domid, bool uuid);
/* rule: the first that fits, which allows it or not; a number of rules or more: none. */
void explain_sides_decide(struct explain_sides *sides, size_t rule, bool allows);
/* Does the policy node of FROM (out), or of TO, allow it? Both have a domid. */
bool explain_node_allows(struct setup_store *store, const struct ruleset_question *question,
                         bool out);
/* Do policy nodes decide, on both sides? */
bool explain_sides_by_node(const struct explain_sides *sides);

void explain_sides_print_node(FILE *out, const struct explain_sides *sides);
void explain_sides_print(FILE *out, const struct explain_sides *sides);
void explain_sides_json(FILE *out, const struct explain_sides *sides);

#endif
