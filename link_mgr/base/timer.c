/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Timers that must be set; timer.h has the theory. */
#include "link_mgr/base/timer.h"

#include <errno.h>
#include <event2/event_struct.h>
#include <stdbool.h>

static struct event spares[TIMER_SPARES];
static int spare_count; /* of them that keep a place: the first ones */
static int spare_most;  /* ... that are to */

static void on_spare(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what, (void)arg;
}

/* Takes places as long as there is memory. */
static void timer_spares_take(void)
{
    static const struct timeval far = {.tv_sec = 365 * 24 * 3600};
    while (spare_count < spare_most && event_add(&spares[spare_count], &far) == 0)
        spare_count++;
}

int timer_spares_begin(struct event_base *base)
{
    for (int i = 0; i < TIMER_SPARES; i++)
        event_assign(&spares[i], base, -1, EV_PERSIST, on_spare, NULL);
    spare_most = TIMER_SPARES;
    timer_spares_take();
    return spare_count == spare_most ? 0 : -ENOMEM;
}

void timer_spares_end(void)
{
    while (spare_count > 0)
        event_del(&spares[--spare_count]);
    spare_most = 0;
}

void timer_set(struct event *timer, uint64_t ms)
{
    const struct timeval wait = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000)};
    bool set = event_add(timer, &wait) == 0;
    if (set) {
        timer_spares_take();
        return;
    }
    if (spare_count > 0) {
        event_del(&spares[--spare_count]);
        set = event_add(timer, &wait) == 0;
    }
    if (!set)
        event_active(timer, EV_TIMEOUT, 0);
}
