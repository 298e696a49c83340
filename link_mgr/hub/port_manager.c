/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Port 1; port_manager.h has the protocol. */
#include "link_mgr/hub/port_manager.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/event_struct.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/handover.h"
#include "link_mgr/base/closer.h"
#include "link_mgr/base/quota.h"
#include "link_mgr/base/stream.h"
#include "link_mgr/base/timer.h"
#include "link_mgr/core/judge.h"

/* as long as so many bytes wait for a client, nothing more is read from it */
#define ANSWERS_MAX (64 * 1024)
#define RETRY_MS 20 /* of what failed for lack of memory */

/* Of whom connections are counted: of each uid of a domain, and of the domain. */
enum port_manager_kind { OF_USER, OF_DOMAIN };

struct client {
    struct port_manager *manager;
    struct stream *stream;
    struct idc_addr peer;
    bool ended;            /* sends no more, and still gets its answers */
    int services;          /* the bucket with which the list of services goes on; -1: none does */
    struct event again;    /* its next turn */
    struct event deadline; /* of a line that began, or of answers that wait */
    LIST_ENTRY(client) list;
};

struct port_manager {
    struct event_base *base;
    struct core *core;
    int fd;
    struct event *event;
    struct event retry;
    uint32_t untold; /* the last connection taken, if the listener could not be told yet */
    struct quota shares;
    LIST_HEAD(, client) clients;
};

/* ---- shares ---- */

static uint64_t port_manager_user(uint32_t domid, uint32_t uid)
{
    return (uint64_t)domid << 32 | uid;
}

/* A number that is no user's. */
static uint64_t port_manager_domain(uint32_t domid)
{
    return (uint64_t)1 << 63 | domid;
}

bool port_manager_take(struct port_manager *manager, uint32_t domid, uint32_t uid)
{
    if (!quota_take(&manager->shares, port_manager_user(domid, uid), OF_USER, 1))
        return false;
    if (quota_take(&manager->shares, port_manager_domain(domid), OF_DOMAIN, 1))
        return true;
    quota_give(&manager->shares, port_manager_user(domid, uid), OF_USER, 1);
    return false;
}

void port_manager_give(struct port_manager *manager, uint32_t domid, uint32_t uid)
{
    quota_give(&manager->shares, port_manager_user(domid, uid), OF_USER, 1);
    quota_give(&manager->shares, port_manager_domain(domid), OF_DOMAIN, 1);
}

/* ---- clients ---- */

static void client_free(struct client *client)
{
    port_manager_give(client->manager, client->peer.domid, client->peer.uid);
    LIST_REMOVE(client, list);
    event_del(&client->again);
    event_del(&client->deadline);
    stream_free(client->stream);
    free(client);
}

/* Lists the services of one bucket. False, as below: there is no memory for it. */
static bool answer_services(struct client *client, unsigned *left)
{
    struct evbuffer *out = client->stream->out;
    struct core *core = client->manager->core;
    struct listener *listener;
    LIST_FOREACH (listener, &core->listeners.ports[client->services], by_port) {
        *left -= *left > 0;
        if (judge_shows(core, client->peer.domid, client->peer.uid, listener) &&
            evbuffer_add_printf(out, "%u %s %s\n", listener->port,
                                listener->type == IDC_STREAM ? "stream" : "seqpacket",
                                listener->name[0] ? listener->name : "-") < 0)
            return false;
    }
    if (++client->services < LISTENER_BUCKETS)
        return true;
    client->services = -1;
    return evbuffer_add(out, "\n", 1) == 0;
}

static bool port_manager_answer(struct client *client, const char *line)
{
    struct evbuffer *out = client->stream->out;
    if (strncmp(line, "PING", 4) == 0 && (line[4] == ' ' || line[4] == '\0'))
        return evbuffer_add_printf(out, "PONG%s\n", line + 4) >= 0;
    if (strcmp(line, "SERVICES") == 0) {
        client->services = 0;
        return true;
    }
    return evbuffer_add_printf(out, "ERROR unknown request; there are PING and SERVICES\n") >= 0;
}

