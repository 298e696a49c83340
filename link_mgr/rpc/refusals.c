/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "link_mgr/rpc/refusals.h"

#include <stdio.h>

#include "common/connecting.h"

void rpc_refusals_note(struct rpc_refusals *refusals, int far_end, uint32_t uid, int error,
                       const char *why)
{
    uint64_t number = connecting_cut_number(far_end, true);
    if (number == 0)
        return;
    struct rpc_refusal *place = &refusals->places[refusals->next++ % REFUSALS_MAX];
    *place = (struct rpc_refusal){.number = number, .uid = uid, .error = error};
    snprintf(place->why, sizeof(place->why), "%s", why);
}

const struct rpc_refusal *rpc_refusals_find(const struct rpc_refusals *refusals, uint64_t number)
{
    for (unsigned i = 0; i < REFUSALS_MAX; i++)
        if (number != 0 && refusals->places[i].number == number)
            return &refusals->places[i];
    return NULL;
}
