/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Numbers for descriptors, and whether they are scarce (link_mgr/base/numbers.h). */
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "link_mgr/base/numbers.h"
#include "tests/unit/suite.h"

#define MANY (4 * NUMBERS_RESERVE)
#define LINE (MANY - NUMBERS_RESERVE)
#define QUESTIONS 1000 /* more than it takes until the kernel is asked */

static void set_limit(unsigned limit)
{
    const struct rlimit numbers = {limit, MANY};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &numbers), 0);
    numbers_begin();
}

static bool scarce_for_long(void)
{
    for (int i = 0; i < QUESTIONS; i++)
        if (!numbers_are_scarce())
            return false;
    return true;
}

START_TEST(before_it_begins)
{
    ck_assert(scarce_for_long());
    numbers_note(3);
    ck_assert(scarce_for_long());
}
END_TEST

START_TEST(few)
{
    set_limit(MANY - 1);
    ck_assert(scarce_for_long());
}
END_TEST

START_TEST(low_numbers)
{
    set_limit(MANY);
    numbers_note(-1);
    numbers_note(0);
    numbers_note(LINE - 1);
    ck_assert(!numbers_are_scarce());
}
END_TEST

/* They stay scarce as long as one number of the reserve is in use, whichever. */
START_TEST(reserve)
{
    static const int high[] = {LINE, LINE + 1, MANY - 1};
    set_limit(MANY);
    for (int i = 0; i < 3; i++) {
        int fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, high[i]);
        ck_assert_int_eq(fd, high[i]);
        ck_assert(!numbers_are_scarce());
        numbers_note(fd);
        ck_assert(scarce_for_long());
        close(fd);
        ck_assert(!scarce_for_long());
        ck_assert(!numbers_are_scarce());
    }
}
END_TEST

/* The kernel gives the lowest number, so the line is crossed before the reserve is used up. */
START_TEST(lowest_first)
{
    int fd = -1, first = -1, seen = 0;
    set_limit(MANY);
    while (!numbers_are_scarce()) {
        fd = dup(STDERR_FILENO);
        first = first < 0 ? fd : first;
        ck_assert_int_ge(fd, 0);
        numbers_note(fd);
        seen++;
    }
    ck_assert_int_eq(fd, LINE);
    while (dup(STDERR_FILENO) >= 0)
        seen--;
    ck_assert_int_ge(seen, MANY - 2 * NUMBERS_RESERVE - 100);
    ck_assert(scarce_for_long());
    for (int i = first; i < MANY; i++)
        close(i); /* a sanitizer needs some at the end */
}
END_TEST

/* The limit is lowered while the program runs. */
START_TEST(lowered)
{
    set_limit(MANY);
    ck_assert(!numbers_are_scarce());
    const struct rlimit lower = {NUMBERS_RESERVE, MANY};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &lower), 0);
    ck_assert(!numbers_are_scarce());
    numbers_lack();
    ck_assert(scarce_for_long());
    set_limit(MANY);
    numbers_lack();
    ck_assert(numbers_are_scarce());
    ck_assert(!scarce_for_long());
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("numbers");
    TCase *tcase = tcase_create("numbers");
    tcase_add_test(tcase, before_it_begins);
    tcase_add_test(tcase, few);
    tcase_add_test(tcase, low_numbers);
    tcase_add_test(tcase, reserve);
    tcase_add_test(tcase, lowest_first);
    tcase_add_test(tcase, lowered);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
