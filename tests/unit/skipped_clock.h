/* SPDX-License-Identifier: GPL-2.0-or-later */
/* skipped_clock.h - a clock that a test can put forward, for libevent too. To be included by one
 * file of a test program. */
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
    int status = (int)syscall(SYS_clock_gettime, id, tp);
    int64_t ns = tp->tv_nsec + skipped_ms % 1000 * 1000000;
    tp->tv_sec += skipped_ms / 1000 + ns / 1000000000;
    tp->tv_nsec = ns % 1000000000;
    return status;
}

#endif
