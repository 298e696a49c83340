/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * accept.c - theory of operation
 *
 * We accept connections ourselves and give each to libmicrohttpd. It could accept too. But at a
 * limit it stops looking at the listening socket until it is run again. Nobody would know when to
 * run it, and clients would wait for ever.
 *
 * At a limit (no descriptor left, or RPC_CONNECTIONS_MAX connections) we still accept one more, in
 * the place of a spare descriptor that is kept for this. That connection is refused:
 * transport_http.c answers its request with 503 and the reason, and closes it. No other one is
 * accepted meanwhile, so all clients get the reason, one after the other. A client that connects
 * and then asks nothing has REFUSED_SECONDS. When the refused connection is gone, the spare
 * descriptor is taken back, and things go on.
 *
 * libmicrohttpd begins a connection either within MHD_add_connection or when it is run next: its
 * versions differ. So we run it at once, and know the connection by its descriptor when it begins.
 * Only then does it have a session, which is counted, and which can be refused.
 *
 * A user that has as many connections as it may have (base/users.h) is turned away before that. It
 * gets the 503 without having asked, and the connection is closed.
 *
 * All others wait for their user's turn (arrivals.h). Accepting is cheap, so many are accepted in a
 * turn of the loop. Serving is not, so in a turn one of each user is served, and of a few users.
 *
 * A timer runs only while clients may be waiting and nothing can be done for them. Either there is
 * no descriptor, not even a spare one, or the listening socket cannot be watched.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "link_mgr/base/closer.h"
#include "link_mgr/base/log.h"
#include "link_mgr/base/numbers.h"
#include "link_mgr/base/spare.h"
#include "link_mgr/base/timer.h"
#include "link_mgr/rpc/transport.h"

#define REFUSED_SECONDS 2
#define RETRY_MS 250
#define ACCEPTED_AT_ONCE 16
#define SERVED_AT_ONCE 4

static const char no_descriptors[] =
    "link_mgr has no descriptors left (LimitNOFILE of its service); try again later.\n";
static const char too_many[] =
    "link_mgr has as many RPC connections as it may have, 8192; try again later.\n";
_Static_assert(RPC_CONNECTIONS_MAX == 8192, "as the text says");

/* Logs one line for each time that refusing begins. */
static void accept_say(struct rpc_accepting *accepting, const char *refusal)
{
    if (refusal != NULL && !accepting->refusing)
        log_limited(LOG_WARNING, "new RPC connections are refused: %.*s",
                    (int)strcspn(refusal, ";"), refusal);
    else if (refusal == NULL && accepting->refusing)
        log_limited(LOG_NOTICE, "new RPC connections are accepted again");
    accepting->refusing = refusal != NULL;
}

static int accept_one(const struct rpc_server *server)
{
    int fd = accept4(rpc_socket_fd(server->socket), NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0 && errno == EMFILE) {
        numbers_lack();
        return -EMFILE;
    }
    return fd >= 0 ? fd : -errno;
}

static bool is_exhaustion(int error)
{
    return error == -EMFILE || error == -ENFILE || error == -ENOBUFS || error == -ENOMEM;
}

static void wait_and_retry(struct rpc_accepting *accepting)
{
    event_del(accepting->waiting);
    timer_set(accepting->retry, RETRY_MS);
}

static void wait_for_more(struct rpc_accepting *accepting)
{
    if (event_add(accepting->waiting, NULL) < 0)
        timer_set(accepting->retry, RETRY_MS);
}

/* When this returns, the connection has a session, or it is closed. */
static void accept_begin(struct rpc_server *server, int fd, const char *refusal)
{
    const struct sockaddr address = {.sa_family = AF_UNIX};
    struct rpc_accepting *accepting = &server->accepting;
    accepting->beginning = fd;
    accepting->refusal = refusal;
    if (MHD_add_connection(server->mhd, fd, &address, sizeof(address)) == MHD_YES &&
        accepting->beginning >= 0)
        MHD_run(server->mhd);
    if (accepting->beginning >= 0)
        log_limited(LOG_WARNING, "an RPC connection was closed: out of memory");
    accepting->beginning = -1;
}

static void accept_serve(struct rpc_server *server, int fd, const char *refusal)
{
    struct rpc_accepting *accepting = &server->accepting;
    accept_begin(server, fd, refusal);
    if (refusal == NULL) {
        spare_take(&accepting->spare);
    } else if (accepting->refused != NULL) {
        event_del(accepting->waiting);
        rpc_http_limit(accepting->refused, REFUSED_SECONDS);
    }
    rpc_run_soon(server);
}

/* A user that has its share of connections is told so, and that is all: nothing is made for it. */
static bool accept_turned_away(struct rpc_server *server, int fd, uint32_t uid)
{
    char why[HUB_WHY_MAX], answer[HUB_WHY_MAX + 128];
    if (quota_may_take(server->users, uid, USER_RPC_CONNECTIONS, 1))
        return false;
    users_explain(server->users, uid, USER_RPC_CONNECTIONS, why, sizeof(why));
    int len = snprintf(answer, sizeof(answer),
                       "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\n"
                       "Connection: close\r\nContent-Length: %zu\r\n\r\n%s.\n",
                       strlen(why) + 2, why);
    send(fd, answer, (size_t)len, MSG_DONTWAIT | MSG_NOSIGNAL);
    closer_close(fd, uid);
    server->counters.turned_away++;
    return true;
}

