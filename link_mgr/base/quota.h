/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * quota.h - who has how much of what is scarce, and who may have more.
 *
 * Theory of operation
 *
 * A holder is a number: a uid, or what a user of a quota makes of a domain and a uid. A quota has a
 * few kinds of things, and two limits for each kind. `each` is what one holder may have. `all` is
 * what there is. Of that a holder may take no more than it leaves for others. So one holder gets at
 * most half, and whoever comes later finds something, unless holders without a limit took all.
 *
 * A thing is taken where it is made, and given back at the one place where it ends. Nothing else is
 * counted. A holder that has nothing has no memory here.
 */
#ifndef IDC_QUOTA_H
#define IDC_QUOTA_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#define QUOTA_KINDS 8
#define QUOTA_BUCKETS 64
#define QUOTA_NO_LIMIT UINT64_MAX

struct quota_limit {
    uint64_t each, all;
};

struct quota_holder {
    LIST_ENTRY(quota_holder) bucket;
    uint64_t number;
    uint64_t held[QUOTA_KINDS];
};
LIST_HEAD(quota_holders, quota_holder);

struct quota {
    struct quota_limit limits[QUOTA_KINDS];
    bool root_apart; /* holders 0 and `own` are counted, but not limited */
    uint64_t own;
    uint64_t held[QUOTA_KINDS];
    struct quota_holders buckets[QUOTA_BUCKETS];
};

/* Takes a copy of the limits. */
void quota_init(struct quota *quota, const struct quota_limit limits[QUOTA_KINDS], bool root_apart);
void quota_end(struct quota *quota);
bool quota_may_take(const struct quota *quota, uint64_t holder, unsigned kind, uint64_t amount);
/* False, and nothing is taken: that is more than the holder may have, or memory is short. */
bool quota_take(struct quota *quota, uint64_t holder, unsigned kind, uint64_t amount);
void quota_give(struct quota *quota, uint64_t holder, unsigned kind, uint64_t amount);
uint64_t quota_held(const struct quota *quota, uint64_t holder, unsigned kind);

#endif
