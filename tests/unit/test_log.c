/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_log.c - a log that nobody reads. The daemon goes on, and says later how much was lost. */
#include "link_mgr/base/log.h"

#include <check.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/suite.h"

#define LINES 2000 /* many more than a pipe or a socket holds */
#define PADDING 200

static bool says_lost(int from)
{
    static char text[1 << 20];
    size_t have = 0;
    ssize_t got;
    fcntl(from, F_SETFL, O_NONBLOCK);
    while (have < sizeof(text) - 1 && (got = read(from, text + have, sizeof(text) - 1 - have)) > 0)
        have += (size_t)got;
    text[have] = '\0';
    return strstr(text, "lines were lost") != NULL;
}

/* In a process of its own: its stderr is the pipe. */
static void log_much(int to, int from)
{
    dup2(to, STDERR_FILENO);
    for (int i = 0; i < LINES; i++)
        log_line(LOG_NOTICE, "%0*d", PADDING, i);
    bool blocks = !(fcntl(STDERR_FILENO, F_GETFL) & O_NONBLOCK);
    bool early = says_lost(from);
    log_line(LOG_NOTICE, "read again");
    _exit(blocks && !early && says_lost(from) ? 0 : 1);
}

static void log_nobody_reads(int to, int from)
{
    int status;
    pid_t child = fork();
    if (child == 0)
        log_much(to, from);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
}

START_TEST(pipe_that_nobody_reads)
{
    int fds[2];
    ck_assert_int_eq(pipe(fds), 0);
    log_nobody_reads(fds[1], fds[0]);
}
END_TEST

/* What others have named begins no line, and nothing in it is invisible. */
START_TEST(names_of_others)
{
    static const char said[] = "link_mgr: x\\x0alink_mgr: b\\xc3\\xbcro \\x1b[2J\\xe2\\x80\\x8b\n";
    char text[200] = "";
    int fds[2], status;
    ck_assert_int_eq(pipe(fds), 0);
    pid_t child = fork();
    if (child == 0) {
        unsetenv("JOURNAL_STREAM");
        dup2(fds[1], STDERR_FILENO);
        log_line(LOG_NOTICE, "x\nlink_mgr: b\303\274ro \033[2J\342\200\213");
        _exit(0);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_gt(read(fds[0], text, sizeof(text) - 1), 0);
    ck_assert_str_eq(text, said);
}
END_TEST

START_TEST(socket_that_nobody_reads)
{
    int fds[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    log_nobody_reads(fds[1], fds[0]);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("log");
    TCase *tcase = tcase_create("log");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, pipe_that_nobody_reads);
    tcase_add_test(tcase, socket_that_nobody_reads);
    tcase_add_test(tcase, names_of_others);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
