/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * verdict.h - which rules fit a connection, and which one decides.
 *
 * Who asks may not know everything: not the port of a service that is asked for by name, not the
 * UUID of a domain that is asked for by name. So each rule gets two sets of aspects: those in
 * which it does not fit, and those of which nobody knows. A rule with neither fits, and the first
 * of them decides. A rule above it that only has unknown aspects may decide in its place: whoever
 * asks has to be told. A rule that misses only in the uid, the type or the time is what somebody
 * who is refused should be told of.
 */
#ifndef IDC_POLICY_VERDICT_H
#define IDC_POLICY_VERDICT_H

#include "policy/ruleset.h"

#define VERDICT_PORT_MANAGER 1u /* what every allow line includes */

enum verdict_aspect {
    VERDICT_FROM = 1,
    VERDICT_TO = 2,
    VERDICT_WHAT = 4,
    VERDICT_UID = 8,
    VERDICT_TYPE = 16,
    VERDICT_UNTIL = 32,
};

struct ruleset_question {
    struct ruleset_domain from, to;
    uint32_t port;       /* 0: not known */
    const char *name;    /* of the service; NULL: it has none, or it is not known */
    bool name_known;     /* a NULL name means that it has none */
    int64_t uid;         /* -1: not known */
    enum rule_type type; /* RULE_TYPE_STREAM or RULE_TYPE_SEQPACKET */
    int64_t now;         /* seconds since 1970 */
};

struct verdict_fit {
    unsigned missed, unknown; /* of enum verdict_aspect; none is in both */
};

/* All aspects but the domains. */
struct verdict_fit verdict_fit_connection(const struct ruleset_rule *rule,
                                          const struct ruleset_question *question);
/* Fills fits, of rule_count elements. 0, or -ENOMEM. */
int verdict_fits(const struct ruleset *ruleset, const struct ruleset_question *question,
                 struct verdict_fit *fits);
/* The index of the rule that decides, or count: none does. */
size_t verdict_decides(const struct verdict_fit *fits, size_t count);
bool verdict_is_perhaps(const struct verdict_fit *fit);

/* The route for the question's from and name: its index, or route_count if there is none. *perhaps
 * says that it is not known whether this line fits. -ENOMEM if there is no memory. */
int verdict_route(const struct ruleset *ruleset, const struct ruleset_question *question,
                  bool *perhaps);

#endif
