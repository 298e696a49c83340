/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "channels/share.h"

#include <limits.h>

/* The event loop, RPC connections, a file that is read, sixteen readers of the state, and some. The
 * first of these take a dozen. */
#define SHARE_PROCESS 64
#define SHARE_PROCESS_LEAST 28
#define SHARE_CONNECTION 2

void shares_begin(struct shares *shares, unsigned descriptors)
{
    *shares = (struct shares){.descriptors = descriptors};
    LIST_INIT(&shares->all);
}

static unsigned shares_of_process(const struct shares *shares)
{
    unsigned all = shares->descriptors, aside = shares->aside;
    unsigned third = all > aside ? (all - aside) / 3 : 0;
    if (third > SHARE_PROCESS)
        return SHARE_PROCESS;
    return third > SHARE_PROCESS_LEAST ? third : SHARE_PROCESS_LEAST;
}

unsigned shares_total(const struct shares *shares)
{
    unsigned aside = shares_of_process(shares) + shares->aside;
    if (shares->descriptors == 0)
        return UINT_MAX;
    return shares->descriptors > aside ? (shares->descriptors - aside) / SHARE_CONNECTION : 0;
}

bool shares_are_used_up(const struct shares *shares)
{
    return shares->used >= shares_total(shares);
}

unsigned shares_needed(const struct shares *shares)
{
    if (shares_total(shares) >= shares->count)
        return 0;
    return SHARE_PROCESS + shares->aside + shares->count * SHARE_CONNECTION;
}

void share_join(struct share *share, struct shares *shares, unsigned aside)
{
    *share = (struct share){.shares = shares, .aside = aside};
    shares->count++;
    shares->aside += aside;
    LIST_INSERT_HEAD(&shares->all, share, entry);
}

void share_leave(struct share *share)
{
    share->shares->count--;
    share->shares->aside -= share->aside;
    share->shares->used -= share->used;
    LIST_REMOVE(share, entry);
}

static unsigned share_beyond(const struct share *share, unsigned own)
{
    return share->used > own ? share->used - own : 0;
}

/* What each channel can have, whatever the others do. */
static unsigned shares_own(const struct shares *shares)
{
    unsigned total = shares_total(shares), own = total / 2 / shares->count;
    return own == 0 && total >= shares->count ? 1 : own;
}

bool share_has_room(const struct share *share)
{
    const struct share *one;
    unsigned own = shares_own(share->shares), taken = 0;
    if (shares_are_used_up(share->shares))
        return false;
    if (share->used < own || own == 0)
        return share->used < own || share->used == 0;
    LIST_FOREACH (one, &share->shares->all, entry)
        taken += share_beyond(one, own);
    unsigned common = shares_total(share->shares) - own * share->shares->count;
    return taken < common && share_beyond(share, own) < common - taken;
}

void share_take(struct share *share)
{
    share->used++;
    share->shares->used++;
}

void share_give(struct share *share)
{
    share->used--;
    share->shares->used--;
}
