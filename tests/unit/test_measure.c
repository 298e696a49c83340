/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The measuring code must be right itself. The figures are of a transport that is slow by a known
 * amount, and of processes that use a known amount. Clients can't put the server out of order. The
 * transport is a Unix socket pair; its server runs in a thread.
 */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/handover.h"
#include "tests/unit/suite.h"
#include "tools/measure/internal.h"

static struct place place;
static long delay_ns; /* of each write of the client */
static int slow_one;  /* a connection whose writes take longer; 1 is the first */
static long slow_ns;  /* the delay of each of its writes */
static int connected; /* how many connections were made */

/* ---- a transport ---- */

static int fake_listen(struct place *one)
{
    (void)one;
    return -1; /* start_server has made the listener */
}

static int fake_accept(struct place *one, struct stream *stream)
{
    char byte;
    int count = 1;
    return handover_recv(one->listener, &byte, 1, &stream->fd, &count, 0) == 1
               ? 0
               : measure_fail("the end");
}

static int control = -1; /* the other end of place.listener */

static int fake_connect(struct place *one, struct stream *stream)
{
    int ends[2];
    (void)one;
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    ck_assert_int_eq(handover_send(control, "c", 1, &ends[1], 1, 0), 1);
    close(ends[1]);
    stream->fd = ends[0];
    stream->own = (void *)(intptr_t)++connected;
    return 0;
}

static ssize_t slow_write(struct stream *stream, const void *buf, size_t len)
{
    long ns = slow_one && stream->own == (void *)(intptr_t)slow_one ? slow_ns : delay_ns;
    struct timespec time = {.tv_nsec = ns};
    if (stream->own && ns)
        nanosleep(&time, NULL);
    return write(stream->fd, buf, len);
}

static const struct transport fake = {.name = "fake",
                                      .listen = fake_listen,
                                      .accept = fake_accept,
                                      .connect = fake_connect,
                                      .write = slow_write};

static pthread_t server_thread;
static struct watch server_watch;

static void no_word(struct place *one, void *arg)
{
    (void)one, (void)arg;
}

static void *run_server(void *arg)
{
    measure_serve(&place, &server_watch, no_word, arg);
    return NULL;
}

