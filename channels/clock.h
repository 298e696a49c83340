/* SPDX-License-Identifier: GPL-2.0-or-later */
/* clock.h - the clock of the channels. It does not go backwards, whoever sets the machine's. */
#ifndef IDC_CHANNELS_CLOCK_H
#define IDC_CHANNELS_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Milliseconds since some moment. */
static inline int64_t channels_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

#endif
