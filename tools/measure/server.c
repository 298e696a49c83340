/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * server.c - the side that is measured against.
 *
 * The main thread accepts and watches idle connections (epoll); one that speaks gets a thread, in
 * which it stays to its end. The main thread itself answers only SHORT requests. While a row of
 * them goes on, it accepts without asking epoll first. A row that breaks off (a client that died)
 * ends with the next connection, whatever that wants.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tools/measure/measure.h"

#define THREAD_STACK (128 * 1024)
#define THREADS_MAX 256 /* a connection that would need one more is closed */

struct server {
    struct place *place;
    const struct watch *watch;
    int poller;
};

static int threads; /* atomic */

struct session {
    struct stream stream;
    const struct server *server;
    struct measure_request request;
    bool has_request;
};

static bool line_is(const struct measure_request *request, enum measure_op op)
{
    return request->op == MEASURE_MAGIC + op;
}

/* ---- requests, in a thread; each returns whether the connection goes on ---- */

/* Reads in pieces of one buffer, so a buffer has to hold the longest message. */
static bool serve_sink(struct session *session, const struct measure_request *request, char *buf,
                       size_t room)
{
    struct stream *stream = &session->stream;
    const struct transport *transport = stream->transport;
    for (uint64_t left = request->count; left > 0;) {
        size_t want = left < room ? (size_t)left : room;
        ssize_t n =
            transport->read ? transport->read(stream, buf, want) : read(stream->fd, buf, want);
        if (n == 0 || (n < 0 && errno != EINTR))
            return false;
        left -= n > 0 ? (uint64_t)n : 0;
    }
    return stream_write_all(stream, "!", 1) == 0;
}

static bool serve_echo(struct session *session, const struct measure_request *request, char *buf)
{
    for (uint64_t i = 0; i < request->count; i++)
        if (stream_read_all(&session->stream, buf, request->size) < 0 ||
            stream_write_all(&session->stream, buf, request->size) < 0)
            return false;
    return true;
}

static bool serve_report(struct session *session)
{
    struct measure_usage usage;
    watch_read(session->server->watch, &usage);
    return stream_write_all(&session->stream, &usage, sizeof(usage)) == 0;
}

static bool serve_request(struct session *session, const struct measure_request *request)
{
    size_t room = request->size > MEASURE_READ_SIZE ? request->size : MEASURE_READ_SIZE;
    bool more = false;
    if (line_is(request, MEASURE_REPORT))
        return serve_report(session);
    if (line_is(request, MEASURE_SHORT))
        return stream_write_all(&session->stream, "!", 1) == 0 && false;
    if (request->size == 0 || request->size > MEASURE_SIZE_MAX)
        return false;
    if (!session->stream.transport->messages && line_is(request, MEASURE_SINK))
        room = MEASURE_READ_SIZE;
    char *buf = malloc(room);
    if (buf && line_is(request, MEASURE_SINK))
        more = serve_sink(session, request, buf, room);
    else if (buf && line_is(request, MEASURE_ECHO))
        more = serve_echo(session, request, buf);
    free(buf);
    return more;
}

static void end_session(struct session *session)
{
    stream_close(&session->stream);
    free(session);
}

static void *serve_session(void *arg)
{
    struct session *session = arg;
    while (session->has_request ||
           stream_read_all(&session->stream, &session->request, sizeof(session->request)) == 0) {
        session->has_request = false;
        if (!serve_request(session, &session->request))
            break;
    }
    end_session(session);
    __atomic_sub_fetch(&threads, 1, __ATOMIC_RELAXED);
    return NULL;
}

static void start_thread(struct session *session)
{
    pthread_t thread;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, THREAD_STACK);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    if (__atomic_add_fetch(&threads, 1, __ATOMIC_RELAXED) > THREADS_MAX ||
        pthread_create(&thread, &attributes, serve_session, session) != 0) {
        __atomic_sub_fetch(&threads, 1, __ATOMIC_RELAXED);
        end_session(session);
    }
    pthread_attr_destroy(&attributes);
}

