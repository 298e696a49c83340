/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Port 1; port_manager.h has the protocol. Each client is a libevent bufferevent. */
#include "link_mgr/hub/port_manager.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/handover.h"
#include "link_mgr/core/judge.h"

/* bytes that may wait for a client before it is read from again */
#define ANSWERS_MAX (64 * 1024)

struct client {
    struct port_manager *manager;
    struct bufferevent *stream;
    struct idc_addr peer;
    LIST_ENTRY(client) list;
};

struct port_manager {
    struct event_base *base;
    struct core *core;
    int fd;
    struct event *event;
    int count;
    LIST_HEAD(, client) clients;
};

static void client_free(struct client *client)
{
    struct port_manager *manager = client->manager;
    LIST_REMOVE(client, list);
    bufferevent_free(client->stream);
    free(client);
    if (manager->count-- == PORT_MANAGER_CLIENTS)
        event_add(manager->event, NULL);
}

static void answer_services(struct client *client)
{
    struct evbuffer *out = bufferevent_get_output(client->stream);
    struct listener *listener;
    for (int i = 0; i < LISTENER_BUCKETS; i++)
        LIST_FOREACH (listener, &client->manager->core->listeners.ports[i], by_port)
            if (judge_shows(client->manager->core, client->peer.domid, listener))
                evbuffer_add_printf(out, "%u %s %s\n", listener->port,
                                    listener->type == IDC_STREAM ? "stream" : "seqpacket",
                                    listener->name[0] ? listener->name : "-");
    evbuffer_add(out, "\n", 1);
}

static void port_manager_answer(struct client *client, const char *line)
{
    struct evbuffer *out = bufferevent_get_output(client->stream);
    if (strncmp(line, "PING", 4) == 0 && (line[4] == ' ' || line[4] == '\0'))
        evbuffer_add_printf(out, "PONG%s\n", line + 4);
    else if (strcmp(line, "SERVICES") == 0)
        answer_services(client);
    else
        evbuffer_add_printf(out, "ERROR unknown request; there are PING and SERVICES\n");
}

static void on_lines(struct bufferevent *stream, void *arg)
{
    struct client *client = arg;
    struct evbuffer *in = bufferevent_get_input(stream);
    char *line;
    while (evbuffer_get_length(bufferevent_get_output(stream)) < ANSWERS_MAX &&
           (line = evbuffer_readln(in, NULL, EVBUFFER_EOL_CRLF))) {
        port_manager_answer(client, line);
        free(line);
    }
    if (evbuffer_get_length(in) > PORT_MANAGER_LINE &&
        !evbuffer_search_eol(in, NULL, NULL, EVBUFFER_EOL_CRLF).pos)
        client_free(client);
}

static void on_end(struct bufferevent *stream, short what, void *arg)
{
    struct client *client = arg;
    /* At the end of what it asks, the client still gets its answers: on_sent closes. */
    if ((what & BEV_EVENT_EOF) && evbuffer_get_length(bufferevent_get_output(stream)) > 0)
        bufferevent_disable(stream, EV_READ);
    else
        client_free(client);
}

static void on_sent(struct bufferevent *stream, void *arg)
{
    if (bufferevent_get_enabled(stream) & EV_READ)
        on_lines(stream, arg); /* lines that had waited for room */
    else
        client_free(arg);
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
    bufferevent_setwatermark(stream, EV_READ, 0, 4 * PORT_MANAGER_LINE);
    bufferevent_set_timeouts(stream, &idle, &idle);
    bufferevent_enable(stream, EV_READ | EV_WRITE);
    if (++manager->count == PORT_MANAGER_CLIENTS)
        event_del(manager->event);
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
    if (n == 0 || (n < 0 && n != -EAGAIN))
        event_del(manager->event); /* the daemon is ending */
    if (n < 0 || count != 1)
        return;
    const char taken = HANDOVER_TAKEN;
    if (handover_send(listener, &taken, 1, NULL, 0, MSG_DONTWAIT) == 1 &&
        handover_decode_waiting(message, (size_t)n, &peer, &marked) == 0 &&
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
    close(manager->fd);
    free(manager);
}
