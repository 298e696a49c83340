/* SPDX-License-Identifier: GPL-2.0-or-later */
/* policy_ends.c - see policy_ends.h. */
#include "idc-setup/policy_ends.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "idc-setup/fail.h"
#include "idc-setup/policy_list.h"
#include "idc-setup/uses_show.h"

#define ENDS_LINES_MAX 50

int policy_ends_begin(struct policy_ends *ends, struct policy_state *state, unsigned wait_ms)
{
    memset(ends, 0, sizeof(*ends));
    ends->former.state.lock = -1;
    /* What was in force may be wrong by now, for example because a command's rule names a group
     * that a damaged copy does not have. Then everything counts as new. */
    if (policy_rules_parse(&ends->former, policy_state_commands(state), &state->applied) != 0)
        return 0;
    int status = policy_rules_meet(&ends->former, state->store);
    if (status == 0 && policy_uses_ask(&ends->uses, &ends->former.world, state, wait_ms) != 0)
        status = setup_fail(SETUP_STATUS_FAILED, "out of memory");
    ends->known = status == 0;
    if (status != 0)
        policy_ends_free(ends);
    return status;
}

void policy_ends_free(struct policy_ends *ends)
{
    policy_uses_free(&ends->uses);
    policy_rules_free(&ends->former);
    ends->known = false;
}

/* It was allowed, and is no longer. *former says by what it was. Without memory for the answer it
 * counts as one that stays. */
static bool ends_one(const struct policy_ends *ends, const struct policy_use *use,
                     const struct policy_rules *rules, struct setup_store *store,
                     struct use_verdict *former)
{
    struct use_verdict later;
    return policy_uses_judge(use, &ends->former, store, former) == 0 && former->allowed &&
           policy_uses_judge(use, rules, store, &later) == 0 && !later.allowed;
}

static void ends_print_one(FILE *out, const struct policy_ends *ends, const struct policy_use *use,
                           const struct use_verdict *former, bool would)
{
    fputs(would ? "would end: " : "ends: ", out);
    uses_print_one(out, &ends->former.world, use);
    fprintf(out, ", uid %" PRIu32 "\n    allowed by ", use->uid);
    if (former->by_node)
        fputs("policy nodes (idc-setup --list)", out);
    else
        policy_print_rule(out, &ends->former.ruleset->rules[former->rule]);
    fputc('\n', out);
}

void policy_ends_print(FILE *out, const struct policy_ends *ends, const struct policy_rules *rules,
                       struct setup_store *store, bool would, bool always)
{
    unsigned lines = 0;
    int64_t more = 0;
    struct use_verdict former;
    if (!ends->known)
        return;
    for (size_t i = 0; i < ends->uses.count; i++) {
        const struct policy_use *use = &ends->uses.list[i];
        if (!ends_one(ends, use, rules, store, &former))
            continue;
        if (lines++ < ENDS_LINES_MAX)
            ends_print_one(out, ends, use, &former, would);
        else
            more += use->count;
    }
    if (more > 0)
        fprintf(out, "%s: %" PRId64 " more connections\n", would ? "would end" : "ends", more);
    if (lines == 0 && always && policy_uses_any_answer(&ends->uses))
        fputs(would ? "no connection would end\n" : "no connection ends\n", out);
    uses_print_unknown(stderr, "idc-setup: note: ", &ends->uses, &ends->former.world);
}
