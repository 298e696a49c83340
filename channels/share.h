/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * share.h - how many connections each channel of a process may have, since all have its descriptors
 * in common.
 *
 * Theory of operation
 *
 * A connection takes two descriptors: its client, and what was opened for it. Some are set aside
 * for the process itself, and for the listeners and terminals of each channel. Half of the
 * connections that the others are enough for is divided equally: each channel can always have that
 * many. The other half is for those who need more. There a channel may take at most as many as are
 * left, so one alone gets half of it, the next one half of the rest, and so on. Nobody can take
 * what is another one's.
 *
 * A share is smaller when there are more channels. A channel that has more than that then keeps
 * what it has, and gets no more.
 */
#ifndef IDC_CHANNELS_SHARE_H
#define IDC_CHANNELS_SHARE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>

struct shares {
    unsigned descriptors; /* of the process */
    unsigned count;
    LIST_HEAD(, share) all;
};

struct share {
    struct shares *shares;
    unsigned used;
    LIST_ENTRY(share) entry;
};

/* descriptors: RLIMIT_NOFILE; 0: there is no bound. */
void shares_begin(struct shares *shares, unsigned descriptors);
/* How many connections all channels may have together. */
unsigned shares_total(const struct shares *shares);

void share_join(struct share *share, struct shares *shares);
void share_leave(struct share *share);

/* May there be one more? */
bool share_has_room(const struct share *share);
void share_take(struct share *share);
void share_give(struct share *share);

#endif
