/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ruleset.h - the lines of policy files, read (idc-policy(5)).
 *
 * Theory of operation
 *
 * A set of rules is made in three steps: ruleset_new, ruleset_add for each file in its order, and
 * ruleset_finish. The last one looks at what needs all files: groups that are not there, and groups
 * that contain themselves. Until it has succeeded, nothing else may be asked of the set. From then
 * on the set does not change, and holds no pointer into the files' texts.
 *
 * Each error is reported once, and of a line only the first. A set with errors is of no use: half
 * a policy is not a policy. ruleset_finish may be called on it, to find what else is wrong. A group
 * whose line is wrong behind its name is there all the same, without members, so nobody is told
 * that it is missing. If a wrong line may have made any group, no group is said to be missing.
 *
 * Everything is bounded by the limits below, so a file that somebody has made on purpose costs
 * memory in proportion to its size and no more. Groups are sorted so that each stands after its
 * members: what depends on them takes one pass, however they are nested.
 *
 * This directory knows nothing of link_mgr, of Xenstore, or of where the files come from.
 */
#ifndef IDC_POLICY_RULESET_H
#define IDC_POLICY_RULESET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "policy/domain.h"
#include "policy/rule_options.h"
#include "policy/services.h"

#define RULESET_FILE_MAX 1048576u
#define RULESET_TOTAL_MAX 4194304u
#define RULESET_FILES_MAX 1000u
#define RULESET_RULES_MAX 10000u
#define RULESET_ROUTES_MAX 1000u
#define RULESET_GROUPS_MAX 1000u
#define RULESET_ROUTE_DOMAINS_MAX 16u

struct ruleset_place {
    const char *file; /* as it was given to ruleset_add */
    unsigned line;
};

struct ruleset_rule {
    struct ruleset_place place;
    bool allow;
    struct domain_term from, to;
    struct services what;
    struct rule_options options;
    const char *from_text, *to_text, *what_text; /* as they are written */
    const char *options_text;                    /* "" if there are none */
};

struct ruleset_route {
    struct ruleset_place place;
    struct domain_term from;
    const char *service;
    const struct domain_term *to; /* in the order in which they are tried */
    unsigned to_count;
    const char *from_text, *to_text; /* as they are written */
    const char *const *to_texts;     /* each TO by itself, without quotes */
};

struct ruleset_group {
    struct ruleset_place place;
    const char *name;
    unsigned column;
    struct domain_term *members;
    size_t member_count;
};

struct ruleset {
    struct ruleset_rule *rules; /* a rule's number is its index plus one */
    size_t rule_count;
    struct ruleset_route *routes;
    size_t route_count;
    struct ruleset_group *groups;
    size_t group_count;
    uint32_t *group_order;    /* members before those that contain them */
    bool groups_unsure;       /* a line that was wrong may have made a group */
    size_t file_count, total; /* files, and their bytes */
    struct arena arena;
};

/* line and column are 0 if the problem is the file as a whole. */
typedef void ruleset_report(void *arg, const char *file, const struct problem *problem);

struct ruleset_reporter {
    ruleset_report *report;
    void *arg;
};

/* NULL: there is no memory. */
struct ruleset *ruleset_new(void);
/* The number of errors, all of which were reported. */
unsigned ruleset_add(struct ruleset *ruleset, const char *file, const char *text, size_t length,
                     const struct ruleset_reporter *reporter);
/* The rules that there are so far, in the opposite order. */
void ruleset_reverse(struct ruleset *ruleset);
unsigned ruleset_finish(struct ruleset *ruleset, const struct ruleset_reporter *reporter);
void ruleset_free(struct ruleset *ruleset);

/* Fills groups, of group_count elements, with the domain's part in each (enum domain_fit). */
void ruleset_membership(const struct ruleset *ruleset, const struct ruleset_domain *domain,
                        uint8_t *groups);

#endif