static bool has_line(struct client *client)
{
    struct evbuffer *in = client->stream->in;
    return evbuffer_search_eol(in, NULL, NULL, EVBUFFER_EOL_CRLF).pos >= 0;
}

static bool client_answers_wait(const struct client *client)
{
    return evbuffer_get_length(client->stream->out) > 0;
}

/* Does one thing that the client has asked for. */
static bool client_step(struct client *client, unsigned *left)
{
    if (client->services >= 0)
        return answer_services(client, left);
    char *line = evbuffer_readln(client->stream->in, NULL, EVBUFFER_EOL_CRLF);
    bool good = line && port_manager_answer(client, line);
    free(line);
    *left -= 1;
    event_del(&client->deadline); /* that line was in time */
    return good;
}

static bool client_write(const struct client *client)
{
    return !client_answers_wait(client) || stream_write(client->stream) == 0;
}

/* What comes next, after a turn: another turn, a deadline, or the end. False: the end. */
static bool client_go_on(struct client *client, bool more)
{
    static const struct timeval at_once, late = {.tv_sec = PORT_MANAGER_LATE_SECONDS};
    struct evbuffer *in = client->stream->in;
    size_t length = evbuffer_get_length(in);
    if (!more && length > PORT_MANAGER_LINE)
        return false;
    if (client->ended && !more && !client_answers_wait(client))
        return false;
    if (length == 0 && !more && !client_answers_wait(client))
        event_del(&client->deadline);
    else if (!evtimer_pending(&client->deadline, NULL) && event_add(&client->deadline, &late) < 0)
        return false;
    if (evbuffer_get_length(client->stream->out) >= ANSWERS_MAX)
        return stream_read(client->stream, false) == 0; /* on_sent goes on */
    return !more || event_add(&client->again, &at_once) == 0;
}

/* A client that does not take its answers is not read from. There is no read watermark: libevent
 * would call again and again for the bytes that are left in the buffer, and the loop would never
 * come to anything else. */
static void client_turn(struct client *client)
{
    struct evbuffer *out = client->stream->out;
    unsigned left = PORT_MANAGER_TURN;
    bool good = true, more = true;
    while (good && more && left > 0 && evbuffer_get_length(out) < ANSWERS_MAX) {
        more = client->services >= 0 || has_line(client);
        good = !more || client_step(client, &left);
    }
    more = client->services >= 0 || has_line(client);
    if (!good || !client_write(client) || !client_go_on(client, more))
        client_free(client);
}

static void on_again(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    client_turn(arg);
}

static void on_late(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    client_free(arg);
}

static void on_lines(void *arg)
{
    client_turn(arg);
}

static void on_end(void *arg, bool end)
{
    struct client *client = arg;
    /* When the client sends no more, it still gets its answers. */
    client->ended = end;
    if (end && stream_read(client->stream, false) == 0)
        client_turn(client);
    else
        client_free(client);
}

static void on_sent(void *arg)
{
    struct client *client = arg;
    event_del(&client->deadline); /* the answers were taken */
    if (!client->ended && stream_read(client->stream, true) < 0)
        client_free(client);
    else
        client_turn(client); /* lines that had waited for room */
}

/* Who can send descriptors through a connection to port 1 (base/closer.h). The other end of one
 * from another domain is link_mgr's. */
static uint32_t port_manager_charge(const struct port_manager *manager, const struct idc_addr *peer)
{
    return peer->domid == (uint32_t)manager->core->domid ? peer->uid : geteuid();
}

