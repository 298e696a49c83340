/* SPDX-License-Identifier: GPL-2.0-or-later */
/* descriptor.h - descriptors that come with calls, and go with answers. */
#ifndef IDC_RPC_DESCRIPTOR_H
#define IDC_RPC_DESCRIPTOR_H

#include "link_mgr/rpc/value.h"

/* Member "fd": does the client want the descriptor itself? Refused where no descriptor can
 * travel. */
bool rpc_params_want_fd(struct rpc_params *params);
/* Takes descriptor number `at` out of the call, to close it or pass it on. -1: there is none. */
int rpc_take_fd(struct rpc_call *call, int at);
/* Is fd an end of a nameless AF_UNIX socket pair of the type? */
bool rpc_is_fitting_end(int fd, enum idc_type type);

#endif
