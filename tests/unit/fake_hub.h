/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fake_hub.h - a hub for tests of the RPC server and of libidc: a single domain, without core,
 * links or policy. To be included by one file of a test program, whose hub_* functions then take
 * the place of the daemon's. The domain is 3; others have the same services. So all filler of a
 * nonblocking connect is taken out in domain 3, and all except one byte elsewhere.
 *
 *   connect to a port or name that is listened on    the two programs are joined by a socket pair
 *   port 1                                           answers PING and SERVICES as the connection
 *                                                    manager does; in domain 8 its answer
 *                                                    comes line by line, and has no end
 *   port 5                                           an echo (stream and seqpacket)
 *   port 6                                           accepts and resets at the first byte;
 *                                                    hub_reason says EACCES
 *   port 7                                           never answers: ETIMEDOUT when timeout_ms is
 *                                                    over
 *   port 8                                           accepts and never reads
 *   port 9                                           has nothing to say: ends its half at once,
 *                                                    then as port 6
 *   port 13, service no.entry                        EACCES
 *   anything else                                    ECONNREFUSED
 *
 * Domain 5 is called web, two are called twin, and no other name is known.
 */
#ifndef IDC_FAKE_HUB_H
#define IDC_FAKE_HUB_H

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/connecting.h"
#include "common/handover.h"
#include "link_mgr/hub/hub.h"

#define FAKE_DOMID 3
#define FAKE_DRIBBLER 2 /* in place of port 1 */
#define FAKE_LISTENERS 64
#define FAKE_ENDS 1024

struct fake_listener {
    int fd, waiting;
    int life; /* what tells the library of a kept listener that its link_mgr ended; -1: not kept */
    uint32_t offered;
    struct hub_listen request;
    struct event *readable;
};

struct fake_end {
    int fd;
    uint32_t port;
    uint64_t serial;
    bool held; /* the last message of a filler, which stays unread */
    struct event *readable;
};

struct hub {
    struct event_base *base;
    /* other tests may run at the same time: their names must differ from ours */
    uint64_t first_serial, serial;
    uint32_t next_port;
    int pending, cancelled;
    uint32_t peer_timeout_ms; /* the latest of hub_watch_peer */
    struct fake_listener listeners[FAKE_LISTENERS];
    struct fake_end ends[FAKE_ENDS];
};

struct hub_pending {
    struct hub *hub;
    struct hub_connect request;
    struct event *timer;
    hub_connect_done *done;
    void *arg;
};

static void fake_hub_init(struct hub *hub, struct event_base *base)
{
    *hub = (struct hub){.base = base, .next_port = IDC_PORT_EPHEMERAL_MIN};
    hub->first_serial = hub->serial = (uint64_t)getppid() << 16;
    for (int i = 0; i < FAKE_LISTENERS; i++)
        hub->listeners[i].fd = -1;
    for (int i = 0; i < FAKE_ENDS; i++)
        hub->ends[i].fd = -1;
}

static void fake_listener_end(struct fake_listener *l)
{
    event_free(l->readable);
    close(l->fd);
    if (l->life >= 0)
        close(l->life);
    l->fd = -1;
}

static void fake_end_close(struct fake_end *end)
{
    event_free(end->readable);
    close(end->fd);
    end->fd = -1;
}

static void fake_hub_end(struct hub *hub)
{
    for (int i = 0; i < FAKE_LISTENERS; i++)
        if (hub->listeners[i].fd >= 0)
            fake_listener_end(&hub->listeners[i]);
    for (int i = 0; i < FAKE_ENDS; i++)
        if (hub->ends[i].fd >= 0)
            fake_end_close(&hub->ends[i]);
}

/* ---- listeners ---- */

static void fake_on_answer(evutil_socket_t fd, short what, void *arg)
{
    struct fake_listener *l = arg;
    uint8_t answer[HANDOVER_TAKEN_SIZE + 1];
    ssize_t got = recv(fd, answer, sizeof(answer), MSG_DONTWAIT);
    (void)what;
    if (got > 0 && handover_taken_number(answer, (size_t)got) != 0)
        l->waiting--;
    else if (got >= 0 || errno != EAGAIN)
        fake_listener_end(l);
}

static struct fake_listener *fake_find(struct hub *hub, uint32_t port, const char *name)
{
    for (int i = 0; i < FAKE_LISTENERS; i++) {
        struct fake_listener *l = &hub->listeners[i];
        if (l->fd >= 0 &&
            ((port != 0 && l->request.port == port) || (name[0] && !strcmp(l->request.name, name))))
            return l;
    }
    return NULL;
}

