/* SPDX-License-Identifier: GPL-2.0-or-later */
/* rpc_argument.h - what idc rpc is told on its command line, as a call of XML-RPC. */
#ifndef IDC_TOOLS_RPC_ARGUMENT_H
#define IDC_TOOLS_RPC_ARGUMENT_H

#include <xmlrpc-c/base.h>

#include "tools/command.h"

struct rpc_argument {
    char method[80];       /* its whole name: idc. is added to one that has no dot */
    xmlrpc_value *params;  /* a reference */
    xmlrpc_value *members; /* ... its struct; NULL: system.* takes texts */
};

/* Reads METHOD and what follows it. 0, or the exit status: then a line on stderr says what is
 * wrong. */
int rpc_argument_read(const struct command *command, int count, char **words,
                      struct rpc_argument *argument);
void rpc_argument_end(struct rpc_argument *argument);
/* The document of the call. NULL: a line was printed. */
xmlrpc_mem_block *rpc_argument_document(const struct command *command,
                                        const struct rpc_argument *argument);
/* Changes data to the part of bytes from `at` on, and at most `most` bytes of it. The end of the
 * stream, if it was asked for, stays with the last part. */
void rpc_argument_part(struct rpc_argument *argument, const unsigned char *bytes, size_t len,
                       size_t at, size_t most, bool end);

#endif
