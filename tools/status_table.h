/* SPDX-License-Identifier: GPL-2.0-or-later */
/* status_table.h - the answer of idc.status as tables for people. */
#ifndef IDC_TOOLS_STATUS_TABLE_H
#define IDC_TOOLS_STATUS_TABLE_H

#include <stdbool.h>
#include <stdio.h>
#include <xmlrpc-c/base.h>

/* No line is longer than width, which is 80 at least. */
void status_table(FILE *out, size_t width, xmlrpc_value *status, bool connections);

#endif
