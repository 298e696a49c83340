/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Port 1; port_manager.h has the protocol. Each client is a libevent bufferevent. */
#include "link_mgr/hub/port_manager.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event_struct.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/handover.h"
#include "link_mgr/base/timer.h"
#include "link_mgr/core/judge.h"

/* as long as so many bytes wait for a client, nothing more is read from it */
#define ANSWERS_MAX (64 * 1024)
#define RETRY_MS 20 /* of what failed for lack of memory */

struct client {
    struct port_manager *manager;
    struct bufferevent *stream;
    struct idc_addr peer;
    bool ended; /* sends no more, and still gets its answers */
    LIST_ENTRY(client) list;
};

struct port_manager {
    struct event_base *base;
    struct core *core;
    int fd;
    struct event *event;
    struct event retry;
    unsigned untold; /* connections taken, of which the listener could not be told yet */
    int count;
    LIST_HEAD(, client) clients;
};

static void wait_for_clients(struct port_manager *manager)
{
    if (event_add(manager->event, NULL) < 0)
        timer_set(&manager->retry, RETRY_MS);
}

static void client_free(struct client *client)
{
    struct port_manager *manager = client->manager;
    LIST_REMOVE(client, list);
    bufferevent_free(client->stream);
    free(client);
    if (manager->count-- == PORT_MANAGER_CLIENTS)
        wait_for_clients(manager);
}

/* False, as below: there is no memory for it. */
static bool answer_services(struct client *client)
{
    struct evbuffer *out = bufferevent_get_output(client->stream);
    struct listener *listener;
    for (int i = 0; i < LISTENER_BUCKETS; i++)
        LIST_FOREACH (listener, &client->manager->core->listeners.ports[i], by_port)
            if (judge_shows(client->manager->core, client->peer.domid, listener) &&
                evbuffer_add_printf(out, "%u %s %s\n", listener->port,
                                    listener->type == IDC_STREAM ? "stream" : "seqpacket",
                                    listener->name[0] ? listener->name : "-") < 0)
                return false;
    return evbuffer_add(out, "\n", 1) == 0;
}

static bool port_manager_answer(struct client *client, const char *line)
{
    struct evbuffer *out = bufferevent_get_output(client->stream);
    if (strncmp(line, "PING", 4) == 0 && (line[4] == ' ' || line[4] == '\0'))
        return evbuffer_add_printf(out, "PONG%s\n", line + 4) >= 0;
    if (strcmp(line, "SERVICES") == 0)
        return answer_services(client);
    return evbuffer_add_printf(out, "ERROR unknown request; there are PING and SERVICES\n") >= 0;
}

static bool has_line(struct evbuffer *in)
{
    return evbuffer_search_eol(in, NULL, NULL, EVBUFFER_EOL_CRLF).pos >= 0;
}

/* A client that does not take its answers is not read from. There is no read watermark: libevent
 * would call again and again for the bytes that are left in the buffer, and the loop would never
 * come to anything else. */
static void on_lines(struct bufferevent *stream, void *arg)
{
    struct client *client = arg;
    struct evbuffer *in = bufferevent_get_input(stream), *out = bufferevent_get_output(stream);
    bool good = true;
    while (good && has_line(in) && evbuffer_get_length(out) < ANSWERS_MAX) {
        char *line = evbuffer_readln(in, NULL, EVBUFFER_EOL_CRLF);
        good = line && port_manager_answer(client, line);
        free(line);
    }
    if (!good || (evbuffer_get_length(in) > PORT_MANAGER_LINE && !has_line(in)))
        client_free(client);
    else if (evbuffer_get_length(out) >= ANSWERS_MAX)
        bufferevent_disable(stream, EV_READ);
}

