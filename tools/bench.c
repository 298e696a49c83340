/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bench.c - idc bench: measures connections to a domain, in which `idc bench --listen` runs.
 * tools/measure does the measuring; here are the list of tests and their presentation.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/command.h"
#include "tools/measure/measure.h"

#define SERVICE "org.idc.bench"
#define PROBE_MS 5000

struct bench {
    const struct command *command;
    bool listen, json;
    uint32_t port;
    const char *name;
    double seconds;
    char address[IDC_SERVICE_MAX + 16];
    /* the option that names the service, with a blank before it; "" for the default */
    char chosen[IDC_SERVICE_MAX + 16];
};

/* ---- what is measured, and how a figure is shown ---- */

struct part {
    const char *test;
    size_t size;
    unsigned streams;
    const char *label;
};

static const struct part parts[] = {
    {"throughput", 64, 1, "64-byte writes"},
    {"throughput", 4096, 1, "4 KiB writes"},
    {"throughput", 65536, 1, "64 KiB writes"},
    {"throughput", 65536, 16, "64 KiB writes, 16 connections"},
    {"round_trip", 1, 1, "1 byte there and back"},
    {"round_trip", 64, 1, "64 bytes there and back"},
    {"round_trip", 4096, 1, "4 KiB there and back"},
    {"loaded", 64, 1, "64 bytes, beside a bulk stream"},
    {"connect", 64, 1, "connect, 16 B, 1 B back, close"},
};
#define PART_COUNT ((int)(sizeof(parts) / sizeof(parts[0])))

static void print_human(const struct part *part, const struct figures *figures)
{
    printf("%-30s", part->label);
    if (strcmp(part->test, "throughput") == 0)
        printf("%9.1f MB/s", figures_get(figures, "bytes_per_second") / 1e6);
    else
        printf("%9.1f us median %9.1f us p99", figures_get(figures, "p50_ns") / 1e3,
               figures_get(figures, "p99_ns") / 1e3);
    if (strcmp(part->test, "connect") == 0)
        printf(" %8.0f/s", figures_get(figures, "per_second"));
    if (strcmp(part->test, "loaded") == 0)
        printf(" (%.0f MB/s)", figures_get(figures, "bulk_bytes_per_second") / 1e6);
    printf("\n");
    fflush(stdout);
}

static void print_json(const struct part *part, const struct figures *figures, bool first)
{
    printf("%s\n  {\"test\": \"%s\", \"size\": %zu, \"streams\": %u", first ? "" : ",", part->test,
           part->size, part->streams);
    figures_print(figures, stdout);
    printf("}");
}

static int measure_part(const struct bench *bench, struct place *place, int index)
{
    const struct part *part = &parts[index];
    struct measure measure = {
        .place = place, .size = part->size, .streams = part->streams, .seconds = bench->seconds};
    struct figures figures = {0};
    if (measure_run(measure_find_test(part->test), &measure, &figures) < 0)
        return failure(bench->command, "%s: %s", part->label, measure_error());
    if (bench->json)
        print_json(part, &figures, index == 0);
    else
        print_human(part, &figures);
    return 0;
}

/* ---- the two sides ---- */

static void set_address(struct bench *bench, uint32_t domid)
{
    if (bench->port != 0) {
        snprintf(bench->address, sizeof(bench->address), "%u:%u", domid, bench->port);
        snprintf(bench->chosen, sizeof(bench->chosen), " --port %u", bench->port);
        return;
    }
    snprintf(bench->address, sizeof(bench->address), "%u:%s", domid, bench->name);
    if (strcmp(bench->name, SERVICE) != 0)
        snprintf(bench->chosen, sizeof(bench->chosen), " --name %s", bench->name);
}

