/* SPDX-License-Identifier: GPL-2.0-or-later */
/* keep.c - see keep.h. */
#include "link_mgr/rpc/keep.h"

#include <stdlib.h>

#include "link_mgr/base/clock.h"
#include "link_mgr/base/timer.h"

/* Handles that one event closes before the loop turns to others. */
#define ENDED_AT_ONCE 64

struct rpc_keep {
    struct event *timer;
    unsigned count; /* in the heap, from place 1 on */
    unsigned all;   /* also those on which calls wait */
    struct rpc_handle *heap[RPC_HANDLES_MAX + 1];
};

static struct rpc_keep *keep_of(const struct rpc_handle *handle)
{
    return handle->owner->server->keep;
}

static bool keep_has(const struct rpc_handle *handle)
{
    return handle->owner == &handle->owner->server->kept;
}

/* ---- the heap ---- */

static void heap_put(struct rpc_keep *keep, unsigned at, struct rpc_handle *handle)
{
    keep->heap[at] = handle;
    handle->in_keep = at;
}

static void heap_rise(struct rpc_keep *keep, unsigned at)
{
    struct rpc_handle *handle = keep->heap[at];
    for (; at > 1 && keep->heap[at / 2]->due_ms > handle->due_ms; at /= 2)
        heap_put(keep, at, keep->heap[at / 2]);
    heap_put(keep, at, handle);
}

static void heap_sink(struct rpc_keep *keep, unsigned at)
{
    struct rpc_handle *handle = keep->heap[at];
    for (unsigned child; (child = 2 * at) <= keep->count; at = child) {
        if (child < keep->count && keep->heap[child + 1]->due_ms < keep->heap[child]->due_ms)
            child++;
        if (keep->heap[child]->due_ms >= handle->due_ms)
            break;
        heap_put(keep, at, keep->heap[child]);
    }
    heap_put(keep, at, handle);
}

static void heap_add(struct rpc_keep *keep, struct rpc_handle *handle)
{
    heap_put(keep, ++keep->count, handle);
    heap_rise(keep, keep->count);
}

static void heap_remove(struct rpc_keep *keep, struct rpc_handle *handle)
{
    unsigned at = handle->in_keep;
    struct rpc_handle *last = keep->heap[keep->count--];
    handle->in_keep = 0;
    if (last == handle)
        return;
    heap_put(keep, at, last);
    heap_rise(keep, at);
    heap_sink(keep, last->in_keep);
}

/* ---- the timer ---- */

static void keep_set_timer(struct rpc_keep *keep)
{
    uint64_t now = clock_now_ms();
    if (keep->count > 0)
        timer_set(keep->timer, keep->heap[1]->due_ms > now ? keep->heap[1]->due_ms - now : 0);
}

/* The handle on top is due. */
static void keep_look(struct rpc_keep *keep, struct rpc_handle *handle, uint64_t now)
{
    handle->due_ms = handle->used_ms + handle->keep_ms;
    if (rpc_handle_is_waited_on(handle))
        heap_remove(keep, handle); /* it comes back when no call waits any more */
    else if (handle->due_ms > now)
        heap_sink(keep, handle->in_keep);
    else
        rpc_handle_close(handle);
}

static void keep_on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct rpc_keep *keep = arg;
    uint64_t now = clock_now_ms();
    (void)fd, (void)what;
    for (int i = 0; i < ENDED_AT_ONCE && keep->count > 0 && keep->heap[1]->due_ms <= now; i++)
        keep_look(keep, keep->heap[1], now);
    keep_set_timer(keep);
}

/* ---- what happens to a handle ---- */

void rpc_keep_used(struct rpc_handle *handle)
{
    struct rpc_keep *keep = keep_of(handle);
    handle->used_ms = clock_now_ms();
    if (handle->closed || !keep_has(handle) || handle->in_keep > 0 ||
        rpc_handle_is_waited_on(handle))
        return;
    handle->due_ms = handle->used_ms + handle->keep_ms;
    heap_add(keep, handle);
    if (handle->in_keep == 1)
        keep_set_timer(keep);
}

void rpc_keep_begin(struct rpc_handle *handle)
{
    struct rpc_session *kept = &handle->owner->server->kept;
    LIST_REMOVE(handle, in_session);
    LIST_INSERT_HEAD(&kept->handles, handle, in_session);
    handle->owner = kept;
    keep_of(handle)->all++;
    rpc_keep_used(handle);
}

void rpc_keep_end(struct rpc_handle *handle)
{
    struct rpc_keep *keep = keep_of(handle);
    if (keep_has(handle))
        keep->all--;
    if (handle->in_keep > 0)
        heap_remove(keep, handle);
}

int64_t rpc_keep_left(const struct rpc_handle *handle)
{
    uint64_t now = clock_now_ms(), end = handle->used_ms + handle->keep_ms;
    if (!keep_has(handle) || rpc_handle_is_waited_on(handle))
        return -1;
    return end > now ? (int64_t)(end - now) : 0;
}

unsigned rpc_keep_count(const struct rpc_server *server)
{
    return server->keep->all;
}

/* ---- the server ---- */

struct rpc_keep *rpc_keep_new(struct event_base *base)
{
    struct rpc_keep *keep = calloc(1, sizeof(*keep));
    if (keep == NULL)
        return NULL;
    keep->timer = evtimer_new(base, keep_on_timer, keep);
    if (keep->timer == NULL) {
        free(keep);
        return NULL;
    }
    return keep;
}

void rpc_keep_free(struct rpc_keep *keep)
{
    if (keep == NULL)
        return;
    event_free(keep->timer);
    free(keep);
}