static void measure_setup(void)
{
    int ends[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    control = ends[0];
    place = (struct place){.transport = &fake, .listener = ends[1]};
    delay_ns = 0;
    slow_one = 0;
    connected = 0;
    ck_assert_int_eq(pthread_create(&server_thread, NULL, run_server, NULL), 0);
}

static void measure_teardown(void)
{
    close(control);
    pthread_join(server_thread, NULL);
    close(place.listener);
}

static struct measure measure_of(size_t size, unsigned streams)
{
    return (struct measure){.place = &place, .size = size, .streams = streams, .seconds = 0.05};
}

static struct figures measure_do_run(const char *test, const struct measure *measure)
{
    struct figures figures = {0};
    ck_assert_msg(measure_run(measure_find_test(test), measure, &figures) == 0, "%s: %s", test,
                  measure_error());
    return figures;
}

/* ---- figures ---- */

START_TEST(times_of_known_samples)
{
    uint64_t samples[200];
    struct figures figures = {0};
    for (int i = 0; i < 200; i++)
        samples[i] = (uint64_t)((i * 7) % 200 + 1); /* 1 to 200, in no order */
    set_times(&figures, samples, 200, "p50", "p99", "mean");
    ck_assert_double_eq(figures_get(&figures, "p50"), 101);
    ck_assert_double_eq(figures_get(&figures, "p99"), 198);
    ck_assert_double_eq(figures_get(&figures, "mean"), 100.5);
    figures_set(&figures, "p50", 7);
    ck_assert_double_eq(figures_get(&figures, "p50"), 7);
    ck_assert_int_eq(figures.count, 3);
    ck_assert_double_eq(figures_get(&figures, "none"), 0);
}
END_TEST

/* A write takes at least 1 ms. */
START_TEST(throughput_is_no_higher_than_the_transport_allows)
{
    struct measure measure = measure_of(65536, 1);
    delay_ns = 1000000;
    struct figures figures = measure_do_run("throughput", &measure);
    ck_assert_double_gt(figures_get(&figures, "bytes_per_second"), 1);
    ck_assert_double_le(figures_get(&figures, "bytes_per_second"), 65536 * 1000.0);
    ck_assert_double_eq_tol(figures_get(&figures, "bytes_per_second"),
                            figures_get(&figures, "count") / figures_get(&figures, "seconds"), 1);
}
END_TEST

START_TEST(throughput_counts_what_all_streams_send)
{
    struct measure measure = measure_of(1000, 3);
    measure.count = 100000;
    struct figures figures = measure_do_run("throughput", &measure);
    /* whole writes of each stream */
    ck_assert_double_eq(figures_get(&figures, "count"), 102000);
    ck_assert_int_eq(connected, 3);
}
END_TEST

START_TEST(round_trips_take_as_long_as_the_transport_does)
{
    struct measure measure = measure_of(64, 1);
    delay_ns = 2000000;
    measure.count = 20;
    struct figures figures = measure_do_run("round_trip", &measure);
    ck_assert_double_eq(figures_get(&figures, "count"), 20);
    ck_assert_double_ge(figures_get(&figures, "p50_ns"), 2e6);
    ck_assert_double_ge(figures_get(&figures, "p99_ns"), figures_get(&figures, "p50_ns"));
}
END_TEST

START_TEST(cycles_are_new_connections_each)
{
    struct measure measure = measure_of(64, 1);
    delay_ns = 1000000;
    measure.count = 30;
    struct figures figures = measure_do_run("connect", &measure);
    ck_assert_int_eq(connected, 31); /* and one to ask for the server's use */
    ck_assert_double_eq(figures_get(&figures, "count"), 30);
    ck_assert_double_ge(figures_get(&figures, "p50_ns"), 1e6);
    ck_assert_double_le(figures_get(&figures, "per_second"), 1000);
}
END_TEST

/* The first writes 20 times a second at most, the others as often as the machine lets them. */
START_TEST(an_unfair_transport_is_found)
{
    struct measure measure = measure_of(4096, 4);
    measure.seconds = 1;
    slow_one = 1;
    slow_ns = 50000000;
    struct figures figures = measure_do_run("fairness", &measure);
    ck_assert_double_lt(figures_get(&figures, "least_share"), 0.7);
    ck_assert_double_gt(figures_get(&figures, "most_share"), 1);
    ck_assert_double_lt(figures_get(&figures, "jain"), 0.98);
    ck_assert_double_gt(figures_get(&figures, "jain"), 0.25);
}
END_TEST

START_TEST(load_is_there_while_it_is_measured)
{
    struct measure measure = measure_of(64, 1);
    struct figures figures = measure_do_run("loaded", &measure);
    ck_assert_double_gt(figures_get(&figures, "bulk_bytes_per_second"), 0);
    ck_assert_double_gt(figures_get(&figures, "idle_p50_ns"), 0);
    double ratio = figures_get(&figures, "p99_ns") / figures_get(&figures, "idle_p50_ns");
    /* Not equal: i386 computes with more digits than it stores. */
    ck_assert_double_eq_tol(figures_get(&figures, "p99_over_idle_p50"), ratio, ratio * 1e-12);
    ck_assert_int_eq(connected, 2);
}
END_TEST

/* The round trips alone take a small part of what one write of the bulk stream does. */
START_TEST(a_slow_load_is_waited_for)
{
    struct measure measure = measure_of(64, 1);
    measure.count = 10;
    slow_one = 2;
    slow_ns = 20000000;
    struct figures figures = measure_do_run("loaded", &measure);
    ck_assert_double_gt(figures_get(&figures, "bulk_bytes_per_second"), 0);
    ck_assert_double_le(figures_get(&figures, "bulk_bytes_per_second"), 65536 / 0.02);
    ck_assert_double_eq(figures_get(&figures, "count"), 10);
}
END_TEST

START_TEST(idle_connections_are_open_beside)
{
    struct measure measure = measure_of(64, 1);
    measure.idle = 50;
    measure.count = 10;
    measure_do_run("round_trip", &measure);
    ck_assert_int_eq(connected, 51);
}
END_TEST

/* ---- use ---- */

START_TEST(cpu_time_and_memory_of_known_size)
{
    struct measure_usage before, after;
    struct watch watch = {0};
    const size_t size = 16u << 20;
    watch_add(&watch, getpid());
    watch_read(&watch, &before);
    ck_assert_uint_eq(before.magic, MEASURE_MAGIC);
    char *block = malloc(size);
    ck_assert_ptr_nonnull(block);
    for (volatile char *byte = block; byte < block + size; byte += 4096)
        *byte = 1;
    for (clock_t end = clock() + CLOCKS_PER_SEC / 10; clock() < end;)
        continue;
    watch_read(&watch, &after);
    ck_assert_uint_ge(after.own_cpu_ns - before.own_cpu_ns, 100000000u);
    ck_assert_uint_ge(after.watched_cpu_ns - before.watched_cpu_ns, 100000000u);
    ck_assert_uint_ge(after.anonymous - before.anonymous, size * 9 / 10);
    ck_assert_uint_ge(after.resident - before.resident, size * 9 / 10);
    free(block);
}
END_TEST

START_TEST(watching_a_process_that_is_gone_is_harmless)
{
    struct measure_usage usage;
    struct watch watch = {0};
    watch_add(&watch, 4194304); /* the kernel gives out smaller numbers only */
    watch_read(&watch, &usage);
    ck_assert_uint_eq(usage.watched_cpu_ns, 0);
    ck_assert_uint_eq(usage.resident, 0);
}
END_TEST

/* ---- a server that stands ---- */

static struct stream open_one(void)
{
    struct measure measure = measure_of(64, 1);
    struct stream stream;
    ck_assert_int_eq(open_stream(&measure, &stream), 0);
    return stream;
}

static void assert_closed(struct stream *stream)
{
    char byte;
    ssize_t n = read(stream->fd, &byte, 1);
    ck_assert_msg(n == 0 || (n < 0 && errno == ECONNRESET), "the server has answered");
    stream_close(stream);
}

static void assert_serves(void)
{
    ck_assert_msg(measure_probe(&place, 20000) == 0, "%s", measure_error());
}

START_TEST(what_is_no_request_ends_the_connection_only)
{
    static const struct measure_request bad[] = {
        {.op = MEASURE_MAGIC, .size = 64, .count = 1},
        {.op = MEASURE_MAGIC + 9, .size = 64, .count = 1},
        {.op = MEASURE_ECHO, .size = 64, .count = 1},
        {.op = MEASURE_MAGIC + MEASURE_ECHO, .size = 0, .count = 1},
        {.op = MEASURE_MAGIC + MEASURE_SINK, .size = MEASURE_SIZE_MAX + 1, .count = 1},
    };
    struct stream stream = open_one();
    ck_assert_int_eq(write(stream.fd, &bad[_i], sizeof(bad[_i])), sizeof(bad[_i]));
    assert_closed(&stream);
    assert_serves();
}
END_TEST

START_TEST(half_a_request_holds_nobody_up)
{
    struct stream stream = open_one();
    ck_assert_int_eq(write(stream.fd, "half", 4), 4);
    assert_serves();
    stream_close(&stream);
    assert_serves();
}
END_TEST

/* Of a row of a thousand only one came. */
START_TEST(a_row_that_breaks_off_holds_nobody_up)
{
    char answer;
    struct stream stream = open_one();
    ck_assert_int_eq(ask(&stream, MEASURE_SHORT, 0, 1000), 0);
    ck_assert_int_eq(stream_read_all(&stream, &answer, 1), 0);
    stream_close(&stream);
    assert_serves();
    assert_serves();
}
END_TEST

START_TEST(a_server_of_another_kind_is_found_out)
{
    int ends[2];
    struct place deaf = place;
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    int real = control;
    control = ends[0]; /* nobody accepts there */
    int result = measure_probe(&deaf, 50);
    int error = errno;
    control = real;
    ck_assert_int_eq(result, -1);
    ck_assert_int_eq(error, EPROTO);
    close(ends[0]);
    close(ends[1]);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("measure");
    TCase *figures = tcase_create("figures"), *server = tcase_create("server");
    tcase_set_timeout(figures, 30);
    tcase_set_timeout(server, 30);
    tcase_add_checked_fixture(figures, measure_setup, measure_teardown);
    tcase_add_checked_fixture(server, measure_setup, measure_teardown);
    tcase_add_test(figures, times_of_known_samples);
    tcase_add_test(figures, throughput_is_no_higher_than_the_transport_allows);
    tcase_add_test(figures, throughput_counts_what_all_streams_send);
    tcase_add_test(figures, round_trips_take_as_long_as_the_transport_does);
    tcase_add_test(figures, cycles_are_new_connections_each);
    tcase_add_test(figures, an_unfair_transport_is_found);
    tcase_add_test(figures, load_is_there_while_it_is_measured);
    tcase_add_test(figures, a_slow_load_is_waited_for);
    tcase_add_test(figures, idle_connections_are_open_beside);
    tcase_add_test(figures, cpu_time_and_memory_of_known_size);
    tcase_add_test(figures, watching_a_process_that_is_gone_is_harmless);
    tcase_add_loop_test(server, what_is_no_request_ends_the_connection_only, 0, 5);
    tcase_add_test(server, half_a_request_holds_nobody_up);
    tcase_add_test(server, a_row_that_breaks_off_holds_nobody_up);
    tcase_add_test(server, a_server_of_another_kind_is_found_out);
    suite_add_tcase(suite, figures);
    suite_add_tcase(suite, server);
    return run_suite(suite);
}
