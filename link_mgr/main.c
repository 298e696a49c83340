/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * link_mgr: start-up, the loop, the end.
 *
 * There is one thread and one libevent base. libevent runs a batch of callbacks, which note what
 * they have seen. Then the hub has its turn and does what follows. The loop waits for nothing
 * except events.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "link_mgr/hub/hub_run.h"
#include "link_mgr/base/clock.h"
#include "link_mgr/base/log.h"
#include "link_mgr/base/ready.h"
#include "link_mgr/base/timer.h"
#include "link_mgr/options.h"
#include "link_mgr/rpc/rpc.h"

#define MAIN_WHY_MAX 4608 /* a path has up to 4096 bytes */
#define STORE_MS 5000     /* for the store's first answer */

struct daemon {
    struct options options;
    struct event_base *base;
    struct platform *platform;
    struct hub *hub;
    struct rpc_server *rpc;
    struct event *store_event, *signals[3];
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
    const struct platform_ops *ops = daemon->options.ops;
    static struct store_event event; /* 4 KiB, used here only */
    int result;
    (void)fd, (void)what;
    while ((result = ops->next_event(daemon->platform, &event)) > 0)
        hub_store_event(daemon->hub, &event);
    if (result < 0) {
        log_line(LOG_ERR, "the store is lost: %s", strerror(-result));
        daemon->status = 1;
        daemon->stop = true;
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

static int main_fail(const char *why)
{
    fprintf(stderr, "link_mgr: %s\n", why);
    return 1;
}

/* Closing the terminal also ends link_mgr, but not under nohup. */
static int watch_signals(struct daemon *daemon)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP};
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        if (numbers[i] == SIGHUP && is_ignored(SIGHUP))
            continue;
        daemon->signals[i] = evsignal_new(daemon->base, numbers[i], on_signal, daemon);
        if (!daemon->signals[i] || event_add(daemon->signals[i], NULL) < 0)
            return main_fail("signals cannot be watched");
    }
    return 0;
}

static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static int open_platform(struct daemon *daemon)
{
    char why[MAIN_WHY_MAX] = "";
    struct platform_config config = {
        .store = daemon->options.store, .domid = daemon->options.domid, .log = platform_log};
    if (daemon->options.ops->open(&config, &daemon->platform, why, sizeof(why)) < 0)
        return main_fail(why);
    struct hub_config hub = {.base = daemon->base,
                             .ops = daemon->options.ops,
                             .platform = daemon->platform,
                             .core = daemon->options.core};
    if (hub_new(&hub, &daemon->hub) < 0)
        return main_fail("it could not set itself up in the store");
    daemon->store_event = event_new(daemon->base, daemon->options.ops->event_fd(daemon->platform),
                                    EV_READ | EV_PERSIST, on_store, daemon);
    if (!daemon->store_event || event_add(daemon->store_event, NULL) < 0)
        return main_fail("the store cannot be watched");
    return 0;
}

/* One batch of events and what follows from it. */
static void main_step(struct daemon *daemon, bool *busy)
{
    event_base_loop(daemon->base, EVLOOP_ONCE | (*busy ? EVLOOP_NONBLOCK : 0));
    *busy = hub_turn(daemon->hub);
}

/* There is nothing to do: it only wakes the loop up. */
static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what, (void)arg;
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
    raise_descriptor_limit();
    daemon->base = event_base_new();
    if (!daemon->base || timer_spares_begin(daemon->base) < 0)
        return main_fail("no event loop could be made");
    if (watch_signals(daemon) || open_platform(daemon) || wait_for_policy(daemon))
        return 1;
    struct rpc_config rpc = {
        .base = daemon->base, .hub = daemon->hub, .path = daemon->options.socket};
    if (rpc_start(&rpc, &daemon->rpc, why, sizeof(why)) < 0)
        return main_fail(why);
    return 0;
}

static void main_finish(struct daemon *daemon)
{
    struct event *events[] = {daemon->store_event, daemon->signals[0], daemon->signals[1],
                              daemon->signals[2]};
    if (daemon->rpc)
        rpc_stop(daemon->rpc);
    if (daemon->hub)
        hub_free(daemon->hub);
    for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++)
        if (events[i])
            event_free(events[i]);
    if (daemon->platform)
        daemon->options.ops->close(daemon->platform);
    timer_spares_end();
    if (daemon->base)
        event_base_free(daemon->base);
    libevent_global_shutdown();
}

static void main_tell_ready(const struct daemon *daemon)
{
    int domid = daemon->options.ops->domid(daemon->platform);
    log_line(LOG_NOTICE, "domain %d is ready, programs reach it at %s", domid,
             daemon->options.socket);
    ready_tell(daemon->options.ready_fd, domid, daemon->options.socket);
}

int main(int argc, char **argv)
{
    struct daemon daemon = {0};
    bool busy = true;
    int status = options_parse(argc, argv, &daemon.options);
    if (status >= 0)
        return status;
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
