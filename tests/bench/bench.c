/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bench.c - measures IDC, or what one would use in its place: the command line of tools/measure for
 * all transports.
 *
 *     bench serve TRANSPORT [ADDRESS] [OPTIONS]        says "ready" and serves until it is killed
 *     bench run TRANSPORT [ADDRESS] TEST [OPTIONS]     runs one test and prints its figures as one
 *     line of JSON
 *     bench relay PATH TO                              a relay between Unix sockets by itself
 *     bench calls                                      what calls cost that have nothing to do with
 *                                                      IDC
 *     bench attack KIND DOMID PORT                     asks for as much as it can (attack.h)
 *     bench victim DOMID PORT COUNT                    connects now and then meanwhile
 *
 * It is one file that needs few libraries and can be copied into guests. docs/performance.md tells
 * what the tests measure. Exit status: 0; 1 for a failure; 2 for wrong usage; 3 when this machine
 * doesn't have the transport.
 */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "tests/bench/attack.h"
#include "tests/bench/transports.h"

#define EXIT_USAGE 2
#define EXIT_NOT_AVAILABLE 3

static int print_usage(FILE *to)
{
    fprintf(to,
            "usage: bench serve TRANSPORT [ADDRESS] [--watch PID]... [--cpus A,B] [--socket PATH]\n"
            "       bench run TRANSPORT [ADDRESS] TEST [OPTIONS]\n"
            "       bench relay PATH TO\n"
            "       bench calls\n"
            "       bench attack KIND DOMID PORT\n"
            "       bench victim DOMID PORT COUNT\n\n"
            "  --size BYTES      of a write or a round trip (default: 65536 for streams, 64 for "
            "round trips)\n"
            "  --streams N       connections at the same time (default: 1; fairness 16)\n"
            "  --idle N          connections to open before, and to keep open (memory: to measure; "
            "default 1000)\n"
            "  --seconds S       about how long to measure (default: 0.5)\n"
            "  --count N         bytes, round trips or connections, in place of --seconds\n"
            "  --watch PID       a process whose CPU time and memory count too, a link_mgr for "
            "example\n"
            "  --cpus A,B        keep the client's side to processor A, the server's to B\n"
            "  --socket PATH     link_mgr's RPC socket; else $IDC_SOCKET, else "
            "/run/idc/rpc.sock\n\ntransports:\n");
    for (size_t i = 0; transport_number(i); i++)
        fprintf(to, "  %-16s  ADDRESS: %s\n", transport_number(i)->name,
                transport_number(i)->address);
    fprintf(to, "\ntests:\n");
    for (int i = 0; i < measure_test_count; i++)
        fprintf(to, "  %-16s  %s\n", measure_tests[i].name, measure_tests[i].what);
    return to == stdout ? 0 : EXIT_USAGE;
}

static int bench_complain(const char *what, const char *which)
{
    fprintf(stderr, "bench: %s%s; bench --help tells more\n", what, which);
    return EXIT_USAGE;
}

static int bench_failed(void)
{
    fprintf(stderr, "bench: %s\n", measure_error());
    return strncmp(measure_error(), "not available", 13) == 0 ? EXIT_NOT_AVAILABLE : 1;
}

/* ---- command line ---- */

static bool bench_number(const char *text, double min, double max, double *out)
{
    char *end;
    *out = strtod(text, &end);
    return end != text && *end == '\0' && *out >= min && *out <= max;
}

/* False after a complaint. */
static bool take_option(int option, struct measure *measure, char **socket_path)
{
    static const struct {
        int option;
        double min, max;
    } ranges[] = {{'b', 1, MEASURE_SIZE_MAX}, {'n', 1, 1024}, {'i', 0, 1000000},
                  {'s', 0.001, 3600},         {'c', 1, 1e15}, {'w', 1, 4194304}};
    double value = 0;
    if (option == 'C') {
        if (sscanf(optarg, "%4d,%4d", &side_cpus[CLIENT_SIDE], &side_cpus[SERVER_SIDE]) == 2)
            return true;
        bench_complain("not two processors: ", optarg);
        return false;
    }
    if (option == 'S') {
        *socket_path = optarg;
        return true;
    }
    for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++)
        if (ranges[i].option == option &&
            !bench_number(optarg, ranges[i].min, ranges[i].max, &value)) {
            bench_complain("not a number in range: ", optarg);
            return false;
        }
    switch (option) {
    case 'b':
        measure->size = (size_t)value;
        return true;
    case 'n':
        measure->streams = (unsigned)value;
        return true;
    case 'i':
        measure->idle = (unsigned)value;
        return true;
    case 's':
        measure->seconds = value;
        return true;
    case 'c':
        measure->count = (uint64_t)value;
        return true;
    case 'w':
        watch_add(&measure->watch, (pid_t)value);
        return true;
    default:
        return false; /* getopt_long has complained */
    }
}

