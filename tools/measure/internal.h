/* SPDX-License-Identifier: GPL-2.0-or-later */
/* internal.h - what the tests of tools/measure have in common. */
#ifndef IDC_MEASURE_INTERNAL_H
#define IDC_MEASURE_INTERNAL_H

#include "tools/measure/measure.h"

uint64_t now_ns(void);
/* Sends a request. 0 or -1, as the functions below. */
int ask(struct stream *stream, enum measure_op op, size_t size, uint64_t count);
int open_stream(const struct measure *measure, struct stream *stream);

/* `count` connections; on failure none is open. */
struct stream *open_streams(const struct measure *measure, unsigned count);
void close_streams(struct stream *streams, unsigned count);

/* The use of resources by a measured part, on both sides. First account_begin, then account_end,
 * which sets the figures "cpu_..." and those of the counters, for each of `units` pieces of work.
 * stream must be a connection on which no request is under way. */
struct account {
    const struct measure *measure;
    struct stream *stream;
    struct measure_usage client, server;
    uint64_t counters[MEASURE_COUNTERS_MAX];
};
int account_begin(struct account *account, const struct measure *measure, struct stream *stream);
int account_end(struct account *account, double units, struct figures *figures);

/* Times of single events, in nanoseconds. samples is sorted in place. */
void set_times(struct figures *figures, uint64_t *samples, uint64_t count, const char *p50,
               const char *p99, const char *mean);

/* Times `count` round trips of `size` bytes over a connection; samples (may be NULL) gets how long
 * each took. */
int round_trips(struct stream *stream, size_t size, uint64_t count, uint64_t *samples);
/* How many round trips take about `seconds`, after some to warm up; 0 after an error. */
uint64_t calibrate_round_trips(struct stream *stream, size_t size, double seconds);

int test_throughput(const struct measure *measure, struct figures *figures);
int test_fairness(const struct measure *measure, struct figures *figures);
int test_round_trip(const struct measure *measure, struct figures *figures);
int test_loaded(const struct measure *measure, struct figures *figures);
int test_connect(const struct measure *measure, struct figures *figures);
int test_memory(const struct measure *measure, struct figures *figures);

#endif
