/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* log_limit.h - the account that keeps what others can cause from filling the log. */
#ifndef IDC_LOG_LIMIT_H
#define IDC_LOG_LIMIT_H

#include <stdint.h>

/* The log's account of the lines that it was given lately about one thing. Zeroed at first. */
struct log_limit {
    uint64_t window_ms;
    unsigned passed, held;
};

#endif
