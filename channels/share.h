/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * share.h - how many connections each channel of a process may have, since all have its descriptors
 * in common.
 *
 * Theory of operation
 *
 * A connection takes two descriptors: its client, and what was opened for it. Some are set aside
 * for the listeners and terminals of each channel, and of the others a third for the process itself
 * (20 to 64). Nobody gets these, or a listener could not come back, and no file could be read. Half
 * of the connections that the others are enough for is divided equally: each channel can have that
 * many, and at least one. The other half is for those who need more. There a channel may take at
 * most as many as are left, so one alone gets half of it, the next one half of the rest, and so on.
 * Nobody can take what is another one's.
 *
 * If there are more channels than connections, each may have one as long as there are any.
 *
 * A share is smaller when there are more channels. A channel that has more than that then keeps
 * what it has, and gets no more. Until it has less, the others may get less than their share.
 */
#ifndef IDC_CHANNELS_SHARE_H
#define IDC_CHANNELS_SHARE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>

struct shares {
    unsigned descriptors; /* of the process */
    unsigned count;
    unsigned aside; /* for the listeners and terminals of all */
    unsigned used;  /* connections of all */
    LIST_HEAD(, share) all;
};

struct share {
    struct shares *shares;
    unsigned aside, used;
    LIST_ENTRY(share) entry;
};

/* descriptors: RLIMIT_NOFILE; 0: there is no bound. */
void shares_begin(struct shares *shares, unsigned descriptors);
/* How many connections all channels may have together. */
unsigned shares_total(const struct shares *shares);
bool shares_are_used_up(const struct shares *shares);
/* 0, or if there are fewer connections than channels, how many descriptors would do. */
unsigned shares_needed(const struct shares *shares);

/* aside: how many descriptors it has besides those of its connections. */
void share_join(struct share *share, struct shares *shares, unsigned aside);
void share_leave(struct share *share);

/* May there be one more? */
bool share_has_room(const struct share *share);
void share_take(struct share *share);
void share_give(struct share *share);

#endif
