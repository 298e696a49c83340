/* SPDX-License-Identifier: GPL-2.0-or-later */
/* services.c - idc services: asks a domain's connection manager (port 1) what it offers. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "tools/command.h"

#define ANSWER_TIMEOUT_S 5

static const char question[] = "SERVICES\n";

/* Copies lines to stdout until the empty one. 0, or EXIT_FAILED when the connection ends before
 * that.
 */
static int print_answer(const struct command *command, int fd)
{
    char buf[4096];
    ssize_t got;
    char last = '\n';
    while ((got = idc_recv(fd, buf, sizeof(buf))) > 0) {
        for (ssize_t i = 0; i < got; last = buf[i++]) {
            if (buf[i] == '\n' && last == '\n')
                return 0;
            putchar(buf[i]);
        }
    }
    if (got < 0 && errno == EAGAIN)
        return failure(command, "no answer in %d seconds", ANSWER_TIMEOUT_S);
    return failure(command, "%s", got < 0 ? idc_last_error() : "the answer is cut off");
}

static int list_services(const struct command *command, uint32_t domid)
{
    const struct target target = {.domid = domid, .port = IDC_PORT_MANAGER};
    int fd = connect_or_explain(command, &target, IDC_STREAM);
    if (fd < 0)
        return EXIT_FAILED;
    const struct timeval limit = {.tv_sec = ANSWER_TIMEOUT_S};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    int status;
    if (idc_send(fd, question, strlen(question)) != (ssize_t)strlen(question))
        status = failure(command, "%s", idc_last_error());
    else
        status = print_answer(command, fd);
    idc_disconnect(fd);
    return status;
}

int run_services(const struct command *command, int argc, char **argv)
{
    static const struct option options[] = {{"socket", required_argument, NULL, 'S'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    uint32_t domid;
    int option, status;
    while ((option = getopt_long(argc, argv, ":h", options, NULL)) != -1)
        if (!common_option(command, option, argv, &status))
            return status;
    if (!take_domid(command, argv + optind, argc - optind, &domid))
        return EXIT_USAGE;
    return list_services(command, domid);
}
