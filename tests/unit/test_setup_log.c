/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_setup_log.c - what idc-setup tells the system's log about changes of rules. The log is the
 * test, and so is what is different between two sets of rules.
 */
#include <check.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>

#include "idc-setup/fail.h"
#include "tests/unit/suite.h"

static char said[1 << 20];
static unsigned told_lines;

static bool takes; /* the log does */

static bool fake_log(int priority, const char *text, int wait_ms)
{
    size_t at = strlen(said);
    ck_assert_int_eq(priority, LOG_AUTHPRIV | LOG_NOTICE);
    ck_assert_int_eq(wait_ms, 1000);
    if (!takes)
        return false;
    snprintf(said + at, sizeof(said) - at, "%s|", text);
    told_lines++;
    return true;
}

static unsigned notes;

void setup_note(const char *text)
{
    ck_assert_ptr_nonnull(strstr(text, "log"));
    notes++;
}

/* idc-setup is in no library. */
#define system_log_put fake_log
#include "idc-setup/policy_log.c" /* NOLINT(bugprone-suspicious-include) */
#undef system_log_put

const struct setup_store_ops setup_store_local = {.name = "local"};
static const struct setup_store_ops xen = {.name = "xen"};
static const struct setup_store on_xen = {.ops = &xen}, on_local = {.ops = &setup_store_local};
static unsigned different; /* rules */

int policy_diff(FILE *out, const struct ruleset *before, const struct ruleset *after)
{
    (void)before, (void)after;
    for (unsigned i = 1; i <= different; i++)
        fprintf(out, "+ /etc/idc/policy:%u: allow web db %u\n", i, i);
    return (int)different;
}

static void log_begin(void)
{
    said[0] = '\0';
    told_lines = different = notes = 0;
    takes = true;
}

static void expect_end(const char *end)
{
    size_t length = strlen(said);
    ck_assert_msg(length >= strlen(end) && strcmp(said + length - strlen(end), end) == 0, "%s",
                  said);
}

START_TEST(who_and_what)
{
    char who[32];
    policy_log(&on_xen, "allow %s db 80", "web");
    snprintf(who, sizeof(who), "uid %u", (unsigned)getuid());
    ck_assert_msg(strncmp(said, who, strlen(who)) == 0, "%s", said);
    expect_end(": allow web db 80|");
}
END_TEST

START_TEST(no_byte_begins_a_line)
{
    policy_log(&on_xen, "%s", "allow web db 80 note=\"\n<0>\x1b[2J\x7f\"");
    expect_end(": allow web db 80 note=\"\\x0a<0>\\x1b[2J\\x7f\"|");
    ck_assert_uint_eq(told_lines, 1);
}
END_TEST

START_TEST(a_long_line_is_cut)
{
    static char endless[100000];
    memset(endless, 'x', sizeof(endless) - 1);
    policy_log(&on_xen, "%s", endless);
    expect_end("xxx...|");
    ck_assert_uint_lt(strlen(said), POLICY_LOG_MAX + 64);
}
END_TEST

START_TEST(each_changed_rule)
{
    different = 2;
    policy_log_changes(&on_xen, NULL, NULL);
    ck_assert_uint_eq(told_lines, 2);
    ck_assert_ptr_nonnull(strstr(said, ": + /etc/idc/policy:1: allow web db 1|"));
    expect_end(": + /etc/idc/policy:2: allow web db 2|");
}
END_TEST

START_TEST(very_many_changed_rules)
{
    different = POLICY_LOG_LINES + 7;
    policy_log_changes(&on_xen, NULL, NULL);
    ck_assert_uint_eq(told_lines, POLICY_LOG_LINES + 1);
    expect_end(": 7 more changes of rules|");
}
END_TEST

START_TEST(tries_are_not_logged)
{
    different = 2;
    policy_log(&on_local, "allow web db 80");
    policy_log_changes(&on_local, NULL, NULL);
    ck_assert_uint_eq(told_lines, 0);
}
END_TEST

/* Whoever has changed something learns of it, once. */
START_TEST(log_that_takes_nothing)
{
    takes = false;
    policy_log(&on_xen, "allow web db 80");
    policy_log(&on_xen, "allow web db 81");
    ck_assert_uint_eq(notes, 1);
    takes = true;
    policy_log(&on_xen, "allow web db 82");
    takes = false;
    policy_log(&on_xen, "allow web db 83");
    ck_assert_uint_eq(notes, 2);
    expect_end(": allow web db 82|");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("setup_log");
    TCase *tests = tcase_create("setup_log");
    tcase_add_checked_fixture(tests, log_begin, NULL);
    tcase_add_test(tests, who_and_what);
    tcase_add_test(tests, no_byte_begins_a_line);
    tcase_add_test(tests, a_long_line_is_cut);
    tcase_add_test(tests, each_changed_rule);
    tcase_add_test(tests, very_many_changed_rules);
    tcase_add_test(tests, tries_are_not_logged);
    tcase_add_test(tests, log_that_takes_nothing);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
