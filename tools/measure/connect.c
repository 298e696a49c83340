/* SPDX-License-Identifier: GPL-2.0-or-later */
/* connect.c - making connections: how fast, and what an idle one costs. */
#include <stdlib.h>

#include "tools/measure/internal.h"

#define WARM_UP 16
#define CYCLES_MAX 200000u

/* `left` more come after this one. */
static int one_cycle(const struct measure *measure, uint64_t left)
{
    struct stream stream;
    char answer;
    if (open_stream(measure, &stream) < 0)
        return -1;
    int result = ask(&stream, MEASURE_SHORT, 0, left);
    if (result == 0)
        result = stream_read_all(&stream, &answer, 1);
    stream_close(&stream);
    return result;
}

static int connect_cycles(const struct measure *measure, uint64_t count, uint64_t *samples)
{
    uint64_t before = now_ns();
    for (uint64_t i = 0; i < count; i++) {
        if (one_cycle(measure, count - 1 - i) < 0)
            return -1;
        uint64_t after = now_ns();
        if (samples)
            samples[i] = after - before;
        before = after;
    }
    return 0;
}

static uint64_t connect_calibrate(const struct measure *measure)
{
    double one = 0;
    if (measure->count)
        return measure->count < CYCLES_MAX ? measure->count : CYCLES_MAX;
    for (int i = 0; i < 2; i++) {
        uint64_t begin = now_ns();
        if (connect_cycles(measure, WARM_UP, NULL) < 0)
            return 0;
        one = (double)(now_ns() - begin) / WARM_UP;
    }
    double count = measure->seconds * 1e9 / one;
    return count < WARM_UP ? WARM_UP : count > CYCLES_MAX ? CYCLES_MAX : (uint64_t)count;
}

static int run_cycles(const struct measure *measure, uint64_t count, uint64_t *samples,
                      struct figures *figures)
{
    struct account account;
    struct stream control;
    if (open_stream(measure, &control) < 0)
        return -1;
    int result = account_begin(&account, measure, &control);
    uint64_t begin = now_ns();
    if (result == 0)
        result = connect_cycles(measure, count, samples);
    double seconds = (double)(now_ns() - begin) / 1e9;
    if (result == 0) {
        figures_set(figures, "count", (double)count);
        figures_set(figures, "seconds", seconds);
        figures_set(figures, "per_second", (double)count / seconds);
        set_times(figures, samples, count, "p50_ns", "p99_ns", "mean_ns");
        result = account_end(&account, (double)count, figures);
    }
    stream_close(&control);
    return result;
}

int test_connect(const struct measure *measure, struct figures *figures)
{
    uint64_t count = connect_calibrate(measure);
    if (count == 0)
        return -1;
    uint64_t *samples = calloc(count, sizeof(*samples));
    int result =
        samples ? run_cycles(measure, count, samples, figures) : measure_fail("out of memory");
    free(samples);
    return result;
}

/* ---- idle connections ---- */

/* The server has accepted all that was connected before its answer. */
static int read_both(const struct measure *measure, struct measure_usage *sum)
{
    struct measure_usage server = {0};
    struct stream stream;
    if (open_stream(measure, &stream) < 0)
        return -1;
    int result = ask(&stream, MEASURE_REPORT, 0, 0);
    if (result == 0)
        result = stream_read_all(&stream, &server, sizeof(server));
    stream_close(&stream);
    if (result < 0)
        return -1;
    watch_read(&measure->watch, sum);
    sum->resident += server.resident;
    sum->anonymous += server.anonymous;
    sum->proportional += server.proportional;
    return 0;
}

int test_memory(const struct measure *measure, struct figures *figures)
{
    struct measure_usage before, after = {0};
    unsigned count = measure->idle ? measure->idle : 1000;
    if (read_both(measure, &before) < 0)
        return -1;
    uint64_t begin = now_ns();
    struct stream *streams = open_streams(measure, count);
    double seconds = (double)(now_ns() - begin) / 1e9;
    if (streams == NULL)
        return -1;
    int result = read_both(measure, &after);
    close_streams(streams, count);
    figures_set(figures, "seconds", seconds);
    figures_set(figures, "resident_bytes",
                (double)(int64_t)(after.resident - before.resident) / count);
    figures_set(figures, "anonymous_bytes",
                (double)(int64_t)(after.anonymous - before.anonymous) / count);
    figures_set(figures, "proportional_bytes",
                (double)(int64_t)(after.proportional - before.proportional) / count);
    return result;
}
