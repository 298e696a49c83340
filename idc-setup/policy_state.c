/* SPDX-License-Identifier: GPL-2.0-or-later */
/* policy_state.c - see policy_state.h. */
#include "idc-setup/policy_state.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/file_trust.h"
#include "idc-setup/fail.h"
#include "idc-setup/held.h"
#include "policy/ruleset.h"

#define STATE_COMMANDS "commands.policy"
#define STATE_APPLIED "applied.policy"

int policy_state_check_directory(const char *directory, bool make)
{
    struct stat status;
    if (make && mkdir(directory, 0700) != 0 && errno != EEXIST)
        return setup_fail(SETUP_STATUS_FAILED, "cannot make %s: %s; run idc-setup as root in dom0",
                          directory, strerror(errno));
    if (lstat(directory, &status) != 0)
        return errno == ENOENT
                   ? 0
                   : setup_fail(SETUP_STATUS_FAILED, "%s: %s", directory, strerror(errno));
    const char *others = S_ISDIR(status.st_mode) ? file_trust_writers(&status) : "is no directory";
    if (others != NULL)
        return setup_fail(SETUP_STATUS_FAILED, "%s %s; remove it", directory, others);
    if (make && (status.st_mode & 077) != 0 && chmod(directory, 0700) != 0)
        return setup_fail(SETUP_STATUS_FAILED, "cannot close %s to others: %s", directory,
                          strerror(errno));
    return 0;
}

static int state_paths(struct policy_state *state, const struct setup_platform *platform)
{
    bool local = platform->ops == &setup_store_local;
    const char *directory = local ? platform->directory : POLICY_STATE_DIRECTORY;
    if (local && realpath(directory, state->directory) != NULL)
        directory = state->directory;
    char copy[PATH_MAX];
    snprintf(copy, sizeof(copy), "%s", directory);
    snprintf(state->directory, sizeof(state->directory), "%s", copy);
    if (snprintf(state->commands_path, PATH_MAX, "%s/" STATE_COMMANDS, copy) >= PATH_MAX ||
        snprintf(state->applied_path, PATH_MAX, "%s/" STATE_APPLIED, copy) >= PATH_MAX)
        return setup_fail(SETUP_STATUS_FAILED, "%s: %s", directory, strerror(ENAMETOOLONG));
    return 0;
}

int policy_state_open(struct policy_state *state, const struct setup_platform *platform, bool make)
{
    char why[SETUP_WHY_MAX] = "";
    *state = (struct policy_state){.lock = -1};
    if (platform->ops->open(&state->store, platform->directory, make, why) != 0)
        return setup_fail(SETUP_STATUS_FAILED, "%s", why);
    int status = state_paths(state, platform);
    if (status == 0 && platform->ops != &setup_store_local)
        status = policy_state_check_directory(state->directory, make);
    if (status != 0)
        policy_state_close(state);
    return status;
}

void policy_state_close(struct policy_state *state)
{
    policy_state_unlock(state);
    policy_texts_free(&state->commands);
    policy_texts_free(&state->applied);
    if (state->store != NULL)
        state->store->ops->close(state->store);
    state->store = NULL;
}

/* Ctrl-Z at a terminal must not stop whoever holds the lock. It stops it afterwards. */
static void state_delay_stop(int how)
{
    sigset_t stop;
    sigemptyset(&stop);
    sigaddset(&stop, SIGTSTP);
    sigprocmask(how, &stop, NULL);
}

int policy_state_lock(struct policy_state *state)
{
    int fd = open(state->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int result = fd < 0 ? -1 : flock(fd, LOCK_EX);
    while (result < 0 && fd >= 0 && errno == EINTR)
        result = flock(fd, LOCK_EX);
    if (result == 0) {
        state->lock = fd;
        state_delay_stop(SIG_BLOCK);
        held_begin();
        return 0;
    }
    int status =
        setup_fail(SETUP_STATUS_FAILED, "cannot lock %s: %s", state->directory, strerror(errno));
    if (fd >= 0)
        close(fd);
    return status;
}

void policy_state_unlock(struct policy_state *state)
{
    if (state->lock < 0)
        return;
    close(state->lock);
    state->lock = -1;
    held_end();
    state_delay_stop(SIG_UNBLOCK);
}

static int state_fail(const char *path, int error, const char *advice)
{
    return setup_fail(SETUP_STATUS_FAILED, "cannot read %s: %s; %s", path,
                      error == -EBADMSG ? "it is damaged" : strerror(-error), advice);
}

static int state_read_commands(struct policy_state *state)
{
    char *text;
    size_t length;
    int error = policy_file_read(state->commands_path, RULESET_FILE_MAX, &text, &length);
    state->has_commands = error == 0;
    if (error == -ENOENT)
        return 0;
    if (error == 0)
        error = policy_texts_add(&state->commands, state->commands_path, text, length);
    free(text);
    return error == 0 ? 0
                      : state_fail(state->commands_path, error,
                                   "remove it to forget the rules of allow and deny");
}

int policy_state_read(struct policy_state *state)
{
    policy_texts_free(&state->commands);
    policy_texts_free(&state->applied);
    int status = state_read_commands(state);
    if (status != 0)
        return status;
    int error = policy_texts_load(&state->applied, state->applied_path);
    state->has_applied = error == 0;
    return error == 0 || error == -ENOENT
               ? 0
               : state_fail(state->applied_path, error, "run idc-setup apply");
}

const struct policy_text *policy_state_commands(const struct policy_state *state)
{
    return state->commands.count > 0 ? &state->commands.list[0] : NULL;
}
