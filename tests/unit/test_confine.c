/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What link_mgr can no longer do once it is confined, and what it still can. Each case is a process
 * of its own. */
#include "link_mgr/base/confine.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/suite.h"

static int exec_fails(void)
{
    return execl("/bin/true", "true", (char *)NULL);
}

static int signal_fails(void)
{
    return kill(getpid(), 0);
}

static int trace_fails(void)
{
    return (int)ptrace(PTRACE_TRACEME, 0, NULL, NULL);
}

static int code_fails(void)
{
    return mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                0) == MAP_FAILED
               ? -1
               : 0;
}

static int terminal_fails(void)
{
    return ioctl(0, TIOCSTI, "x");
}

static int uid_fails(void)
{
    return setuid(0);
}

/* On i386 the C library makes sockets by socketcall(2). A filter does not see the arguments of
 * that, so there a confined link_mgr can still make sockets of any family (docs/platforms.md). */
#ifndef SYS_socketcall
static int network_fails(void)
{
    return socket(AF_INET, SOCK_STREAM, 0);
}
#endif

static int (*const forbidden[])(void) = {
    exec_fails,    trace_fails, code_fails, terminal_fails, uid_fails, signal_fails,
#ifndef SYS_socketcall
    network_fails,
#endif
};
#define FORBIDDEN ((int)(sizeof(forbidden) / sizeof(forbidden[0])))

static int status_of(int (*run)(enum confine), enum confine mode)
{
    int status;
    pid_t child = fork();
    if (child == 0)
        _exit(run(mode));
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    return status;
}

static int (*tried)(void);

static int try_it(enum confine mode)
{
    if (confine_begin(mode) < 0)
        return 2;
    return tried() == -1 && errno == ENOSYS ? 0 : 1;
}

START_TEST(what_it_needs_no_more_fails)
{
    tried = forbidden[_i];
    ck_assert_int_eq(status_of(try_it, CONFINE_YES), 0);
}
END_TEST

START_TEST(or_ends_it)
{
    tried = forbidden[_i];
    int status = status_of(try_it, CONFINE_KILL);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
}
END_TEST

static void *thread_result(void *unused)
{
    return unused;
}

static int daily_work(enum confine mode)
{
    int fds[2];
    pthread_t thread;
    void *page;
    if (confine_begin(mode) < 0)
        return 2;
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) < 0 || open("/dev/null", O_RDWR) < 0)
        return 3;
    page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, memfd_create("x", 0), 0);
    if (page == MAP_FAILED)
        return 4;
    if (pthread_create(&thread, NULL, thread_result, NULL) || pthread_join(thread, &page))
        return 5;
    _exit(0);
}

START_TEST(what_it_needs_goes_on)
{
    ck_assert_int_eq(status_of(daily_work, (enum confine)_i), 0);
}
END_TEST

static int ready[2];

static void *thread_that_was_there(void *unused)
{
    char byte;
    if (read(ready[0], &byte, 1) != 1 || forbidden[FORBIDDEN - 1]() != -1 || errno != ENOSYS)
        exit(1);
    return unused;
}

static int with_a_thread(enum confine mode)
{
    pthread_t thread;
    void *result;
    if (pipe(ready) < 0 || pthread_create(&thread, NULL, thread_that_was_there, NULL))
        return 2;
    if (confine_begin(mode) < 0 || write(ready[1], "x", 1) != 1)
        return 3;
    return pthread_join(thread, &result);
}

START_TEST(threads_that_were_there_are_confined_too)
{
    ck_assert_int_eq(status_of(with_a_thread, CONFINE_YES), 0);
}
END_TEST

int main(void)
{
    const enum confine usual = CONFINE_USUAL;
    Suite *suite = suite_create("confine");
    TCase *all = tcase_create("all");
    tcase_add_loop_test(all, what_it_needs_no_more_fails, 0, FORBIDDEN);
    tcase_add_loop_test(all, or_ends_it, 0, FORBIDDEN);
    if (usual == CONFINE_YES) { /* a sanitizer's threads need more */
        tcase_add_loop_test(all, what_it_needs_goes_on, 0, CONFINE_NO + 1);
        tcase_add_test(all, threads_that_were_there_are_confined_too);
    }
    suite_add_tcase(suite, all);
    return run_suite(suite);
}
