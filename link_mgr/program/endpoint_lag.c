/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What happens to an endpoint when its program has sent nothing for a while. Bytes that lag are
 * consumed, the endpoint has the second look that was spared, and a writer that could never be
 * woken is freed (endpoint_room.c). Whatever failed because the daemon lacked memory or descriptors
 * is tried again, since no event would tell.
 *
 * The other way round, link_mgr's own end may be the one that is not woken: a program that leaves a
 * byte unread keeps the block charged in which it came, and that is more than a quarter of a small
 * buffer (endpoint_buffer.c). The kernel takes more all the same: a write needs less room than it
 * takes to be woken. So a small buffer that is full is tried again, ever more rarely, until
 * something goes in.
 *
 * There is one list and one timer for each of a few waits. An endpoint is on one list at most, at
 * its end, so a list is ordered by the time at which its endpoints are due.
 */
#include <unistd.h>

#include "link_mgr/base/clock.h"
#include "link_mgr/base/timer.h"
#include "link_mgr/program/endpoint_private.h"

#define LAG_MS 10
#define SILENCE_MS 1000 /* where the kernel cannot be asked */

/* How many endpoints one timer event may ask the kernel about. For each question the kernel walks
 * through all of its Unix sockets. The others wait. */
#define ASK_FIRST 4
#define LAG_AT_ONCE 256 /* endpoints that one timer event looks after; the others wait a tick */
#define ASK_AGAIN 1
#define WAITS_MOST 4 /* the list on which those stay whose end is full */

/* The first list is for bytes that lag. The others are for endpoints that must be asked about
 * again, ever more rarely, so that an idle connection costs next to nothing. */
static const unsigned lag_waits[ENDPOINT_LISTS] = {LAG_MS, 100, 1000, 10000, 100000, 1000000};

static void list_leave(struct endpoint *ep)
{
    if (ep->list)
        TAILQ_REMOVE(&ep->list->endpoints, ep, lag);
    ep->list = NULL;
}

/* Arranges that the endpoint is looked after when the program has sent nothing for as long as the
 * list waits. */
static void list_enter(struct endpoint *ep, struct endpoint_list *list)
{
    list_leave(ep);
    if (TAILQ_EMPTY(&list->endpoints) && !evtimer_pending(&list->timer, NULL))
        timer_set(&list->timer, list->wait_ms);
    ep->list = list;
    ep->lag_since = clock_now_ms();
    TAILQ_INSERT_TAIL(&list->endpoints, ep, lag);
}

/* If its end is full, it is on one of the first lists. */
static void lag_wait_for_room(struct endpoint *ep)
{
    struct endpoint_list *list = &ep->config.all->lists[ep->waits > 0 ? ep->waits - 1 : 0];
    if (ep->waits > 0 && (!ep->list || ep->list > list))
        list_enter(ep, list);
}

void endpoint_lag_end(struct endpoint *ep)
{
    list_leave(ep);
    ep->pieces = 0;
}

/* A program's buffer that was measured once is not measured again so soon. */
void endpoint_lag_begin(struct endpoint *ep)
{
    struct endpoint_list *lists = ep->config.all->lists;
    if (ep->pieces > 0 || ep->starved || ep->stuffed)
        list_enter(ep, &lists[0]);
    else if (endpoint_may_be_tight(ep))
        list_enter(ep, ep->measured ? &lists[1] : &lists[0]);
    else
        list_leave(ep);
    lag_wait_for_room(ep);
}

void endpoint_lag_full(struct endpoint *ep)
{
    if (ep->buffer == BUFFER_TOP || ep->config.conn->type != IDC_STREAM)
        return;
    ep->waits += ep->waits < WAITS_MOST;
    lag_wait_for_room(ep);
}

/* If there is doubt, asks whether the program's writer has room. The answer decides what happens to
 * the endpoint next. */
static void ask_for_room(struct endpoint *ep, struct endpoint_list *list, unsigned *asked)
{
    struct endpoint_list *lists = ep->config.all->lists;
    if (!endpoint_may_be_tight(ep))
        return;
    if (list == lists && *asked >= ASK_FIRST)
        list_enter(ep, &lists[1]);
    else if (++*asked && endpoint_make_room(ep, list->wait_ms >= SILENCE_MS))
        list_enter(ep, list < &lists[ENDPOINT_LISTS - 1] ? list + 1 : list);
}

/* The program has sent nothing for a while. */
static void look_after(struct endpoint *ep, unsigned *asked)
{
    struct conn *conn = ep->config.conn;
    struct endpoint_list *list = ep->list;
    endpoint_lag_end(ep);
    endpoint_let_lag_go(ep);
    ask_for_room(ep, list, asked);
    bool readable = ep->drained || ep->starved, writable = ep->stuffed || ep->waits > 0;
    ep->drained = ep->starved = ep->stuffed = false;
    if (readable)
        conn_readable(conn);
    if (writable)
        conn_writable(conn); /* may free the endpoint */
    if (readable || writable)
        conn_settle(conn);
}

static bool lag_is_due(const struct endpoint *ep, uint64_t now)
{
    /* An endpoint that was put on the list just now may carry a later time than `now`. */
    return ep && ep->lag_since + ep->list->wait_ms <= now;
}

static void on_lag(evutil_socket_t fd, short what, void *arg)
{
    struct endpoint_list *list = arg;
    struct endpoint *ep;
    uint64_t now = clock_now_ms();
    unsigned asked = 0, count = 0;
    (void)fd, (void)what;
    while (lag_is_due(ep = TAILQ_FIRST(&list->endpoints), now)) {
        if (count++ == LAG_AT_ONCE || (list->wait_ms > LAG_MS && asked >= ASK_AGAIN)) {
            timer_set(&list->timer, LAG_MS);
            return;
        }
        look_after(ep, &asked);
    }
    if (ep)
        timer_set(&list->timer, (unsigned)(ep->lag_since + list->wait_ms - now));
}

void endpoints_init(struct endpoints *all, struct event_base *base)
{
    all->base = base;
    unix_diag_open(&all->diag);
    for (unsigned i = 0; i < ENDPOINT_LISTS; i++) {
        struct endpoint_list *list = &all->lists[i];
        list->wait_ms = lag_waits[i];
        TAILQ_INIT(&list->endpoints);
        evtimer_assign(&list->timer, base, on_lag, list);
    }
}

void endpoints_end(struct endpoints *all)
{
    for (unsigned i = 0; i < ENDPOINT_LISTS; i++)
        event_del(&all->lists[i].timer);
    unix_diag_close(&all->diag);
}