static void on_end(struct bufferevent *stream, short what, void *arg)
{
    struct client *client = arg;
    /* When the client sends no more, it still gets its answers; on_sent then closes. */
    client->ended =
        (what & BEV_EVENT_EOF) && evbuffer_get_length(bufferevent_get_output(stream)) > 0;
    if (client->ended)
        bufferevent_disable(stream, EV_READ);
    else
        client_free(client);
}

static void on_sent(struct bufferevent *stream, void *arg)
{
    struct client *client = arg;
    if (client->ended || bufferevent_enable(stream, EV_READ) < 0)
        client_free(client);
    else
        on_lines(stream, client); /* lines that had waited for room */
}

static void port_manager_serve(struct port_manager *manager, int fd, const struct idc_addr *peer)
{
    const struct timeval idle = {.tv_sec = PORT_MANAGER_IDLE_SECONDS};
    struct client *client = calloc(1, sizeof(*client));
    evutil_make_socket_nonblocking(fd);
    struct bufferevent *stream = bufferevent_socket_new(manager->base, fd, BEV_OPT_CLOSE_ON_FREE);
    if (!client || !stream) {
        if (stream)
            bufferevent_free(stream);
        else
            close(fd);
        free(client);
        return;
    }
    *client = (struct client){.manager = manager, .stream = stream, .peer = *peer};
    LIST_INSERT_HEAD(&manager->clients, client, list);
    bufferevent_setcb(stream, on_lines, on_sent, on_end, client);
    if (++manager->count == PORT_MANAGER_CLIENTS)
        event_del(manager->event);
    if (bufferevent_set_timeouts(stream, &idle, &idle) < 0 ||
        bufferevent_enable(stream, EV_READ | EV_WRITE) < 0)
        client_free(client);
}

/* The listener counts what was taken by what it is told: each must be told. */
static void tell_taken(struct port_manager *manager)
{
    const char taken = HANDOVER_TAKEN;
    ssize_t sent = 1;
    while (manager->untold > 0 && sent == 1) {
        sent = handover_send(manager->fd, &taken, 1, NULL, 0, MSG_DONTWAIT);
        if (sent == 1)
            manager->untold--;
    }
    if (manager->untold > 0 && sent != -EPIPE && sent != -ECONNRESET)
        timer_set(&manager->retry, RETRY_MS);
}

static void on_retry(evutil_socket_t fd, short what, void *arg)
{
    struct port_manager *manager = arg;
    (void)fd, (void)what;
    tell_taken(manager);
    if (manager->count < PORT_MANAGER_CLIENTS)
        wait_for_clients(manager);
}

static void on_waiting(evutil_socket_t listener, short what, void *arg)
{
    struct port_manager *manager = arg;
    uint8_t message[HANDOVER_WAITING_SIZE];
    int fd = -1, count = 1;
    struct idc_addr peer;
    bool marked;
    (void)what;
    ssize_t n = handover_recv(listener, message, sizeof(message), &fd, &count, MSG_DONTWAIT);
    if (n == 0 || n == -ECONNRESET)
        event_del(manager->event); /* the daemon is ending */
    if (n > 0 || n == -EMFILE) {
        manager->untold++;
        tell_taken(manager);
    }
    if (n < 0 || count != 1)
        return;
    if (handover_decode_waiting(message, (size_t)n, &peer, &marked) == 0 &&
        (!marked || handover_take_mark(fd) == 0))
        port_manager_serve(manager, fd, &peer);
    else
        close(fd);
}

struct port_manager *port_manager_new(struct event_base *base, struct core *core, int fd)
{
    struct port_manager *manager = calloc(1, sizeof(*manager));
    struct event *event =
        manager ? event_new(base, fd, EV_READ | EV_PERSIST, on_waiting, manager) : NULL;
    if (!event) {
        close(fd);
        free(manager);
        return NULL;
    }
    *manager = (struct port_manager){.base = base, .core = core, .fd = fd, .event = event};
    LIST_INIT(&manager->clients);
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
    close(manager->fd);
    free(manager);
}
