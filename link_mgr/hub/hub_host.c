/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the core asks of its host, done with sockets and libevent: endpoints for new connections,
 * events of channels, the clock, random numbers, the log.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "link_mgr/program/acceptor.h"
#include "link_mgr/hub/hub_private.h"
#include "link_mgr/base/clock.h"
#include "link_mgr/base/closer.h"
#include "link_mgr/base/log.h"
#include "link_mgr/base/own_error.h"

static struct hub *hub_of(struct host *host)
{
    return host->ctx;
}

/* ---- endpoints ---- */

static void on_ended(void *arg, struct conn *conn, enum reason reason)
{
    struct hub *hub = arg;
    hub_audit_ended(hub, conn, reason);
    hub_record_end(hub, conn->serial, reason);
    trim_note(&hub->trim);
    if (conn->ticket)
        acceptor_conn_ended(conn->ticket);
    conn->ticket = NULL;
    hub_permit_put(conn->permit);
    conn->permit = NULL;
}

static void on_untaken(void *arg, struct conn *conn)
{
    (void)arg;
    if (conn->ticket)
        acceptor_await(conn->ticket);
}

struct idc_addr hub_peer_address(const struct conn *conn)
{
    struct idc_addr peer = {.domid = (uint32_t)conn->peer->domid,
                            .port = conn->peer_port,
                            .uid = conn->incoming ? conn->uid : conn->listener_uid,
                            .type = conn->type};
    strcpy(peer.service, conn->name);
    return peer;
}

/* The program that gets a connection, and how it gets it. */
struct program_wish {
    uint32_t uid;
    int pid;
    int far_end; /* -1: none of its own */
    bool reset_is_end;
};

static int make_endpoint(struct hub *hub, struct conn *conn, const struct program_wish *wish,
                         struct endpoint **ep, int *program_fd)
{
    struct handover_name name = {
        .serial = conn->serial = hub_new_serial(hub),
        .local = {.domid = (uint32_t)hub->core->domid,
                  .port = conn->local_port,
                  .type = conn->type},
        .peer = hub_peer_address(conn),
    };
    struct endpoint_config config = {.all = &hub->endpoints,
                                     .conn = conn,
                                     .name = &name,
                                     .far_end = wish->far_end,
                                     .budget = &conn->peer->budget,
                                     .uid = wish->uid,
                                     .reset_is_end = wish->reset_is_end,
                                     .untaken = conn->incoming ? on_untaken : NULL,
                                     .ended = on_ended,
                                     .arg = hub};
    conn->pid = wish->pid;
    int error = hub_record_begin(hub, conn, wish->uid);
    if (error) {
        closer_close(wish->far_end, wish->uid);
        return error;
    }
    error = endpoint_new(&config, ep, program_fd);
    if (error)
        hub_record_cancel(hub, conn->serial);
    return error;
}

/* Valid until the next call. */
static const char *host_error_text(const struct hub *hub, uint32_t uid, int error)
{
    static char text[HUB_WHY_MAX];
    if (error == -EUSERS)
        snprintf(text, sizeof(text),
                 "it, or that user of it, has its share of the connections that uid %u may have",
                 uid);
    if (error == -EUSERS)
        return text;
    if (error != -EDQUOT)
        return own_error_text(error);
    users_explain(hub->users, uid, USER_CONNECTIONS, text, sizeof(text));
    return text;
}

static enum reason host_offer(struct hub *hub, struct listener *listener, struct conn *conn,
                              struct endpoint **ep)
{
    struct idc_addr peer = hub_peer_address(conn);
    int program_fd;
    const struct program_wish wish = {listener->uid, listener->pid, -1, listener->reset_is_end};
    int error = make_endpoint(hub, conn, &wish, ep, &program_fd);
    if (!error) {
        error = acceptor_offer(listener->owner, conn, program_fd, &peer, &conn->ticket);
        if (error) {
            close(program_fd);
            endpoint_close(*ep, REASON_NO_RESOURCES);
            *ep = NULL;
        } else {
            conn->permit = hub_permit_hold(listener->permit);
            hub_audit_connected(hub, conn);
        }
    }
    if (error == -EPIPE)
        return REASON_NO_LISTENER;
    if (error)
        peer_log(conn->peer, LOG_WARNING, "a connection from it was refused: %s",
                 host_error_text(hub, listener->uid, error));
    if (error == -EDQUOT || error == -EUSERS)
        return REASON_SHARE;
    return error ? REASON_NO_RESOURCES : REASON_OK;
}

static enum reason on_incoming(struct host *host, struct listener *listener, struct conn *conn,
                               struct endpoint **ep)
{
    struct hub *hub = hub_of(host);
    uint32_t domid = (uint32_t)conn->peer->domid;
    bool shared = listener->port == IDC_PORT_MANAGER;
    if (shared && !port_manager_take(hub->manager, domid, conn->uid))
        return REASON_SHARE;
    enum reason reason = host_offer(hub, listener, conn, ep);
    if (shared && reason != REASON_OK)
        port_manager_give(hub->manager, domid, conn->uid);
    return reason;
}

