/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * rules.h - the rules of policy files that concern this domain, as dom0 gives them to its link_mgr
 * (docs/xenstore.md, "Rules"): the text, read, and which rule of it decides about a connection.
 *
 * Theory of operation
 *
 * rules_new reads a whole text, or refuses all of it: half a policy is not a policy. It checks
 * every byte, though only dom0 can write the text, and it holds no pointer into the text. The
 * result never changes. All memory of it is in a few large pieces, which are freed together. It is
 * bounded by the length of the text and by the limits below.
 *
 * rule_fits says how a rule and a connection go together. Whoever asks may not know both the port
 * and the name of the listener, so the answer has two sets of aspects: those in which the rule does
 * not fit, and those of which nobody knows. rules_decide goes through a list of rules by that. The
 * same words are those of policy/verdict.h, in which dom0 explains. A test compares the two.
 *
 * Pure functions; the clock comes with the question.
 */
#ifndef IDC_RULES_H
#define IDC_RULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "idc.h"

#define RULES_TEXT_MAX 4194304u
#define RULES_MAX 65536u /* rules of a text */
#define RULES_ROUTES_MAX 1000u
#define RULES_ROUTE_DOMAINS_MAX 16u
#define RULES_WORD_MAX 4096u /* bytes of a TEXT, read */
#define RULES_FOREVER UINT64_MAX
#define RULES_UUID 36u

struct rules_range {
    uint32_t first, last; /* first <= last */
};

struct rule {
    uint32_t number;
    bool allow, log;
    bool all;           /* WHAT is "*"; then it has neither ranges nor names */
    enum idc_type type; /* 0: any */
    uint32_t range_count, name_count;
    uint32_t uid_count; /* 0: any uid */
    const struct rules_range *ranges, *uids;
    const char *const *names;   /* globs (common/glob.h) */
    uint64_t until;             /* seconds since 1970; RULES_FOREVER: no end */
    uint32_t connections, rate; /* 0: no limit */
    uint64_t bandwidth;         /* bytes in a second; 0: no limit */
    const char *place;          /* FILE:LINE */
};

/* Rules in their order, as indexes of rules->rules. */
struct rules_list {
    const uint32_t *at;
    uint32_t count;
};

struct rules_peer {
    uint32_t domid;
    const char *name, *uuid; /* NULL: none */
    struct rules_list out, in;
};

/* Where a program that connects to `any` looks for a service. */
struct rules_route {
    const char *service;
    const uint32_t *domids; /* in the order in which they are tried */
    uint32_t domid_count;
    const char *place;
};

struct rules {
    const char *name, *uuid;  /* of this domain; NULL: not told */
    uint32_t commands;        /* rules with a number up to this stand before the policy node */
    struct rule *rules;       /* ascending by number */
    struct rules_peer *peers; /* ascending by domid */
    struct rules_route *routes;
    uint32_t rule_count, peer_count, route_count;
    struct rules_list other_out, other_in; /* deny rules for domains that no peer line names */
    struct rules_piece *pieces;            /* all memory but this struct */
    struct rules *before;                  /* for whoever keeps several sets */
};

struct rules_problem {
    uint32_t line; /* from 1 */
    const char *what;
};

/* 0; -EINVAL, and *problem says where and what; -ENOMEM. */
int rules_new(struct rules **made, const char *text, size_t length, struct rules_problem *problem);
/* NULL is allowed. */
void rules_free(struct rules *rules);

/* NULL: no peer line names the domain. */
const struct rules_peer *rules_find_peer(const struct rules *rules, uint32_t domid);
/* NULL: there is none with this number. */
const struct rule *rules_find_rule(const struct rules *rules, uint32_t number);
/* The rules between this domain and another, for connects from here (out) or from there. */
const struct rules_list *rules_between(const struct rules *rules, uint32_t domid, bool out);

/* The place of the rule in the list, from 1; 0: it is not there. And the rule at such a place, or
 * NULL. Both sides of a pair have the same list. */
uint32_t rules_place_in(const struct rules *rules, const struct rules_list *list,
                        const struct rule *rule);
const struct rule *rules_at_place(const struct rules *rules, const struct rules_list *list,
                                  uint32_t place);

/* Does the list allow anything at this time? A rule behind one that denies everything does not
 * count. */
bool rules_allow_something(const struct rules *rules, const struct rules_list *list, uint64_t now);
/* When the next rule expires, in seconds since 1970; RULES_FOREVER: none will. */
uint64_t rules_next_end(const struct rules *rules, uint64_t now);

/* ---- a connection ---- */

struct rule_question {
    uint32_t port;    /* 0: not known */
    const char *name; /* "": the service has none, or it is not known */
    bool name_known;  /* "" means that it has none */
    enum idc_type type;
    uint32_t uid;
    uint64_t now; /* seconds since 1970 */
};

/* In what a rule does not fit, or nobody knows whether it does. */
#define RULES_WHAT 0x1u
#define RULES_UID 0x2u
#define RULES_TYPE 0x4u
#define RULES_UNTIL 0x8u

struct rule_fit {
    unsigned missed, unknown; /* neither: it fits */
};

struct rule_fit rule_fits(const struct rule *rule, const struct rule_question *question);

struct rules_verdict {
    /* The rule that decides, or may decide; NULL: none does. */
    const struct rule *rule;
    /* It may be another one that decides, because not all is known of the listener. */
    bool perhaps;
    /* The first allow rule above that misses only what the bits of near_missed say: the uid, the
     * type, or the time. NULL: there is none. */
    const struct rule *near;
    unsigned near_missed;
};

/* Goes on with the rules of the list whose numbers are first to last. True: one of them decides. An
 * allow rule that fits perhaps decides, a deny rule does not. The caller clears *verdict before the
 * first call. */
bool rules_decide(const struct rules *rules, const struct rules_list *list, uint32_t first,
                  uint32_t last, const struct rule_question *question,
                  struct rules_verdict *verdict);

#endif
