/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Texts that people read are whole: the longest of each kind; and what has no room shows it. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/connecting.h"
#include "common/text_cut.h"
#include "libidc/internal.h"
#include "link_mgr/base/log.h"
#include "link_mgr/core/reason.h"
#include "tests/unit/suite.h"

#define NAME_5 "a.bcdefghijklmno"
#define NAME NAME_5 NAME_5 NAME_5 NAME_5 "a.bcdefghijklmn"

/* What a program is told of a connect that did not wait and that failed so. */
static void text_told(const char *why, char text[CONNECTING_WHY_MAX])
{
    int pair[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    ck_assert_int_eq(connecting_fail(pair[1], ENOBUFS, why), 0);
    close(pair[1]);
    ck_assert_int_eq(connecting_outcome(pair[0], text), -ENOBUFS);
    close(pair[0]);
}

START_TEST(reason_of_a_connect_is_whole)
{
    char why[512], text[CONNECTING_WHY_MAX];
    const char *reason = reason_text((enum reason)_i);
    ck_assert_uint_eq(strlen(NAME), IDC_SERVICE_MAX);
    snprintf(why, sizeof(why), "domain 32751, service %s: %s", NAME, reason);
    text_told(why, text);
    ck_assert_str_eq(text, reason);
    text_told(reason, text);
    ck_assert_str_eq(text, reason);
    text_told("domain 2, port 80: short", text);
    ck_assert_str_eq(text, "domain 2, port 80: short");
}
END_TEST

START_TEST(what_was_cut_shows_it)
{
    char why[400], text[CONNECTING_WHY_MAX], small[8];
    memset(why, 'x', sizeof(why) - 1);
    why[sizeof(why) - 1] = '\0';
    text_told(why, text);
    ck_assert_uint_eq(strlen(text), CONNECTING_WHY_MAX - 1);
    ck_assert_str_eq(text + strlen(text) - 4, "x...");
    text_mark_cut(small, sizeof(small), snprintf(small, sizeof(small), "%s", "1234567"));
    ck_assert_str_eq(small, "1234567");
    text_mark_cut(small, sizeof(small), snprintf(small, sizeof(small), "%s", why));
    ck_assert_str_eq(small, "xxxx...");
}
END_TEST

/* As much as a document of link_mgr can hold. */
START_TEST(libidc_text)
{
    char text[3000];
    memset(text, 'y', sizeof(text));
    text[COMPACT_MAX] = '\0';
    libidc_fail(EIO, "%s", text);
    ck_assert_str_eq(idc_last_error(), text);
    text[COMPACT_MAX] = 'y';
    text[sizeof(text) - 1] = '\0';
    libidc_fail(EIO, "%s", text);
    ck_assert_str_eq(idc_last_error() + strlen(idc_last_error()) - 4, "y...");
}
END_TEST

/* A line about two paths of the longest kind. */
START_TEST(log_line_is_whole)
{
    char path[3900], said[9000] = "";
    int pipe_fds[2], before = dup(STDERR_FILENO);
    memset(path, 'p', sizeof(path) - 1);
    path[sizeof(path) - 1] = '\0';
    ck_assert_int_eq(pipe(pipe_fds), 0);
    dup2(pipe_fds[1], STDERR_FILENO);
    log_line(LOG_ERR, "%s and %s: the end", path, path);
    dup2(before, STDERR_FILENO);
    ssize_t len = read(pipe_fds[0], said, sizeof(said) - 1);
    ck_assert_int_gt(len, 2 * (ssize_t)sizeof(path));
    ck_assert_str_eq(said + len - strlen(": the end\n"), ": the end\n");
    close(before);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("texts");
    TCase *tests = tcase_create("all");
    tcase_add_loop_test(tests, reason_of_a_connect_is_whole, 0, REASON_COUNT);
    tcase_add_test(tests, what_was_cut_shows_it);
    tcase_add_test(tests, libidc_text);
    tcase_add_test(tests, log_line_is_whole);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
