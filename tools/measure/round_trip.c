/* SPDX-License-Identifier: GPL-2.0-or-later */
/* round_trip.c - single events: round trips, alone and beside a bulk stream; connect cycles; idle
 * connections. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "tools/measure/internal.h"

#define SAMPLES_MAX 2000000u
#define WARM_UP 64
#define BULK_WAIT_NS 10000000000u

/* ---- round trips ---- */

int round_trips(struct stream *stream, size_t size, uint64_t count, uint64_t *samples)
{
    char *block = calloc(1, size);
    if (block == NULL)
        return measure_fail("out of memory");
    int result = ask(stream, MEASURE_ECHO, size, count);
    uint64_t before = now_ns();
    for (uint64_t i = 0; result == 0 && i < count; i++) {
        if (stream_write_all(stream, block, size) < 0 || stream_read_all(stream, block, size) < 0)
            result = -1;
        uint64_t after = now_ns();
        if (samples)
            samples[i] = after - before;
        before = after;
    }
    free(block);
    return result;
}

uint64_t calibrate_round_trips(struct stream *stream, size_t size, double seconds)
{
    double one = 0;
    for (int i = 0; i < 2; i++) {
        uint64_t begin = now_ns();
        if (round_trips(stream, size, WARM_UP, NULL) < 0)
            return 0;
        one = (double)(now_ns() - begin) / WARM_UP;
    }
    double count = seconds * 1e9 / one;
    return count < WARM_UP ? WARM_UP : count > SAMPLES_MAX ? SAMPLES_MAX : (uint64_t)count;
}

/* Allocates *samples. The number of round trips is that of measure, or what takes about `seconds`;
 * 0 after an error. */
static uint64_t plan_round_trips(const struct measure *measure, struct stream *stream,
                                 double seconds, uint64_t **samples)
{
    uint64_t count = measure->count < SAMPLES_MAX ? measure->count : SAMPLES_MAX;
    if (count == 0)
        count = calibrate_round_trips(stream, measure->size, seconds);
    *samples = count ? calloc(count, sizeof(**samples)) : NULL;
    if (count && *samples == NULL)
        measure_fail("out of memory");
    return *samples ? count : 0;
}

static int run_round_trips(const struct measure *measure, struct stream *stream,
                           struct figures *figures)
{
    struct account account;
    uint64_t *samples;
    uint64_t count = plan_round_trips(measure, stream, measure->seconds, &samples);
    if (count == 0)
        return -1;
    int result = account_begin(&account, measure, stream);
    uint64_t begin = now_ns();
    if (result == 0)
        result = round_trips(stream, measure->size, count, samples);
    double seconds = (double)(now_ns() - begin) / 1e9;
    if (result == 0) {
        figures_set(figures, "count", (double)count);
        figures_set(figures, "seconds", seconds);
        set_times(figures, samples, count, "p50_ns", "p99_ns", "mean_ns");
        figures_set(figures, "per_second", (double)count / seconds);
        result = account_end(&account, (double)count, figures);
    }
    free(samples);
    return result;
}

int test_round_trip(const struct measure *measure, struct figures *figures)
{
    struct stream stream;
    if (open_stream(measure, &stream) < 0)
        return -1;
    int result = run_round_trips(measure, &stream, figures);
    stream_close(&stream);
    return result;
}

/* ---- round trips beside a bulk stream ---- */

/* How much has been written, and when the last write was done. */
struct progress {
    uint64_t bytes, at_ns;
};

struct bulk {
    struct stream stream;
    bool stop, failed; /* atomic */
    pthread_mutex_t mutex;
    struct progress progress;
};

static struct progress bulk_progress(struct bulk *bulk)
{
    pthread_mutex_lock(&bulk->mutex);
    struct progress now = bulk->progress;
    pthread_mutex_unlock(&bulk->mutex);
    return now;
}

static void bulk_wrote(struct bulk *bulk, size_t len)
{
    pthread_mutex_lock(&bulk->mutex);
    bulk->progress.bytes += len;
    bulk->progress.at_ns = now_ns();
    pthread_mutex_unlock(&bulk->mutex);
}

/* The rate of whole writes in the time that they took, wherever the measurement begins and ends. */
static double bulk_pace(struct progress from, struct progress to)
{
    return to.at_ns > from.at_ns
               ? (double)(to.bytes - from.bytes) * 1e9 / (double)(to.at_ns - from.at_ns)
               : 0;
}

