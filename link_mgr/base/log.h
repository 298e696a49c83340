/* SPDX-License-Identifier: GPL-2.0-or-later */
/* log.h - the daemon's log: lines on stderr, limited where somebody else can cause them. */
#ifndef IDC_LOG_H
#define IDC_LOG_H

#include <syslog.h>

#include "common/log_limit.h"

/* One line to stderr (and the journal's priority prefix when stderr is the journal). Thread-safe.
 * Lines that a peer or a program can trigger are limited. In a second, 10 may pass for one peer
 * (log_limited_line with its limit) or for one call site (log_limited), and 100 for all together.
 * The next line that passes says how many were left out. No line waits for whoever reads stderr: if
 * there is no room for it, it is lost, and the next one says how many were. */
void log_line(int priority, const char *format, ...) __attribute__((format(printf, 2, 3)));
void log_set_verbose(int level);
/* Who says it, in front of each line; at first, link_mgr. It stays the caller's. */
void log_set_program(const char *name);
void log_limited_line(struct log_limit *limit, int priority, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
#define log_limited(priority, ...)                                  \
    do {                                                            \
        static struct log_limit log_limit_here;                     \
        log_limited_line(&log_limit_here, (priority), __VA_ARGS__); \
    } while (0)

#endif