int hub_listen(struct hub *hub, const struct hub_listen *request, struct hub_listening *result,
               char why[HUB_WHY_MAX])
{
    int pair[2], at = 0;
    if (fake_find(hub, request->port, request->name)) {
        snprintf(why, HUB_WHY_MAX, "port %u is in use", request->port);
        return -EADDRINUSE;
    }
    while (at < FAKE_LISTENERS && hub->listeners[at].fd >= 0)
        at++;
    if (at == FAKE_LISTENERS || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return -ENOBUFS;
    struct fake_listener *l = &hub->listeners[at];
    *l = (struct fake_listener){.fd = request->kept ? request->far_end : pair[0],
                                .life = request->kept ? pair[0] : -1,
                                .request = *request};
    if (l->request.port == 0)
        l->request.port = hub->next_port++;
    struct handover_name name = {.serial = hub->serial++, .listener = true};
    name.local = (struct idc_addr){
        .domid = FAKE_DOMID, .port = l->request.port, .type = (uint32_t)request->type};
    strcpy(name.local.service, request->name);
    handover_bind(l->fd, &name);
    l->readable = event_new(hub->base, l->fd, EV_READ | EV_PERSIST, fake_on_answer, l);
    event_add(l->readable, NULL);
    *result = (struct hub_listening){.fd = pair[1], .port = l->request.port};
    return 0;
}

int64_t hub_unsent(struct hub *hub, const struct hub_question *question)
{
    for (int i = 0; i < FAKE_ENDS; i++)
        if (hub->ends[i].fd >= 0 && hub->ends[i].serial == question->serial)
            return 77;
    return -ENOENT;
}

int hub_watch_peer(struct hub *hub, const struct hub_question *question, uint32_t ms)
{
    hub->peer_timeout_ms = ms;
    return hub_unsent(hub, question) < 0 ? -ENOENT : 0;
}

/* No test of these needs it. */
uint32_t hub_reserved_port(struct hub *hub, int fd)
{
    (void)hub, (void)fd;
    return 0;
}

int hub_listen_reserved(struct hub *hub, int reservation, int far_end, int backlog,
                        struct hub_listening *result, char why[HUB_WHY_MAX])
{
    (void)hub, (void)reservation, (void)far_end, (void)backlog, (void)result;
    snprintf(why, HUB_WHY_MAX, "nothing is reserved");
    return -EINVAL;
}

/* ---- connections ---- */

/* One request, in one piece. */
static void fake_manager(int fd, char *request, size_t len)
{
    static const char services[] = "80 stream -\n4000000000 seqpacket org.example.a\n\n";
    if (memcmp(request, "PING", 4) == 0) {
        memcpy(request, "PONG", 4);
        send(fd, request, len, MSG_NOSIGNAL);
    } else {
        send(fd, services, sizeof(services) - 1, MSG_NOSIGNAL);
    }
}

static bool fake_resets(uint32_t port)
{
    return port == 6 || port == 9;
}

/* A line of an answer every 50 ms, for ever. */
static void fake_dribble(struct fake_end *end, bool begin)
{
    static const struct timeval interval = {.tv_usec = 50000};
    static const char line[] = "5000 stream -\n";
    send(end->fd, line, sizeof(line) - 1, MSG_NOSIGNAL);
    if (begin)
        event_add(end->readable, &interval);
}

static void fake_on_end(evutil_socket_t fd, short what, void *arg)
{
    struct fake_end *end = arg;
    static char buf[1 << 20];
    if (end->held)
        end->held = recv(fd, buf, 1, MSG_DONTWAIT) != 1;
    ssize_t got =
        recv(fd, buf, sizeof(buf), MSG_DONTWAIT | (fake_resets(end->port) ? MSG_PEEK : 0));
    if (end->port == FAKE_DRIBBLER && (got > 0 || (what & EV_TIMEOUT)))
        fake_dribble(end, got > 0);
    else if (got > 0 && end->port == 5)
        send(fd, buf, (size_t)got, MSG_NOSIGNAL);
    else if (got > 0 && end->port == 1)
        fake_manager(fd, buf, (size_t)got);
    else if (got >= 0 || errno != EAGAIN)
        fake_end_close(end); /* with unread bytes: a reset */
}

static int fake_serve(struct hub *hub, int fd, uint32_t port, uint64_t serial, bool held)
{
    int at = 0;
    while (at < FAKE_ENDS && hub->ends[at].fd >= 0)
        at++;
    if (at == FAKE_ENDS)
        return -ENOBUFS;
    struct fake_end *end = &hub->ends[at];
    *end = (struct fake_end){.fd = fd, .port = port, .serial = serial, .held = held};
    end->readable = event_new(hub->base, fd, EV_READ | EV_PERSIST, fake_on_end, end);
    if (port == 9)
        shutdown(fd, SHUT_WR);
    if (port == 8)
        return 0;
    return event_add(end->readable, NULL);
}

static struct handover_name fake_name(struct hub *hub, const struct hub_connect *request,
                                      uint32_t port)
{
    struct handover_name name = {.serial = hub->serial++};
    uint32_t type = (uint32_t)request->type;
    name.local = (struct idc_addr){
        .domid = FAKE_DOMID, .port = hub->next_port++, .uid = UINT32_MAX, .type = type};
    name.peer =
        (struct idc_addr){.domid = FAKE_DOMID, .port = port, .uid = UINT32_MAX, .type = type};
    strcpy(name.peer.service, request->name);
    const struct fake_listener *l = fake_find(hub, request->port, request->name);
    if (l)
        name.peer.uid = l->request.caller.uid;
    return name;
}

static struct handover_name fake_mirror(const struct handover_name *name, uint32_t uid)
{
    struct handover_name mirror = {
        .serial = name->serial, .local = name->peer, .peer = name->local};
    mirror.peer.uid = uid;
    return mirror;
}

/* Both ends of the connection: ours or the accepting program's, and the connecting program's. */
static int fake_ends(const struct hub_connect *request, const struct handover_name *name,
                     int pair[2])
{
    int type = request->type == IDC_STREAM ? SOCK_STREAM : SOCK_SEQPACKET;
    if (request->far_end >= 0) {
        pair[0] = request->far_end;
        pair[1] = -1;
        int error = handover_bind(pair[0], name);
        if (error == 0 && request->held_end >= 0) {
            struct handover_name mirror = fake_mirror(name, request->caller.uid);
            handover_bind(request->held_end, &mirror);
        }
        return error != 0 ? error : connecting_drain(pair[0]);
    }
    if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair) < 0)
        return -errno;
    struct handover_name mirror = fake_mirror(name, request->caller.uid);
    handover_bind(pair[0], name);
    handover_bind(pair[1], &mirror);
    return 0;
}

