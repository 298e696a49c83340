/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "channels/bridge.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* Bytes of a flow before it is the others' turn. */
#define TURN_BYTES (256 * 1024)

struct flow {
    int from, to; /* indexes of sides */
    bool source_ended, over;
    char *left; /* what could not be written, or NULL */
    size_t left_len, left_done;
    uint64_t bytes;
};

struct bridge {
    const struct bridge_loop *loop;
    struct side sides[2];
    struct flow flows[2]; /* flow i comes from side i */
    bool lost;            /* bytes that no one took */
    struct room rooms[2];
    struct event readable[2], writable[2], turn;
    void (*over)(void *context, const struct bridge_outcome *outcome);
    void *context;
};

/* How a flow stands after it has run. Negative: the errno of a failure. */
enum { FLOW_WAITS = 0, FLOW_MORE = 1 };

/* ---- a flow ---- */

static void flow_forget_left(struct flow *flow)
{
    free(flow->left);
    flow->left = NULL;
    flow->left_len = flow->left_done = 0;
}

/* The target takes nothing more. What it should have got is lost. */
static void flow_stop(struct bridge *bridge, struct flow *flow)
{
    struct side *from = &bridge->sides[flow->from];
    bridge->lost |= flow->left != NULL || side_has_more(from);
    flow_forget_left(flow);
    flow->over = true;
    if (from->in != from->out)
        event_del(&bridge->readable[flow->from]); /* before it may be closed */
    side_end_reading(from);
}

static int flow_write_failed(struct bridge *bridge, struct flow *flow, int error, int *where)
{
    if (error == -EPIPE) {
        bridge->lost = true;
        flow_stop(bridge, flow);
        return 0;
    }
    *where = flow->to;
    return error;
}

static int flow_keep(struct flow *flow, const char *bytes, size_t len)
{
    flow->left = malloc(len);
    if (flow->left == NULL)
        return -ENOMEM;
    memcpy(flow->left, bytes, len);
    flow->left_len = len;
    flow->left_done = 0;
    return 0;
}

/* Writes what was kept. */
static int flow_write_left(struct bridge *bridge, struct flow *flow, int *where)
{
    while (flow->left != NULL) {
        ssize_t sent = side_write(&bridge->sides[flow->to], flow->left + flow->left_done,
                                  flow->left_len - flow->left_done);
        if (sent == -EAGAIN)
            return 0;
        if (sent < 0)
            return flow_write_failed(bridge, flow, (int)sent, where);
        flow->left_done += (size_t)sent;
        flow->bytes += (uint64_t)sent;
        if (flow->left_done == flow->left_len)
            flow_forget_left(flow);
    }
    return 0;
}

/* Writes what was read just now, and keeps what can't be written. */
static int flow_write(struct bridge *bridge, struct flow *flow, const char *bytes, size_t len,
                      int *where)
{
    size_t done = 0;
    while (done < len) {
        ssize_t sent = side_write(&bridge->sides[flow->to], bytes + done, len - done);
        if (sent == -EAGAIN)
            return flow_keep(flow, bytes + done, len - done);
        if (sent < 0)
            return flow_write_failed(bridge, flow, (int)sent, where);
        done += (size_t)sent;
        flow->bytes += (uint64_t)sent;
    }
    return 0;
}

static void flow_end(struct bridge *bridge, struct flow *flow)
{
    flow->source_ended = flow->over = true;
    event_del(&bridge->writable[flow->to]); /* before it may be closed */
    side_end_writing(&bridge->sides[flow->to]);
}

/* Reads once, and writes that. Returns the number of bytes, 0 if it waits or is over, or a negative
 * errno. */
