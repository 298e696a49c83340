/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * link_mgr: start-up, the loop, the end.
 *
 * There is one loop, and one libevent base. libevent runs a batch of callbacks, which note what
 * they have seen. Then the hub has its turn and does what follows. The loop waits for nothing
 * except events.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/handover.h"
#include "common/standard_output.h"
#include "link_mgr/hub/hub_run.h"
#include "link_mgr/base/clock.h"
#include "link_mgr/base/closer.h"
#include "link_mgr/base/confine.h"
#include "link_mgr/base/journal.h"
#include "link_mgr/base/log.h"
#include "link_mgr/base/numbers.h"
#include "link_mgr/base/privileges.h"
#include "link_mgr/base/ready.h"
#include "link_mgr/base/timer.h"
#include "link_mgr/base/unix_diag.h"
#include "link_mgr/options.h"
#include "link_mgr/rpc/rpc.h"

#define MAIN_WHY_MAX 4608 /* a path has up to 4096 bytes */
#define DESCRIPTORS_LEAST 64
#define STORE_MS 5000  /* for the store's first answer */
#define CLOSER_MS 1000 /* for descriptors that are still to be closed at the end */

struct daemon {
    struct quota users;
    struct options options;
    struct event_base *base;
    struct platform *platform;
    struct hub *hub;
    struct rpc_server *rpc;
    struct event *store_event, *signals[3];
    struct listen_file rules;        /* who may listen */
    char rules_path[LISTEN_WHY_MAX]; /* of the platform */
    int terminal; /* a descriptor; when it is hung up, SIGHUP ends this process. -1: none */
    struct event *closer_look; /* while descriptors wait to be closed */
    struct event *closer_told; /* some were closed, and work waited for that */
    bool stop;
    int status;
};

/* The platform's log, from any thread. A peer can cause lines by what it writes in the store. */
static void platform_log(int priority, const char *text)
{
    log_limited(priority, "%s", text);
}

static void on_store(evutil_socket_t fd, short what, void *arg)
{
    struct daemon *daemon = arg;
    (void)fd, (void)what;
    int result = hub_take_store_events(daemon->hub);
    if (result < 0) {
        log_line(LOG_ERR, "the store is lost: %s", strerror(-result));
        daemon->status = 1;
        daemon->stop = true;
    } else if (result > 0) { /* the descriptor need not be readable for these */
        event_active(daemon->store_event, EV_READ, 0);
    }
}

static void on_signal(evutil_socket_t number, short what, void *arg)
{
    struct daemon *daemon = arg;
    (void)what;
    log_line(LOG_INFO, "SIG%s: ending", sigabbrev_np(number));
    daemon->stop = true;
}

static bool is_ignored(int number)
{
    struct sigaction action;
    return sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
}

/* The terminal that this process was started from, perhaps with all else redirected. Under nohup
 * its end means nothing. */
static int find_terminal(void)
{
    if (is_ignored(SIGHUP))
        return -1;
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (isatty(fd))
            return fd;
    return open("/dev/tty", O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

static bool is_hung_up(int terminal)
{
    struct pollfd pollfd = {.fd = terminal};
    return poll(&pollfd, 1, 0) > 0 && (pollfd.revents & POLLHUP);
}

/* The signal comes from whoever has changed the rules, or from a terminal that was closed. */
static void on_hangup(evutil_socket_t number, short what, void *arg)
{
    struct daemon *daemon = arg;
    char why[LISTEN_WHY_MAX];
    if (is_hung_up(daemon->terminal)) {
        on_signal(number, what, arg);
        return;
    }
    log_line(LOG_INFO, "SIGHUP: reading %s", daemon->rules.path);
    if (hub_read_rules(daemon->hub, &daemon->rules, why) < 0)
        log_line(LOG_ERR, "%s; the rules of who may listen stay as they were", why);
}

static int main_fail(const char *why)
{
    fprintf(stderr, "link_mgr: %s\n", why);
    return 1;
}

static int watch_signals(struct daemon *daemon)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP};
    daemon->terminal = find_terminal();
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        daemon->signals[i] = evsignal_new(daemon->base, numbers[i],
                                          numbers[i] == SIGHUP ? on_hangup : on_signal, daemon);
        if (!daemon->signals[i] || event_add(daemon->signals[i], NULL) < 0)
            return main_fail("signals cannot be watched");
    }
    return 0;
}