static int fake_hand_over(struct fake_listener *l, const struct handover_name *name, uint32_t uid,
                          int fd, bool marked)
{
    uint8_t message[HANDOVER_WAITING_SIZE];
    struct handover_name mirror = fake_mirror(name, uid);
    strcpy(mirror.peer.service, name->peer.service);
    const struct handover_waiting waiting = {mirror.peer, marked, ++l->offered};
    handover_encode_waiting(message, &waiting);
    ssize_t sent = handover_send(l->fd, message, sizeof(message), &fd, 1, MSG_DONTWAIT);
    close(fd);
    l->waiting++;
    return sent < 0 ? (int)sent : 0;
}

int hub_resolve(struct hub *hub, const struct naming *naming, uint32_t *domid,
                char why[HUB_WHY_MAX])
{
    (void)hub;
    bool is_web = naming->kind == NAMING_NAME && strcmp(naming->name, "web") == 0;
    bool is_twin = naming->kind == NAMING_NAME && strcmp(naming->name, "twin") == 0;
    *domid = naming->kind == NAMING_DOMID ? naming->domid : is_web ? 5 : FAKE_DOMID;
    snprintf(why, HUB_WHY_MAX, is_twin ? "domids 6, 7" : "no such domain");
    if (naming->kind == NAMING_DOMID || naming->kind == NAMING_SELF || is_web)
        return 0;
    if (naming->kind == NAMING_ANY)
        return -EINVAL;
    return is_twin ? -ENOTUNIQ : -EHOSTUNREACH;
}

struct hub_domain hub_domain_of(const struct hub *hub, uint32_t domid)
{
    (void)hub;
    if (domid == 5)
        return (struct hub_domain){"web", "00112233-4455-6677-8899-aabbccddeeff"};
    return (struct hub_domain){"", ""};
}

static int fake_error(const struct hub_connect *request, const struct fake_listener *l)
{
    char why[HUB_WHY_MAX];
    uint32_t domid;
    int error = request->to.kind == NAMING_ANY ? 0 : hub_resolve(NULL, &request->to, &domid, why);
    if (error)
        return error;
    if (request->port == 13 || strcmp(request->name, "no.entry") == 0)
        return -EACCES;
    if (l && l->request.type != request->type)
        return -EPROTOTYPE;
    return l || request->port == 1 || (request->port >= 5 && request->port <= 9) ? 0
                                                                                 : -ECONNREFUSED;
}

static uint32_t fake_port(const struct hub_connect *request)
{
    return request->port == 1 && request->domid == 8 ? FAKE_DRIBBLER : request->port;
}

