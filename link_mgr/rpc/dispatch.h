/* SPDX-License-Identifier: GPL-2.0-or-later */
/* dispatch.h - from a call's document to its method. */
#ifndef IDC_RPC_DISPATCH_H
#define IDC_RPC_DISPATCH_H

#include "link_mgr/rpc/call.h"

/* Makes the registry, with all methods of the table (methods.h). NULL: no memory. */
xmlrpc_registry *rpc_registry_new(struct rpc_server *server);
/* Carries the call in the document out. The session's transport gets the answer, now or later. */
void rpc_dispatch(struct rpc_call *call, const char *document, size_t len);

#endif
