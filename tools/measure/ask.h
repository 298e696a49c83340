/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ask.h - what link_mgr says about itself (docs/rpc.md, idc.status), for programs that are linked
 * with all of libidc. */
#ifndef IDC_MEASURE_ASK_H
#define IDC_MEASURE_ASK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <xmlrpc-c/base.h>

/* A link_mgr that runs answers at once; this limit is for one that hangs. */
#define ASK_TIMEOUT_MS 5000

/* The answer of the link_mgr at path, all pages of it, as a reference for the caller. wait_ms is
 * for each page. NULL: errno and idc_last_error() say why. */
xmlrpc_value *ask_status(const char *path, bool detail, int wait_ms);

/* A member of a struct. text: copies at most size - 1 bytes. */
int64_t ask_int(xmlrpc_value *result, const char *name, int64_t fallback);
void ask_text(xmlrpc_value *result, const char *name, char *out, size_t size);

#endif
