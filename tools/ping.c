/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ping.c - idc ping: lines to the connection manager of a domain (port 1) and back, over one
 * connection. It measures what a program sees: the way through its own link_mgr, the link and the
 * other link_mgr, and back.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/shown.h"
#include "tools/command.h"
#include "tools/lines.h"

#define ANSWER_TIMEOUT_MS 5000

struct ping {
    const struct command *command;
    const char *domain;
    uint32_t count, interval_ms;
    uint32_t timeout_ms; /* 0: the usual */
    int fd;
    struct lines answers;
    unsigned sent, received;
    double min, max, sum;
};

static volatile sig_atomic_t interrupted;

static void on_signal(int signal_number)
{
    (void)signal_number;
    interrupted = 1;
}

/* Reads a line of the answer. Returns the length, 0 at the end, or -1 with errno (ETIMEDOUT, EINTR,
 * ...). */
static int ping_answer(struct ping *ping, char *line, int size)
{
    uint32_t limit = ping->timeout_ms != 0 ? ping->timeout_ms : ANSWER_TIMEOUT_MS;
    ping->answers.end_ms = command_now_ms() + limit;
    return lines_next(&ping->answers, line, size);
}

static void ping_account(struct ping *ping, double ms)
{
    ping->min = ping->received == 0 || ms < ping->min ? ms : ping->min;
    ping->max = ping->received == 0 || ms > ping->max ? ms : ping->max;
    ping->sum += ms;
    ping->received++;
}

/* Makes one round. False: another round would be useless. */
static bool ping_once(struct ping *ping)
{
    char request[64], expected[64], answer[64];
    int number = (int)++ping->sent;
    int len = snprintf(request, sizeof(request), "PING %d\n", number);
    snprintf(expected, sizeof(expected), "PONG %d\n", number);
    double start = command_now_ms();
    errno = 0;
    int got = idc_send(ping->fd, request, (size_t)len) == len
                  ? ping_answer(ping, answer, sizeof(answer))
                  : -1;
    double ms = command_now_ms() - start;
    if (got > 0 && strcmp(answer, expected) == 0) {
        ping_account(ping, ms);
        shown_printf(stdout, "domain %s: seq=%d time=%.3f ms", ping->domain, number, ms);
        putchar('\n');
        return true;
    }
    if (got < 0 && errno == EINTR)
        return false;
    const char *why = got == 0 ? "it closed the connection" : "that is not its answer";
    if (got < 0)
        why = errno == ETIMEDOUT ? "no answer in time" : idc_last_error();
    failure(ping->command, "domain %s: %s", ping->domain, why);
    return false;
}

static void print_summary(const struct ping *ping)
{
    putchar('\n');
    shown_printf(stdout, "--- domain %s ---", ping->domain);
    printf("\n%u sent, %u answered\n", ping->sent, ping->received);
    if (ping->received > 0)
        printf("rtt min/avg/max = %.3f/%.3f/%.3f ms\n", ping->min, ping->sum / ping->received,
               ping->max);
}

static void pause_ms(uint32_t ms)
{
    struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    nanosleep(&time, NULL); /* a signal ends it, and then the loop */
}

static int ping_loop(struct ping *ping)
{
    const struct target target = {
        .domain = ping->domain, .port = IDC_PORT_MANAGER, .timeout_ms = (int)ping->timeout_ms};
    const struct sigaction action = {.sa_handler = on_signal};
    double start = command_now_ms();
    ping->fd = connect_or_explain(ping->command, &target, IDC_STREAM);
    if (ping->fd < 0)
        return EXIT_FAILED;
    ping->answers.fd = ping->fd;
    shown_printf(stdout, "domain %s: connected in %.3f ms", ping->domain, command_now_ms() - start);
    putchar('\n');
    sigaction(SIGINT, &action, NULL); /* without SA_RESTART: it ends a wait */
    sigaction(SIGTERM, &action, NULL);
    bool alive = true;
    while (alive && !interrupted && !ferror(stdout) &&
           (ping->count == 0 || ping->sent < ping->count)) {
        if (ping->sent > 0)
            pause_ms(ping->interval_ms);
        if (!interrupted)
            alive = ping_once(ping);
    }
    print_summary(ping);
    idc_disconnect(ping->fd);
    if (ferror(stdout))
        return 0; /* main says that, and fails */
    return ping->received > 0 && ping->received == ping->sent ? 0 : EXIT_FAILED;
}

int run_ping(const struct command *command, int argc, char **argv)
{
    static const struct option options[] = {
        {"count", required_argument, NULL, 'c'},   {"interval", required_argument, NULL, 'i'},
        {"timeout", required_argument, NULL, 'W'}, {"socket", required_argument, NULL, 'S'},
        {"help", no_argument, NULL, 'h'},          {NULL, 0, NULL, 0}};
    struct ping ping = {.command = command, .interval_ms = 1000};
    int option, status;
    while ((option = getopt_long(argc, argv, ":c:i:W:h", options, NULL)) != -1) {
        if (option == 'c' && !parse_number(optarg, 1, UINT32_MAX, &ping.count))
            return usage_error(command, "COUNT must be a number from 1 up, not \"%s\"", optarg);
        if (option == 'i' && !parse_time(optarg, 0, &ping.interval_ms))
            return usage_error(command, "--interval " TIME_RULE, 0.0, optarg);
        if (option == 'W' && !parse_time(optarg, 1, &ping.timeout_ms))
            return usage_error(command, "--timeout " TIME_RULE, 0.001, optarg);
        if (option != 'c' && option != 'i' && option != 'W' &&
            !common_option(command, option, argv, &status))
            return status;
    }
    if (!take_domain(command, argv + optind, argc - optind, &ping.domain))
        return EXIT_USAGE;
    setvbuf(stdout, NULL, _IOLBF, 0);
    return ping_loop(&ping);
}