static ssize_t flow_step(struct bridge *bridge, struct flow *flow, int *where)
{
    char *buf = bridge->loop->buf;
    int error = flow_write_left(bridge, flow, where);
    if (error < 0 || flow->over || flow->left != NULL)
        return error;
    ssize_t got = side_read(&bridge->sides[flow->from], buf, bridge->loop->size);
    if (got == -EAGAIN)
        return 0;
    if (got < 0) {
        *where = flow->from;
        return got;
    }
    if (got == 0)
        flow_end(bridge, flow);
    else
        error = flow_write(bridge, flow, buf, (size_t)got, where);
    return error < 0 ? error : got;
}

static int flow_run(struct bridge *bridge, struct flow *flow, int *where)
{
    size_t done = 0;
    while (!flow->over) {
        ssize_t moved = flow_step(bridge, flow, where);
        if (moved <= 0)
            return (int)moved;
        done += (size_t)moved;
        if (done >= TURN_BYTES)
            return FLOW_MORE;
    }
    return FLOW_WAITS;
}

/* ---- hanging up ---- */

static int socket_error(int fd)
{
    int error = 0;
    socklen_t len = sizeof(error);
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
    return error;
}

/* A pipe without a reader takes nothing more, which nobody else tells before there is something to
 * write. */
static void bridge_look_at_pipe(struct bridge *bridge, struct flow *flow)
{
    const struct side *to = &bridge->sides[flow->to];
    struct pollfd p = {.fd = to->out};
    if (to->form != SIDE_PLAIN || to->out < 0 || to->out == to->in || flow->over)
        return;
    if (poll(&p, 1, 0) == 1 && (p.revents & POLLERR))
        flow_stop(bridge, flow);
}

/*
 * Has the side, whose own flow is over, closed altogether? Then the flow to it has no target. True:
 * the bridge is over, with *error.
 */
static bool bridge_has_lost(struct bridge *bridge, int index, int *error)
{
    const struct side *side = &bridge->sides[index];
    const struct flow *to_it = &bridge->flows[1 - index];
    struct pollfd p = {.fd = side->in};
    if (!bridge->flows[index].over || to_it->over || side->in < 0 || side->in != side->out ||
        side_is_deaf(side))
        return false;
    if (poll(&p, 1, 0) != 1 || (p.revents & (POLLHUP | POLLERR)) == 0)
        return false;
    *error = socket_error(side->in);
    if (*error == 0 && to_it->left != NULL)
        *error = EPIPE;
    return true;
}

/* One side knows no end, and the flow to it has ended. */
static bool bridge_is_cut(const struct bridge *bridge)
{
    for (int i = 0; i < 2; i++)
        if (side_is_deaf(&bridge->sides[i]) && bridge->flows[1 - i].over)
            return true;
    return bridge->flows[0].over && bridge->flows[1].over;
}

/* ---- the bridge ---- */

static void bridge_unregister(struct bridge *bridge)
{
    for (int i = 0; i < 2; i++) {
        event_del(&bridge->readable[i]);
        event_del(&bridge->writable[i]);
    }
    event_del(&bridge->turn);
    for (int i = 0; i < 2; i++)
        room_leave(bridge->loop->rooms, &bridge->rooms[i]);
}

static void bridge_release(struct bridge *bridge, int error)
{
    bridge_unregister(bridge);
    for (int i = 0; i < 2; i++) {
        side_close(&bridge->sides[i], error);
        free(bridge->flows[i].left);
    }
}

static void bridge_finish(struct bridge *bridge, int error, int where)
{
    struct bridge_outcome outcome = {.error = error, .where = where};
    for (int i = 0; i < 2; i++)
        outcome.bytes[i] = bridge->flows[i].bytes;
    if (error != 0)
        cut_off_text(bridge->sides[where].in, error, outcome.why);
    bridge_release(bridge, error);
    bridge->over(bridge->context, &outcome);
    free(bridge);
}

