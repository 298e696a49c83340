/* SPDX-License-Identifier: GPL-2.0-or-later */
/* clock.h - the daemon's clock. */
#ifndef IDC_CLOCK_H
#define IDC_CLOCK_H

#include <stdint.h>

/* Monotonic milliseconds, good to a tick of the kernel (at most 10 ms). */
uint64_t clock_now_ms(void);
/* Milliseconds since 1970, as good. Somebody may set this clock. */
uint64_t clock_wall_ms(void);
/* Nanoseconds since 1970, as good as the kernel knows. */
uint64_t clock_wall_ns(void);

#endif
