/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * channels.c - idc channels: all channels of the files, in one process.
 *
 * channel_files reads the lines, channel_set keeps the channels that they name, and report tells of
 * them. What is here is the command line, and the order in which these begin and end. The report's
 * socket comes first, since it says whether another one runs already.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "channels/channel_files.h"
#include "channels/channel_set.h"
#include "channels/loop.h"
#include "channels/report.h"
#include "common/notify.h"
#include "tools/command.h"

#define PLACE_FILE "/etc/idc/channels"
#define PLACE_DIRECTORY "/etc/idc/channels.d"
#define TERMINALS "/dev/idc-channels"

struct channels {
    const struct command *command;
    struct channel_files_settings places;
    const char *state; /* path of the report's socket, or NULL */
    bool check;
    struct loop loop;
    struct channel_files *files;
    struct channel_set *set;
    struct report *report;
};

static void channels_say(void *context, const char *line)
{
    const struct channels *channels = context;
    failure(channels->command, "%s", line);
}

static void channels_notify(const struct channels *channels, const char *words)
{
    int error = notify_send(words);
    if (error < 0)
        failure(channels->command, "cannot write to NOTIFY_SOCKET: %s", strerror(-error));
}

static void channels_notify_count(const struct channels *channels, const char *first,
                                  const struct channel_list *list, int mistakes)
{
    char words[128];
    snprintf(words, sizeof(words), "%sSTATUS=%zu channels, %d mistakes in their files", first,
             list->good, mistakes);
    channels_notify(channels, words);
}

/* ---- running ---- */

static void channels_reload(void *context)
{
    struct channels *channels = context;
    struct channel_list list;
    int mistakes = channel_files_read(channels->files, &list);
    if (mistakes < 0) {
        failure(channels->command, "out of memory, all channels stay as they are");
        return;
    }
    if (channel_set_sync(channels->set, &list) < 0)
        failure(channels->command, "out of memory, some channels are missing");
    channels_notify_count(channels, "", &list, mistakes);
    channel_list_free(&list);
}

static int channels_begin(struct channels *channels, const struct channel_list *list, int mistakes)
{
    const struct channel_set_settings settings = {.loop = &channels->loop.bridges,
                                                  .link_mgr = command_socket,
                                                  .descriptors = channels->loop.descriptors,
                                                  .say = channels_say,
                                                  .context = channels};
    char path[REPORT_PATH_MAX], why[REPORT_WHY_MAX];
    if (channels->state == NULL && !report_default_path(false, path))
        return failure(channels->command, "there is no XDG_RUNTIME_DIR: --state PATH has to say "
                                          "where the socket for idc status --channels is to be");
    channels->set = channel_set_new(&settings);
    if (channels->set == NULL)
        return failure(channels->command, "out of memory");
    channels->report =
        report_new(channels->loop.bridges.base, channels->state != NULL ? channels->state : path,
                   channels->set, why);
    if (channels->report == NULL)
        return failure(channels->command, "%s", why);
    mkdir(channels->places.terminals, 0755); /* a link that can't be made is told of */
    if (channel_set_sync(channels->set, list) < 0)
        failure(channels->command, "out of memory, some channels are missing");
    channels_notify_count(channels, "READY=1\n", list, mistakes);
    return 0;
}

/* With nothing but mistakes, there is nothing to run. */
static int channels_run(struct channels *channels, const struct channel_list *list, int mistakes)
{
    if (list->good == 0 && mistakes > 0)
        return failure(channels->command, "there is no channel");
    if (loop_open(&channels->loop, channels_reload, channels) < 0)
        return failure(channels->command, "out of memory");
    int status = channels_begin(channels, list, mistakes);
    if (status == 0) {
        loop_run(&channels->loop);
        channels_notify(channels, "STOPPING=1");
    }
    channel_set_free(channels->set);
    report_free(channels->report); /* last: its socket keeps another one away until then */
    loop_close(&channels->loop);
    return status;
}

static int channels_read(struct channels *channels)
{
    struct channel_list list;
    if (!channels->check) {
        loop_hold_signals();
        command_serves(channels->command);
    }
    channels->places.say = channels_say;
    channels->places.context = channels;
    channels->files = channel_files_new(&channels->places);
    int mistakes = channels->files != NULL ? channel_files_read(channels->files, &list) : -ENOMEM;
    int status;
    if (mistakes < 0) {
        status = failure(channels->command, "out of memory");
    } else if (channels->check) {
        printf("%zu channels, %d mistakes\n", list.good, mistakes);
        status = mistakes > 0 ? EXIT_FAILED : 0;
    } else {
        status = channels_run(channels, &list, mistakes);
    }
    if (mistakes >= 0)
        channel_list_free(&list);
    channel_files_free(channels->files);
    return status;
}

/* ---- command line ---- */

static bool channels_add_place(struct channel_files_settings *places, const char *path)
{
    if (places->place_count == CHANNEL_FILES_PLACES)
        return false;
    places->places[places->place_count++] = path;
    return true;
}

static void channels_set_usual(struct channel_files_settings *places)
{
    if (places->terminals == NULL)
        places->terminals = TERMINALS;
    if (places->place_count > 0)
        return;
    places->may_be_missing = true;
    channels_add_place(places, PLACE_FILE);
    channels_add_place(places, PLACE_DIRECTORY);
}

int run_channels(const struct command *command, int argc, char **argv)
{
    static const struct option options[] = {{"check", no_argument, NULL, 'c'},
                                            {"config", required_argument, NULL, 'f'},
                                            {"state", required_argument, NULL, 'P'},
                                            {"terminals", required_argument, NULL, 'T'},
                                            {"socket", required_argument, NULL, 'S'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    struct channels channels = {.command = command};
    int option, status;
    while ((option = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
        if (option == 'f' && !channels_add_place(&channels.places, optarg))
            return usage_error(command, "--config can be given %d times", CHANNEL_FILES_PLACES);
        if (option == 'T' && optarg[0] != '/')
            return usage_error(command, "--terminals takes a path that begins with /, not \"%s\"",
                               optarg);
        if (option == 'c')
            channels.check = true;
        else if (option == 'P')
            channels.state = optarg;
        else if (option == 'T')
            channels.places.terminals = optarg;
        else if (option != 'f' && !common_option(command, option, argv, &status))
            return status;
    }
    if (optind != argc)
        return usage_error(command, "unexpected argument \"%s\"", argv[optind]);
    channels_set_usual(&channels.places);
    return channels_read(&channels);
}
