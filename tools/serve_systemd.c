/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tools/serve_systemd.h"

#include <errno.h>
#include <event2/event.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "channels/channel.h"
#include "channels/loop.h"
#include "common/notify.h"

#define UNIT_MAX 256
#define ANSWER_MAX 65536
#define CHARACTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:_.\\@-"

/* ---- what systemd says ---- */

/* The socket unit of a service, or of a name alone. */
static bool systemd_socket_unit(const char *unit, char out[UNIT_MAX])
{
    const char *dot = strrchr(unit, '.');
    size_t len = dot != NULL && strcmp(dot, ".service") == 0 ? (size_t)(dot - unit) : strlen(unit);
    bool is_socket = dot != NULL && strcmp(dot, ".socket") == 0;
    int written = snprintf(out, UNIT_MAX, "%.*s%s", (int)len, unit, is_socket ? "" : ".socket");
    return len > 0 && unit[0] != '-' && written < UNIT_MAX &&
           strspn(unit, CHARACTERS) == strlen(unit);
}

/* What systemctl prints, or false. It says on stderr what is wrong. */
static bool systemd_ask(const char *unit, char answer[ANSWER_MAX])
{
    const char *words[] = {"systemctl", "show", "--property=Listen", "--property=ActiveState", "--",
                           unit,        NULL};
    posix_spawn_file_actions_t actions;
    int pipes[2], status = -1;
    pid_t pid;
    if (pipe(pipes) < 0)
        return false;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, pipes[1], STDOUT_FILENO);
    posix_spawn_file_actions_addclose(&actions, pipes[0]);
    posix_spawn_file_actions_addclose(&actions, pipes[1]);
    int error = posix_spawnp(&pid, words[0], &actions, NULL, (char **)(uintptr_t)words, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(pipes[1]);
    FILE *in = fdopen(pipes[0], "r");
    size_t len = in != NULL && error == 0 ? fread(answer, 1, ANSWER_MAX - 1, in) : 0;
    answer[len] = '\0';
    if (in != NULL)
        fclose(in);
    else
        close(pipes[0]);
    if (error == 0)
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
            ;
    return error == 0 && status == 0;
}

/* "Listen=PATH (Stream)", a line for each socket: the first that is a Unix stream socket. */
static bool systemd_find_path(char *answer, char path[END_TEXT_MAX])
{
    char *rest = answer, *line;
    while ((line = strsep(&rest, "\n")) != NULL) {
        char *end = strstr(line, " (Stream)");
        bool whole = end != NULL && end[sizeof(" (Stream)") - 1] == '\0';
        if (!whole || strncmp(line, "Listen=/", sizeof("Listen=/") - 1) != 0)
            continue;
        *end = '\0';
        return snprintf(path, END_TEXT_MAX, "unix:%s", line + sizeof("Listen=") - 1) < END_TEXT_MAX;
    }
    return false;
}

/* 0, or the exit status. */
static int systemd_find(const struct serve_systemd *serve, struct end *to)
{
    static char answer[ANSWER_MAX];
    char unit[UNIT_MAX], path[END_TEXT_MAX], why[END_WHY_MAX];
    size_t at;
    if (!systemd_socket_unit(serve->unit, unit))
        return usage_error(serve->command, "\"%s\" is no name of a unit", serve->unit);
    if (!systemd_ask(unit, answer))
        return failure(serve->command, "systemctl does not say on what %s listens", unit);
    bool active = strstr(answer, "ActiveState=active") != NULL;
    if (!systemd_find_path(answer, path))
        return failure(serve->command, "%s is not there, or has no ListenStream= with a path",
                       unit);
    if (!active)
        return failure(serve->command, "%s is not active: systemctl start %s", unit, unit);
    return end_parse(path, to, &at, why) ? 0 : failure(serve->command, "%s: %s", path, why);
}

/* ---- the channel ---- */

static void systemd_say(void *context, const char *line)
{
    const struct serve_systemd *serve = context;
    failure(serve->command, "%s", line);
}

static void systemd_ended(void *context, bool failed)
{
    (void)context, (void)failed; /* a channel that listens does not end */
}

static int systemd_bridge(const struct serve_systemd *serve, const struct end *from,
                          const struct end *to)
{
    const struct channel_settings settings = {.opener = {.link_mgr = command_socket},
                                              .max = serve->max,
                                              .patient = serve->patient,
                                              .say = systemd_say,
                                              .ended = systemd_ended,
                                              .context = (void *)(uintptr_t)serve};
    struct loop loop;
    char why[CHANNEL_WHY_MAX];
    if (loop_open(&loop, NULL, NULL) < 0)
        return failure(serve->command, "out of memory");
    struct channel *channel = channel_new(&loop.bridges, from, to, &settings, why);
    int status = channel != NULL ? 0 : failure(serve->command, "%s", why);
    if (channel != NULL) {
        notify_send("READY=1");
        loop_run(&loop);
    }
    channel_free(channel);
    loop_close(&loop);
    return status;
}

int serve_systemd_run(const struct serve_systemd *serve)
{
    struct end from = {.kind = END_IDC_LISTEN, .port = serve->port}, to;
    int status = systemd_find(serve, &to);
    if (status != 0)
        return status;
    if (serve->name != NULL)
        snprintf(from.service, sizeof(from.service), "%s", serve->name);
    if (serve->name != NULL)
        snprintf(from.text, sizeof(from.text), "idc-listen:%s", serve->name);
    else
        snprintf(from.text, sizeof(from.text), "idc-listen:%u", serve->port);
    return systemd_bridge(serve, &from, &to);
}
