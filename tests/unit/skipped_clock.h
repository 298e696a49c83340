/* SPDX-License-Identifier: GPL-2.0-or-later */
/* skipped_clock.h - a clock that only a test puts forward, for libevent too: CLOCK_MONOTONIC stands
 * still otherwise, so that nothing depends on how fast the machine is. To be included by one file
 * of a test program. */
#ifndef IDC_SKIPPED_CLOCK_H
#define IDC_SKIPPED_CLOCK_H

#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static int64_t skipped_ms;

/* Stands before the C library's. */
int clock_gettime(clockid_t id, struct timespec *tp)
{
    static struct timespec begun;
    if (id != CLOCK_MONOTONIC && id != CLOCK_MONOTONIC_COARSE)
        return (int)syscall(SYS_clock_gettime, id, tp);
    if (begun.tv_sec == 0)
        syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &begun);
    int64_t ns = begun.tv_nsec + skipped_ms % 1000 * 1000000;
    tp->tv_sec = begun.tv_sec + skipped_ms / 1000 + ns / 1000000000;
    tp->tv_nsec = ns % 1000000000;
    return 0;
}

#endif
