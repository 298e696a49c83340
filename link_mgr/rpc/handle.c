/* SPDX-License-Identifier: GPL-2.0-or-later */
/* handle.c - see handle.h. */
#include "link_mgr/rpc/handle.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "common/handover.h"
#include "link_mgr/base/clock.h"
#include "link_mgr/base/closer.h"
#include "link_mgr/rpc/delivery.h"
#include "link_mgr/rpc/keep.h"
#include "link_mgr/rpc/text.h"
#include "link_mgr/rpc/value.h"

/* Numbers are positive 32-bit signed integers: 16 bits of place (0 is not used), 15 bits of
 * generation. */
#define PLACES 65536u
#define PLACE_BITS 16
#define GENERATIONS 32768u
_Static_assert(RPC_HANDLES_MAX == PLACES - 1, "place 0 is not used");
/* Calls that one event serves before the loop turns to others. */
#define SERVED_AT_ONCE 64
/* At a listener wait no more (program/acceptor.h). */
#define DROPPED_AT_ONCE 64

struct place {
    struct rpc_handle *handle;
    uint16_t generation;
    uint16_t next_free;
};

/* Free places are used again in the order in which they became free, so a number comes back as late
 * as possible. */
struct rpc_handle_table {
    struct place *places; /* of PLACES, the first `used` of them have been given out */
    unsigned used, count;
    uint32_t key;                   /* numbers are shown after an exclusive or with it */
    uint16_t first_free, last_free; /* 0: none */
};

struct rpc_handle_table *rpc_handle_table_new(void)
{
    struct rpc_handle_table *table = calloc(1, sizeof(*table));
    if (table == NULL)
        return NULL;
    table->used = 1;
    if (getrandom(&table->key, sizeof(table->key), 0) == sizeof(table->key))
        table->key &= INT32_MAX;
    else
        table->key = (uint32_t)clock_wall_ms() & INT32_MAX;
    table->places = calloc(PLACES, sizeof(table->places[0]));
    if (table->places == NULL) {
        free(table);
        return NULL;
    }
    return table;
}

void rpc_handle_table_free(struct rpc_handle_table *table)
{
    if (table == NULL)
        return;
    free(table->places);
    free(table);
}

unsigned rpc_handle_count(const struct rpc_handle_table *table)
{
    return table->count;
}

/* A free place, 0 when there is none. Unused places come first, for the same reason. */
static unsigned take_place(struct rpc_handle_table *table)
{
    if (table->used < PLACES)
        return table->used++;
    unsigned place = table->first_free;
    if (place != 0) {
        table->first_free = table->places[place].next_free;
        if (table->first_free == 0)
            table->last_free = 0;
    }
    return place;
}

static void free_place(struct rpc_handle_table *table, unsigned place)
{
    struct place *p = &table->places[place];
    p->handle = NULL;
    p->generation = (uint16_t)((p->generation + 1) % GENERATIONS);
    p->next_free = 0;
    if (table->last_free != 0)
        table->places[table->last_free].next_free = (uint16_t)place;
    else
        table->first_free = (uint16_t)place;
    table->last_free = (uint16_t)place;
}

/* Not 0, which is no handle. */
static int number_of(const struct rpc_handle_table *table, unsigned place)
{
    struct place *p = &table->places[place];
    uint32_t plain = (uint32_t)p->generation << PLACE_BITS | place;
    if (plain == table->key)
        plain = (uint32_t)(p->generation = (p->generation + 1) % GENERATIONS) << PLACE_BITS | place;
    return (int)(plain ^ table->key);
}

static struct rpc_handle *handle_lookup(const struct rpc_handle_table *table, int64_t number)
{
    if (number <= 0)
        return NULL;
    const struct place *p = &table->places[((uint32_t)number ^ table->key) % PLACES];
    return p->handle != NULL && p->handle->number == number ? p->handle : NULL;
}