/* With too few it would end somewhere on the way, and say something else. */
static int raise_descriptor_limit(void)
{
    char why[MAIN_WHY_MAX];
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return 0;
    if (limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    if (limit.rlim_max >= DESCRIPTORS_LEAST)
        return 0;
    snprintf(why, sizeof(why),
             "it may have only %llu descriptors (LimitNOFILE of its service), and needs %d",
             (unsigned long long)limit.rlim_max, DESCRIPTORS_LEAST);
    return main_fail(why);
}

static int open_platform(struct daemon *daemon)
{
    char why[MAIN_WHY_MAX] = "";
    struct platform_config config = {.store = daemon->options.store,
                                     .domid = daemon->options.domid,
                                     .name = daemon->options.name,
                                     .uuid = daemon->options.uuid,
                                     .log = platform_log};
    if (daemon->options.ops->open(&config, &daemon->platform, why, sizeof(why)) < 0)
        return main_fail(why);
    struct hub_config hub = {.base = daemon->base,
                             .ops = daemon->options.ops,
                             .platform = daemon->platform,
                             .core = daemon->options.core,
                             .users = &daemon->users};
    if (hub_new(&hub, &daemon->hub) < 0)
        return main_fail("it could not set itself up in the store");
    daemon->store_event = event_new(daemon->base, daemon->options.ops->event_fd(daemon->platform),
                                    EV_READ | EV_PERSIST, on_store, daemon);
    if (!daemon->store_event || event_add(daemon->store_event, NULL) < 0)
        return main_fail("the store cannot be watched");
    return 0;
}

/* The file that the command line names, or that of the platform. */
static void choose_rules(struct daemon *daemon)
{
    const struct options *options = &daemon->options;
    if (options->ops == &platform_local)
        snprintf(daemon->rules_path, sizeof(daemon->rules_path), "%s/listen-%d", options->store,
                 options->domid);
    else
        snprintf(daemon->rules_path, sizeof(daemon->rules_path), "/etc/idc/listen");
    daemon->rules = (struct listen_file){
        .path = options->listen_rules ? options->listen_rules : daemon->rules_path,
        .must_exist = options->listen_rules != NULL,
    };
}

/* There is nothing to do: it only wakes the loop up. */
static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what, (void)arg;
}

static void on_closed(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what, (void)arg;
    closer_tell();
}

/* One batch of events and what follows from it. */
static void main_step(struct daemon *daemon, bool *busy)
{
    event_base_loop(daemon->base, EVLOOP_ONCE | (*busy ? EVLOOP_NONBLOCK : 0));
    *busy = hub_turn(daemon->hub);
    if (closer_flush() && !event_pending(daemon->closer_look, EV_TIMEOUT, NULL))
        timer_set(daemon->closer_look, CLOSER_STUCK_MS);
}

static int watch_closer(struct daemon *daemon)
{
    daemon->closer_look = evtimer_new(daemon->base, on_tick, NULL);
    daemon->closer_told =
        event_new(daemon->base, closer_event_fd(), EV_READ | EV_PERSIST, on_closed, NULL);
    if (!daemon->closer_look || !daemon->closer_told || event_add(daemon->closer_told, NULL) < 0)
        return main_fail("it cannot watch how descriptors are closed");
    return 0;
}

/* The daemon must know the policy before it serves programs. */
static int wait_for_policy(struct daemon *daemon)
{
    const struct timeval interval = {.tv_usec = 100 * 1000};
    uint64_t end = clock_now_ms() + STORE_MS;
    struct event *tick = event_new(daemon->base, -1, EV_PERSIST, on_tick, NULL);
    bool busy = true;
    if (!tick || event_add(tick, &interval) < 0) {
        if (tick)
            event_free(tick);
        return main_fail("no timer can be set");
    }
    while (!hub_is_ready(daemon->hub) && !daemon->stop && clock_now_ms() < end)
        main_step(daemon, &busy);
    event_free(tick);
    return hub_is_ready(daemon->hub) || daemon->stop ? 0 : main_fail("the store does not answer");
}

