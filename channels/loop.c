/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "channels/loop.h"

#include <event2/event.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "channels/child.h"
#include "channels/foreign.h"
#include "channels/terminal.h"
#include "common/line_out.h"

#define DESCRIPTORS_MAX (1u << 30) /* no kernel allows more */

static void loop_reap(const struct loop *loop)
{
    pid_t pid;
    while ((pid = waitpid(-1, NULL, WNOHANG)) > 0) {
        child_reaped(pid);
        if (loop->reaped != NULL)
            loop->reaped(loop->context, pid);
    }
}

static void loop_signal(evutil_socket_t number, short what, void *argument)
{
    struct loop *loop = argument;
    (void)what;
    if (number == SIGCHLD)
        loop_reap(loop);
    else if (number == SIGHUP && loop->hangup != NULL)
        loop->hangup(loop->context);
    else if (number != SIGHUP)
        event_base_loopbreak(loop->bridges.base);
}

/* A connection has two descriptors, and most systems allow 1,024 unless one asks for more. Returns
 * how many there may be. */
static unsigned loop_raise_limit(void)
{
    struct rlimit limit = {.rlim_cur = DESCRIPTORS_MAX, .rlim_max = DESCRIPTORS_MAX}, before;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        before = limit;
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
            limit = before;
    }
    return limit.rlim_cur < DESCRIPTORS_MAX ? (unsigned)limit.rlim_cur : DESCRIPTORS_MAX;
}

static void loop_mask_early(int how)
{
    sigset_t early;
    sigemptyset(&early);
    sigaddset(&early, SIGHUP);
    sigaddset(&early, SIGTERM);
    sigprocmask(how, &early, NULL);
}

void loop_hold_signals(void)
{
    loop_mask_early(SIG_BLOCK);
}

int loop_open(struct loop *loop, void (*hangup)(void *context), void *context)
{
    static const int numbers[LOOP_SIGNALS] = {SIGTERM, SIGINT, SIGHUP, SIGCHLD};
    int error = 0;
    *loop = (struct loop){.hangup = hangup, .context = context};
    loop->bridges.base = event_base_new();
    loop->bridges.size = BRIDGE_BUFFER;
    loop->bridges.buf = malloc(BRIDGE_BUFFER);
    if (loop->bridges.base == NULL || loop->bridges.buf == NULL)
        return -1;
    loop->bridges.rooms = &loop->rooms;
    rooms_begin(&loop->rooms, loop->bridges.base);
    for (int i = 0; i < LOOP_SIGNALS; i++) {
        evsignal_assign(&loop->signals[i], loop->bridges.base, numbers[i], loop_signal, loop);
        error |= event_add(&loop->signals[i], NULL);
    }
    signal(SIGPIPE, SIG_IGN);
    loop_mask_early(SIG_UNBLOCK);
    child_begin();
    terminals_begin(loop->bridges.base);
    error |= foreign_begin();
    loop->descriptors = loop_raise_limit();
    return error;
}

static void loop_wakes(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    (void)argument;
}

/* What the log has lost is told after a turn of the loop. While it can't be, there is a turn now
 * and then. */
void loop_run(struct loop *loop)
{
    static const struct timeval pause = {LINE_OUT_AGAIN_MS / 1000, 0};
    static const struct timeval soon = {0, FOREIGN_AGAIN_MS * 1000};
    struct event_base *base = loop->bridges.base;
    struct event wakes;
    evtimer_assign(&wakes, base, loop_wakes, NULL);
    while (event_base_loop(base, EVLOOP_ONCE) == 0 && !event_base_got_break(base)) {
        bool told = line_out_tell();
        if (foreign_flush())
            event_add(&wakes, &soon);
        else if (!told && !evtimer_pending(&wakes, NULL))
            event_add(&wakes, &pause);
    }
    event_del(&wakes);
}

void loop_close(struct loop *loop)
{
    for (int i = 0; i < LOOP_SIGNALS; i++)
        event_del(&loop->signals[i]);
    terminals_end();
    rooms_end(&loop->rooms);
    foreign_end();
    event_base_free(loop->bridges.base);
    free(loop->bridges.buf);
}
