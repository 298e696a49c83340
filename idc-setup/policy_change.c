/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * policy_change.c - changes what is in force. Everything that can be wrong is looked at first. Then
 * the files of the state are written, then the domains get their rules. If one of these fails, the
 * files are put back. A process that is killed between leaves files that the next change publishes.
 */
#include "idc-setup/policy_change.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "idc-setup/fail.h"

/* Puts back what was there. */
static void change_undo_file(const char *path, const struct policy_text *former)
{
    int error = 0;
    if (former != NULL)
        error = policy_file_replace(path, former->text, former->length);
    else if (unlink(path) != 0 && errno != ENOENT)
        error = -errno;
    if (error != 0)
        setup_fail(SETUP_STATUS_FAILED, "cannot put %s back: %s", path, strerror(-error));
}

static int change_write(const char *path, int error)
{
    return error == 0 ? 0
                      : setup_fail(SETUP_STATUS_FAILED, "cannot write %s: %s; nothing has changed",
                                   path, strerror(-error));
}

static int change_write_permanent(const struct policy_change *change)
{
    const struct policy_text *file = change->permanent;
    return file == NULL ? 0
                        : change_write(file->name,
                                       policy_file_replace(file->name, file->text, file->length));
}

static int change_write_commands(const struct policy_change *change)
{
    const struct policy_text *file = change->commands;
    return file == NULL ? 0
                        : change_write(file->name,
                                       policy_file_replace(file->name, file->text, file->length));
}

static int change_write_applied(const struct policy_change *change)
{
    return change->texts == NULL
               ? 0
               : change_write(change->state->applied_path,
                              policy_texts_save(change->texts, change->state->applied_path));
}

/* ---- files, then the domains ---- */

static void change_undo(const struct policy_change *change, const struct policy_text *permanent,
                        bool commands, bool applied)
{
    struct policy_state *state = change->state;
    if (applied && change->texts != NULL && state->has_applied)
        policy_texts_save(&state->applied, state->applied_path);
    else if (applied && change->texts != NULL)
        change_undo_file(state->applied_path, NULL);
    if (commands && change->commands != NULL)
        change_undo_file(state->commands_path, policy_state_commands(state));
    if (change->permanent != NULL)
        change_undo_file(change->permanent->name, permanent);
}

static int change_publish(const struct policy_change *change, const struct policy_rules *rules,
                          struct publish_result *result)
{
    char why[SETUP_WHY_MAX] = "";
    int error = policy_world_publish(&rules->world, change->state->store, change->dry, result, why);
    return error == 0 ? 0 : setup_fail(SETUP_STATUS_FAILED, "%s", why);
}

static int change_carry_out(const struct policy_change *change, const struct policy_rules *rules,
                            struct publish_result *result)
{
    struct policy_text former = {0};
    const struct policy_text *permanent = NULL;
    if (change->permanent != NULL && policy_file_read(change->permanent->name, RULESET_FILE_MAX,
                                                      &former.text, &former.length) == 0)
        permanent = &former;
    bool commands = false, applied = false;
    int status = change_write_permanent(change);
    bool begun = status == 0;
    if (status == 0)
        commands = (status = change_write_commands(change)) == 0;
    if (status == 0)
        applied = (status = change_write_applied(change)) == 0;
    if (status == 0)
        status = change_publish(change, rules, result);
    if (status != 0 && begun)
        change_undo(change, permanent, commands, applied);
    free(former.text);
    return status;
}

int policy_change_make(const struct policy_change *change, struct policy_rules *rules,
                       struct publish_result *result)
{
    struct policy_state *state = change->state;
    memset(rules, 0, sizeof(*rules));
    rules->state.lock = -1;
    int status = policy_rules_parse(
        rules, change->commands != NULL ? change->commands : policy_state_commands(state),
        change->texts != NULL ? change->texts : &state->applied);
    if (status == 0)
        status = policy_rules_meet(rules, state->store);
    if (status == 0)
        status = change->dry ? change_publish(change, rules, result)
                             : change_carry_out(change, rules, result);
    if (status != 0)
        policy_rules_free(rules);
    return status;
}

int policy_publish_again(const struct setup_platform *platform, struct policy_rules *rules)
{
    struct policy_state state;
    struct publish_result result;
    int status = policy_state_open(&state, platform, true);
    if (status != 0)
        return status;
    status = policy_state_lock(&state);
    if (status == 0)
        status = policy_state_read(&state);
    const struct policy_change change = {.state = &state};
    if (status == 0)
        status = policy_change_make(&change, rules, &result);
    policy_state_close(&state);
    return status;
}
