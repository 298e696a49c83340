/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory that is given back; trim.h has the theory. */
#include "link_mgr/base/trim.h"

#include <malloc.h>

#include "link_mgr/base/timer.h"

#define FEW 16 /* ends in a second */
#define SECOND_MS 1000

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct trim *trim = arg;
    (void)fd, (void)what;
    if (trim->lately <= FEW) {
        trim->lately = 0;
        malloc_trim(0);
        return;
    }
    trim->lately = 1; /* those are still to be given back */
    timer_set(&trim->timer, SECOND_MS);
}

void trim_init(struct trim *trim, struct event_base *base)
{
    trim->lately = 0;
    evtimer_assign(&trim->timer, base, on_timer, trim);
}

void trim_stop(struct trim *trim)
{
    event_del(&trim->timer);
}

void trim_note(struct trim *trim)
{
    if (trim->lately++ == 0)
        timer_set(&trim->timer, SECOND_MS);
}
