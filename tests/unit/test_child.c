/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Processes that are started from within an event loop (channels/child.h). */
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "channels/child.h"
#include "channels/loop.h"
#include "tests/unit/suite.h"

static struct loop loop;
static int hangups, ended, reaped;
static int killed; /* the latest number that kill(2) was called with */

/* In place of the C library's. Other process groups than the own children's must be spared. */
int kill(pid_t pid, int sig)
{
    (void)sig;
    killed = pid;
    return 0;
}

static void on_hangup(void *context)
{
    (void)context;
    hangups++;
}

static void on_ended(void *context)
{
    ck_assert_ptr_eq(context, &loop);
    ended++;
    event_base_loopbreak(loop.bridges.base);
}

static void on_reaped(void *context, pid_t pid)
{
    (void)context;
    (void)pid;
    reaped++;
}

static void set_up(void)
{
    ck_assert_int_eq(dup2(STDERR_FILENO, 20), 20); /* as if it was inherited */
    ck_assert_int_eq(loop_open(&loop, on_hangup, NULL), 0);
    loop.reaped = on_reaped;
}

static void tear_down(void)
{
    loop_close(&loop);
}

static bool is_blocked(int number)
{
    sigset_t now;
    sigprocmask(SIG_SETMASK, NULL, &now);
    return sigismember(&now, number);
}

static bool is_default(int number)
{
    struct sigaction action;
    return sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_DFL;
}

static int look_at_signals(int fd, const void *unused)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP, SIGCHLD, SIGPIPE};
    (void)unused;
    for (unsigned i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        if (!is_default(numbers[i]) || is_blocked(numbers[i]))
            return 1 + (int)i;
    return fd == -1 && getpgrp() == getpid() ? 0 : 99;
}

/* Everything as a program expects it, in a process group of its own. */
START_TEST(signals_of_the_new_process)
{
    int status;
    ck_assert(!is_default(SIGTERM));
    pid_t pid = child_fork(-1, look_at_signals, NULL);
    ck_assert_int_ge(pid, 0);
    ck_assert(!is_default(SIGTERM) && !is_blocked(SIGTERM));
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
}
END_TEST

static int look_at_usr1(int fd, const void *unused)
{
    (void)fd, (void)unused;
    return is_default(SIGUSR1);
}

START_TEST(what_is_ignored_stays_ignored)
{
    int status;
    signal(SIGUSR1, SIG_IGN); /* as by nohup */
    pid_t pid = child_fork(-1, look_at_usr1, NULL);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
}
END_TEST

static int raise_hangup(int fd, const void *unused)
{
    (void)fd, (void)unused;
    return raise(SIGHUP);
}

/* It does not reach the loop of the old one. */
START_TEST(a_signal_to_the_new_process)
{
    struct child *child = child_start(-1, raise_hangup, NULL, on_ended, &loop);
    ck_assert_ptr_nonnull(child);
    loop_run(&loop);
    ck_assert_int_eq(ended, 1);
    ck_assert_int_eq(reaped, 1);
    event_base_loop(loop.bridges.base, EVLOOP_NONBLOCK);
    ck_assert_int_eq(hangups, 0);
    child_release(child);
}
END_TEST

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

struct numbers {
    int given, early, ours, theirs;
};

static int look_at_descriptors(int fd, const void *argument)
{
    const struct numbers *numbers = argument;
    struct stat given, found;
    bool narrow =
        fstat(numbers->given, &given) < 0 && !is_open(numbers->ours) && !is_open(numbers->theirs);
    bool there = fstat(fd, &found) == 0 && S_ISFIFO(found.st_mode) && is_open(numbers->early);
    child_close_private();
    bool closed = !is_open(fd) && is_open(STDERR_FILENO) && is_open(numbers->early);
    return !narrow + 2 * !there + 4 * !closed;
}

/* The one that it is given, and those of before. */
START_TEST(descriptors)
{
    int ours[2], theirs[2], status;
    const int early = 20; /* set_up */
    ck_assert_int_eq(pipe2(ours, O_CLOEXEC), 0);
    ck_assert_int_eq(pipe2(theirs, 0), 0);
    ck_assert_int_gt(ours[0], early);
    const struct numbers numbers = {ours[1], early, ours[0], theirs[0]};
    pid_t pid = child_fork(ours[1], look_at_descriptors, &numbers);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    close(ours[1]);
    ck_assert_int_eq(read(ours[0], &status, 1), 0); /* this process has no other copy of it */
}
END_TEST

static int wait_for_end(int fd, const void *unused)
{
    char byte;
    (void)unused;
    return (int)read(fd, &byte, 1);
}

/* A child that runs until hold[1] is closed. */
static struct child *start_held(int hold[2])
{
    ck_assert_int_eq(pipe2(hold, O_CLOEXEC), 0);
    return child_start(hold[0], wait_for_end, NULL, on_ended, &loop);
}

/* Its number may be another group's by then. */
START_TEST(killed_only_while_it_runs)
{
    int hold[2];
    struct child *child = start_held(hold);
    child_terminate(child);
    ck_assert_int_lt(killed, 0);
    killed = 0;
    close(hold[1]);
    loop_run(&loop);
    ck_assert_int_eq(ended, 1);
    child_terminate(child);
    ck_assert_int_eq(killed, 0);
    child_release(child);
}
END_TEST

/* Also one that was released; and each is told once. */
START_TEST(all_of_a_context)
{
    int hold[2];
    struct child *child = start_held(hold);
    child_release(child);
    killed = 0;
    child_terminate_all(&hold);
    ck_assert_int_eq(killed, 0);
    child_terminate_all(&loop);
    ck_assert_int_lt(killed, 0);
    killed = 0;
    child_terminate_all(&loop);
    ck_assert_int_eq(killed, 0);
    close(hold[1]);
    loop_run(&loop);
    ck_assert_int_eq(ended, 1);
}
END_TEST

static int end_at_once(int fd, const void *unused)
{
    (void)fd, (void)unused;
    return 0;
}

START_TEST(released_first)
{
    struct child *child = child_start(-1, end_at_once, NULL, on_ended, &loop);
    child_release(child);
    loop_run(&loop);
    ck_assert_int_eq(ended, 1);
}
END_TEST

START_TEST(forgotten)
{
    struct child *child = child_start(-1, end_at_once, NULL, on_ended, &loop);
    child_release(child);
    child_forget(&loop);
    while (reaped == 0)
        event_base_loop(loop.bridges.base, EVLOOP_ONCE);
    ck_assert_int_eq(ended, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("child");
    TCase *tcase = tcase_create("child");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, signals_of_the_new_process);
    tcase_add_test(tcase, what_is_ignored_stays_ignored);
    tcase_add_test(tcase, a_signal_to_the_new_process);
    tcase_add_test(tcase, descriptors);
    tcase_add_test(tcase, killed_only_while_it_runs);
    tcase_add_test(tcase, all_of_a_context);
    tcase_add_test(tcase, released_first);
    tcase_add_test(tcase, forgotten);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
