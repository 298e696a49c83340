/* SPDX-License-Identifier: GPL-2.0-or-later */
/* services.c - idc services: asks a domain's connection manager (port 1) what it offers. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "common/shown.h"
#include "tools/command.h"
#include "tools/lines.h"

#define ANSWER_TIMEOUT_MS 5000
#define LINE_MAX_BYTES 512

static const char question[] = "SERVICES\n";

/* The other domain may say anything. The columns are separated by tabs. */
static void print_line(char *line)
{
    char *end = strchrnul(line, '\n');
    const bool whole = *end == '\n';
    *end = '\0';
    for (char *rest = line, *word = strsep(&rest, "\t"); word != NULL; word = strsep(&rest, "\t")) {
        shown_print(stdout, word);
        if (rest != NULL)
            putchar('\t');
    }
    if (whole)
        putchar('\n');
}

/* Copies lines to stdout until the empty one. 0, or EXIT_FAILED when the connection ends before
 * that, or time is up.
 */
static int print_answer(const struct command *command, struct lines *lines)
{
    char line[LINE_MAX_BYTES];
    int got;
    while ((got = lines_next(lines, line, sizeof(line))) > 0) {
        if (line[0] == '\n')
            return 0;
        print_line(line);
    }
    if (got < 0 && errno == ETIMEDOUT)
        return failure(command, "no answer in time");
    return failure(command, "%s", got < 0 ? idc_last_error() : "the answer is cut off");
}

/* timeout_ms: for the connection, and for the answer; 0: the usual. */
static int list_services(const struct command *command, const char *domain, uint32_t timeout_ms)
{
    const struct target target = {
        .domain = domain, .port = IDC_PORT_MANAGER, .timeout_ms = (int)timeout_ms};
    static struct lines lines;
    lines.fd = connect_or_explain(command, &target, IDC_STREAM);
    if (lines.fd < 0)
        return EXIT_FAILED;
    lines.end_ms = command_now_ms() + (timeout_ms != 0 ? timeout_ms : ANSWER_TIMEOUT_MS);
    int status;
    if (idc_send(lines.fd, question, strlen(question)) != (ssize_t)strlen(question))
        status = failure(command, "%s", idc_last_error());
    else
        status = print_answer(command, &lines);
    idc_disconnect(lines.fd);
    return status;
}

int run_services(const struct command *command, int argc, char **argv)
{
    static const struct option options[] = {{"timeout", required_argument, NULL, 't'},
                                            {"socket", required_argument, NULL, 'S'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    uint32_t timeout_ms = 0;
    const char *domain = NULL;
    int option, status;
    while ((option = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
        if (option == 't' && !parse_time(optarg, 1, &timeout_ms))
            return usage_error(command, "--timeout " TIME_RULE, 0.001, optarg);
        if (option != 't' && !common_option(command, option, argv, &status))
            return status;
    }
    if (!take_domain(command, argv + optind, argc - optind, &domain))
        return EXIT_USAGE;
    return list_services(command, domain, timeout_ms);
}
