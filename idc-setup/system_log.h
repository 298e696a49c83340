/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * system_log.h - lines for the system's log (/dev/log), with a limit of time.
 *
 * syslog(3) waits as long as the log takes nothing. A log that stands still must not stop those who
 * change permissions. And whoever floods the log must not easily get rid of a line either. So a
 * program waits for the log a little, and a service waits for nobody. Lines that are lost are
 * counted, and the next one that is taken says so. Where there is no log at all, nothing is lost.
 */
#ifndef IDC_SETUP_SYSTEM_LOG_H
#define IDC_SETUP_SYSTEM_LOG_H

#include <stdbool.h>

/* priority: with its facility, as in syslog.h. text: one line. False: it is lost. wait_ms: the most
 * that the process waits for the log, until it takes something again. */
bool system_log_put(int priority, const char *text, int wait_ms);

/* Its socket; a test sets another one. */
extern const char *system_log_path;

#endif
