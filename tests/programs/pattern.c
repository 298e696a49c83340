/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The sequence is made once (splitmix64) and then copied and compared in long runs, which costs
 * little beside the test.
 */
#include "tests/programs/pattern.h"

#include <string.h>

#define PERIOD 1048573u /* a prime */
#define STEP 7919u

static uint8_t sequence[PERIOD];

void pattern_init(void)
{
    uint64_t state = 20131105;
    for (size_t i = 0; i < PERIOD; i += 8) {
        uint64_t z = state += 0x9E3779B97F4A7C15u;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
        z ^= z >> 31;
        memcpy(sequence + i, &z, PERIOD - i < 8 ? PERIOD - i : 8);
    }
}

static size_t pattern_position(uint64_t seed, uint64_t offset)
{
    return (size_t)((offset % PERIOD + seed % PERIOD * STEP) % PERIOD);
}

void pattern_fill(uint64_t seed, uint64_t offset, void *buf, size_t len)
{
    for (uint8_t *to = buf; len > 0;) {
        size_t at = pattern_position(seed, offset), part = PERIOD - at < len ? PERIOD - at : len;
        memcpy(to, sequence + at, part);
        to += part;
        offset += part;
        len -= part;
    }
}

static long long first_difference(const uint8_t *got, const uint8_t *want)
{
    long long i = 0;
    while (got[i] == want[i])
        i++;
    return i;
}

long long pattern_check(uint64_t seed, uint64_t offset, const void *buf, size_t len)
{
    for (size_t done = 0; done < len;) {
        size_t at = pattern_position(seed, offset + done),
               part = PERIOD - at < len - done ? PERIOD - at : len - done;
        const uint8_t *got = (const uint8_t *)buf + done;
        if (memcmp(got, sequence + at, part) != 0)
            return (long long)done + first_difference(got, sequence + at);
        done += part;
    }
    return -1;
}

static uint64_t pattern_mix(uint64_t value, uint64_t word)
{
    value = (value ^ word) * 0x9FB21C651E98DF25u;
    return value ^ (value >> 32);
}

void hash_add(struct hash *hash, const void *buf, size_t len)
{
    const uint8_t *from = buf;
    uint64_t word;
    while (len > 0 && hash->count > 0) {
        hash->pending[hash->count++] = *from++;
        len--;
        if (hash->count == 8) {
            memcpy(&word, hash->pending, 8);
            hash->value = pattern_mix(hash->value, word);
            hash->count = 0;
        }
    }
    for (; len >= 8; len -= 8, from += 8) {
        memcpy(&word, from, 8);
        hash->value = pattern_mix(hash->value, word);
    }
    if (len > 0) {
        memcpy(hash->pending, from, len);
        hash->count = (unsigned)len;
    }
}

uint64_t hash_value(const struct hash *hash)
{
    uint64_t word = hash->count;
    for (unsigned i = 0; i < hash->count; i++)
        word = word << 8 | hash->pending[i];
    return pattern_mix(hash->value, word);
}
