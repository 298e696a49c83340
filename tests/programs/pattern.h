/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pattern.h - the data that test programs send to each other, and how they check it.
 *
 * Byte i of a flow is byte (i + seed * step) of one endless pseudo-random sequence whose period is
 * a prime. So a byte that is lost, doubled, or from another place or another flow does not fit.
 * Both sides know the seed, so every byte is checked where it arrives and nothing has to be kept.
 * The hash goes with it, so that two sides can be compared by one number.
 */
#ifndef IDC_TEST_PATTERN_H
#define IDC_TEST_PATTERN_H

#include <stddef.h>
#include <stdint.h>

struct hash {
    uint64_t value;
    uint8_t pending[8]; /* bytes that don't make a word yet */
    unsigned count;
};

/* Once, before the others, in one thread. */
void pattern_init(void);
/* Bytes offset.. of the flow with this seed. */
void pattern_fill(uint64_t seed, uint64_t offset, void *buf, size_t len);
/* Where buf first differs from that, or -1. */
long long pattern_check(uint64_t seed, uint64_t offset, const void *buf, size_t len);

void hash_add(struct hash *hash, const void *buf, size_t len);
uint64_t hash_value(const struct hash *hash);

#endif
