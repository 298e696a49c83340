/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Processes that are started from within an event loop (channels/child.h). */
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
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

/* Everything as a program expects it, in a process group of its own. */
START_TEST(signals_of_the_new_process)
{
    int status;
    ck_assert(!is_default(SIGTERM));
    pid_t pid = child_fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        static const int numbers[] = {SIGTERM, SIGINT, SIGHUP, SIGCHLD, SIGPIPE};
        for (unsigned i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
            if (!is_default(numbers[i]) || is_blocked(numbers[i]))
                _exit(1 + (int)i);
        _exit(getpgrp() == getpid() ? 0 : 99);
    }
    ck_assert(!is_default(SIGTERM) && !is_blocked(SIGTERM));
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
}
END_TEST

START_TEST(what_is_ignored_stays_ignored)
{
    int status;
    signal(SIGUSR1, SIG_IGN); /* as by nohup */
    pid_t pid = child_fork();
    if (pid == 0)
        _exit(is_default(SIGUSR1));
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
}
END_TEST

/* It does not reach the loop of the old one. */
START_TEST(a_signal_to_the_new_process)
{
    pid_t pid;
    struct child *child = child_start(&pid, on_ended, &loop);
    ck_assert_ptr_nonnull(child);
    if (pid == 0) {
        raise(SIGHUP);
        _exit(0);
    }
    loop_run(&loop);
    ck_assert_int_eq(ended, 1);
    ck_assert_int_eq(reaped, 1);
    event_base_loop(loop.bridges.base, EVLOOP_NONBLOCK);
    ck_assert_int_eq(hangups, 0);
    child_release(child);
}
END_TEST

START_TEST(descriptors)
{
    int ours[2], theirs[2], status;
    ck_assert_int_eq(pipe2(ours, O_CLOEXEC), 0);
    ck_assert_int_eq(pipe2(theirs, 0), 0);
    pid_t pid = child_fork();
    if (pid == 0) {
        child_close_private();
        bool closed = fcntl(ours[0], F_GETFD) < 0 && fcntl(ours[1], F_GETFD) < 0;
        bool open = fcntl(theirs[0], F_GETFD) == 0 && fcntl(theirs[1], F_GETFD) == 0;
        _exit(!closed + 2 * !open);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
}
END_TEST

/* A child that runs until hold[1] is closed. */
static struct child *start_held(pid_t *pid, int hold[2])
{
    ck_assert_int_eq(pipe2(hold, O_CLOEXEC), 0);
    struct child *child = child_start(pid, on_ended, &loop);
    if (*pid == 0) {
        char byte;
        close(hold[1]);
        _exit((int)read(hold[0], &byte, 1));
    }
    return child;
}

/* Its number may be another group's by then. */
START_TEST(killed_only_while_it_runs)
{
    pid_t pid;
    int hold[2];
    struct child *child = start_held(&pid, hold);
    child_terminate(child);
    ck_assert_int_eq(killed, -pid);
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
    pid_t pid;
    int hold[2];
    struct child *child = start_held(&pid, hold);
    child_release(child);
    killed = 0;
    child_terminate_all(&hold);
    ck_assert_int_eq(killed, 0);
    child_terminate_all(&loop);
    ck_assert_int_eq(killed, -pid);
    killed = 0;
    child_terminate_all(&loop);
    ck_assert_int_eq(killed, 0);
    close(hold[1]);
    loop_run(&loop);
    ck_assert_int_eq(ended, 1);
}
END_TEST

START_TEST(released_first)
{
    pid_t pid;
    struct child *child = child_start(&pid, on_ended, &loop);
    if (pid == 0)
        _exit(0);
    child_release(child);
    loop_run(&loop);
    ck_assert_int_eq(ended, 1);
}
END_TEST

START_TEST(forgotten)
{
    pid_t pid;
    struct child *child = child_start(&pid, on_ended, &loop);
    if (pid == 0)
        _exit(0);
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
