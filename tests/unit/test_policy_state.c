/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The directory in which idc-setup keeps what is in force (on Xen): who else can get at it. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "idc-setup/policy_state.h"
#include "tests/unit/suite.h"

static char directory[] = "/tmp/idc-test-XXXXXX";

static void state_begin(void)
{
    ck_assert_ptr_nonnull(mkdtemp(directory));
    ck_assert_int_eq(rmdir(directory), 0);
}

static void state_finish(void)
{
    rmdir(directory);
    unlink(directory);
}

static void check_mode(mode_t expected)
{
    struct stat status;
    ck_assert_int_eq(lstat(directory, &status), 0);
    ck_assert_uint_eq(status.st_mode & 07777, expected);
}

START_TEST(state_is_made)
{
    ck_assert_int_eq(policy_state_check_directory(directory, false), 0);
    ck_assert_int_eq(access(directory, F_OK), -1);
    umask(0);
    ck_assert_int_eq(policy_state_check_directory(directory, true), 0);
    check_mode(0700);
}
END_TEST

/* Whoever can open it can hold its lock. */
START_TEST(state_is_closed_to_others)
{
    ck_assert_int_eq(mkdir(directory, 0755), 0);
    ck_assert_int_eq(chmod(directory, 0755), 0);
    ck_assert_int_eq(policy_state_check_directory(directory, true), 0);
    check_mode(0700);
}
END_TEST

START_TEST(state_of_others)
{
    ck_assert_int_eq(mkdir(directory, 0700), 0);
    ck_assert_int_eq(chmod(directory, 0770), 0);
    ck_assert_int_ne(policy_state_check_directory(directory, true), 0);
    check_mode(0770);
    ck_assert_int_eq(rmdir(directory), 0);
    ck_assert_int_eq(symlink("/", directory), 0);
    ck_assert_int_ne(policy_state_check_directory(directory, true), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("policy_state");
    TCase *tests = tcase_create("policy_state");
    tcase_add_checked_fixture(tests, state_begin, state_finish);
    tcase_add_test(tests, state_is_made);
    tcase_add_test(tests, state_is_closed_to_others);
    tcase_add_test(tests, state_of_others);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
