/* SPDX-License-Identifier: GPL-2.0-or-later */
/* descriptor.h - descriptors that come with calls, and go with answers. */
#ifndef IDC_RPC_DESCRIPTOR_H
#define IDC_RPC_DESCRIPTOR_H

#include "link_mgr/rpc/value.h"

/* Member "fd": whether the client wants the descriptor itself; refused where none can travel. */
bool rpc_params_want_fd(struct rpc_params *params);
/* The call takes its descriptor number `at` (-1: there is none), to close it or pass it on. */
int rpc_take_fd(struct rpc_call *call, int at);
/* Is fd an end of a nameless AF_UNIX socket pair of the type? */
bool rpc_is_fitting_end(int fd, enum idc_type type);

#endif