static int fake_connect(struct hub *hub, const struct hub_connect *request,
                        struct hub_connected *result)
{
    struct fake_listener *l = fake_find(hub, request->port, request->name);
    int pair[2], error = fake_error(request, l);
    if (error)
        return error;
    struct handover_name name = fake_name(hub, request, l ? l->request.port : request->port);
    error = fake_ends(request, &name, pair);
    if (error)
        return error;
    *result = (struct hub_connected){.fd = pair[1],
                                     .serial = name.serial,
                                     .local_port = name.local.port,
                                     .peer_domid = FAKE_DOMID,
                                     .peer_port = name.peer.port,
                                     .peer_uid = name.peer.uid};
    return l ? fake_hand_over(l, &name, request->caller.uid, pair[0], request->far_end >= 0)
             : fake_serve(hub, pair[0], fake_port(request), name.serial, request->far_end >= 0);
}

static void fake_pending_free(struct hub_pending *pending)
{
    pending->hub->pending--;
    event_free(pending->timer);
    free(pending);
}

static void fake_on_pending(evutil_socket_t fd, short what, void *arg)
{
    struct hub_pending *pending = arg;
    struct hub_connected result = {.fd = -1};
    bool late = pending->request.port == 7;
    int far_end = pending->request.far_end;
    int error = late ? -ETIMEDOUT : fake_connect(pending->hub, &pending->request, &result);
    hub_connect_done *done = pending->done;
    void *done_arg = pending->arg;
    (void)fd, (void)what;
    if (error && far_end >= 0)
        close(far_end);
    if (pending->request.held_end >= 0)
        close(pending->request.held_end);
    fake_pending_free(pending);
    done(done_arg, error, strerror(-error), error ? NULL : &result);
}

struct hub_pending *hub_connect(struct hub *hub, const struct hub_connect *request,
                                hub_connect_done *done, void *arg)
{
    struct hub_pending *pending = calloc(1, sizeof(*pending));
    struct timeval at_once = {0, 0};
    struct timeval late = {request->timeout_ms / 1000, request->timeout_ms % 1000 * 1000};
    *pending = (struct hub_pending){.hub = hub, .request = *request, .done = done, .arg = arg};
    pending->timer = evtimer_new(hub->base, fake_on_pending, pending);
    hub->pending++;
    if (request->port != 7)
        evtimer_add(pending->timer, &at_once);
    else if (request->timeout_ms >= 0)
        evtimer_add(pending->timer, &late);
    return pending;
}

void hub_cancel(struct hub_pending *pending)
{
    pending->hub->cancelled++;
    if (pending->request.far_end >= 0)
        close(pending->request.far_end);
    if (pending->request.held_end >= 0)
        close(pending->request.held_end);
    fake_pending_free(pending);
}

int hub_reason(struct hub *hub, const struct hub_question *question, int *end,
               char why[HUB_WHY_MAX])
{
    uint64_t serial = question->serial;
    *end = 0;
    for (int i = 0; i < FAKE_ENDS; i++)
        if (hub->ends[i].serial == serial && fake_resets(hub->ends[i].port)) {
            snprintf(why, HUB_WHY_MAX, "the permission was revoked");
            *end = -EACCES;
        }
    return serial >= hub->first_serial && serial < hub->serial ? 0 : -ENOENT;
}

/* ---- status ---- */

void hub_visit(struct hub *hub, const struct status_visitor *visitor)
{
    struct status_link link = {.peer = 4, .state = "up", .generation = UINT64_MAX, .allowed = true};
    link.last_error = "a\x80<b>";
    if (visitor->wants(visitor->arg))
        visitor->link(visitor->arg, &link);
    for (int i = 0; i < FAKE_ENDS; i++) {
        const struct fake_end *end = &hub->ends[i];
        struct status_connection info = {
            .serial = end->serial, .peer_domid = FAKE_DOMID, .peer_port = end->port};
        info.service = "", info.state = "open", info.type = "stream";
        if (end->fd >= 0 && visitor->connection && visitor->wants(visitor->arg))
            visitor->connection(visitor->arg, &info);
    }
    for (int i = 0; i < FAKE_LISTENERS; i++) {
        const struct fake_listener *l = &hub->listeners[i];
        struct status_listener info = {
            .port = l->request.port, .service = l->request.name, .waiting = l->waiting};
        if (l->fd >= 0 && visitor->wants(visitor->arg))
            visitor->listener(visitor->arg, &info);
    }
    struct status_counter pending = {"fake_pending", (uint64_t)hub->pending};
    struct status_counter cancelled = {"fake_cancelled", (uint64_t)hub->cancelled};
    struct status_counter large = {"fake_large", (uint64_t)1 << 40};
    visitor->counter(visitor->arg, &pending);
    visitor->counter(visitor->arg, &cancelled);
    visitor->counter(visitor->arg, &large);
}

int hub_rule_count(const struct hub *hub, bool *are_old)
{
    (void)hub;
    *are_old = false;
    return -1;
}

int hub_domid(const struct hub *hub)
{
    (void)hub;
    return FAKE_DOMID;
}

const char *hub_platform(const struct hub *hub)
{
    (void)hub;
    return "fake";
}

#endif
