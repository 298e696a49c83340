/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* log_limit.h - the account by which the log limits lines that others can cause. */
#ifndef IDC_LOG_LIMIT_H
#define IDC_LOG_LIMIT_H

#include <stdint.h>

/* The log's account of the lines that it got lately about one thing. It is zeroed at first. */
struct log_limit {
    uint64_t window_ms;
    unsigned passed, held;
};

#endif
