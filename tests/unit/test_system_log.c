/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_system_log.c - a system's log that stands still stops nobody, and learns later what it has
 * missed. The log is a socket of the test. Who waits for it runs into the test's time limit. */
#include <check.h>
#include <syslog.h>

#include "tests/unit/suite.h"

/* idc-setup is in no library. */
#include "idc-setup/system_log.c" /* NOLINT(bugprone-suspicious-include) */

#define LINES 5000 /* more than any queue of datagrams, or a stream's buffer, has room for */
#define PRIORITY (LOG_AUTHPRIV | LOG_NOTICE)

static char path[64];
static int server;

static void log_begin(int type)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(path, sizeof(path), "/tmp/idc-system-log.%d", (int)getpid());
    strcpy(address.sun_path, path);
    system_log_path = path;
    server = socket(AF_UNIX, type | SOCK_NONBLOCK, 0);
    ck_assert_int_eq(bind(server, (struct sockaddr *)&address, sizeof(address)), 0);
    lost = 0;
    waited = false;
}

static void log_end(void)
{
    close(server);
    unlink(path);
}

static void log_receive(char line[SYSTEM_LOG_MAX])
{
    ssize_t got = recv(server, line, SYSTEM_LOG_MAX - 1, 0);
    line[got > 0 ? got : 0] = '\0';
}

static void expect_line(const char *text)
{
    char line[SYSTEM_LOG_MAX], form[64];
    log_receive(line);
    snprintf(form, sizeof(form), "<%d>", PRIORITY);
    ck_assert_msg(strncmp(line, form, strlen(form)) == 0, "%s", line);
    snprintf(form, sizeof(form), " idc-setup[%d]: ", (int)getpid());
    const char *said = strstr(line, form);
    ck_assert_msg(said != NULL && strcmp(said + strlen(form), text) == 0, "%s", line);
}

START_TEST(a_line)
{
    log_begin(SOCK_DGRAM);
    ck_assert(system_log_put(PRIORITY, "allow web db", 0));
    expect_line("allow web db");
    log_end();
}
END_TEST

START_TEST(log_that_stands_still)
{
    char line[SYSTEM_LOG_MAX], told[64];
    unsigned taken = 0;
    log_begin(SOCK_DGRAM);
    for (unsigned i = 0; i < LINES; i++)
        taken += system_log_put(PRIORITY, "a line", 1);
    ck_assert_uint_gt(taken, 0);
    ck_assert_uint_lt(taken, LINES);
    for (unsigned i = 0; i < taken; i++)
        log_receive(line);
    ck_assert(system_log_put(PRIORITY, "and on", 0));
    snprintf(told, sizeof(told), "lines were lost: %u", LINES - taken);
    expect_line(told);
    expect_line("and on");
    ck_assert(system_log_put(PRIORITY, "as before", 0));
    expect_line("as before");
    log_end();
}
END_TEST

START_TEST(log_that_is_not_there)
{
    system_log_path = "/tmp/idc-no-such-log";
    ck_assert(system_log_put(PRIORITY, "a line", 0)); /* nothing is lost */
}
END_TEST

START_TEST(log_of_a_stream)
{
    char line[SYSTEM_LOG_MAX];
    log_begin(SOCK_STREAM);
    ck_assert_int_eq(listen(server, 5), 0);
    ck_assert(system_log_put(PRIORITY, "a line", 0));
    int fd = accept(server, NULL, NULL);
    ssize_t got = recv(fd, line, sizeof(line), 0);
    ck_assert_int_gt(got, 0);
    ck_assert_int_eq(line[got - 1], '\0');
    ck_assert_ptr_nonnull(strstr(line, ": a line"));
    close(fd);
    log_end();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("system_log");
    TCase *tests = tcase_create("system_log");
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, a_line);
    tcase_add_test(tests, log_that_stands_still);
    tcase_add_test(tests, log_that_is_not_there);
    tcase_add_test(tests, log_of_a_stream);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
