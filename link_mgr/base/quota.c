/* SPDX-License-Identifier: GPL-2.0-or-later */
/* quota.h has the theory. The holders are in a hash table with chains. */
#include "link_mgr/base/quota.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void quota_init(struct quota *quota, const struct quota_limit limits[QUOTA_KINDS], bool root_apart)
{
    memset(quota, 0, sizeof(*quota));
    memcpy(quota->limits, limits, sizeof(quota->limits));
    quota->root_apart = root_apart;
    for (int i = 0; i < QUOTA_BUCKETS; i++)
        LIST_INIT(&quota->buckets[i]);
}

static void quota_forget(struct quota_holder *holder)
{
    LIST_REMOVE(holder, bucket);
    free(holder);
}

void quota_end(struct quota *quota)
{
    for (int i = 0; i < QUOTA_BUCKETS; i++)
        while (!LIST_EMPTY(&quota->buckets[i]))
            quota_forget(LIST_FIRST(&quota->buckets[i]));
}

static unsigned quota_bucket(uint64_t number)
{
    return (unsigned)(number * 0x9e3779b97f4a7c15u >> 58);
}

static struct quota_holder *quota_find(const struct quota *quota, uint64_t number)
{
    struct quota_holder *holder;
    LIST_FOREACH (holder, &quota->buckets[quota_bucket(number)], bucket)
        if (holder->number == number)
            return holder;
    return NULL;
}

static struct quota_holder *quota_enter(struct quota *quota, uint64_t number)
{
    struct quota_holder *holder = quota_find(quota, number);
    if (holder)
        return holder;
    holder = calloc(1, sizeof(*holder));
    if (!holder)
        return NULL;
    holder->number = number;
    LIST_INSERT_HEAD(&quota->buckets[quota_bucket(number)], holder, bucket);
    return holder;
}

bool quota_may_take(const struct quota *quota, uint64_t number, unsigned kind, uint64_t amount)
{
    const struct quota_limit *limit = &quota->limits[kind];
    uint64_t own = quota_held(quota, number, kind), taken = quota->held[kind];
    if (quota->root_apart && (number == 0 || number == quota->own))
        return true;
    if (amount > limit->each || own > limit->each - amount)
        return false;
    /* afterwards, there is as much for others as the holder has */
    uint64_t left = limit->all > taken ? limit->all - taken : 0;
    return amount <= left && own + amount <= left - amount + 1;
}

bool quota_take(struct quota *quota, uint64_t holder, unsigned kind, uint64_t amount)
{
    if (!quota_may_take(quota, holder, kind, amount))
        return false;
    struct quota_holder *entry = quota_enter(quota, holder);
    if (!entry)
        return false;
    entry->held[kind] += amount;
    quota->held[kind] += amount;
    return true;
}

void quota_give(struct quota *quota, uint64_t holder, unsigned kind, uint64_t amount)
{
    struct quota_holder *entry = quota_find(quota, holder);
    assert(entry && entry->held[kind] >= amount);
    entry->held[kind] -= amount;
    quota->held[kind] -= amount;
    for (int i = 0; i < QUOTA_KINDS; i++)
        if (entry->held[i] > 0)
            return;
    quota_forget(entry);
}

uint64_t quota_held(const struct quota *quota, uint64_t holder, unsigned kind)
{
    const struct quota_holder *entry = quota_find(quota, holder);
    return entry ? entry->held[kind] : 0;
}
