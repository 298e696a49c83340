/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * rpc.c - libmicrohttpd on the daemon's loop. libmicrohttpd has an epoll set of its own, without a
 * thread. The set's descriptor is one event in our loop, and MHD_run does what is due. Between
 * events it costs nothing: the timer is armed only when libmicrohttpd asks for it, which it does
 * when it left work undone. We give it new connections (accept.c).
 */
#include "link_mgr/rpc/rpc.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "link_mgr/base/clock.h"
#include "link_mgr/base/spare.h"
#include "link_mgr/base/timer.h"
#include "link_mgr/rpc/delivery.h"
#include "link_mgr/rpc/dispatch.h"
#include "link_mgr/rpc/handle.h"
#include "link_mgr/rpc/keep.h"
#include "link_mgr/rpc/transport.h"

/* Head of a request and a part of its body; libmicrohttpd allocates it for each connection. */
#define CONNECTION_MEMORY (16u * 1024)

void rpc_run(struct rpc_server *server)
{
    MHD_UNSIGNED_LONG_LONG ms;
    rpc_delivery_look_around(server);
    MHD_run(server->mhd);
    rpc_sessions_bury(server);
    rpc_accept_go_on(server);
    if (MHD_get_timeout(server->mhd, &ms) == MHD_YES)
        timer_set(server->mhd_timer, ms);
    else
        evtimer_del(server->mhd_timer);
}

static void on_mhd_event(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    rpc_run(arg);
}

void rpc_run_soon(struct rpc_server *server)
{
    if (!server->stopping)
        event_active(server->mhd_ready, EV_READ, 0);
}

static struct MHD_Daemon *start_mhd(struct rpc_server *server)
{
    const unsigned flags =
        MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME | MHD_ALLOW_UPGRADE;
    return MHD_start_daemon(flags, 0, NULL, NULL, rpc_http_request, server,
                            /* One more than allowed, in order to refuse it. */
                            MHD_OPTION_CONNECTION_LIMIT, RPC_CONNECTIONS_MAX + 1,
                            MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY,
                            MHD_OPTION_CONNECTION_TIMEOUT, 0u, MHD_OPTION_NOTIFY_COMPLETED,
                            rpc_http_request_over, server, MHD_OPTION_NOTIFY_CONNECTION,
                            rpc_http_connection, server, MHD_OPTION_END);
}

static int start_events(struct rpc_server *server)
{
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(server->mhd, MHD_DAEMON_INFO_EPOLL_FD);
    if (info == NULL)
        return -EINVAL;
    server->mhd_ready =
        event_new(server->base, info->epoll_fd, EV_READ | EV_PERSIST, on_mhd_event, server);
    server->mhd_timer = evtimer_new(server->base, on_mhd_event, server);
    if (server->mhd_ready == NULL || server->mhd_timer == NULL ||
        event_add(server->mhd_ready, NULL) < 0)
        return -ENOMEM;
    return 0;
}

static int rpc_open(struct rpc_server *server, const char *path, char *why, size_t why_size)
{
    server->handles = rpc_handle_table_new();
    server->keep = rpc_keep_new(server->base);
    server->registry = rpc_registry_new(server);
    if (server->handles == NULL || server->keep == NULL || server->registry == NULL) {
        snprintf(why, why_size, "out of memory");
        return -ENOMEM;
    }
    int error = rpc_socket_open(path, &server->socket, why, why_size);
    if (error != 0)
        return error;
    server->mhd = start_mhd(server);
    spare_take(&server->spare);
    error = server->mhd != NULL ? start_events(server) : -ENOMEM;
    if (error == 0)
        error = rpc_accept_start(server);
    if (error != 0)
        snprintf(why, why_size, "cannot start the HTTP server: %s", strerror(-error));
    else
        rpc_run(server);
    return error;
}

int rpc_start(const struct rpc_config *config, struct rpc_server **server_out, char *why,
              size_t why_size)
{
    struct rpc_server *server = calloc(1, sizeof(*server));
    if (server == NULL)
        return -ENOMEM;
    server->base = config->base;
    server->hub = config->hub;
    server->users = config->users;
    server->started_ms = clock_now_ms();
    server->accepting.spare = server->spare = SPARE_NONE;
    server->accepting.beginning = -1;
    arrivals_init(&server->accepting.arrivals);
    LIST_INIT(&server->sessions);
    LIST_INIT(&server->ended);
    server->kept = (struct rpc_session){.server = server};
    TAILQ_INIT(&server->delivering);
    /* xmlrpc-c has one limit for the process; the transports have lower limits of their own. */
    xmlrpc_limit_set(XMLRPC_XML_SIZE_LIMIT_ID, RPC_DOCUMENT_MAX);
    int error = rpc_open(server, config->path, why, why_size);
    if (error != 0)
        rpc_stop(server);
    else
        *server_out = server;
    return error;
}

/* libmicrohttpd aborts the process when it is stopped with suspended connections, so each is let go
 * first. */
static void end_sessions(struct rpc_server *server)
{
    struct rpc_session *session;
    rpc_session_end(&server->kept);
    LIST_FOREACH (session, &server->sessions, in_server) {
        rpc_session_end(session);
        if (rpc_is_upgraded(session))
            rpc_upgraded_stop(session);
        else
            rpc_http_stop(session);
    }
    MHD_run(server->mhd);
}

void rpc_stop(struct rpc_server *server)
{
    server->stopping = true;
    rpc_accept_stop(server);
    spare_give(&server->spare);
    if (server->mhd_ready != NULL)
        event_free(server->mhd_ready);
    if (server->mhd_timer != NULL)
        event_free(server->mhd_timer);
    if (server->mhd != NULL) {
        end_sessions(server);
        MHD_stop_daemon(server->mhd);
        rpc_sessions_bury(server);
    }
    if (server->socket != NULL)
        rpc_socket_remove(server->socket);
    if (server->registry != NULL)
        xmlrpc_registry_free(server->registry);
    rpc_keep_free(server->keep);
    rpc_handle_table_free(server->handles);
    free(server);
}
