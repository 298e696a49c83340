/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Why a connection was cut off, in words (channels/cut_off.h), and how often link_mgr is asked for
 * them. The clock and link_mgr are played here. */
#include "channels/cut_off.h"

#include <errno.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "libidc/internal.h"
#include "tests/unit/suite.h"

#define IDC_FD 100
#define OTHER_FD 101

static int64_t played_ms = -1; /* -1: the clock is the system's */
static int answer = EACCES, answer_takes_ms;
static unsigned asks;
static char text[CUT_OFF_TEXT_MAX];

/* In place of the C library's. */
int clock_gettime(clockid_t id, struct timespec *tp)
{
    if (played_ms < 0)
        return (int)syscall(SYS_clock_gettime, id, tp);
    *tp = (struct timespec){played_ms / 1000, played_ms % 1000 * 1000000};
    return 0;
}

/* In place of libidc's. */
bool libidc_is_connection(int fd)
{
    return fd == IDC_FD;
}

int libidc_reason(int fd, char *why, size_t size)
{
    ck_assert_int_eq(fd, IDC_FD);
    asks++;
    played_ms += answer_takes_ms;
    snprintf(why, size, "%s", answer > 0 ? "it was withdrawn" : "");
    return answer;
}

/* True: in link_mgr's words. */
static bool ask_at(int64_t ms)
{
    played_ms = ms;
    cut_off_text(IDC_FD, ECONNRESET, text);
    played_ms = -1;
    return strcmp(text, "it was withdrawn") == 0;
}

START_TEST(only_of_idc)
{
    cut_off_text(OTHER_FD, ECONNRESET, text);
    ck_assert_str_eq(text, "Connection reset by peer");
    cut_off_text(-1, ECONNRESET, text);
    ck_assert_str_eq(text, "Connection reset by peer");
    cut_off_text(OTHER_FD, EPIPE, text);
    ck_assert_ptr_nonnull(strstr(text, "takes no more"));
    cut_off_text(IDC_FD, ENOMEM, text);
    ck_assert_str_eq(text, "Cannot allocate memory");
    ck_assert_uint_eq(asks, 0);
    cut_off_text(IDC_FD, EPIPE, text);
    ck_assert_str_eq(text, "it was withdrawn");
}
END_TEST

START_TEST(no_answer)
{
    answer = LIBIDC_NOT_KNOWN;
    cut_off_text(IDC_FD, ECONNRESET, text);
    ck_assert_str_eq(text, "Connection reset by peer: the connection's link_mgr has ended, or does "
                           "not answer");
    cut_off_text(IDC_FD, EPIPE, text);
    ck_assert_ptr_nonnull(strstr(text, "takes no more"));
    answer = 0; /* it ended cleanly, as far as link_mgr knows */
    cut_off_text(IDC_FD, ECONNRESET, text);
    ck_assert_str_eq(text, "Connection reset by peer");
}
END_TEST

START_TEST(ten_in_a_second)
{
    for (int64_t ms = 0; ms < 5000; ms++)
        ck_assert_msg(ask_at(1000000 + ms) == (ms % 1000 < 10), "after %d ms: %s", (int)ms, text);
    ck_assert_uint_eq(asks, 50);
}
END_TEST

START_TEST(not_while_it_is_slow)
{
    answer_takes_ms = 1000;
    ck_assert(ask_at(1000000));
    answer_takes_ms = 0;
    ck_assert(!ask_at(1001000));
    ck_assert(!ask_at(1010999));
    ck_assert_uint_eq(asks, 1);
    ck_assert(ask_at(1011000));
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("cut_off");
    tcase_add_test(tests, only_of_idc);
    tcase_add_test(tests, no_answer);
    tcase_add_test(tests, ten_in_a_second);
    tcase_add_test(tests, not_while_it_is_slow);
    Suite *suite = suite_create("cut_off");
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