static bool take_options(int argc, char **argv, struct measure *measure)
{
    static const struct option options[] = {{"size", required_argument, NULL, 'b'},
                                            {"streams", required_argument, NULL, 'n'},
                                            {"idle", required_argument, NULL, 'i'},
                                            {"seconds", required_argument, NULL, 's'},
                                            {"count", required_argument, NULL, 'c'},
                                            {"watch", required_argument, NULL, 'w'},
                                            {"cpus", required_argument, NULL, 'C'},
                                            {"socket", required_argument, NULL, 'S'},
                                            {NULL, 0, NULL, 0}};
    char *socket_path = NULL;
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
        if (!take_option(option, measure, &socket_path))
            return false;
    if (strncmp(measure->place->transport->name, "idc", 3) == 0)
        measure->place->own = socket_path;
    return true;
}

static void set_defaults(struct measure *measure, const char *test)
{
    bool stream = strcmp(test, "throughput") == 0 || strcmp(test, "fairness") == 0;
    if (measure->size == 0)
        measure->size = stream ? 65536 : 64;
    if (measure->idle == 0 && strcmp(test, "memory") == 0)
        measure->idle = 1000;
    if (measure->streams == 0)
        measure->streams = strcmp(test, "fairness") == 0 ? 16 : 1;
}

/* ---- the subcommands ---- */

static void say_ready(struct place *place, void *arg)
{
    (void)place, (void)arg;
    printf("ready\n");
    fflush(stdout);
}

static int bench_serve(struct measure *measure)
{
    struct place *place = measure->place;
    if (place->transport->own_server)
        return bench_complain("has a server of its own with each run: ", place->transport->name);
    if (place->transport->listen(place) < 0)
        return bench_failed();
    if (place->transport == &transport_chain)
        for (int i = 0; i < place_watch(place)->count; i++)
            watch_add(&measure->watch, place_watch(place)->pids[i]);
    measure_serve(place, &measure->watch, say_ready, NULL);
    return bench_failed();
}

static void print_json(const struct measure *measure, const struct measure_test *test,
                       const struct figures *figures)
{
    printf("{\"test\": \"%s\", \"transport\": \"%s\", \"size\": %zu, \"streams\": %u, \"idle\": %u",
           test->name, measure->place->transport->name, measure->size, measure->streams,
           measure->idle);
    figures_print(figures, stdout);
    printf("}\n");
}

static int bench_run(struct measure *measure, const char *name)
{
    struct figures figures = {0};
    const struct measure_test *test = measure_find_test(name);
    if (test == NULL)
        return bench_complain("there is no test ", name);
    set_defaults(measure, name);
    if (measure->place->transport->own_server &&
        measure->place->transport->listen(measure->place) < 0)
        return bench_failed();
    if (measure_run(test, measure, &figures) < 0)
        return bench_failed();
    print_json(measure, test, &figures);
    return 0;
}

static int bench_relay(const char *path, const char *to)
{
    int listener = relay_listen(path);
    if (listener < 0)
        return bench_failed();
    say_ready(NULL, NULL);
    relay_run(listener, to);
    return bench_failed();
}

/* Thousands of connections need descriptors. */
static void raise_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int main(int argc, char **argv)
{
    struct place place = {.listener = -1};
    struct measure measure = {.place = &place, .seconds = 0.5};
    signal(SIGPIPE, SIG_IGN);
    raise_limit();
    if (argc > 1 && strcmp(argv[1], "--help") == 0)
        return print_usage(stdout);
    if (argc == 4 && strcmp(argv[1], "relay") == 0)
        return bench_relay(argv[2], argv[3]);
    if (argc == 2 && strcmp(argv[1], "calls") == 0)
        return calls_run();
    if (argc == 5 && strcmp(argv[1], "victim") == 0)
        return attack_victim((unsigned)strtoul(argv[2], NULL, 10),
                             (unsigned)strtoul(argv[3], NULL, 10),
                             (unsigned)strtoul(argv[4], NULL, 10));
    if (argc == 5 && strcmp(argv[1], "attack") == 0)
        return attack_run(argv[2], (unsigned)strtoul(argv[3], NULL, 10),
                          (unsigned)strtoul(argv[4], NULL, 10));
    if (argc < 3 || (strcmp(argv[1], "serve") != 0 && strcmp(argv[1], "run") != 0))
        return print_usage(stderr);
    bool serving = strcmp(argv[1], "serve") == 0;
    place.transport = find_transport(argv[2]);
    if (place.transport == NULL)
        return bench_complain("there is no transport ", argv[2]);
    if (!take_options(argc - 2, argv + 2, &measure))
        return EXIT_USAGE;
    pin_to_side(serving ? SERVER_SIDE : CLIENT_SIDE);
    char **words = argv + 2 + optind;
    int count = argc - 2 - optind, wanted = !place.transport->own_server + !serving;
    if (count != wanted)
        return bench_complain("wrong number of words; ADDRESS is ", place.transport->address);
    place.address = place.transport->own_server ? NULL : words[0];
    return serving ? bench_serve(&measure) : bench_run(&measure, words[count - 1]);
}