static int bench_explain(const struct bench *bench, uint32_t domid, int error)
{
    char start[IDC_SERVICE_MAX + 64];
    snprintf(start, sizeof(start), "idc bench --listen%s", bench->chosen);
    char domain[16];
    snprintf(domain, sizeof(domain), "%u", domid);
    struct target target = {
        .domain = domain, .port = bench->port, .service = bench->name, .start = start};
    if (error == EPROTO)
        return failure(bench->command, "domain %u: %s (run there: %s)", domid, measure_error(),
                       start);
    return explain_connect(bench->command, &target, IDC_STREAM, error, idc_last_error());
}

static int run_client(struct bench *bench, char **args, int count)
{
    struct place place = {
        .transport = &transport_idc, .listener = -1, .own = (void *)command_socket};
    uint32_t domid;
    int status = 0;
    const char *domain;
    if (!take_domain(bench->command, args, count, &domain))
        return EXIT_USAGE;
    if (resolve_domain(domain, &domid) < 0)
        return failure(bench->command, "%s", idc_last_error());
    set_address(bench, domid);
    place.address = bench->address;
    if (measure_probe(&place, PROBE_MS) < 0)
        return bench_explain(bench, domid, errno);
    if (bench->json)
        printf("{\"domid\": %u, \"tests\": [", domid);
    for (int i = 0; i < PART_COUNT && status == 0 && !ferror(stdout); i++)
        status = measure_part(bench, &place, i);
    if (bench->json)
        printf("\n]}\n");
    return status;
}

static void say_ready(struct place *place, void *arg)
{
    const struct bench *bench = arg;
    (void)place;
    fprintf(stderr, "listening; to measure, in another domain: idc bench%s DOMID\n", bench->chosen);
}

static int run_server(struct bench *bench)
{
    struct place place = {
        .transport = &transport_idc, .listener = -1, .own = (void *)command_socket};
    struct watch nothing = {0};
    command_serves(bench->command);
    set_address(bench, 0);
    place.address = bench->address;
    measure_serve(&place, &nothing, say_ready, bench);
    return failure(bench->command, "%s", measure_error());
}

/* ---- command line ---- */

#define SECONDS_DEFAULT 1

static bool parse_seconds(const char *text, double *out)
{
    char *end;
    *out = strtod(text, &end);
    return end != text && *end == '\0' && *out >= 0.01 && *out <= 3600;
}

int run_bench(const struct command *command, int argc, char **argv)
{
    static const struct option options[] = {
        {"listen", no_argument, NULL, 'l'},        {"json", no_argument, NULL, 'j'},
        {"port", required_argument, NULL, 'p'},    {"name", required_argument, NULL, 'n'},
        {"seconds", required_argument, NULL, 's'}, {"socket", required_argument, NULL, 'S'},
        {"help", no_argument, NULL, 'h'},          {NULL, 0, NULL, 0}};
    struct bench bench = {.command = command};
    int option, status;
    while ((option = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
        if (option == 'l')
            bench.listen = true;
        else if (option == 'j')
            bench.json = true;
        else if (option == 'n')
            bench.name = optarg;
        else if (option == 'p' && !parse_number(optarg, 2, UINT32_MAX, &bench.port))
            return usage_error(command, "PORT must be 2 to %u, not \"%s\"", UINT32_MAX, optarg);
        else if (option == 's' && !parse_seconds(optarg, &bench.seconds))
            return usage_error(command, "S must be 0.01 to 3600, not \"%s\"", optarg);
        else if (option != 'p' && option != 's' && !common_option(command, option, argv, &status))
            return status;
    }
    if (bench.name != NULL && bench.port != 0)
        return usage_error(command, "--port and --name contradict each other");
    if (bench.name == NULL)
        bench.name = SERVICE;
    if (!check_service(command, bench.name))
        return EXIT_USAGE;
    if (bench.listen && (optind != argc || bench.json || bench.seconds > 0))
        return usage_error(command, "--listen takes no DOMID, no --json and no --seconds");
    if (bench.seconds == 0)
        bench.seconds = SECONDS_DEFAULT;
    return bench.listen ? run_server(&bench) : run_client(&bench, argv + optind, argc - optind);
}
