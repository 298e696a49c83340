/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ping.c - idc ping: lines to the connection manager of a domain (port 1) and back, over one
 * connection. It measures what a program sees: the way through its own link_mgr, the link and the
 * other link_mgr, and back.
 */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tools/command.h"

#define ANSWER_TIMEOUT_MS 5000

struct ping {
    const struct command *command;
    uint32_t domid, count, interval_ms;
    uint32_t timeout_ms; /* 0: the usual */
    int fd;
    unsigned sent, received;
    double min, max, sum;
};

static volatile sig_atomic_t interrupted;

static void on_signal(int signal_number)
{
    (void)signal_number;
    interrupted = 1;
}

/* Reads up to a newline, and the newline. Returns the length, 0 at the end, or -1 with errno
 * (ETIMEDOUT, EINTR, ...). */
static int read_line(const struct ping *ping, char *line, int size)
{
    int fd = ping->fd;
    double end = command_now_ms() + (ping->timeout_ms != 0 ? ping->timeout_ms : ANSWER_TIMEOUT_MS);
    int have = 0;
    while (have < size - 1 && (have == 0 || line[have - 1] != '\n')) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        double left = end - command_now_ms();
        int ready = poll(&p, 1, left > 0 ? (int)left + 1 : 0);
        if (ready == 0)
            errno = ETIMEDOUT;
        if (ready <= 0)
            return -1;
        ssize_t got = idc_recv(fd, line + have, (size_t)(size - 1 - have));
        if (got <= 0)
            return (int)got;
        have += (int)got;
    }
    line[have] = '\0';
    return have;
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
                  ? read_line(ping, answer, sizeof(answer))
                  : -1;
    double ms = command_now_ms() - start;
    if (got > 0 && strcmp(answer, expected) == 0) {
        ping_account(ping, ms);
        printf("domain %u: seq=%d time=%.3f ms\n", ping->domid, number, ms);
        return true;
    }
    if (got < 0 && errno == EINTR)
        return false;
    const char *why = got == 0 ? "it closed the connection" : "that is not its answer";
    if (got < 0)
        why = errno == ETIMEDOUT ? "no answer in time" : idc_last_error();
    failure(ping->command, "domain %u: %s", ping->domid, why);
    return false;
}

static void print_summary(const struct ping *ping)
{
    printf("\n--- domain %u ---\n%u sent, %u answered\n", ping->domid, ping->sent, ping->received);
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
        .domid = ping->domid, .port = IDC_PORT_MANAGER, .timeout_ms = (int)ping->timeout_ms};
    const struct sigaction action = {.sa_handler = on_signal};
    double start = command_now_ms();
    ping->fd = connect_or_explain(ping->command, &target, IDC_STREAM);
    if (ping->fd < 0)
        return EXIT_FAILED;
    printf("domain %u: connected in %.3f ms\n", ping->domid, command_now_ms() - start);
    sigaction(SIGINT, &action, NULL); /* without SA_RESTART: it ends a wait */
    sigaction(SIGTERM, &action, NULL);
    bool alive = true;
    while (alive && !interrupted && (ping->count == 0 || ping->sent < ping->count)) {
        if (ping->sent > 0)
            pause_ms(ping->interval_ms);
        if (!interrupted)
            alive = ping_once(ping);
    }
    print_summary(ping);
    idc_disconnect(ping->fd);
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
    if (!take_domid(command, argv + optind, argc - optind, &ping.domid))
        return EXIT_USAGE;
    setvbuf(stdout, NULL, _IOLBF, 0);
    return ping_loop(&ping);
}
