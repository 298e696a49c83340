/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * rpc_http.h - one call of link_mgr over a connection of its own, as any client of XML-RPC makes
 * it. libidc's connections carry no more than 1 MiB in a call, and no client but libidc has them.
 */
#ifndef IDC_TOOLS_RPC_HTTP_H
#define IDC_TOOLS_RPC_HTTP_H

#include <stddef.h>

/* The body of the answer to a POST, malloced, and its length. It waits as long as link_mgr does,
 * unless that hangs. NULL: errno and idc_last_error say why. The connection closes when all of the
 * answer was read, and not sooner, so link_mgr knows that it was. */
char *rpc_http_post(const char *path, const void *body, size_t len, size_t *answer_len);

#endif
