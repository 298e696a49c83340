/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * throughput.c - bulk streams, each with a thread of its own that does nothing but write.
 * Throughput ends with the last reader's answer, so bytes in buffers count only when they have
 * arrived. Fairness counts what each stream could write within one window. The window lies in the
 * time when all streams are at full pace.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tools/measure/internal.h"

#define FIRST_BYTES (256u * 1024)
#define LONG_ENOUGH_NS 20000000u

struct writer {
    pthread_t thread;
    pthread_barrier_t *start;
    struct stream *stream;
    size_t size;
    uint64_t bytes;   /* to write */
    uint64_t written; /* atomic */
    bool answered;    /* wait for the reader's answer */
    int result;
    char error[2048]; /* of its thread */
    bool *stop;       /* atomic */
    uint64_t begin_ns, end_ns;
};

static int write_blocks(struct writer *writer, const char *block)
{
    char answer;
    for (uint64_t left = writer->bytes;
         left > 0 && !__atomic_load_n(writer->stop, __ATOMIC_RELAXED);) {
        size_t len = left < writer->size ? (size_t)left : writer->size;
        if (stream_write_all(writer->stream, block, len) < 0)
            return -1;
        left -= len;
        __atomic_add_fetch(&writer->written, len, __ATOMIC_RELAXED);
    }
    return writer->answered ? stream_read_all(writer->stream, &answer, 1) : 0;
}

static void *run_writer(void *arg)
{
    struct writer *writer = arg;
    char *block = calloc(1, writer->size);
    writer->result = block ? 0 : measure_fail("out of memory");
    if (writer->result == 0)
        writer->result = ask(writer->stream, MEASURE_SINK, writer->size, writer->bytes);
    pthread_barrier_wait(writer->start);
    /* here: on a busy machine the main thread can come through the barrier much later */
    writer->begin_ns = now_ns();
    if (writer->result == 0)
        writer->result = write_blocks(writer, block);
    writer->end_ns = now_ns();
    if (writer->result < 0)
        strncpy(writer->error, measure_error(), sizeof(writer->error) - 1);
    free(block);
    return NULL;
}

struct team {
    struct writer *writers;
    unsigned count;
    pthread_barrier_t start;
    bool stop;
};

/* bytes is the number for each writer. UINT64_MAX: they write until told to stop, and then without
 * an answer. 0 or -1. */
static int team_start(struct team *team, struct stream *streams, unsigned count, size_t size,
                      uint64_t bytes)
{
    *team = (struct team){.writers = calloc(count, sizeof(*team->writers)), .count = count};
    if (team->writers == NULL)
        return measure_fail("out of memory");
    pthread_barrier_init(&team->start, NULL, count + 1);
    for (unsigned i = 0; i < count; i++) {
        team->writers[i] = (struct writer){.start = &team->start,
                                           .stream = &streams[i],
                                           .size = size,
                                           .bytes = bytes,
                                           .answered = bytes != UINT64_MAX,
                                           .stop = &team->stop};
        if (pthread_create(&team->writers[i].thread, NULL, run_writer, &team->writers[i]) != 0) {
            measure_fail("cannot start a thread");
            abort(); /* those that run wait for this one */
        }
    }
    pthread_barrier_wait(&team->start);
    return 0;
}

/* Waits for all; *took_ns is from when the first began until the last was done. */
static int team_join(struct team *team, uint64_t *took_ns)
{
    int result = 0;
    uint64_t begin_ns = UINT64_MAX, end_ns = 0;
    for (unsigned i = 0; i < team->count; i++) {
        const struct writer *writer = &team->writers[i];
        pthread_join(writer->thread, NULL);
        if (writer->result < 0)
            result = measure_fail("%s", writer->error);
        begin_ns = writer->begin_ns < begin_ns ? writer->begin_ns : begin_ns;
        end_ns = writer->end_ns > end_ns ? writer->end_ns : end_ns;
    }
    *took_ns = end_ns > begin_ns ? end_ns - begin_ns : 1;
    pthread_barrier_destroy(&team->start);
    free(team->writers);
    return result;
}

/* ---- throughput ---- */

/* Measures how long so many bytes (in all) take; 0 after an error. */
static uint64_t throughput_transfer(const struct measure *measure, struct stream *streams,
                                    uint64_t bytes)
{
    struct team team;
    uint64_t took;
    if (team_start(&team, streams, measure->streams, measure->size, bytes / measure->streams) < 0)
        return 0;
    return team_join(&team, &took) < 0 ? 0 : took;
}