/* Takes fd over; the user's share was taken before. */
static void port_manager_serve(struct port_manager *manager, int fd, const struct idc_addr *peer)
{
    static const struct timeval idle = {.tv_sec = PORT_MANAGER_IDLE_SECONDS};
    static const struct stream_calls calls = {.came = on_lines, .sent = on_sent, .ended = on_end};
    struct client *client = calloc(1, sizeof(*client));
    struct stream *stream =
        stream_new(manager->base, fd, port_manager_charge(manager, peer), &idle, &calls, client);
    if (!client || !stream) {
        if (stream)
            stream_free(stream);
        free(client);
        port_manager_give(manager, peer->domid, peer->uid);
        return;
    }
    *client = (struct client){.manager = manager, .stream = stream, .peer = *peer, .services = -1};
    LIST_INSERT_HEAD(&manager->clients, client, list);
    evtimer_assign(&client->again, manager->base, on_again, client);
    evtimer_assign(&client->deadline, manager->base, on_late, client);
}

/* ---- the listener ---- */

/* The listener counts what was taken by what it is told. The last answer stands for all before. */
static void tell_taken(struct port_manager *manager)
{
    int error = manager->untold != 0 ? handover_tell_taken(manager->fd, manager->untold) : 0;
    if (error == 0)
        manager->untold = 0;
    else if (error != -EPIPE && error != -ECONNRESET)
        timer_set(&manager->retry, RETRY_MS);
}

static void on_retry(evutil_socket_t fd, short what, void *arg)
{
    struct port_manager *manager = arg;
    (void)fd, (void)what;
    tell_taken(manager);
}

static void on_waiting(evutil_socket_t listener, short what, void *arg)
{
    struct port_manager *manager = arg;
    uint8_t message[HANDOVER_WAITING_SIZE] = {0};
    int fd = -1, count = 1;
    struct handover_waiting waiting;
    const struct idc_addr *peer = &waiting.peer;
    (void)what;
    closer_charge(geteuid());
    ssize_t n = handover_recv(listener, message, sizeof(message), &fd, &count, MSG_DONTWAIT);
    if (n == 0 || n == -ECONNRESET)
        event_del(manager->event); /* the daemon is ending */
    if (n > 0 || n == -EMFILE) {
        manager->untold = handover_waiting_number(message, sizeof(message));
        tell_taken(manager);
    }
    /* of a message whose descriptor found no place, the bytes have come */
    size_t length = n == -EMFILE ? HANDOVER_WAITING_SIZE : n > 0 ? (size_t)n : 0;
    if (length == 0 || handover_decode_waiting(message, length, &waiting) < 0) {
        if (count == 1 && n > 0)
            closer_close(fd, geteuid());
        return;
    }
    bool whole = n > 0 && count == 1;
    if (whole && (!waiting.marked || handover_take_mark(fd) == 0)) {
        port_manager_serve(manager, fd, peer);
        return;
    }
    port_manager_give(manager, peer->domid, peer->uid);
    if (whole)
        closer_close(fd, port_manager_charge(manager, peer));
}

struct port_manager *port_manager_new(struct event_base *base, struct core *core, int fd)
{
    static const struct quota_limit limits[QUOTA_KINDS] = {
        [OF_USER] = {PORT_MANAGER_OF_USER, QUOTA_NO_LIMIT},
        [OF_DOMAIN] = {PORT_MANAGER_OF_DOMAIN, QUOTA_NO_LIMIT}};
    struct port_manager *manager = calloc(1, sizeof(*manager));
    struct event *event =
        manager ? event_new(base, fd, EV_READ | EV_PERSIST, on_waiting, manager) : NULL;
    if (!event) {
        closer_close(fd, geteuid());
        free(manager);
        return NULL;
    }
    *manager = (struct port_manager){.base = base, .core = core, .fd = fd, .event = event};
    LIST_INIT(&manager->clients);
    quota_init(&manager->shares, limits, false);
    evtimer_assign(&manager->retry, base, on_retry, manager);
    if (event_add(event, NULL) < 0) {
        port_manager_free(manager);
        return NULL;
    }
    return manager;
}

void port_manager_free(struct port_manager *manager)
{
    while (!LIST_EMPTY(&manager->clients))
        client_free(LIST_FIRST(&manager->clients));
    event_free(manager->event);
    event_del(&manager->retry);
    closer_close(manager->fd, geteuid()); /* connections may be in it */
    quota_end(&manager->shares);
    free(manager);
}
