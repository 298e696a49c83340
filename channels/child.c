/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "channels/child.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <unistd.h>

struct child {
    pid_t pid;
    bool released, told; /* told: to end */
    void (*ended)(void *context);
    void *context;
    LIST_ENTRY(child) entry;
};

static LIST_HEAD(, child) running = LIST_HEAD_INITIALIZER(running);

/* ---- the new process ---- */

static void child_reset_signals(void)
{
    struct sigaction action;
    for (int number = 1; number < NSIG; number++) {
        if (sigaction(number, NULL, &action) < 0)
            continue; /* the C library's own */
        bool ignored = action.sa_handler == SIG_IGN && number != SIGPIPE && number != SIGCHLD;
        if (!ignored)
            signal(number, SIG_DFL);
    }
}

pid_t child_fork(void)
{
    sigset_t all, before;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    pid_t pid = fork();
    if (pid == 0) {
        child_reset_signals();
        setpgid(0, 0);
    } else if (pid > 0) {
        setpgid(pid, pid); /* whoever is first: it may be killed at once */
    }
    sigprocmask(SIG_SETMASK, &before, NULL);
    return pid;
}

void child_close_private(void)
{
    DIR *all = opendir("/proc/self/fd");
    const struct dirent *one;
    while (all != NULL && (one = readdir(all)) != NULL) {
        int fd = atoi(one->d_name); /* "." and "..": 0 */
        int flags = fd > STDERR_FILENO && fd != dirfd(all) ? fcntl(fd, F_GETFD) : -1;
        if (flags != -1 && (flags & FD_CLOEXEC))
            close(fd);
    }
    if (all != NULL)
        closedir(all);
}

/* ---- records ---- */

struct child *child_start(pid_t *pid, void (*ended)(void *context), void *context)
{
    struct child *child = calloc(1, sizeof(*child));
    if (child == NULL)
        return NULL;
    *pid = child->pid = child_fork();
    if (*pid < 0) {
        free(child);
        return NULL;
    }
    child->ended = ended;
    child->context = context;
    LIST_INSERT_HEAD(&running, child, entry);
    return child;
}

static struct child *child_find(pid_t pid)
{
    struct child *child;
    LIST_FOREACH (child, &running, entry)
        if (child->pid == pid)
            return child;
    return NULL;
}

void child_reaped(pid_t pid)
{
    struct child *child = child_find(pid);
    if (child == NULL)
        return;
    LIST_REMOVE(child, entry);
    child->pid = 0;
    if (child->ended != NULL)
        child->ended(child->context);
    if (child->released)
        free(child);
}

void child_terminate(struct child *child)
{
    if (child->pid > 0 && !child->told)
        kill(-child->pid, SIGTERM);
    child->told = true;
}

void child_release(struct child *child)
{
    child->released = true;
    if (child->pid == 0)
        free(child);
}

void child_forget(const void *context)
{
    struct child *child;
    LIST_FOREACH (child, &running, entry)
        if (child->context == context)
            child->ended = NULL;
}

void child_terminate_all(const void *context)
{
    struct child *child;
    LIST_FOREACH (child, &running, entry)
        if (child->context == context)
            child_terminate(child);
}
