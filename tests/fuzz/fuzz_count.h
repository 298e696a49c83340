/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fuzz_count.h - counts what a fuzzer's inputs consist of. One input holds several frames or steps,
 * so the fuzzer's own count of inputs says little. The count is printed when the fuzzer ends.
 */
#ifndef IDC_FUZZ_COUNT_H
#define IDC_FUZZ_COUNT_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static struct {
    uint64_t count;
    const char *what;
} fuzz_counted;

static void fuzz_print_count(void)
{
    fprintf(stderr, "fuzz: %llu %s\n", (unsigned long long)fuzz_counted.count, fuzz_counted.what);
}

/* what: the plural, the same one each time. */
static inline void fuzz_count(const char *what)
{
    if (fuzz_counted.what == NULL) {
        fuzz_counted.what = what;
        atexit(fuzz_print_count);
    }
    fuzz_counted.count++;
}

#endif
