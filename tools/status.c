/* SPDX-License-Identifier: GPL-2.0-or-later */
/* status.c - idc status: the answer of idc.status, as tables, as JSON or as metrics; once, again
 * and again, or for whoever asks. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libidc/internal.h"
#include "tools/command.h"
#include "tools/json_value.h"
#include "tools/measure/ask.h"
#include "tools/metrics.h"
#include "tools/status_channels.h"
#include "tools/status_table.h"
#include "tools/status_watch.h"

#define ANSWER_MAX (256u * 1024 * 1024)

#define WIDTH 80 /* of a terminal */
#define WATCH_MS 2000

struct status_choice {
    bool json, connections, channels, watch, prometheus;
    const char *state, *listen;
    uint32_t timeout_ms, interval_ms;
};

static int status_show(const struct command *command, const struct status_choice *choice)
{
    bool detail = choice->json || choice->connections;
    xmlrpc_value *status;
    status = ask_status(libidc_socket_path(command_socket), detail, (int)choice->timeout_ms);
    if (status == NULL)
        return failure(command, "%s", idc_last_error());
    if (choice->json) {
        json_value(stdout, status);
        putchar('\n');
    } else if (choice->prometheus) {
        metrics_write(stdout, status);
    } else {
        status_table(stdout, WIDTH, status, choice->connections);
    }
    xmlrpc_DECREF(status);
    return 0;
}

/* ---- command line ---- */

/* NULL, or what does not go together. */
static const char *choice_wrong(const struct status_choice *choice)
{
    int answers = choice->channels + choice->prometheus + (choice->connections || choice->watch);
    if (choice->channels && choice->connections)
        return "--channels and --connections are two different answers";
    if (choice->state != NULL && !choice->channels)
        return "--state is for --channels";
    if (answers > 1)
        return "--channels, --prometheus, and --connections or --watch are different answers";
    if (choice->json && (choice->watch || choice->prometheus))
        return "--json does not go with --watch and --prometheus";
    if (choice->listen != NULL && !choice->prometheus)
        return "--listen is for --prometheus";
    return NULL;
}

static bool status_option(struct status_choice *choice, int option)
{
    if (option == 'j')
        choice->json = true;
    else if (option == 'c')
        choice->connections = true;
    else if (option == 'C')
        choice->channels = true;
    else if (option == 'm')
        choice->prometheus = true;
    else if (option == 'P')
        choice->state = optarg;
    else if (option == 'l')
        choice->listen = optarg;
    return strchr("jcCmPl", option) != NULL;
}

static int status_run(const struct command *command, const struct status_choice *choice)
{
    xmlrpc_limit_set(XMLRPC_XML_SIZE_LIMIT_ID, ANSWER_MAX);
    if (choice->channels)
        return status_channels(command, choice->state, choice->json, choice->timeout_ms);
    if (choice->watch)
        return status_watch(choice->interval_ms, choice->timeout_ms, choice->connections);
    if (choice->listen != NULL)
        return metrics_serve(command, choice->listen, choice->timeout_ms);
    return status_show(command, choice);
}

/* --watch may have its seconds as --watch=2 or behind it. */
static const char *watch_seconds(int argc, char **argv)
{
    if (optarg == NULL && optind < argc && argv[optind][0] != '-')
        return argv[optind++];
    return optarg;
}

int run_status(const struct command *command, int argc, char **argv)
{
    static const struct option options[] = {{"json", no_argument, NULL, 'j'},
                                            {"connections", no_argument, NULL, 'c'},
                                            {"channels", no_argument, NULL, 'C'},
                                            {"state", required_argument, NULL, 'P'},
                                            {"watch", optional_argument, NULL, 'w'},
                                            {"prometheus", no_argument, NULL, 'm'},
                                            {"listen", required_argument, NULL, 'l'},
                                            {"timeout", required_argument, NULL, 't'},
                                            {"socket", required_argument, NULL, 'S'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    struct status_choice choice = {.timeout_ms = ASK_TIMEOUT_MS, .interval_ms = WATCH_MS};
    int option, status;
    while ((option = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
        if (option == 't' && !parse_time(optarg, 1, &choice.timeout_ms))
            return usage_error(command, "--timeout " TIME_RULE, 0.001, optarg);
        if (option == 'w') {
            const char *seconds = watch_seconds(argc, argv);
            choice.watch = true;
            if (seconds != NULL && !parse_time(seconds, 100, &choice.interval_ms))
                return usage_error(command, "--watch " TIME_RULE, 0.1, seconds);
        } else if (option != 't' && !status_option(&choice, option) &&
                   !common_option(command, option, argv, &status)) {
            return status;
        }
    }
    if (optind != argc)
        return usage_error(command, "unexpected argument \"%s\"", argv[optind]);
    const char *wrong = choice_wrong(&choice);
    if (wrong != NULL)
        return usage_error(command, "%s", wrong);
    return status_run(command, &choice);
}