/* ---- the main thread ---- */

/* NULL: nothing could be accepted. */
static struct session *accept_session(struct server *server)
{
    struct session *session = calloc(1, sizeof(*session));
    if (session == NULL)
        return NULL;
    session->server = server;
    session->stream = (struct stream){.transport = server->place->transport, .fd = -1};
    if (server->place->transport->accept(server->place, &session->stream) == 0)
        return session;
    free(session);
    return NULL;
}

/* Reads a request and answers it if it is SHORT; *left is then how many will follow. False: it was
 * another request. */
static bool answer_short(struct session *session, uint64_t *left)
{
    if (!session->has_request &&
        stream_read_all(&session->stream, &session->request, sizeof(session->request)) < 0) {
        end_session(session);
        return true;
    }
    session->has_request = true;
    if (!line_is(&session->request, MEASURE_SHORT))
        return false;
    *left = session->request.count;
    stream_write_all(&session->stream, "!", 1);
    end_session(session);
    return true;
}

/* Accepts one after the other while they are SHORT. */
static int serve_row(struct server *server, uint64_t left)
{
    while (left > 0) {
        struct session *session = accept_session(server);
        if (session == NULL)
            return -1;
        left--;
        if (!answer_short(session, &left)) {
            start_thread(session);
            return 0;
        }
    }
    return 0;
}

/* A connection is idle until it speaks. */
static int accept_idle(struct server *server)
{
    struct session *session = accept_session(server);
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP, .data.ptr = session};
    if (session == NULL)
        return -1;
    if (epoll_ctl(server->poller, EPOLL_CTL_ADD, session->stream.fd, &event) < 0)
        end_session(session);
    return 0;
}

/* An idle connection speaks, or is closed. 1: a row was served, so what epoll said of the others
 * may be out of date. */
static int wake_idle(struct server *server, struct session *session)
{
    uint64_t left = 0;
    epoll_ctl(server->poller, EPOLL_CTL_DEL, session->stream.fd, NULL);
    ssize_t n = recv(session->stream.fd, &session->request, sizeof(session->request),
                     MSG_DONTWAIT | MSG_PEEK);
    if (n <= 0) {
        end_session(session);
        return 0;
    }
    if (n == sizeof(session->request) && line_is(&session->request, MEASURE_SHORT)) {
        answer_short(session, &left);
        return serve_row(server, left) < 0 ? -1 : 1;
    }
    start_thread(session);
    return 0;
}

static int serve_events(struct server *server)
{
    struct epoll_event events[64];
    int count = epoll_wait(server->poller, events, 64, -1);
    if (count < 0 && errno != EINTR)
        return measure_fail("epoll: %s", strerror(errno));
    for (int i = 0; i < count; i++) {
        struct session *session = events[i].data.ptr;
        int result = session ? wake_idle(server, session) : accept_idle(server);
        if (result != 0)
            return result < 0 ? -1 : 0;
    }
    return 0;
}

/* A transport that can't be polled: accept waits, and each connection has a thread from the start.
 */
static int serve_unpolled(struct server *server)
{
    struct session *session = accept_session(server);
    if (session == NULL)
        return -1;
    start_thread(session);
    return 0;
}

int measure_serve(struct place *place, const struct watch *watch,
                  void (*ready)(struct place *place, void *arg), void *arg)
{
    struct server server = {.place = place, .watch = watch, .poller = epoll_create1(EPOLL_CLOEXEC)};
    struct epoll_event event = {.events = EPOLLIN};
    if (server.poller < 0)
        return measure_fail("epoll: %s", strerror(errno));
    if (place->listener < 0 && place->transport->listen(place) < 0)
        return -1;
    if (place->listener >= 0 &&
        epoll_ctl(server.poller, EPOLL_CTL_ADD, place->listener, &event) < 0)
        return measure_fail("epoll: %s", strerror(errno));
    ready(place, arg);
    while ((place->listener >= 0 ? serve_events(&server) : serve_unpolled(&server)) == 0)
        continue;
    close(server.poller);
    return -1;
}