static void *write_bulk(void *arg)
{
    struct bulk *bulk = arg;
    char *block = calloc(1, MEASURE_READ_SIZE);
    bool good = block && ask(&bulk->stream, MEASURE_SINK, MEASURE_READ_SIZE, UINT64_MAX) == 0;
    while (good && !__atomic_load_n(&bulk->stop, __ATOMIC_RELAXED)) {
        good = stream_write_all(&bulk->stream, block, MEASURE_READ_SIZE) == 0;
        if (good)
            bulk_wrote(bulk, MEASURE_READ_SIZE);
    }
    if (!good)
        __atomic_store_n(&bulk->failed, true, __ATOMIC_RELAXED);
    free(block);
    return NULL;
}

/* Waits until the bulk stream runs at its own pace, with full buffers. */
static int fill_up(struct stream *stream, struct bulk *bulk, const struct measure *measure)
{
    uint64_t end = now_ns() + (uint64_t)(measure->seconds * 0.2e9);
    while (now_ns() < end || bulk_progress(bulk).bytes < 4u * 1024 * 1024)
        if (round_trips(stream, measure->size, 4, NULL) < 0 ||
            __atomic_load_n(&bulk->failed, __ATOMIC_RELAXED))
            return measure_fail("the bulk stream broke off");
    return 0;
}

static int run_beside(const struct measure *measure, struct stream *stream, struct bulk *bulk,
                      struct figures *figures)
{
    uint64_t *samples;
    if (fill_up(stream, bulk, measure) < 0)
        return -1;
    uint64_t count = plan_round_trips(measure, stream, measure->seconds, &samples);
    if (count == 0)
        return -1;
    uint64_t begin = now_ns();
    struct progress from = bulk_progress(bulk);
    int result;
    /* Without a load at that time it would be another test. So it is done again, unless the bulk
     * stream really is held up. */
    do
        result = round_trips(stream, measure->size, count, samples);
    while (result == 0 && bulk_progress(bulk).bytes == from.bytes &&
           now_ns() - begin < BULK_WAIT_NS);
    double seconds = (double)(now_ns() - begin) / 1e9;
    if (result == 0) {
        figures_set(figures, "count", (double)count);
        figures_set(figures, "seconds", seconds);
        set_times(figures, samples, count, "p50_ns", "p99_ns", "mean_ns");
        figures_set(figures, "bulk_bytes_per_second", bulk_pace(from, bulk_progress(bulk)));
        figures_set(figures, "p99_over_idle_p50",
                    figures_get(figures, "p99_ns") / figures_get(figures, "idle_p50_ns"));
        if (__atomic_load_n(&bulk->failed, __ATOMIC_RELAXED))
            result = measure_fail("the bulk stream broke off");
    }
    free(samples);
    return result;
}

/* First without the bulk stream. */
static int run_loaded(const struct measure *measure, struct stream *stream, struct bulk *bulk,
                      struct figures *figures)
{
    struct figures idle = {0};
    pthread_t thread;
    struct measure half = *measure;
    half.seconds = measure->seconds / 2;
    if (run_round_trips(&half, stream, &idle) < 0)
        return -1;
    figures_set(figures, "idle_p50_ns", figures_get(&idle, "p50_ns"));
    figures_set(figures, "idle_p99_ns", figures_get(&idle, "p99_ns"));
    if (pthread_create(&thread, NULL, write_bulk, bulk) != 0)
        return measure_fail("cannot start a thread");
    int result = run_beside(measure, stream, bulk, figures);
    __atomic_store_n(&bulk->stop, true, __ATOMIC_RELAXED);
    pthread_join(thread, NULL);
    return result;
}

int test_loaded(const struct measure *measure, struct figures *figures)
{
    struct bulk bulk = {.mutex = PTHREAD_MUTEX_INITIALIZER};
    struct stream stream;
    if (open_stream(measure, &stream) < 0)
        return -1;
    int result = open_stream(measure, &bulk.stream);
    if (result == 0) {
        result = run_loaded(measure, &stream, &bulk, figures);
        stream_close(&bulk.stream);
    }
    stream_close(&stream);
    return result;
}