static void on_refused(struct host *host, const struct judge_question *question, enum reason reason,
                       const struct judge_verdict *verdict)
{
    hub_audit_request(hub_of(host), question, reason, verdict);
}

static bool on_listening(struct host *host, struct listener *listener, bool offer)
{
    (void)host;
    /* somebody asks how many connections wait, or a program may have been killed before it answered
     */
    if (!offer || listener->waiting >= listener->backlog)
        acceptor_look(listener->owner);
    return (offer && acceptor_offers_at_once(listener->owner)) ||
           !acceptor_is_gone(listener->owner);
}

static void on_unlistened(struct host *host, const struct listener *listener)
{
    quota_give(hub_of(host)->users, listener->uid, USER_LISTENERS, 1);
    hub_permit_unlistened(listener);
}

static void host_explain(char why[HUB_WHY_MAX], const struct hub_pending *pending,
                         const struct conn *conn, enum reason reason)
{
    const struct hub_connect *request = &pending->request;
    char called[HUB_CALLED_MAX];
    hub_called(pending, called);
    int length = request->name[0]
                     ? snprintf(why, HUB_WHY_MAX, "%s, service %s: ", called, request->name)
                     : snprintf(why, HUB_WHY_MAX, "%s, port %u: ", called, request->port);
    hub_explain(pending->hub, request, conn, reason, why + length, (size_t)(HUB_WHY_MAX - length));
}

static bool on_connected(struct host *host, void *cookie, struct conn *conn, enum reason reason,
                         struct endpoint **ep)
{
    struct hub_pending *pending = cookie;
    struct hub_connected result = {.fd = -1};
    char why[HUB_WHY_MAX];
    int error = -reason_errno(reason);
    why[0] = '\0';
    if (reason != REASON_OK) {
        host_explain(why, pending, conn, reason);
        if (hub_try_again(pending, reason, error, why))
            return false;
        hub_audit_connect(hub_of(host), pending, reason, NULL);
    } else {
        const struct hub_connect *request = &pending->request;
        const struct program_wish wish = {request->caller.uid, request->caller.pid,
                                          request->far_end, request->reset_is_end};
        pending->request.far_end = -1;
        error = make_endpoint(hub_of(host), conn, &wish, ep, &result.fd);
        if (error)
            snprintf(why, sizeof(why), "no socket could be made: %.256s",
                     host_error_text(hub_of(host), request->caller.uid, error));
        if (error)
            hub_audit_connect(hub_of(host), pending, REASON_NO_RESOURCES, why);
        else
            hub_audit_connected(hub_of(host), conn);
        result.serial = conn->serial;
        result.local_port = conn->local_port;
        result.peer_domid = (uint32_t)conn->peer->domid;
        result.peer_port = conn->peer_port;
        result.peer_uid = conn->listener_uid;
    }
    hub_answer(pending, own_error(error), why, error ? NULL : &result);
    return error == 0;
}

/* ---- loop ---- */

static void on_channel(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    peer_channel_event(arg);
}

static int host_watch(struct host *host, void *token, int fd, void **watch)
{
    if (*watch)
        event_free(*watch);
    *watch = NULL;
    if (fd < 0)
        return 0;
    struct event *event =
        event_new(hub_of(host)->base, fd, EV_READ | EV_PERSIST, on_channel, token);
    if (!event || event_add(event, NULL) < 0) {
        if (event)
            event_free(event);
        return -ENOMEM;
    }
    *watch = event;
    return 0;
}

static uint64_t host_now(struct host *host)
{
    (void)host;
    return clock_now_ms();
}

static uint64_t host_wall(struct host *host)
{
    (void)host;
    return clock_wall_ms();
}

static uint64_t host_random64(struct host *host)
{
    uint64_t value = 0;
    (void)host;
    /* This cannot fail for so few bytes. If it did, the sockets would still distinguish two runs
     * with the same epoch. */
    if (getrandom(&value, sizeof(value), 0) != sizeof(value))
        value = (uint64_t)getpid() << 32 ^ clock_now_ms();
    return value;
}

static void log_text(struct host *host, struct log_limit *limit, int priority, const char *text)
{
    (void)host;
    log_limited_line(limit, priority, "%s", text);
}

void hub_fill_host(struct hub *hub)
{
    struct host *host = &hub->host;
    host->ctx = hub;
    host->pull = endpoint_pull;
    host->message = endpoint_message;
    host->gone = endpoint_gone;
    host->push = endpoint_push;
    host->shut = endpoint_shut;
    host->close = endpoint_close;
    host->connected = on_connected;
    host->incoming = on_incoming;
    host->refused = on_refused;
    host->listening = on_listening;
    host->unlistened = on_unlistened;
    host->watch = host_watch;
    host->now = host_now;
    host->wall = host_wall;
    host->random64 = host_random64;
    host->log = log_text;
}
