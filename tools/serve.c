/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * serve.c - idc serve: a process for each connection, whose standard input and output are the
 * connection itself.
 *
 * A program that cannot be run must not look like one that has nothing to say. So it is looked for
 * at the start, which fails without it, and before a connection is accepted. If it is not there
 * then, the listener ends, which resets those who wait, and is made anew.
 *
 * With `max` processes no more connections are accepted. The others wait in the listener's queue. A
 * client that has certainly gone meanwhile, and has left nothing to read, costs no process.
 * libidc keeps the listener when link_mgr ends. Programs that run stay.
 *
 * SIGTERM stops listening first. Then the process groups of all programs get SIGTERM too, and five
 * seconds later SIGKILL.
 */
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "channels/foreign.h"
#include "channels/loop.h"
#include "common/naming.h"
#include "common/notify.h"
#include "libidc/internal.h"
#include "tools/measure/ask.h"
#include "tools/serve_child.h"
#include "tools/serve_systemd.h"

#define MAX_DEFAULT 100
#define BACKLOG 4096 /* as many as there may be: a burst waits, and is not refused */
#define PAUSE_MS 500
#define GRACE_MS 5000
#define NAME_WAIT_MS 1000
#define NAME_SECONDS 10 /* for which a domain's name is remembered */
#define ACCEPTS_AT_ONCE 16

struct serve {
    const struct command *command;
    struct serve_child child;
    struct loop loop;
    struct event acceptable, again;
    int listener, type;
    uint32_t port, max;
    const char *name, *user, *unit;
    bool patient;
    pid_t *pids; /* max of them; 0: none */
    uint32_t running;
    int program_error; /* that was told last */
    char said[512];    /* why it could not listen, as it was told last */
    uint32_t known_domid;
    time_t known_since;
    char known_name[NAMING_NAME_MAX + 1];
};

/* ---- the peer's name ---- */

static bool find_name(xmlrpc_value *status, uint32_t domid, char *name, size_t size)
{
    xmlrpc_env env;
    xmlrpc_value *links = NULL, *link = NULL;
    bool found = false;
    if (ask_int(status, "domid", -1) == (int64_t)domid) {
        ask_text(status, "name", name, size);
        return true;
    }
    xmlrpc_env_init(&env);
    xmlrpc_struct_find_value(&env, status, "links", &links);
    int count = links != NULL && !env.fault_occurred ? xmlrpc_array_size(&env, links) : 0;
    for (int i = 0; i < count && !found && !env.fault_occurred; i++) {
        xmlrpc_array_read_item(&env, links, (unsigned)i, &link);
        if (env.fault_occurred)
            break;
        found = ask_int(link, "peer", -1) == (int64_t)domid;
        if (found)
            ask_text(link, "name", name, size);
        xmlrpc_DECREF(link);
    }
    if (links != NULL)
        xmlrpc_DECREF(links);
    xmlrpc_env_clean(&env);
    return found;
}

/* link_mgr knows it. A domain that calls often does not cost a question each time. */
static const char *name_of(struct serve *serve, uint32_t domid)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (serve->known_since != 0 && serve->known_domid == domid &&
        now.tv_sec - serve->known_since < NAME_SECONDS)
        return serve->known_name;
    serve->known_name[0] = '\0';
    xmlrpc_value *status = ask_status(libidc_socket_path(command_socket), false, NAME_WAIT_MS);
    if (status == NULL)
        return "";
    find_name(status, domid, serve->known_name, sizeof(serve->known_name));
    xmlrpc_DECREF(status);
    serve->known_domid = domid;
    serve->known_since = now.tv_sec;
    return serve->known_name;
}

/* ---- processes ---- */

static bool serve_is_full(const struct serve *serve)
{
    return serve->running >= serve->max;
}

static void serve_note(struct serve *serve, pid_t pid)
{
    uint32_t free_place = 0;
    while (serve->pids[free_place] != 0)
        free_place++; /* there is one, as long as it is not full */
    serve->pids[free_place] = pid;
    serve->running++;
}

static void serve_reaped(void *context, pid_t pid)
{
    struct serve *serve = context;
    for (uint32_t i = 0; i < serve->max; i++)
        if (serve->pids[i] == pid) {
            serve->pids[i] = 0;
            serve->running--;
        }
    if (serve->listener >= 0 && !serve_is_full(serve))
        event_add(&serve->acceptable, NULL);
}

/* Told once for a reason. */
static void serve_say(struct serve *serve, const char *what, const char *why)
{
    char line[sizeof(serve->said)];
    snprintf(line, sizeof(line), "%s: %s", what, why);
    if (strcmp(line, serve->said) != 0)
        failure(serve->command, "%s", line);
    memcpy(serve->said, line, sizeof(line));
}

