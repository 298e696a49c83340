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
 * A timer runs only while clients may be waiting and nothing can be done for them. Either there is
 * no descriptor, not even a spare one, or the listening socket cannot be watched.
 */
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "link_mgr/base/log.h"
#include "link_mgr/base/timer.h"
#include "link_mgr/rpc/transport.h"

#define REFUSED_SECONDS 2
#define RETRY_MS 250

static const char no_descriptors[] =
    "link_mgr has no descriptors left (LimitNOFILE of its service); try again later.\n";
static const char too_many[] =
    "link_mgr has as many RPC connections as it may have, 8192; try again later.\n";
_Static_assert(RPC_CONNECTIONS_MAX == 8192, "as the text says");

static void take_spare(struct rpc_accepting *accepting)
{
    if (accepting->spare < 0)
        accepting->spare = eventfd(0, EFD_CLOEXEC);
}

static void give_spare(struct rpc_accepting *accepting)
{
    if (accepting->spare >= 0)
        close(accepting->spare);
    accepting->spare = -1;
}

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

static void accept_serve(struct rpc_server *server, int fd, const char *refusal)
{
    const struct sockaddr address = {.sa_family = AF_UNIX};
    struct rpc_accepting *accepting = &server->accepting;
    accept_say(accepting, refusal);
    accepting->refusal = refusal;
    if (MHD_add_connection(server->mhd, fd, &address, sizeof(address)) != MHD_YES)
        log_limited(LOG_WARNING, "an RPC connection was closed: out of memory");
    accepting->refusal = NULL;
    if (refusal == NULL) {
        take_spare(accepting);
    } else if (accepting->refused != NULL) {
        event_del(accepting->waiting);
        rpc_http_limit(accepting->refused, REFUSED_SECONDS);
    }
    rpc_run_soon(server);
}

static void on_waiting(evutil_socket_t listening, short what, void *arg)
{
    struct rpc_server *server = arg;
    struct rpc_accepting *accepting = &server->accepting;
    (void)listening, (void)what;
    rpc_run(server); /* connections that have ended make room first */
    const char *refusal = server->session_count >= RPC_CONNECTIONS_MAX ? too_many : NULL;
    int fd = accept_one(server);
    if (is_exhaustion(fd)) {
        refusal = no_descriptors;
        give_spare(accepting);
        fd = accept_one(server);
    }
    if (fd >= 0) {
        accept_serve(server, fd, refusal);
    } else if (is_exhaustion(fd)) {
        accept_say(accepting, refusal);
        wait_and_retry(accepting);
    } else {
        take_spare(accepting); /* the client that waited is gone */
    }
}

static void on_retry(evutil_socket_t fd, short what, void *arg)
{
    struct rpc_accepting *accepting = arg;
    (void)fd, (void)what;
    take_spare(accepting);
    wait_for_more(accepting);
}

void rpc_accept_begun(struct rpc_session *session)
{
    struct rpc_accepting *accepting = &session->server->accepting;
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
    take_spare(accepting);
    wait_for_more(accepting);
}

int rpc_accept_start(struct rpc_server *server)
{
    struct rpc_accepting *accepting = &server->accepting;
    accepting->waiting = event_new(server->base, rpc_socket_fd(server->socket),
                                   EV_READ | EV_PERSIST, on_waiting, server);
    accepting->retry = evtimer_new(server->base, on_retry, accepting);
    if (accepting->waiting == NULL || accepting->retry == NULL ||
        event_add(accepting->waiting, NULL) < 0)
        return -ENOMEM;
    take_spare(accepting);
    return accepting->spare >= 0 ? 0 : -errno;
}

void rpc_accept_stop(struct rpc_server *server)
{
    struct rpc_accepting *accepting = &server->accepting;
    if (accepting->waiting != NULL)
        event_free(accepting->waiting);
    if (accepting->retry != NULL)
        event_free(accepting->retry);
    accepting->waiting = accepting->retry = NULL;
    give_spare(accepting);
}
