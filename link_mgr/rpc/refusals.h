/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * refusals.h - why connects that do not wait have failed, for idc.reason.
 *
 * The name of a failed far end has little room for that (common/connecting.h). What has none is
 * kept here under the number in the name. There are places for the latest ones, whoever made them.
 * So a user who is refused all the time can take them from the others, who then have the cut text.
 */
#ifndef IDC_RPC_REFUSALS_H
#define IDC_RPC_REFUSALS_H

#include <stdint.h>

#include "link_mgr/hub/hub.h"

#define REFUSALS_MAX 32

struct rpc_refusal {
    uint64_t number; /* 0: the place is free */
    uint32_t uid;
    int error; /* an errno */
    char why[HUB_WHY_MAX];
};

struct rpc_refusals {
    struct rpc_refusal places[REFUSALS_MAX];
    unsigned next;
};

/* far_end was named by connecting_fail. What it tells whole is not kept. */
void rpc_refusals_note(struct rpc_refusals *refusals, int far_end, uint32_t uid, int error,
                       const char *why);
/* NULL: it is not known, or not any more. */
const struct rpc_refusal *rpc_refusals_find(const struct rpc_refusals *refusals, uint64_t number);

#endif