/* Told once, until it works again: a peer could ask for it as often as it likes. */
static bool serve_can_run(struct serve *serve)
{
    int error = serve_child_check(&serve->child);
    if (error != 0 && error != serve->program_error)
        failure(serve->command, "%s: %s", serve->child.program[0], strerror(error));
    serve->program_error = error;
    return error == 0;
}

static void serve_run(struct serve *serve, int fd, bool marked, const struct idc_addr *peer)
{
    if (serve_child_is_unwanted(fd, marked, serve->type)) {
        foreign_close(fd);
        return;
    }
    pid_t pid = serve_child_start(&serve->child, fd, marked, peer, name_of(serve, peer->domid));
    if (pid > 0)
        serve_note(serve, pid);
    else
        serve_say(serve, "cannot make a process", strerror(errno));
    foreign_close(fd); /* the program may have ended, and this be the last one */
}

/* ---- listening ---- */

static void serve_pause(struct serve *serve)
{
    static const struct timeval pause = {0, PAUSE_MS * 1000};
    event_add(&serve->again, &pause);
}

/* How the listener stands with link_mgr. */
static void serve_noted(struct serve *serve, int error)
{
    if (error != 0)
        serve_say(serve, "cannot listen", idc_last_error());
    else
        serve->said[0] = '\0';
}

static void serve_accept_failed(struct serve *serve, int error)
{
    if (error == EAGAIN || error == EINTR)
        return;
    serve_say(serve, "accepting", idc_last_error());
    event_del(&serve->acceptable);
    if (error != EMFILE && error != ENFILE && error != ENOBUFS && error != ENOMEM) {
        close(serve->listener);
        serve->listener = -1;
    }
    serve_pause(serve);
}

/* Ends the listener. Those who wait get a reset. */
static void serve_refuse(struct serve *serve)
{
    event_del(&serve->acceptable);
    idc_unlisten(serve->listener);
    serve->listener = -1;
    serve_pause(serve);
}

static void serve_event(evutil_socket_t fd, short what, void *argument)
{
    struct serve *serve = argument;
    (void)what;
    if (!serve_can_run(serve)) {
        serve_refuse(serve);
        return;
    }
    for (int i = 0; i < ACCEPTS_AT_ONCE && !serve_is_full(serve); i++) {
        struct idc_addr peer;
        bool marked = false, noted;
        int connection = libidc_accept_marked(fd, &peer, &marked, &noted);
        if (connection >= 0) {
            serve_run(serve, connection, marked, &peer);
        } else if (noted) {
            serve_noted(serve, errno);
        } else {
            serve_accept_failed(serve, errno);
            return;
        }
    }
    if (serve_is_full(serve))
        event_del(&serve->acceptable);
}

/* 0, or -1 with errno and idc_last_error. */
static int serve_listen(struct serve *serve)
{
    struct idc_options options = IDC_OPTIONS_INIT;
    options.socket = command_socket;
    options.type = serve->type;
    options.keep = 1;
    serve->listener = libidc_listen_told(serve->port, serve->name, BACKLOG, &options);
    if (serve->listener < 0)
        return -1;
    fcntl(serve->listener, F_SETFL, fcntl(serve->listener, F_GETFL) | O_NONBLOCK);
    serve->said[0] = '\0';
    event_assign(&serve->acceptable, serve->loop.bridges.base, serve->listener,
                 EV_READ | EV_PERSIST, serve_event, serve);
    if (!serve_is_full(serve))
        event_add(&serve->acceptable, NULL);
    return 0;
}

static void serve_again(evutil_socket_t fd, short what, void *argument)
{
    struct serve *serve = argument;
    (void)fd;
    (void)what;
    if (serve->listener >= 0 && !serve_is_full(serve)) {
        event_add(&serve->acceptable, NULL);
    } else if (serve->listener < 0 && serve_listen(serve) < 0) {
        serve_say(serve, "cannot listen", idc_last_error());
        serve_pause(serve);
    }
}

/* ---- beginning and end ---- */

static void serve_kill(const struct serve *serve, int number)
{
    for (uint32_t i = 0; i < serve->max; i++)
        if (serve->pids[i] != 0)
            kill(-serve->pids[i], number);
}

static void serve_end(struct serve *serve)
{
    double end = command_now_ms() + GRACE_MS;
    const struct timespec moment = {0, 20 * 1000 * 1000};
    serve_kill(serve, SIGTERM);
    while (serve->running > 0 && command_now_ms() < end) {
        pid_t pid = waitpid(-1, NULL, WNOHANG);
        if (pid > 0)
            serve_reaped(serve, pid);
        else
            nanosleep(&moment, NULL);
    }
    serve_kill(serve, SIGKILL);
}

static int serve_begin(struct serve *serve)
{
    struct idc_addr address;
    if (serve_listen(serve) < 0) {
        if (!serve->patient)
            return failure(serve->command, "cannot listen: %s", idc_last_error());
        serve_say(serve, "cannot listen", idc_last_error());
        serve_pause(serve);
    } else if (serve->port == 0 && serve->name == NULL &&
               idc_getsockname(serve->listener, &address) == 0) {
        serve->port = address.port; /* which it keeps when it listens again */
        fprintf(stderr, "listening on port %u\n", address.port);
    }
    return 0;
}