/* Has this run of the daemon given that number to a handle that has ended? Once the generations of
 * a place have all been used, it may be wrong. */
static bool handle_has_ended(const struct rpc_handle_table *table, int64_t number)
{
    if (number <= 0)
        return false;
    uint32_t plain = (uint32_t)number ^ table->key, place = plain % PLACES;
    return place > 0 && place < table->used &&
           plain >> PLACE_BITS < table->places[place].generation;
}

void rpc_handle_visit(const struct rpc_handle_table *table,
                      void (*visit)(void *arg, const struct rpc_handle *handle), void *arg)
{
    for (unsigned place = 1; place < table->used; place++)
        if (table->places[place].handle != NULL)
            visit(arg, table->places[place].handle);
}

static void end_queue(struct rpc_queue *queue, int error, const char *why)
{
    struct rpc_wait *wait;
    while ((wait = TAILQ_FIRST(&queue->waits)) != NULL)
        rpc_fault(wait->call, error, "%s", why);
}

void rpc_handle_end_waits(struct rpc_handle *handle)
{
    static const char closed[] = "the handle was closed";
    end_queue(&handle->readers, EBADF, closed);
    end_queue(&handle->writers, EBADF, closed);
}

void rpc_handle_lose(struct rpc_handle *handle)
{
    handle->lost = true;
    end_queue(&handle->readers, ECONNRESET, RPC_LOST);
}

ssize_t rpc_handle_drop_waiting(struct rpc_handle *handle)
{
    uint8_t message[HANDOVER_WAITING_SIZE];
    struct handover_waiting waiting;
    int fd = -1, count = 1;
    closer_charge(handle->charge);
    ssize_t got = handover_recv(handle->fd, message, sizeof(message), &fd, &count, MSG_DONTWAIT);
    bool marked =
        got > 0 && handover_decode_waiting(message, (size_t)got, &waiting) == 0 && waiting.marked;
    if (got >= 0 && count == 1)
        closer_close(fd, marked ? waiting.peer.uid : handle->charge);
    return got;
}

/* Connections that wait at it may be of any user. So they are not closed with its queue. */
static void handle_drop_all_waiting(struct rpc_handle *handle)
{
    for (int i = 0; i < DROPPED_AT_ONCE && rpc_handle_drop_waiting(handle) > 0; i++)
        ;
}

/* The closer may take a moment. A listener is shut down first, so that whoever asks for its port
 * next finds that it is gone. */
static void handle_free(struct rpc_handle *handle)
{
    if (handle->listener) {
        shutdown(handle->fd, SHUT_RDWR);
        handle_drop_all_waiting(handle);
    }
    if (handle->readers.ready != NULL)
        event_free(handle->readers.ready);
    if (handle->writers.ready != NULL)
        event_free(handle->writers.ready);
    closer_close(handle->fd, handle->charge);
    free(handle);
}

/* ---- waiting ---- */

void rpc_wait_end(struct rpc_wait *wait)
{
    if (!wait->queued)
        return;
    wait->queued = false;
    TAILQ_REMOVE(&wait->queue->waits, wait, in_queue);
    if (TAILQ_EMPTY(&wait->queue->waits))
        event_del(wait->queue->ready);
    if (wait->timer != NULL)
        event_free(wait->timer);
    wait->timer = NULL;
    rpc_keep_used(wait->handle);
}

bool rpc_handle_is_waited_on(const struct rpc_handle *handle)
{
    return !TAILQ_EMPTY(&handle->readers.waits) || !TAILQ_EMPTY(&handle->writers.waits);
}

static void time_is_up(evutil_socket_t fd, short what, void *arg)
{
    const struct rpc_wait *wait = arg;
    (void)fd, (void)what;
    rpc_fault(wait->call, ETIMEDOUT, "not ready in time");
}

/* Serves calls from the head of the queue. One of them may close the handle (unlisten); the handle
 * is then freed at the end. */
