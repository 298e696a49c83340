/* SPDX-License-Identifier: GPL-2.0-or-later */
/* client.c - what every test does: opening connections, asking, counting what was used; and the
 * list of the tests. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "tools/measure/internal.h"

int ask(struct stream *stream, enum measure_op op, size_t size, uint64_t count)
{
    struct measure_request request = {
        .op = MEASURE_MAGIC + op, .size = (uint32_t)size, .count = count};
    return stream_write_all(stream, &request, sizeof(request));
}

int open_stream(const struct measure *measure, struct stream *stream)
{
    *stream = (struct stream){.transport = measure->place->transport, .fd = -1};
    return measure->place->transport->connect(measure->place, stream);
}

struct stream *open_streams(const struct measure *measure, unsigned count)
{
    struct stream *streams = calloc(count ? count : 1, sizeof(*streams));
    if (streams == NULL)
        measure_fail("out of memory");
    for (unsigned i = 0; streams && i < count; i++)
        if (open_stream(measure, &streams[i]) < 0) {
            close_streams(streams, i);
            return NULL;
        }
    return streams;
}

void close_streams(struct stream *streams, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        stream_close(&streams[i]);
    free(streams);
}

/* ---- accounts ---- */

static int read_usage(struct account *account, struct measure_usage *client,
                      struct measure_usage *server)
{
    if (ask(account->stream, MEASURE_REPORT, 0, 0) < 0 ||
        stream_read_all(account->stream, server, sizeof(*server)) < 0)
        return -1;
    watch_read(&account->measure->watch, client);
    return 0;
}

static int read_counters(const struct account *account, uint64_t *values, const char **names)
{
    struct place *place = account->measure->place;
    return place->transport->counters ? place->transport->counters(place, values, names) : 0;
}

int account_begin(struct account *account, const struct measure *measure, struct stream *stream)
{
    const char *names[MEASURE_COUNTERS_MAX];
    *account = (struct account){.measure = measure, .stream = stream};
    read_counters(account, account->counters, names);
    return read_usage(account, &account->client, &account->server);
}

/* The watched processes of both sides make one sum, and so do the measuring ones. */
int account_end(struct account *account, double units, struct figures *figures)
{
    struct measure_usage client, server;
    uint64_t counters[MEASURE_COUNTERS_MAX];
    const char *names[MEASURE_COUNTERS_MAX];
    if (read_usage(account, &client, &server) < 0)
        return -1;
    uint64_t own = client.own_cpu_ns - account->client.own_cpu_ns + server.own_cpu_ns -
                   account->server.own_cpu_ns;
    uint64_t watched = client.watched_cpu_ns - account->client.watched_cpu_ns +
                       server.watched_cpu_ns - account->server.watched_cpu_ns;
    uint64_t switches =
        client.switches - account->client.switches + server.switches - account->server.switches;
    figures_set(figures, "cpu_programs_ns", (double)own / units);
    figures_set(figures, "cpu_between_ns", (double)watched / units);
    figures_set(figures, "cpu_ns", (double)(own + watched) / units);
    figures_set(figures, "waits_between", (double)switches / units);
    int count = read_counters(account, counters, names);
    for (int i = 0; i < count; i++)
        figures_set(figures, names[i], (double)(counters[i] - account->counters[i]) / units);
    return 0;
}

int measure_probe(struct place *place, int timeout_ms)
{
    struct measure measure = {.place = place};
    struct measure_usage usage = {0};
    struct stream stream;
    if (open_stream(&measure, &stream) < 0)
        return -1;
    struct pollfd readable = {.fd = stream.fd, .events = POLLIN};
    bool answers = ask(&stream, MEASURE_REPORT, 0, 0) == 0 && poll(&readable, 1, timeout_ms) == 1 &&
                   recv(stream.fd, &usage, sizeof(usage), MSG_WAITALL) == sizeof(usage) &&
                   usage.magic == MEASURE_MAGIC;
    stream_close(&stream);
    errno = EPROTO;
    return answers ? 0 : measure_fail("the program that listens there is not a benchmark server");
}

/* ---- the list ---- */

const struct measure_test measure_tests[] = {
    {"throughput", "bytes one way, from the first write to the reader's answer after the last byte",
     test_throughput, false},
    {"round_trip", "a block of bytes there and back", test_round_trip, false},
    {"connect", "connect, 16 bytes there, 1 byte back, close", test_connect, false},
    {"loaded", "a round trip while a bulk stream fills the same link", test_loaded, false},
    {"fairness", "what each of several equal streams gets", test_fairness, false},
    {"memory", "memory of an idle connection in the watched processes", test_memory, true},
};
const int measure_test_count = sizeof(measure_tests) / sizeof(measure_tests[0]);

const struct measure_test *measure_find_test(const char *name)
{
    for (int i = 0; i < measure_test_count; i++)
        if (strcmp(measure_tests[i].name, name) == 0)
            return &measure_tests[i];
    return NULL;
}

int measure_run(const struct measure_test *test, const struct measure *measure,
                struct figures *figures)
{
    unsigned count = test->opens_idle ? 0 : measure->idle;
    struct stream *idle = open_streams(measure, count);
    if (idle == NULL)
        return -1;
    int result = test->run(measure, figures);
    close_streams(idle, count);
    return result;
}
