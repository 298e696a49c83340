/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * compile.h - what each domain's link_mgr must be given, made from the rules and from the domains
 * that there are. A pure function: nothing is read or written.
 *
 * Theory of operation
 *
 * For each peer a domain gets two lists of rules, out (from the domain to the peer) and in, in
 * their order. So both sides of a connection judge by the same rules. FROM and TO are resolved
 * here, in dom0, where names and UUIDs are known. docs/xenstore.md, "Rules", has the text that is
 * made of these lists, and says who is told what: a domain learns no more than that.
 *
 * The result does not depend on the clock: rules that have expired, or will, are in it with their
 * time. So nothing has to be published again when time passes. The text of a domain depends only
 * on its own peers: another guest's start touches only those that have a rule with it.
 */
#ifndef IDC_POLICY_COMPILE_H
#define IDC_POLICY_COMPILE_H

#include "policy/ruleset.h"
#include "policy/verdict.h"

/* A message to xenstored has 4,096 bytes for path and value. */
#define COMPILE_PART_MAX 4000

/* link_mgr reads no longer text. */
#define COMPILE_TEXT_MAX 4194304

/* A policy node, by domids: domid's for peer. */
struct compile_node {
    int domid, peer;
};

struct compile_input {
    const struct ruleset *ruleset;
    const struct ruleset_domain *domains; /* complete, each with a domid of its own */
    size_t count;
    size_t commands; /* so many of the rules, the first ones, were made by commands */
    const struct compile_node *nodes; /* in any order */
    size_t node_count;
};

/* Indexes of rules, ascending. */
struct compile_list {
    uint32_t *rules;
    size_t count;
};

struct compile_peer {
    size_t domain; /* its index in the list of domains */
    struct compile_list out, in;
};

struct compile_route {
    size_t route; /* its index */
    int *domids;  /* in the order in which they are tried */
    size_t count;
};

struct compile_view {
    size_t domain;              /* whose view it is */
    struct compile_peer *peers; /* ascending by domid */
    size_t count;
    struct compile_list other_out, other_in; /* for domains that no peer line names */
    struct compile_route *routes;
    size_t route_count;
};

struct compile;

/* What the input points to must stay as long as the result. 0, -EINVAL (a domid is missing, or
 * there twice), -ENOMEM. */
int compile_new(struct compile **made, const struct compile_input *input);
void compile_free(struct compile *compile);

/* What the domain with this index is given. 0 or -ENOMEM. */
int compile_view(const struct compile *compile, size_t domain, struct compile_view *view);
void compile_view_free(struct compile_view *view);
/* NULL: the domain must not know it. */
const struct compile_peer *compile_view_peer(const struct compile_view *view, size_t domain);
/* The text for that domain, which the caller frees. NULL: there is no memory. */
char *compile_text(const struct compile *compile, const struct compile_view *view, size_t *length);

/* The rule of the list that decides, or NULL. Of the question, the domains are not looked at. */
const struct ruleset_rule *compile_decides(const struct compile *compile,
                                           const struct compile_list *list,
                                           const struct ruleset_question *question);

#endif
