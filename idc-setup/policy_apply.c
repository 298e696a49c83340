/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * policy_apply.c - puts files in force: all of them, or none when one line is wrong.
 */
#include <stdio.h>

#include "idc-setup/fail.h"
#include "idc-setup/policy_change.h"
#include "idc-setup/policy_diff.h"
#include "idc-setup/policy_ends.h"
#include "idc-setup/policy_log.h"

static void apply_tell_domains(const struct publish_result *result, bool dry)
{
    size_t changed = result->written + result->removed;
    const char *will = dry ? "would get" : "have got";
    if (changed == 0)
        printf("no domain %s other rules\n", dry ? "would get" : "has got");
    else
        printf("%zu of %zu domains %s other rules\n", changed, changed + result->unchanged, will);
    if (result->gone > 0)
        printf("%zu domains have gone meanwhile\n", result->gone);
}

/* What was in force may be wrong by now, for example because a command's rule names a group that
 * a damaged copy does not have. Then everything counts as new. */
struct ruleset *policy_former(const struct policy_state *state)
{
    struct ruleset *ruleset = NULL;
    size_t commands;
    if (policy_files_parse(policy_state_commands(state), &state->applied, &ruleset, &commands) != 0)
        return NULL;
    return ruleset;
}

static void apply_tell(struct policy_state *state, const struct policy_ends *ends,
                       const struct policy_rules *rules, const struct publish_result *result,
                       bool dry)
{
    const struct ruleset *former = ends->former.ruleset;
    int lines = policy_diff(stdout, former, rules->ruleset);
    apply_tell_domains(result, dry);
    policy_ends_print(stdout, ends, rules, state->store, dry, true);
    if (!dry && lines != 0) {
        policy_log(state->store, "policy files were applied: %zu rules, %zu domains changed",
                   rules->ruleset->rule_count - rules->commands, result->written + result->removed);
        policy_log_changes(state->store, former, rules->ruleset);
    }
}

static int apply_texts(struct policy_state *state, const struct policy_texts *texts, bool dry)
{
    struct policy_rules rules;
    struct policy_ends ends;
    struct publish_result result;
    const struct policy_change change = {.state = state, .texts = texts, .dry = dry};
    int status = policy_ends_begin(&ends, state, dry ? USES_WAIT_MS : USES_WAIT_CHANGE_MS);
    if (status != 0)
        return status;
    status = policy_change_make(&change, &rules, &result);
    if (status == 0) {
        apply_tell(state, &ends, &rules, &result, dry);
        policy_rules_free(&rules);
    }
    policy_ends_free(&ends);
    return status;
}

int policy_apply(struct policy_options *options, char **arguments)
{
    struct policy_texts texts;
    struct policy_state state;
    (void)arguments;
    options->source.in_force = true;
    int status = setup_platform_choose(&options->platform);
    if (status == 0)
        status = policy_files_read(&options->source, &texts);
    if (status != 0)
        return status;
    status = policy_state_open(&state, &options->platform, !options->dry_run);
    if (status == 0 && !options->dry_run)
        status = policy_state_lock(&state);
    if (status == 0)
        status = policy_state_read(&state);
    if (status == 0)
        status = apply_texts(&state, &texts, options->dry_run);
    policy_state_close(&state);
    policy_texts_free(&texts);
    return status;
}
