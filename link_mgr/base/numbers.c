/* SPDX-License-Identifier: GPL-2.0-or-later */
/* numbers.c - see numbers.h. */
#include "link_mgr/base/numbers.h"

#include <limits.h>
#include <poll.h>
#include <sys/resource.h>

#define QUESTIONS 64 /* until the kernel is asked about the whole reserve */

static struct {
    int line; /* the lowest number of the reserve; 0: there is none */
    bool scarce;
    unsigned questions; /* since numbers were found scarce, or the kernel was asked */
} numbers = {.scarce = true};

void numbers_begin(void)
{
    struct rlimit limit;
    bool many = getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur >= 4 * NUMBERS_RESERVE &&
                limit.rlim_cur <= INT_MAX;
    numbers.line = many ? (int)limit.rlim_cur - NUMBERS_RESERVE : 0;
    numbers.scarce = !many;
}

void numbers_note(int fd)
{
    if (fd < numbers.line || fd < 0)
        return;
    numbers.scarce = true;
    numbers.questions = 0;
}

void numbers_lack(void)
{
    numbers_begin();
    numbers.scarce = true;
    numbers.questions = 0;
}

/* poll marks what is not open. */
static bool numbers_reserve_is_free(void)
{
    struct pollfd reserve[NUMBERS_RESERVE];
    for (int i = 0; i < NUMBERS_RESERVE; i++)
        reserve[i] = (struct pollfd){.fd = numbers.line + i};
    if (poll(reserve, NUMBERS_RESERVE, 0) != NUMBERS_RESERVE)
        return false;
    for (int i = 0; i < NUMBERS_RESERVE; i++)
        if (!(reserve[i].revents & POLLNVAL))
            return false;
    return true;
}

bool numbers_are_scarce(void)
{
    if (numbers.scarce && numbers.line > 0 && ++numbers.questions >= QUESTIONS) {
        numbers.questions = 0;
        numbers.scarce = !numbers_reserve_is_free();
    }
    return numbers.scarce;
}
