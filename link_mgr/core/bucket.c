/* SPDX-License-Identifier: GPL-2.0-or-later */
/* bucket.c - see bucket.h. */
#include "link_mgr/core/bucket.h"

#include <assert.h>

#define BUCKET_BYTE 1000 /* thousandths */

static int64_t bucket_top(const struct bucket *bucket)
{
    return (int64_t)bucket->burst * BUCKET_BYTE;
}

static void bucket_set(struct bucket *bucket, uint64_t rate, uint64_t burst)
{
    assert(rate > 0 && rate <= BUCKET_MAX && burst > 0 && burst <= BUCKET_MAX);
    bucket->rate = rate;
    bucket->burst = burst;
}

void bucket_init(struct bucket *bucket, uint64_t rate, uint64_t burst, uint64_t now)
{
    bucket_set(bucket, rate, burst);
    bucket->level = bucket_top(bucket);
    bucket->at = now;
}

void bucket_change(struct bucket *bucket, uint64_t rate, uint64_t burst, uint64_t now)
{
    bucket_earn(bucket, now);
    bucket_set(bucket, rate, burst);
    if (bucket->level > bucket_top(bucket))
        bucket->level = bucket_top(bucket);
    if (bucket->level < 0)
        bucket->level = 0;
}

void bucket_earn(struct bucket *bucket, uint64_t now)
{
    uint64_t missing = (uint64_t)(bucket_top(bucket) - bucket->level);
    uint64_t passed = now - bucket->at;
    bucket->at = now;
    if (passed > missing / bucket->rate)
        bucket->level = bucket_top(bucket);
    else
        bucket->level += (int64_t)(passed * bucket->rate);
}

uint64_t bucket_bytes(const struct bucket *bucket)
{
    return bucket->level > 0 ? (uint64_t)bucket->level / BUCKET_BYTE : 0;
}

bool bucket_full(const struct bucket *bucket)
{
    return bucket->level == bucket_top(bucket);
}

void bucket_take(struct bucket *bucket, int64_t bytes)
{
    bucket->level -= bytes * BUCKET_BYTE;
    if (bucket->level > bucket_top(bucket))
        bucket->level = bucket_top(bucket);
}

uint64_t bucket_when(const struct bucket *bucket, uint64_t bytes)
{
    int64_t wanted = (int64_t)(bytes < bucket->burst ? bytes : bucket->burst) * BUCKET_BYTE;
    if (bucket->level >= wanted)
        return bucket->at;
    uint64_t missing = (uint64_t)(wanted - bucket->level);
    return bucket->at + (missing + bucket->rate - 1) / bucket->rate;
}
