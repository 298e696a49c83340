/* SPDX-License-Identifier: GPL-2.0-or-later */
/* metrics.h - the answer of idc.status in Prometheus' text format. docs/idc.1.md names them. */
#ifndef IDC_TOOLS_METRICS_H
#define IDC_TOOLS_METRICS_H

#include <stdint.h>
#include <stdio.h>
#include <xmlrpc-c/base.h>

#include "tools/command.h"

/* status: NULL if link_mgr did not answer. Then all that is told is that it is not up. */
void metrics_write(FILE *out, xmlrpc_value *status);

/* Serves GET /metrics on unix:PATH or tcp:ADDRESS:PORT, until SIGTERM or SIGINT. Returns the exit
 * status. timeout_ms: for link_mgr's answers. */
int metrics_serve(const struct command *command, const char *listen, uint32_t timeout_ms);

#endif
