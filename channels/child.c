/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "channels/child.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/close_range.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <unistd.h>

#define INHERITED_MAX 63 /* the highest number that is passed on */

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

static int reserved = -1; /* number; nothing but /dev/null is there, except in between */
static int nothing = -1;  /* /dev/null */

static int highest_inherited(void)
{
    for (int fd = INHERITED_MAX; fd > STDERR_FILENO; fd--) {
        int flags = fcntl(fd, F_GETFD);
        if (flags >= 0 && (flags & FD_CLOEXEC) == 0)
            return fd;
    }
    return STDERR_FILENO;
}

void child_begin(void)
{
    int highest = highest_inherited();
    nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
    do { /* no number below stays free */
        reserved = fcntl(nothing, F_DUPFD_CLOEXEC, 0);
    } while (reserved >= 0 && reserved <= highest);
}

struct fork_request {
    int fd;
    child_main *run;
    const void *argument;
    sigset_t before;
    pid_t pid;
    int error;
};

static void child_fork_here(struct fork_request *request)
{
    request->pid = fork();
    request->error = errno;
    if (request->pid != 0)
        return;
    child_reset_signals();
    setpgid(0, 0);
    pthread_sigmask(SIG_SETMASK, &request->before, NULL);
    _exit(request->run(request->fd, request->argument));
}

static void *child_fork_narrowly(void *request)
{
    close_range((unsigned)reserved + 1, UINT_MAX, CLOSE_RANGE_UNSHARE);
    child_fork_here(request);
    return NULL;
}

static void child_fork_by_thread(struct fork_request *request)
{
    pthread_t thread;
    int fd = request->fd;
    request->fd = fd >= 0 ? dup3(fd, reserved, O_CLOEXEC) : fd;
    int error = pthread_create(&thread, NULL, child_fork_narrowly, request);
    if (error == 0)
        pthread_join(thread, NULL);
    else
        request->error = error;
    dup3(nothing, reserved, O_CLOEXEC); /* fd is still open, so nothing waits */
}

pid_t child_fork(int fd, child_main *run, const void *argument)
{
    struct fork_request request = {.fd = fd, .run = run, .argument = argument, .pid = -1};
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &request.before);
    if (reserved >= 0)
        child_fork_by_thread(&request);
    else
        child_fork_here(&request);
    if (request.pid > 0)
        setpgid(request.pid, request.pid); /* whoever is first: it may be killed at once */
    pthread_sigmask(SIG_SETMASK, &request.before, NULL);
    errno = request.error;
    return request.pid;
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

struct child *child_start(int fd, child_main *run, const void *argument,
                          void (*ended)(void *context), void *context)
{
    struct child *child = calloc(1, sizeof(*child));
    if (child == NULL)
        return NULL;
    child->pid = child_fork(fd, run, argument);
    if (child->pid < 0) {
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
