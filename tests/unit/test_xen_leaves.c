/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the xen platform remembers of Xenstore, and which changes it reports. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "link_mgr/platform/xen/leaves.h"
#include "tests/unit/suite.h"

#define BASE "/local/domain/5/data/idc/2"

static struct leaves leaves;
static struct store_event event;

static void xen_leaves_setup(void)
{
    xen_leaves_init(&leaves);
}

static void xen_leaves_teardown(void)
{
    xen_leaves_clear(&leaves);
    ck_assert_uint_eq(leaves.count, 0);
}

static void note_found(const char *path, const char *value)
{
    ck_assert_int_eq(xen_leaves_found(&leaves, path, value), 0);
}

static void xen_leaves_expect(const char *path, const char *value)
{
    ck_assert(xen_leaves_next(&leaves, &event));
    ck_assert_str_eq(event.path, path);
    ck_assert_int_eq(event.present, value != NULL);
    ck_assert_str_eq(event.value, value ? value : "");
}

static void expect_nothing(void)
{
    ck_assert(!xen_leaves_next(&leaves, &event));
}

START_TEST(below)
{
    ck_assert(xen_leaves_is_below("/a/b", "/a/b"));
    ck_assert(xen_leaves_is_below("/a/b/c", "/a/b"));
    ck_assert(!xen_leaves_is_below("/a/bc", "/a/b"));
    ck_assert(!xen_leaves_is_below("/a", "/a/b"));
}
END_TEST

START_TEST(told_once)
{
    xen_leaves_begin(&leaves, BASE);
    note_found(BASE "/alive", "1");
    note_found(BASE "/offer", "2");
    xen_leaves_end(&leaves, BASE);
    xen_leaves_expect(BASE "/alive", "1");
    xen_leaves_expect(BASE "/offer", "2");
    expect_nothing();
    xen_leaves_begin(&leaves, BASE);
    note_found(BASE "/alive", "1");
    note_found(BASE "/offer", "3");
    xen_leaves_end(&leaves, BASE);
    xen_leaves_expect(BASE "/offer", "3");
    expect_nothing();
}
END_TEST

START_TEST(gone)
{
    xen_leaves_begin(&leaves, BASE);
    note_found(BASE "/alive", "1");
    note_found(BASE "/link/ring-ref", "8");
    note_found(BASE "/linked", "x");
    xen_leaves_end(&leaves, BASE);
    while (xen_leaves_next(&leaves, &event))
        ;
    /* Only the part that was looked at can be gone. */
    xen_leaves_begin(&leaves, BASE "/link");
    xen_leaves_end(&leaves, BASE "/link");
    xen_leaves_expect(BASE "/link/ring-ref", NULL);
    expect_nothing();
    xen_leaves_begin(&leaves, BASE);
    xen_leaves_end(&leaves, BASE);
    xen_leaves_expect(BASE "/alive", NULL);
    xen_leaves_expect(BASE "/linked", NULL);
    expect_nothing();
    ck_assert_uint_eq(leaves.count, 0);
}
END_TEST

START_TEST(comes_again_before_it_is_told)
{
    note_found(BASE "/alive", "1");
    xen_leaves_expect(BASE "/alive", "1");
    xen_leaves_begin(&leaves, BASE);
    xen_leaves_end(&leaves, BASE);
    xen_leaves_begin(&leaves, BASE);
    note_found(BASE "/alive", "2");
    xen_leaves_end(&leaves, BASE);
    xen_leaves_expect(BASE "/alive", "2");
    expect_nothing();
}
END_TEST

START_TEST(never_told_and_gone)
{
    note_found(BASE "/alive", "1");
    xen_leaves_begin(&leaves, BASE);
    xen_leaves_end(&leaves, BASE);
    xen_leaves_expect(BASE "/alive", NULL);
    expect_nothing();
}
END_TEST

START_TEST(nothing_there)
{
    xen_leaves_begin(&leaves, BASE);
    xen_leaves_end(&leaves, BASE);
    ck_assert_int_eq(xen_leaves_tell_none(&leaves, BASE), 0);
    ck_assert_int_eq(xen_leaves_tell_none(&leaves, BASE), 0);
    xen_leaves_expect(BASE, NULL);
    expect_nothing();
    note_found(BASE "/alive", "1");
    ck_assert_int_eq(xen_leaves_tell_none(&leaves, BASE), 0);
    xen_leaves_expect(BASE "/alive", "1");
    expect_nothing();
}
END_TEST

START_TEST(limits)
{
    char path[PLATFORM_PATH_MAX + 2], *value = malloc(PLATFORM_VALUE_MAX + 2);
    memset(path, 'a', sizeof(path) - 1);
    path[0] = '/';
    path[sizeof(path) - 1] = '\0';
    ck_assert_int_eq(xen_leaves_found(&leaves, path, "1"), -EMSGSIZE);
    path[PLATFORM_PATH_MAX] = '\0';
    memset(value, 'v', PLATFORM_VALUE_MAX + 1);
    value[PLATFORM_VALUE_MAX + 1] = '\0';
    ck_assert_int_eq(xen_leaves_found(&leaves, path, value), -EMSGSIZE);
    value[PLATFORM_VALUE_MAX] = '\0';
    note_found(path, value);
    xen_leaves_expect(path, value);
    for (unsigned i = 1; i < LEAVES_MAX; i++) {
        snprintf(path, sizeof(path), BASE "/%u", i);
        note_found(path, "x");
    }
    ck_assert_int_eq(xen_leaves_found(&leaves, BASE "/more", "x"), -E2BIG);
    note_found(BASE "/1", "y");
    free(value);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("xen_leaves");
    TCase *tests = tcase_create("leaves");
    tcase_add_checked_fixture(tests, xen_leaves_setup, xen_leaves_teardown);
    tcase_add_test(tests, below);
    tcase_add_test(tests, told_once);
    tcase_add_test(tests, gone);
    tcase_add_test(tests, comes_again_before_it_is_told);
    tcase_add_test(tests, never_told_and_gone);
    tcase_add_test(tests, nothing_there);
    tcase_add_test(tests, limits);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