/* False: there is no memory for it to wait. */
static bool accept_to_wait(struct rpc_server *server, int fd, uint32_t uid)
{
    if (!quota_take(server->users, uid, USER_RPC_CONNECTIONS, 1))
        return false;
    if (arrivals_add(&server->accepting.arrivals, uid, fd))
        return true;
    quota_give(server->users, uid, USER_RPC_CONNECTIONS, 1);
    return false;
}

/* -1: none waits. */
static int accept_next_arrival(struct rpc_server *server)
{
    uint32_t uid;
    int fd = arrivals_next(&server->accepting.arrivals, &uid);
    if (fd >= 0) /* its session takes it again */
        quota_give(server->users, uid, USER_RPC_CONNECTIONS, 1);
    return fd;
}

/* Of each user one, as long as there are few. */
static void accept_serve_arrivals(struct rpc_server *server)
{
    struct rpc_accepting *accepting = &server->accepting;
    unsigned users = accepting->arrivals.users;
    for (unsigned i = 0; i < users && i < SERVED_AT_ONCE; i++)
        accept_serve(server, accept_next_arrival(server), NULL);
    if (accepting->arrivals.count > 0)
        timer_set(accepting->serve, 0);
}

/* Why a connection that comes now is refused; NULL: it is not. */
static const char *accept_refusal(const struct rpc_server *server)
{
    unsigned count = server->session_count + server->accepting.arrivals.count;
    return count >= RPC_CONNECTIONS_MAX ? too_many : NULL;
}

/* A connection that was accepted. True: another one may be accepted in this turn. */
static bool accept_place(struct rpc_server *server, int fd, const char *refusal)
{
    uint32_t uid = rpc_caller_of(fd).uid;
    bool done = accept_turned_away(server, fd, uid);
    if (!done)
        accept_say(&server->accepting, refusal);
    if (!done && refusal == NULL)
        done = accept_to_wait(server, fd, uid);
    if (done)
        spare_take(&server->accepting.spare);
    else
        accept_serve(server, fd, refusal);
    return done;
}

/* True: another one may be accepted in this turn. */
static bool accept_next(struct rpc_server *server)
{
    struct rpc_accepting *accepting = &server->accepting;
    const char *refusal = accept_refusal(server);
    int fd = accept_one(server);
    if (fd == -EAGAIN)
        return false;
    if (is_exhaustion(fd)) {
        refusal = no_descriptors;
        spare_give(&accepting->spare);
        fd = accept_one(server);
    }
    if (fd >= 0)
        return accept_place(server, fd, refusal);
    if (!is_exhaustion(fd)) { /* the client that waited is gone */
        spare_take(&accepting->spare);
        return true;
    }
    accept_say(accepting, refusal);
    wait_and_retry(accepting);
    return false;
}

static void on_waiting(evutil_socket_t listening, short what, void *arg)
{
    struct rpc_server *server = arg;
    (void)listening, (void)what;
    rpc_run(server); /* connections that have ended make room first */
    for (int i = 0; i < ACCEPTED_AT_ONCE && accept_next(server); i++)
        ;
    accept_serve_arrivals(server);
}

static void on_serve(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    accept_serve_arrivals(arg);
}

static void on_retry(evutil_socket_t fd, short what, void *arg)
{
    struct rpc_accepting *accepting = arg;
    (void)fd, (void)what;
    spare_take(&accepting->spare);
    wait_for_more(accepting);
}

void rpc_accept_begun(struct rpc_session *session)
{
    struct rpc_accepting *accepting = &session->server->accepting;
    if (session->fd != accepting->beginning)
        return;
    accepting->beginning = -1;
    session->refusal = accepting->refusal;
    if (session->refusal != NULL)
        accepting->refused = session;
}

void rpc_accept_ended(struct rpc_session *session)
{
    struct rpc_accepting *accepting = &session->server->accepting;
    if (accepting->refused != session)
        return;
    accepting->refused = NULL;
    accepting->over = true;
}

void rpc_accept_go_on(struct rpc_server *server)
{
    struct rpc_accepting *accepting = &server->accepting;
    if (!accepting->over)
        return;
    accepting->over = false;
    spare_take(&accepting->spare);
    wait_for_more(accepting);
}

int rpc_accept_start(struct rpc_server *server)
{
    struct rpc_accepting *accepting = &server->accepting;
    accepting->waiting = event_new(server->base, rpc_socket_fd(server->socket),
                                   EV_READ | EV_PERSIST, on_waiting, server);
    accepting->retry = evtimer_new(server->base, on_retry, accepting);
    accepting->serve = evtimer_new(server->base, on_serve, server);
    if (accepting->waiting == NULL || accepting->retry == NULL || accepting->serve == NULL ||
        event_add(accepting->waiting, NULL) < 0)
        return -ENOMEM;
    spare_take(&accepting->spare);
    return accepting->spare >= 0 ? 0 : -errno;
}

void rpc_accept_stop(struct rpc_server *server)
{
    struct rpc_accepting *accepting = &server->accepting;
    struct event **events[] = {&accepting->waiting, &accepting->retry, &accepting->serve};
    for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++) {
        if (*events[i] != NULL)
            event_free(*events[i]);
        *events[i] = NULL;
    }
    for (int fd; (fd = accept_next_arrival(server)) >= 0;)
        close(fd);
    spare_give(&accepting->spare);
}