/* True: the bridge is over, and gone. */
static bool bridge_settle(struct bridge *bridge)
{
    int error = 0;
    for (int i = 0; i < 2; i++)
        if (bridge_has_lost(bridge, i, &error)) {
            bridge_finish(bridge, error, i);
            return true;
        }
    if (!bridge_is_cut(bridge))
        return false;
    bridge_finish(bridge, bridge->lost ? EPIPE : 0, bridge->flows[0].source_ended ? 0 : 1);
    return true;
}

static void bridge_run(struct bridge *bridge)
{
    static const struct timeval at_once = {0, 0};
    bool more = false;
    for (int i = 0; i < 2; i++) {
        int where = i;
        int state = flow_run(bridge, &bridge->flows[i], &where);
        if (state < 0) {
            bridge_finish(bridge, -state, where);
            return;
        }
        more = more || state == FLOW_MORE;
    }
    for (int i = 0; i < 2; i++)
        bridge_look_at_pipe(bridge, &bridge->flows[i]);
    if (bridge_settle(bridge))
        return;
    for (int i = 0; i < 2; i++)
        room_look(bridge->loop->rooms, &bridge->rooms[i]);
    if (more)
        event_add(&bridge->turn, &at_once);
}

static void bridge_event(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    bridge_run(argument);
}

/* Files, and /dev/null, are always ready, and epoll refuses them. */
static bool can_be_polled(int fd)
{
    struct epoll_event event = {.events = 0};
    int poller = epoll_create1(EPOLL_CLOEXEC);
    bool can = poller >= 0 && epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) == 0;
    if (poller >= 0)
        close(poller);
    return can;
}

static int bridge_watch(struct event *event, const struct side *side, int fd)
{
    bool is_socket = side->form == SIDE_UNIX || side->form == SIDE_SOCKET;
    if (fd < 0 || (!is_socket && !can_be_polled(fd)))
        return 0;
    return event_add(event, NULL);
}

static int bridge_register(struct bridge *bridge)
{
    const short reading = EV_READ | EV_CLOSED | EV_ET | EV_PERSIST, writing = EV_WRITE;
    struct event_base *base = bridge->loop->base;
    int error = 0;
    for (int i = 0; i < 2; i++) {
        const struct side *side = &bridge->sides[i];
        bool same = side->in == side->out;
        event_assign(&bridge->readable[i], base, side->in,
                     (short)(same ? reading | writing : reading), bridge_event, bridge);
        event_assign(&bridge->writable[i], base, same ? -1 : side->out,
                     writing | EV_ET | EV_PERSIST, bridge_event, bridge);
        error |= bridge_watch(&bridge->readable[i], side, side->in);
        error |= bridge_watch(&bridge->writable[i], side, same ? -1 : side->out);
    }
    return error;
}

struct bridge *bridge_new(const struct bridge_loop *loop, const struct side sides[2],
                          void (*over)(void *context, const struct bridge_outcome *outcome),
                          void *context)
{
    static const struct timeval at_once = {0, 0};
    struct bridge *bridge = calloc(1, sizeof(*bridge));
    if (bridge == NULL) {
        struct side lost[2] = {sides[0], sides[1]};
        side_close(&lost[0], ENOMEM);
        side_close(&lost[1], ENOMEM);
        return NULL;
    }
    bridge->loop = loop;
    bridge->over = over;
    bridge->context = context;
    for (int i = 0; i < 2; i++) {
        bridge->sides[i] = sides[i];
        bridge->flows[i] = (struct flow){.from = i, .to = 1 - i};
        bridge->rooms[i].side = &bridge->sides[i];
    }
    evtimer_assign(&bridge->turn, loop->base, bridge_event, bridge);
    if (bridge_register(bridge) == 0 && event_add(&bridge->turn, &at_once) == 0)
        return bridge;
    bridge_free(bridge);
    return NULL;
}

void bridge_free(struct bridge *bridge)
{
    bridge_release(bridge, ECONNRESET);
    free(bridge);
}

uint64_t bridge_bytes(const struct bridge *bridge, int from)
{
    return bridge->flows[from].bytes;
}
