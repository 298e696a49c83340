/* SPDX-License-Identifier: GPL-2.0-or-later */
/* text.h - texts of the RPC server. */
#ifndef IDC_RPC_TEXT_H
#define IDC_RPC_TEXT_H

#include <stddef.h>

/* Why a call fails when RPC_MEMORY_MAX is reached. */
#define RPC_NO_ROOM "too much data is under way; try again later"

/* Why idc.recv fails on a handle that is lost (delivery.h). */
#define RPC_LOST "data were lost: a client that had asked for them went away before it had them"

/* Each byte that is not printable ASCII becomes '?', because texts may quote what a peer or a
 * client said. */
static inline void rpc_make_printable(char *text)
{
    for (; *text != '\0'; text++)
        if (*text < ' ' || *text > '~')
            *text = '?';
}

#define RPC_QUOTE_SIZE 65 /* of what a message quotes */

/* What a client said, for a message: its beginning, with '?' for what is not printable. A NUL among
 * the bytes does not end it. */
static inline const char *rpc_quote(const char *bytes, size_t len, char out[RPC_QUOTE_SIZE])
{
    size_t shown = len < RPC_QUOTE_SIZE - 1 ? len : RPC_QUOTE_SIZE - 1;
    for (size_t i = 0; i < shown; i++)
        out[i] = (char)(bytes[i] == '\0' ? '?' : bytes[i]);
    out[shown] = '\0';
    rpc_make_printable(out);
    return out;
}

#endif