static int serve_all(struct serve *serve)
{
    serve->pids = calloc(serve->max, sizeof(pid_t));
    if (serve->pids == NULL || loop_open(&serve->loop, NULL, serve) < 0)
        return failure(serve->command, "out of memory");
    serve->loop.reaped = serve_reaped;
    serve->listener = -1;
    event_assign(&serve->acceptable, serve->loop.bridges.base, -1, 0, serve_event, serve);
    evtimer_assign(&serve->again, serve->loop.bridges.base, serve_again, serve);
    int status = serve_begin(serve);
    if (status == 0) {
        notify_send("READY=1");
        loop_run(&serve->loop);
    }
    event_del(&serve->acceptable);
    event_del(&serve->again);
    if (serve->listener >= 0)
        close(serve->listener);
    serve->listener = -1;
    serve_end(serve);
    loop_close(&serve->loop);
    free(serve->pids);
    return status;
}

/* ---- command line ---- */

static int serve_check(struct serve *serve, char **program)
{
    if (program[0] == NULL)
        return usage_error(serve->command, "needs a PROGRAM");
    if (serve->name != NULL && !check_service(serve->command, serve->name))
        return EXIT_USAGE;
    serve->child = (struct serve_child){.command = serve->command, .program = program};
    if (serve->user != NULL) {
        serve->child.user = getpwnam(serve->user);
        if (serve->child.user == NULL)
            return failure(serve->command, "there is no user \"%s\"", serve->user);
        if (geteuid() != 0 && geteuid() != serve->child.user->pw_uid)
            return failure(serve->command, "only root can become user %s", serve->user);
        if (geteuid() != 0)
            serve->child.user = NULL;
    }
    return serve_can_run(serve) ? 0 : EXIT_FAILED;
}

static int serve_unit(const struct serve *serve, bool program)
{
    const struct serve_systemd systemd = {.command = serve->command,
                                          .unit = serve->unit,
                                          .name = serve->name,
                                          .port = serve->port,
                                          .max = serve->max,
                                          .patient = serve->patient};
    if (program || serve->user != NULL || serve->type != IDC_STREAM)
        return usage_error(serve->command, "--systemd goes without a PROGRAM, --user and messages");
    if (serve->name == NULL && serve->port == 0)
        return usage_error(serve->command, "--systemd needs --name or --port");
    if (serve->name != NULL && !check_service(serve->command, serve->name))
        return EXIT_USAGE;
    return serve_systemd_run(&systemd);
}

static bool serve_type(const char *text, int *type)
{
    *type = strcmp(text, "seqpacket") == 0 ? IDC_SEQPACKET : IDC_STREAM;
    return *type == IDC_SEQPACKET || strcmp(text, "stream") == 0;
}

int run_serve(const struct command *command, int argc, char **argv)
{
    static const struct option options[] = {
        {"name", required_argument, NULL, 'n'}, {"port", required_argument, NULL, 'p'},
        {"type", required_argument, NULL, 't'}, {"max", required_argument, NULL, 'm'},
        {"user", required_argument, NULL, 'u'}, {"systemd", required_argument, NULL, 's'},
        {"wait", no_argument, NULL, 'w'},       {"socket", required_argument, NULL, 'S'},
        {"help", no_argument, NULL, 'h'},       {NULL, 0, NULL, 0}};
    static struct serve serve;
    int option, status;
    serve = (struct serve){.command = command, .type = IDC_STREAM, .max = MAX_DEFAULT};
    loop_hold_signals();
    command_serves(command);
    /* "+": the options of PROGRAM are its own */
    while ((option = getopt_long(argc, argv, "+:h", options, NULL)) != -1) {
        if (option == 'p' && !parse_number(optarg, 1, UINT32_MAX, &serve.port))
            return usage_error(command, "PORT must be 1 to %u, not \"%s\"", UINT32_MAX, optarg);
        if (option == 'm' && !parse_number(optarg, 1, LOOP_MAX, &serve.max))
            return usage_error(command, "--max takes 1 to %u, not \"%s\"", LOOP_MAX, optarg);
        if (option == 't' && !serve_type(optarg, &serve.type))
            return usage_error(command, "--type takes stream or seqpacket, not \"%s\"", optarg);
        if (option == 'n')
            serve.name = optarg;
        else if (option == 'u')
            serve.user = optarg;
        else if (option == 's')
            serve.unit = optarg;
        else if (option == 'w')
            serve.patient = true;
        else if (!strchr("pmt", option) && !common_option(command, option, argv, &status))
            return status;
    }
    if (serve.unit != NULL)
        return serve_unit(&serve, optind < argc);
    status = serve_check(&serve, argv + optind);
    return status != 0 ? status : serve_all(&serve);
}