static void handle_serve(evutil_socket_t fd, short what, void *arg)
{
    struct rpc_queue *queue = arg;
    struct rpc_handle *handle = queue->handle;
    struct rpc_wait *wait;
    (void)fd, (void)what;
    handle->serving = true;
    for (int i = 0; i < SERVED_AT_ONCE && (wait = TAILQ_FIRST(&queue->waits)) != NULL; i++)
        if (!wait->attempt(wait))
            break;
    handle->serving = false;
    if (handle->closed)
        handle_free(handle);
}

static int start_timer(struct rpc_wait *wait)
{
    struct timeval time = {.tv_sec = wait->timeout_ms / 1000,
                           .tv_usec = wait->timeout_ms % 1000 * 1000};
    wait->timer = evtimer_new(wait->call->session->server->base, time_is_up, wait);
    return wait->timer != NULL && evtimer_add(wait->timer, &time) == 0 ? 0 : -ENOMEM;
}

bool rpc_wait_attempt(struct rpc_wait *wait)
{
    return TAILQ_EMPTY(&wait->queue->waits) && wait->attempt(wait);
}

void rpc_wait(struct rpc_wait *wait, const char *not_now)
{
    struct rpc_call *call = wait->call;
    if (rpc_wait_attempt(wait))
        return;
    if (wait->timeout_ms == 0) {
        rpc_fault(call, EAGAIN, "%s", not_now);
        return;
    }
    TAILQ_INSERT_TAIL(&wait->queue->waits, wait, in_queue);
    wait->queued = true;
    if (event_add(wait->queue->ready, NULL) < 0 || (wait->timeout_ms > 0 && start_timer(wait) < 0))
        rpc_fault_own(call, ENOMEM);
}

/* ---- handles ---- */

static int queue_init(struct rpc_queue *queue, struct rpc_handle *handle, struct event_base *base,
                      short what)
{
    queue->handle = handle;
    TAILQ_INIT(&queue->waits);
    queue->ready = event_new(base, handle->fd, what | EV_PERSIST, handle_serve, queue);
    return queue->ready != NULL ? 0 : -ENOMEM;
}

static uint64_t serial_of(int fd)
{
    struct handover_name name;
    return handover_name(fd, &name) == 0 ? name.serial : 0;
}

/* Makes a handle with its events, which is in no table yet. */
static struct rpc_handle *handle_alloc(struct event_base *base, const struct rpc_handle_for *what)
{
    struct rpc_handle *handle = calloc(1, sizeof(*handle));
    if (handle == NULL) {
        closer_close(what->fd, what->charge);
        return NULL;
    }
    handle->fd = what->fd;
    handle->charge = what->charge;
    handle->listener = what->listener;
    handle->type = what->type;
    handle->port = what->port;
    handle->keep_ms = what->keep_ms;
    handle->serial = serial_of(what->fd);
    LIST_INIT(&handle->deliveries);
    if (queue_init(&handle->readers, handle, base, EV_READ) == 0 &&
        queue_init(&handle->writers, handle, base, EV_WRITE) == 0)
        return handle;
    handle_free(handle);
    return NULL;
}

struct rpc_handle *rpc_handle_new(struct rpc_session *owner, const struct rpc_handle_for *what)
{
    struct rpc_handle_table *table = owner->server->handles;
    struct rpc_handle *handle = handle_alloc(owner->server->base, what);
    bool may =
        handle != NULL && quota_take(owner->server->users, owner->caller.uid, USER_HANDLES, 1);
    unsigned place = may ? take_place(table) : 0;
    if (place == 0) {
        if (may)
            quota_give(owner->server->users, owner->caller.uid, USER_HANDLES, 1);
        if (handle != NULL)
            handle_free(handle);
        return NULL;
    }
    handle->place = place;
    handle->number = number_of(table, place);
    handle->uid = owner->caller.uid;
    handle->owner = owner;
    table->places[place].handle = handle;
    table->count++;
    LIST_INSERT_HEAD(&owner->handles, handle, in_session);
    return handle;
}

