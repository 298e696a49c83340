/* SPDX-License-Identifier: GPL-2.0-or-later */
/* forward.c - idc forward: one channel (channels/channel.h), from the command line. */
#include <errno.h>
#include <event2/event.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "channels/channel.h"
#include "channels/channel_line.h"
#include "channels/loop.h"
#include "tools/advice.h"
#include "tools/command.h"

#if ADVICE_MAX > CHANNEL_ADVICE_MAX
#error "an advice is made in the room of a channel's"
#endif

struct forward {
    const struct command *command;
    struct loop loop;
    struct channel *channel;
    int status;
};

static void forward_say(void *context, const char *line)
{
    const struct forward *forward = context;
    failure(forward->command, "%s", line);
}

static void forward_advise(void *context, const struct end *end, uint32_t port, int error,
                           const char *why, char advice[CHANNEL_ADVICE_MAX])
{
    const struct target target = {
        .domain = end->where, .port = end->named_port ? port : end->port, .service = end->service};
    (void)context;
    advice_make(&target, IDC_STREAM, error, why, advice);
}

static void forward_ended(void *context, bool failed)
{
    struct forward *forward = context;
    forward->status = failed ? EXIT_FAILED : 0;
    event_base_loopbreak(forward->loop.bridges.base);
}

static void forward_hangup(void *context)
{
    struct forward *forward = context;
    channel_reopen(forward->channel);
}

static int forward_run(struct forward *forward, const struct end ends[2],
                       struct channel_settings *settings)
{
    char why[CHANNEL_WHY_MAX];
    settings->say = forward_say;
    settings->advise = forward_advise;
    settings->ended = forward_ended;
    settings->context = forward;
    settings->opener.link_mgr = command_socket;
    if (loop_open(&forward->loop, forward_hangup, forward) < 0)
        return failure(forward->command, "out of memory");
    forward->channel = channel_new(&forward->loop.bridges, &ends[0], &ends[1], settings, why);
    if (forward->channel != NULL)
        loop_run(&forward->loop);
    else
        forward->status = failure(forward->command, "%s", why);
    channel_free(forward->channel);
    loop_close(&forward->loop);
    return forward->status;
}

/* ---- command line ---- */

static bool forward_read(const struct command *command, char **texts, int count, struct end ends[2],
                         struct channel_settings *settings)
{
    const struct end *listening, *other;
    char why[END_WHY_MAX];
    size_t at;
    if (count > 2)
        usage_error(command, "unexpected argument \"%s\"", texts[2]);
    else if (count < 2)
        usage_error(command, "needs FROM and TO");
    if (count != 2)
        return false;
    for (int i = 0; i < 2; i++)
        if (!end_parse(texts[i], &ends[i], &at, why)) {
            usage_error(command, "%s: %s", texts[i], why);
            return false;
        }
    if (!end_match(&ends[0], &ends[1], &listening, &other, why)) {
        usage_error(command, "%s", why);
        return false;
    }
    if (ends[0].kind == END_EXEC && listening == NULL)
        settings->once = true;
    return true;
}

int run_forward(const struct command *command, int argc, char **argv)
{
    static const struct option options[] = {{"max", required_argument, NULL, 'm'},
                                            {"mode", required_argument, NULL, 'M'},
                                            {"once", no_argument, NULL, 'o'},
                                            {"wait", no_argument, NULL, 'w'},
                                            {"socket", required_argument, NULL, 'S'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    struct forward forward = {.command = command};
    struct channel_settings settings = {.max = 0};
    struct end ends[2];
    int option, status;
    loop_hold_signals();
    command_serves(command);
    while ((option = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
        if (option == 'm' && !parse_number(optarg, 1, LOOP_MAX, &settings.max))
            return usage_error(command, "--max takes 1 to %u, not \"%s\"", LOOP_MAX, optarg);
        if (option == 'M' && !channel_read_mode(optarg, &settings.opener.mode))
            return usage_error(command, "--mode takes 001 to 777, not \"%s\"", optarg);
        if (option == 'o')
            settings.once = true;
        else if (option == 'w')
            settings.patient = true;
        else if (!strchr("mM", option) && !common_option(command, option, argv, &status))
            return status;
    }
    if (!forward_read(command, argv + optind, argc - optind, ends, &settings))
        return EXIT_USAGE;
    return forward_run(&forward, ends, &settings);
}
