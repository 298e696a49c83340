/* SPDX-License-Identifier: GPL-2.0-or-later */
/* policy_list.h - rules of policy files, and policy nodes beside them, as they are shown. */
#ifndef IDC_SETUP_POLICY_LIST_H
#define IDC_SETUP_POLICY_LIST_H

#include <stdint.h>
#include <stdio.h>

#include "idc-setup/policy_load.h"
#include "idc-setup/uses_show.h"
#include "policy/ruleset.h"

struct list_now {
    int64_t time;                 /* seconds since 1970 */
    const struct uses_show *uses; /* NULL: not known */
};

void policy_list_table(FILE *out, const struct policy_rules *rules, const struct list_now *now);
void policy_list_json(FILE *out, const struct policy_rules *rules, const struct list_now *now);

/* "FILE:LINE: " */
void policy_print_place(FILE *out, const struct ruleset_place *place);
/* "FILE:LINE: allow FROM TO WHAT OPTIONS" */
void policy_print_rule(FILE *out, const struct ruleset_rule *rule);
void policy_print_route(FILE *out, const struct ruleset_route *route);
/* An object. */
void policy_json_rule(FILE *out, const struct ruleset *ruleset, const struct ruleset_rule *rule,
                      int64_t now);
void policy_json_route(FILE *out, const struct ruleset_route *route);

#endif