/* Whole blocks for each stream. */
static uint64_t round_up(const struct measure *measure, double bytes)
{
    uint64_t unit = (uint64_t)measure->size * measure->streams;
    return ((uint64_t)bytes / unit + 1) * unit;
}

/* Finds how many bytes take about `seconds`. It writes four times as much each time, until that
 * takes long enough. 0 after an error. */
static uint64_t throughput_calibrate(const struct measure *measure, struct stream *streams)
{
    uint64_t bytes = round_up(measure, FIRST_BYTES);
    for (;;) {
        uint64_t took = throughput_transfer(measure, streams, bytes);
        if (took == 0)
            return 0;
        if (took >= LONG_ENOUGH_NS)
            return round_up(measure, (double)bytes / (double)took * measure->seconds * 1e9);
        bytes = round_up(measure, (double)bytes * 4);
    }
}

static int run_throughput(const struct measure *measure, struct stream *streams,
                          struct figures *figures)
{
    struct account account;
    uint64_t bytes = measure->count ? round_up(measure, (double)measure->count - 1)
                                    : throughput_calibrate(measure, streams);
    if (bytes == 0 || account_begin(&account, measure, &streams[0]) < 0)
        return -1;
    uint64_t took = throughput_transfer(measure, streams, bytes);
    if (took == 0)
        return -1;
    figures_set(figures, "count", (double)bytes);
    figures_set(figures, "seconds", (double)took / 1e9);
    figures_set(figures, "bytes_per_second", (double)bytes / ((double)took / 1e9));
    return account_end(&account, (double)bytes / (1024.0 * 1024.0), figures);
}

int test_throughput(const struct measure *measure, struct figures *figures)
{
    struct stream *streams = open_streams(measure, measure->streams);
    if (streams == NULL)
        return -1;
    int result = run_throughput(measure, streams, figures);
    close_streams(streams, measure->streams);
    return result;
}

/* ---- fairness ---- */

static void pause_for(double seconds)
{
    struct timespec time = {.tv_sec = (time_t)seconds};
    time.tv_nsec = (long)((seconds - (double)time.tv_sec) * 1e9);
    while (nanosleep(&time, &time) < 0)
        continue;
}

static void set_shares(const struct measure *measure, const double *shares, double seconds,
                       struct figures *figures)
{
    double sum = 0, squares = 0, least = shares[0], most = shares[0];
    for (unsigned i = 0; i < measure->streams; i++) {
        sum += shares[i];
        squares += shares[i] * shares[i];
        least = shares[i] < least ? shares[i] : least;
        most = shares[i] > most ? shares[i] : most;
    }
    figures_set(figures, "seconds", seconds);
    figures_set(figures, "bytes_per_second", sum / seconds);
    figures_set(figures, "jain", squares > 0 ? sum * sum / (measure->streams * squares) : 0);
    figures_set(figures, "least_share", sum > 0 ? least * measure->streams / sum : 0);
    figures_set(figures, "most_share", sum > 0 ? most * measure->streams / sum : 0);
}

static void take_shares(const struct team *team, double sign, double *shares)
{
    for (unsigned i = 0; i < team->count; i++)
        shares[i] += sign * (double)__atomic_load_n(&team->writers[i].written, __ATOMIC_RELAXED);
}

static int run_fairness(const struct measure *measure, struct stream *streams, double *shares,
                        struct figures *figures)
{
    struct team team;
    uint64_t took;
    if (team_start(&team, streams, measure->streams, measure->size, UINT64_MAX) < 0)
        return -1;
    pause_for(measure->seconds / 5);
    uint64_t begin = now_ns();
    take_shares(&team, -1, shares);
    pause_for(measure->seconds);
    take_shares(&team, 1, shares);
    set_shares(measure, shares, (double)(now_ns() - begin) / 1e9, figures);
    __atomic_store_n(&team.stop, true, __ATOMIC_RELAXED);
    return team_join(&team, &took);
}

int test_fairness(const struct measure *measure, struct figures *figures)
{
    struct stream *streams = open_streams(measure, measure->streams);
    double *shares = calloc(measure->streams, sizeof(*shares));
    int result = -1;
    if (streams && shares)
        result = run_fairness(measure, streams, shares, figures);
    if (streams)
        close_streams(streams, measure->streams);
    free(shares);
    return result;
}
