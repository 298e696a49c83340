/* SPDX-License-Identifier: GPL-2.0-or-later */
/* policy_load.c - see policy_load.h. */
#include "idc-setup/policy_load.h"

#include <string.h>

#include "idc-setup/fail.h"

int policy_rules_parse(struct policy_rules *rules, const struct policy_text *commands,
                       const struct policy_texts *texts)
{
    return policy_files_parse(commands, texts, &rules->ruleset, &rules->commands);
}

int policy_rules_meet(struct policy_rules *rules, struct setup_store *store)
{
    char why[SETUP_WHY_MAX] = "";
    int error = policy_world_make(&rules->world, rules->ruleset, rules->commands, store, why);
    return error == 0 ? 0 : setup_fail(SETUP_STATUS_FAILED, "%s", why);
}

static int load_in_force(struct policy_rules *rules, struct setup_platform *platform)
{
    int status = setup_platform_choose(platform);
    if (status == 0)
        status = policy_state_open(&rules->state, platform, false);
    if (status == 0)
        status = policy_state_read(&rules->state);
    if (status == 0)
        status =
            policy_rules_parse(rules, policy_state_commands(&rules->state), &rules->state.applied);
    if (status == 0)
        status = policy_rules_meet(rules, rules->state.store);
    rules->in_force = status == 0;
    return status;
}

int policy_rules_load(struct policy_rules *rules, const struct policy_source *source,
                      struct setup_platform *platform)
{
    memset(rules, 0, sizeof(*rules));
    rules->state.lock = -1;
    if (source->directory_given || source->files != NULL)
        return policy_files_load(source, &rules->ruleset);
    return load_in_force(rules, platform);
}

void policy_rules_free(struct policy_rules *rules)
{
    policy_world_free(&rules->world);
    ruleset_free(rules->ruleset);
    rules->ruleset = NULL;
    policy_state_close(&rules->state);
}
