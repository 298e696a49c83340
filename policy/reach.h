/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * reach.h - does something that allows allow anything at all, below the rules that stand above it?
 *
 * Theory of operation
 *
 * What a rule fits is a set of connections: each has a port, a name or none, a uid and a type. The
 * sets of uids and ports are ranges. So if there is a connection that is allowed, there is one of
 * which uid and port are the first of a range that allows, or the first behind a range that denies.
 * Only those are tried, and the judge itself (verdict.h) is asked about each.
 *
 * A connection without a name is fitted by no more rules than one with a name. So names are tried
 * only for what allows by name. A glob is tried with a letter that no rule above has, in the place
 * of what stands for any. Only wildcards fit that letter, so it is the hardest one to deny. Each
 * `*` is tried with every length up to one more than the number of `?` in any glob above. More make
 * no difference, since a `*` must then fit one of them.
 *
 * A glob with more than REACH_NAMES_MAX names to try, or below rules whose names have all letters,
 * may be said to allow something that it does not. The other mistake is not made.
 *
 * Whether the domains fit is not looked at: all rules are those of one pair of domains.
 */
#ifndef IDC_POLICY_REACH_H
#define IDC_POLICY_REACH_H

#include "policy/ruleset.h"
#include "policy/verdict.h"

#define REACH_NAMES_MAX 4096u

enum reach {
    REACH_NOTHING,
    REACH_MANAGER, /* port 1 and nothing else */
    REACH_SERVICES,
};

/* The rules above, as indexes. Those that allow are passed over. */
struct reach_above {
    const struct ruleset *ruleset;
    const uint32_t *rules;
    size_t count;
    int64_t now;
};

/* What allows. what has all ports and names by which fits can say yes. */
struct reach_source {
    const struct services *what;
    const struct services_range *uids;
    unsigned uid_count; /* 0: every uid */
    bool (*fits)(const void *arg, const struct ruleset_question *question);
    const void *arg;
};

/* 0, or -ENOMEM. */
int reach_find(const struct reach_above *above, const struct reach_source *source,
               enum reach *reach);
/* The same about a rule. Deny rules reach nothing. */
int reach_of_rule(const struct reach_above *above, const struct ruleset_rule *rule,
                  enum reach *reach);

#endif
