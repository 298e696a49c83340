/* SPDX-License-Identifier: GPL-2.0-or-later */
/* text.h - texts of the RPC server. */
#ifndef IDC_RPC_TEXT_H
#define IDC_RPC_TEXT_H

#include <stddef.h>

#include "common/shown.h"

/* Why a call fails when RPC_MEMORY_MAX is reached. */
#define RPC_NO_ROOM "too much data is under way; try again later"

/* Why idc.recv fails on a handle that is lost (delivery.h). */
#define RPC_LOST "data were lost: a client that had asked for them went away before it had them"

#define RPC_QUOTE_SIZE 65 /* of what a message quotes */

/* What a client said, for a message: its beginning. A NUL among the bytes does not end it. */
static inline const char *rpc_quote(const char *bytes, size_t len, char out[RPC_QUOTE_SIZE])
{
    shown_text(out, RPC_QUOTE_SIZE, bytes, len, SHOWN_ASCII);
    return out;
}

#endif
