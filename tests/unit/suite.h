/* SPDX-License-Identifier: GPL-2.0-or-later */
/* suite.h - how each unit test program ends: the suite is run, CK_VERBOSITY says how much is told.
 */
#ifndef IDC_TEST_SUITE_H
#define IDC_TEST_SUITE_H

#include <check.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Consumes suite. The exit status of the program: 0 if all tests passed. */
static inline int run_suite(Suite *suite)
{
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}

/* valgrind applies RLIMIT_NOFILE itself, after the kernel has made the file: the file then stays.
 */
static inline bool on_valgrind(void)
{
    const char *preload = getenv("LD_PRELOAD");
    return preload != NULL && strstr(preload, "vgpreload") != NULL;
}

#endif
