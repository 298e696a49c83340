/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * wait.c - idc wait: until the own link_mgr serves, until a domain can be reached, until a program
 * there listens. For scripts, which otherwise have to guess how long each of these takes.
 *
 * It looks for a listener in the list that the domain's connection manager (port 1) gives. It does
 * not connect to the listener, which would take that for a client. It waits for everything that is
 * missing, even for a permission, because a rule reaches link_mgr a moment after idc-setup has
 * ended.
 */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "libidc/internal.h"
#include "tools/command.h"
#include "tools/lines.h"

#define TIMEOUT_DEFAULT_MS 30000
#define PAUSE_FIRST_MS 5
#define PAUSE_MAX_MS 200
#define LOOK_MS 2000       /* the time for an answer when idc wait only looks */
#define ATTEMPT_MIN_MS 250 /* ... and when time is nearly over */
#define OFFER_MAX 512      /* bytes of one line */

struct wait {
    const struct command *command;
    struct target target;
    bool remote, service; /* it waits for more than the own link_mgr */
    double end_ms;
    bool look; /* only */
    int error; /* of the latest attempt */
    char why[LIBIDC_TEXT_MAX];
};

static int wait_left(const struct wait *wait)
{
    double left = wait->end_ms - command_now_ms();
    int least = wait->look ? LOOK_MS : ATTEMPT_MIN_MS;
    return left > least ? (int)left : least;
}

/* Notes why this attempt failed. */
static bool wait_note(struct wait *wait, int error, const char *why)
{
    wait->error = error;
    snprintf(wait->why, sizeof(wait->why), "%s", why);
    return false;
}

/* ---- attempts: true, or false after wait_note ---- */

static bool try_own(struct wait *wait)
{
    struct compact_writer call;
    compact_begin(&call, COMPACT_CALL, "idc.status");
    if (libidc_call(libidc_socket_path(command_socket), &call, wait_left(wait), NULL, NULL) == 0)
        return true;
    return wait_note(wait, errno, idc_last_error());
}

/* Is this line of the answer to SERVICES about the target? "PORT TYPE NAME" */
static bool is_target(const struct target *target, const char *line)
{
    char type[16], name[IDC_SERVICE_MAX + 2];
    unsigned port;
    if (sscanf(line, "%u %15s %80s", &port, type, name) != 3)
        return false;
    return target->port != 0 ? port == target->port : strcmp(name, target->service) == 0;
}

/* Reads to the empty line. */
static bool find_offer(struct wait *wait, struct lines *answer)
{
    char line[OFFER_MAX];
    while (lines_next(answer, line, sizeof(line)) > 0) {
        if (line[0] == '\n')
            return wait_note(wait, ECONNREFUSED,
                             "nothing listens there that this domain may connect to");
        if (is_target(&wait->target, line))
            return true;
    }
    return wait_note(wait, EAGAIN, "its link_mgr does not say what listens there");
}

static bool try_service(struct wait *wait, int fd, double end_ms)
{
    static const char question[] = "SERVICES\n";
    struct lines answer = {.fd = fd, .end_ms = end_ms};
    if (idc_send(fd, question, strlen(question)) != (ssize_t)strlen(question))
        return wait_note(wait, errno, idc_last_error());
    return find_offer(wait, &answer);
}

/* One limit for connecting and for the answer. */
static bool try_remote(struct wait *wait)
{
    int left = wait_left(wait);
    double end_ms = command_now_ms() + left;
    const struct target manager = {
        .domain = wait->target.domain, .port = IDC_PORT_MANAGER, .timeout_ms = left};
    int fd = connect_target(&manager, IDC_STREAM);
    if (fd < 0)
        return wait_note(wait, errno, idc_last_error());
    bool found = !wait->service || try_service(wait, fd, end_ms);
    idc_disconnect(fd);
    return found;
}

/* ---- the loop ---- */

/* Nothing that starts later will change these. */
static bool is_hopeless(const struct wait *wait)
{
    bool closed = access(libidc_socket_path(command_socket), W_OK) < 0 && errno == EACCES;
    return closed || wait->error == EINVAL || wait->error == EPROTO || wait->error == ENOTUNIQ ||
           wait->error == ENAMETOOLONG || wait->error == ENOTDIR;
}

static int wait_fail(const struct wait *wait)
{
    if (!wait->remote)
        return failure(wait->command, "%s", wait->why);
    return explain_connect(wait->command, &wait->target, IDC_STREAM, wait->error, wait->why);
}

static int wait_loop(struct wait *wait)
{
    int pause = PAUSE_FIRST_MS;
    while (!(wait->remote ? try_remote(wait) : try_own(wait))) {
        int left = (int)(wait->end_ms - command_now_ms());
        if (left <= 0 || is_hopeless(wait))
            return wait_fail(wait);
        poll(NULL, 0, left < pause ? left : pause);
        pause = pause < PAUSE_MAX_MS / 2 ? 2 * pause : PAUSE_MAX_MS;
    }
    return 0;
}

static int wait_arguments(struct wait *wait, char **args, int count)
{
    if (count > 2)
        return usage_error(wait->command, "unexpected argument \"%s\"", args[2]);
    wait->remote = count > 0;
    wait->service = count > 1;
    if (wait->remote && !check_domain(wait->command, args[0]))
        return EXIT_USAGE;
    if (wait->remote && strcmp(args[0], "any") == 0)
        return usage_error(wait->command,
                           "any is no domain to wait for; name a domain of the service's route");
    wait->target.domain = wait->remote ? args[0] : NULL;
    if (wait->service)
        return parse_service(wait->command, args[1], &wait->target) ? 0 : EXIT_USAGE;
    wait->target.port = IDC_PORT_MANAGER;
    return 0;
}

int run_wait(const struct command *command, int argc, char **argv)
{
    static const struct option options[] = {{"timeout", required_argument, NULL, 't'},
                                            {"socket", required_argument, NULL, 'S'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    static struct wait wait;
    uint32_t ms = TIMEOUT_DEFAULT_MS;
    int option, status;
    wait.command = command;
    while ((option = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
        if (option == 't' && !parse_time(optarg, 0, &ms))
            return usage_error(command, "--timeout " TIME_RULE, 0.0, optarg);
        if (option != 't' && !common_option(command, option, argv, &status))
            return status;
    }
    status = wait_arguments(&wait, argv + optind, argc - optind);
    if (status != 0)
        return status;
    wait.look = ms == 0;
    wait.end_ms = command_now_ms() + ms;
    return wait_loop(&wait);
}
