/* SPDX-License-Identifier: GPL-2.0-or-later */
/* status_watch.h - idc status --watch: the tables of idc status, again and again. */
#ifndef IDC_TOOLS_STATUS_WATCH_H
#define IDC_TOOLS_STATUS_WATCH_H

#include <stdbool.h>
#include <stdint.h>

/* Until a signal, the key q, or an output that can't be written. Returns the exit status. */
int status_watch(uint32_t interval_ms, uint32_t timeout_ms, bool connections);

#endif
