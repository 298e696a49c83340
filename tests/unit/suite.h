/* SPDX-License-Identifier: GPL-2.0-or-later */
/* suite.h - how each unit test program ends: the suite is run, CK_VERBOSITY says how much is told.
 */
#ifndef IDC_TEST_SUITE_H
#define IDC_TEST_SUITE_H

#include <check.h>

/* Consumes suite. The exit status of the program: 0 if all tests passed. */
static inline int run_suite(Suite *suite)
{
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}

#endif
