/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_line_out.c - lines that nobody reads. The program goes on, and says later how many it lost.
 *
 * Each case is a process whose stderr is what is tested. One that waits for its reader never ends,
 * and the test's time limit says so.
 */
#include "common/line_out.h"

#include <check.h>
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "tests/unit/suite.h"

#define LINES 2000 /* many more than a pipe, a socket or a terminal holds */
#define PADDING 200
#define OTHER_UID 4242

/* What there is to read, which was added to what has been read before. */
static const char *read_all(int from)
{
    static char text[1 << 21];
    static size_t have;
    ssize_t got;
    fcntl(from, F_SETFL, O_NONBLOCK);
    while (have < sizeof(text) - 1 && (got = read(from, text + have, sizeof(text) - 1 - have)) > 0)
        have += (size_t)got;
    text[have] = '\0';
    return text;
}

static unsigned count_lines(const char *text)
{
    unsigned lines = 0;
    for (; (text = strchr(text, '\n')) != NULL; text++)
        lines++;
    return lines;
}

/* Printed in pieces, as most lines are. */
static void print_line(const char *word, int number)
{
    fprintf(stderr, "%s ", word);
    fprintf(stderr, "%0*d", PADDING, number);
    fputc('\n', stderr);
}

static void print_lines(void)
{
    for (int i = 0; i < LINES; i++)
        print_line("line", i);
}

/* In a new process: fd is its stderr from now on. */
static void take_over(int fd)
{
    dup2(fd, STDERR_FILENO);
    line_out_take(&stderr, "the test");
}

/* Until the loss is told, and a line after it. What a terminal has taken comes to its reader some
 * time later, and so does the room: then several lines tell of it. Returns the sum. */
static unsigned wait_until_told(int from)
{
    static const char words[] = "the test: lines were lost: ";
    const char *told;
    unsigned sum = 0;
    do {
        print_line("after", 0);
        told = strstr(read_all(from), words);
    } while (told == NULL || strstr(told, "\nafter 0") == NULL);
    for (; told != NULL; told = strstr(told + 1, words))
        sum += (unsigned)strtoul(told + strlen(words), NULL, 10);
    return sum;
}

/* The exit status: 0, or which of these was wrong. */
static int print_much(int from)
{
    unsigned come = 0;
    line_out_take(&stderr, "the test");
    print_lines();
    if (fcntl(STDERR_FILENO, F_GETFL) & O_NONBLOCK)
        return 1;
    unsigned lost = wait_until_told(from);
    for (const char *at = read_all(from); (at = strstr(at, "line ")) != NULL; at++)
        come++;
    return come > 0 && come < LINES && lost >= LINES - come ? 0 : 2;
}

static void nobody_reads(int to, int from, uid_t uid)
{
    int status;
    pid_t child = fork();
    if (child == 0) {
        dup2(to, STDERR_FILENO);
        if (uid != 0 && setresuid(uid, uid, uid) < 0)
            _exit(100);
        _exit(print_much(from));
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
}

START_TEST(pipe_that_nobody_reads)
{
    int fds[2];
    ck_assert_int_eq(pipe(fds), 0);
    nobody_reads(fds[1], fds[0], 0);
}
END_TEST

START_TEST(socket_that_nobody_reads)
{
    int fds[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    nobody_reads(fds[1], fds[0], 0);
}
END_TEST

static void open_terminal(int *master, int *terminal)
{
    struct termios raw;
    ck_assert_int_eq(openpty(master, terminal, NULL, NULL, NULL), 0);
    ck_assert_int_eq(tcgetattr(*terminal, &raw), 0);
    cfmakeraw(&raw);
    ck_assert_int_eq(tcsetattr(*terminal, TCSANOW, &raw), 0);
}

START_TEST(terminal_that_nobody_reads)
{
    int master, terminal;
    open_terminal(&master, &terminal);
    nobody_reads(terminal, master, 0);
}
END_TEST

/* Neither can be opened again: they belong to root. */
START_TEST(pipe_of_another_user)
{
    int fds[2];
    if (geteuid() != 0)
        return;
    ck_assert_int_eq(pipe(fds), 0);
    nobody_reads(fds[1], fds[0], OTHER_UID);
}
END_TEST

START_TEST(terminal_of_another_user)
{
    int master, terminal;
    if (geteuid() != 0)
        return;
    open_terminal(&master, &terminal);
    ck_assert_int_eq(fchmod(terminal, 0600), 0);
    nobody_reads(terminal, master, OTHER_UID);
}
END_TEST

/* No signal, no error, and no end. */
START_TEST(reader_that_has_gone)
{
    int fds[2], status;
    ck_assert_int_eq(pipe(fds), 0);
    pid_t child = fork();
    if (child == 0) {
        close(fds[0]);
        take_over(fds[1]);
        print_lines();
        _exit(ferror(stderr) ? 1 : 7);
    }
    close(fds[0]);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 7 << 8);
}
END_TEST

/* What was lost last is told at the end, if the reader is back by then. */
START_TEST(end_after_loss)
{
    int fds[2], status;
    ck_assert_int_eq(pipe(fds), 0);
    pid_t child = fork();
    if (child == 0) {
        take_over(fds[1]);
        print_lines();
        read_all(fds[0]);
        exit(0);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    ck_assert_ptr_nonnull(strstr(read_all(fds[0]), "the test: lines were lost: "));
}
END_TEST

/* A new process closes what a program that it runs must not have. */
START_TEST(descriptors_that_are_closed)
{
    int fds[2], status;
    ck_assert_int_eq(pipe(fds), 0);
    pid_t child = fork();
    if (child == 0) {
        take_over(fds[1]);
        closefrom(STDERR_FILENO + 1);
        line_out_again();
        print_line("line", 1);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_uint_eq(count_lines(read_all(fds[0])), 1);
}
END_TEST

/* A file gets all of it. */
START_TEST(file_loses_nothing)
{
    int status;
    FILE *file = tmpfile();
    pid_t child = fork();
    if (child == 0) {
        take_over(fileno(file));
        print_lines();
        _exit(0);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    rewind(file);
    ck_assert_uint_eq(count_lines(read_all(fileno(file))), LINES);
    fclose(file);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("line_out");
    TCase *tcase = tcase_create("line_out");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, pipe_that_nobody_reads);
    tcase_add_test(tcase, socket_that_nobody_reads);
    tcase_add_test(tcase, terminal_that_nobody_reads);
    tcase_add_test(tcase, pipe_of_another_user);
    tcase_add_test(tcase, terminal_of_another_user);
    tcase_add_test(tcase, reader_that_has_gone);
    tcase_add_test(tcase, end_after_loss);
    tcase_add_test(tcase, descriptors_that_are_closed);
    tcase_add_test(tcase, file_loses_nothing);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