void rpc_handle_explain_lack(struct rpc_call *call)
{
    const struct quota *users = call->session->server->users;
    char why[HUB_WHY_MAX] = "too many handles";
    if (!quota_may_take(users, call->session->caller.uid, USER_HANDLES, 1))
        users_explain(users, call->session->caller.uid, USER_HANDLES, why, sizeof(why));
    rpc_fault(call, ENOBUFS, "%s", why);
}

bool rpc_handle_reply(struct rpc_struct *s, struct rpc_call *call,
                      const struct rpc_handle_for *what, bool want_fd, struct rpc_handle **made)
{
    struct rpc_handle *handle = want_fd ? NULL : rpc_handle_new(call->session, what);
    if (want_fd) {
        call->fd_out = what->fd;
    } else if (handle == NULL) {
        rpc_handle_explain_lack(call);
        return false;
    }
    rpc_struct_begin(s, call);
    if (handle != NULL)
        rpc_struct_int(s, "handle", handle->number);
    *made = handle;
    return true;
}

void rpc_handle_replied(struct rpc_struct *s, struct rpc_handle *made)
{
    if (!rpc_struct_reply(s) && made != NULL)
        rpc_handle_close(made);
}

uint32_t rpc_params_keep(struct rpc_params *params, uint32_t fallback)
{
    int64_t keep = rpc_params_int(params, "keep_ms", 0, RPC_KEEP_MAX, fallback);
    if (keep > 0 &&
        (rpc_params_bool(params, "fd", false) || rpc_params_bool(params, "far_end", false)))
        rpc_params_refuse(params, "member \"keep_ms\" is for a handle, and this call has none");
    return (uint32_t)keep;
}

void rpc_handle_close(struct rpc_handle *handle)
{
    struct rpc_handle_table *table = handle->owner->server->handles;
    handle->closed = true;
    rpc_keep_end(handle);
    free_place(table, handle->place);
    table->count--;
    quota_give(handle->owner->server->users, handle->uid, USER_HANDLES, 1);
    LIST_REMOVE(handle, in_session);
    rpc_delivery_handle_ends(handle);
    rpc_handle_end_waits(handle);
    if (!handle->serving)
        handle_free(handle);
}

static void fault_of_no_handle(struct rpc_call *call, int64_t number)
{
    const struct rpc_server *server = call->session->server;
    if (handle_has_ended(server->handles, number))
        rpc_fault(call, EBADF,
                  "no handle %lld any more: it was closed, or the RPC connection that made it, or "
                  "its time (keep_ms) is up",
                  (long long)number);
    else
        rpc_fault(call, EBADF,
                  "no handle %lld: link_mgr, which was started %llu s ago, has not given it out; "
                  "handles end with link_mgr",
                  (long long)number,
                  (unsigned long long)(clock_now_ms() - server->started_ms) / 1000);
}

struct rpc_handle *rpc_handle_of(struct rpc_params *params, bool listener)
{
    struct rpc_call *call = params->call;
    const struct hub_caller *caller = &call->session->caller;
    int64_t number = rpc_params_int(params, "handle", INT32_MIN, INT32_MAX, RPC_REQUIRED);
    if (!rpc_params_ok(params))
        return NULL;
    struct rpc_handle *handle = handle_lookup(call->session->server->handles, number);
    if (handle == NULL)
        fault_of_no_handle(call, number);
    else if (caller->uid != 0 && (caller->uid == HUB_NOBODY || caller->uid != handle->uid))
        rpc_fault(call, EACCES, "handle %lld belongs to another uid", (long long)number);
    else if (handle->listener != listener)
        rpc_fault(call, EINVAL, "handle %lld is a %s", (long long)number,
                  listener ? "connection" : "listener");
    else {
        rpc_keep_used(handle);
        return handle;
    }
    return NULL;
}
