/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bucket.h - a token bucket: so many bytes in a second, and no more than a burst at once.
 *
 * It counts in thousandths of a byte, so a rate of N bytes in a second earns N of them in each
 * millisecond, without any rounding. A level below zero is a debt, which is paid before anything
 * else. Rates and bursts are at most BUCKET_MAX, and a debt is at most 2^50 bytes. Then no sum
 * overflows, however long nobody has looked. Pure functions; the clock comes with each call.
 */
#ifndef IDC_BUCKET_H
#define IDC_BUCKET_H

#include <stdbool.h>
#include <stdint.h>

#define BUCKET_MAX 2000000000000ull /* bytes */

struct bucket {
    uint64_t rate;  /* bytes in a second, at least 1 */
    uint64_t burst; /* bytes, at least 1: what it holds */
    int64_t level;  /* thousandths of a byte */
    uint64_t at;    /* ms: the level is of then */
};

/* It is full. */
void bucket_init(struct bucket *bucket, uint64_t rate, uint64_t burst, uint64_t now);
/* Another rate from now on. What is there stays, as far as it has room. A debt is forgotten: it was
 * made at the other rate. */
void bucket_change(struct bucket *bucket, uint64_t rate, uint64_t burst, uint64_t now);
/* Adds what has come since the last call. */
void bucket_earn(struct bucket *bucket, uint64_t now);
/* Whole bytes that are there; 0 with a debt. */
uint64_t bucket_bytes(const struct bucket *bucket);
bool bucket_full(const struct bucket *bucket);
/* Takes bytes, or gives them back when negative. */
void bucket_take(struct bucket *bucket, int64_t bytes);
/* When there will be so many bytes, if nobody takes any; no more than the burst. */
uint64_t bucket_when(const struct bucket *bucket, uint64_t bytes);

#endif