static int main_start(struct daemon *daemon)
{
    char why[MAIN_WHY_MAX] = "";
    signal(SIGPIPE, SIG_IGN);
    if (raise_descriptor_limit())
        return 1;
    if (privileges_drop(daemon->options.user, daemon->options.socket, why, sizeof(why)) < 0)
        return main_fail(why);
    unix_diag_inherit();
    journal_open(NULL);
    numbers_begin();
    if (closer_start() < 0)
        return main_fail("no thread could be started");
    handover_closes_by(closer_close_charged);
    users_init(&daemon->users, &daemon->options.users);
    daemon->base = event_base_new();
    if (!daemon->base || timer_spares_begin(daemon->base) < 0)
        return main_fail("no event loop could be made");
    choose_rules(daemon);
    if (watch_closer(daemon) || watch_signals(daemon) || open_platform(daemon) ||
        wait_for_policy(daemon))
        return 1;
    struct rpc_config rpc = {.base = daemon->base,
                             .hub = daemon->hub,
                             .users = &daemon->users,
                             .path = daemon->options.socket};
    if (rpc_start(&rpc, &daemon->rpc, why, sizeof(why)) < 0)
        return main_fail(why);
    int error = confine_begin(daemon->options.confine);
    if (error < 0) {
        snprintf(why, sizeof(why), "it cannot give up system calls: %s; --confine no does without",
                 strerror(-error));
        return main_fail(why);
    }
    /* with the rights that it has from now on, as later */
    return hub_read_rules(daemon->hub, &daemon->rules, why) < 0 ? main_fail(why) : 0;
}

static void main_finish(struct daemon *daemon)
{
    struct event *events[] = {daemon->store_event, daemon->signals[0],  daemon->signals[1],
                              daemon->signals[2],  daemon->closer_look, daemon->closer_told};
    if (daemon->rpc)
        rpc_stop(daemon->rpc);
    if (daemon->hub)
        hub_free(daemon->hub);
    for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++)
        if (events[i])
            event_free(events[i]);
    if (daemon->platform)
        daemon->options.ops->close(daemon->platform);
    quota_end(&daemon->users);
    timer_spares_end();
    if (daemon->base)
        event_base_free(daemon->base);
    libevent_global_shutdown();
    journal_close();
    closer_stop(CLOSER_MS);
}

static void main_tell_ready(const struct daemon *daemon)
{
    int domid = daemon->options.ops->domid(daemon->platform);
    log_line(LOG_NOTICE, "domain %d is ready, programs reach it at %s", domid,
             daemon->options.socket);
    ready_tell(daemon->options.ready_fd, domid, daemon->options.socket);
}

/* For whoever is about to put a file of rules in force. The exit status. */
static int check_listen(const char *path)
{
    const struct listen_file file = {path, true};
    struct listen_rules *rules;
    bool is_public;
    char why[LISTEN_WHY_MAX];
    int error = listen_file_read(&file, &rules, &is_public, why);
    listen_rules_free(rules);
    return error ? main_fail(why) : 0;
}

int main(int argc, char **argv)
{
    struct daemon daemon = {0};
    bool busy = true;
    standard_begin();
    int status = options_parse(argc, argv, &daemon.options);
    if (status >= 0)
        return standard_end("link_mgr", status);
    if (daemon.options.check_listen)
        return check_listen(daemon.options.check_listen);
    log_set_verbose(daemon.options.verbose);
    daemon.status = main_start(&daemon);
    if (daemon.status == 0 && !daemon.stop)
        main_tell_ready(&daemon);
    while (daemon.status == 0 && !daemon.stop)
        main_step(&daemon, &busy);
    if (daemon.stop)
        ready_tell_stopping();
    main_finish(&daemon);
    return daemon.status;
}
