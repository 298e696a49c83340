/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "channels/share.h"

#include <limits.h>

/* The event loop, RPC connections, a file that is read, sixteen readers of the state, and some. */
#define SHARE_PROCESS 64
/* A listener of IDC has three, a terminal two, a file one. */
#define SHARE_CHANNEL 4
#define SHARE_CONNECTION 2

void shares_begin(struct shares *shares, unsigned descriptors)
{
    *shares = (struct shares){.descriptors = descriptors};
    LIST_INIT(&shares->all);
}

unsigned shares_total(const struct shares *shares)
{
    unsigned aside = SHARE_PROCESS + shares->count * SHARE_CHANNEL;
    if (shares->descriptors == 0)
        return UINT_MAX;
    return shares->descriptors > aside ? (shares->descriptors - aside) / SHARE_CONNECTION : 0;
}

void share_join(struct share *share, struct shares *shares)
{
    *share = (struct share){.shares = shares};
    shares->count++;
    LIST_INSERT_HEAD(&shares->all, share, entry);
}

void share_leave(struct share *share)
{
    share->shares->count--;
    LIST_REMOVE(share, entry);
}

static unsigned share_beyond(const struct share *share, unsigned own)
{
    return share->used > own ? share->used - own : 0;
}

/* However few descriptors there are, each may have one. */
bool share_has_room(const struct share *share)
{
    const struct share *one;
    unsigned total = shares_total(share->shares), taken = 0;
    unsigned own = total / 2 / share->shares->count;
    if (share->used < own || share->used == 0)
        return true;
    LIST_FOREACH (one, &share->shares->all, entry)
        taken += share_beyond(one, own);
    unsigned common = total - own * share->shares->count;
    return taken < common && share_beyond(share, own) < common - taken;
}

void share_take(struct share *share)
{
    share->used++;
}

void share_give(struct share *share)
{
    share->used--;
}
