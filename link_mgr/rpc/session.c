/* SPDX-License-Identifier: GPL-2.0-or-later */
/* session.c - a client's connection: who it is, its calls under way and the handles that it
 * made. */
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "link_mgr/base/closer.h"
#include "link_mgr/base/numbers.h"
#include "link_mgr/rpc/call.h"
#include "link_mgr/rpc/handle.h"
#include "link_mgr/rpc/keep.h"
#include "link_mgr/rpc/transport.h"

struct hub_caller rpc_caller_of(int fd)
{
    struct ucred peer = {.uid = HUB_NOBODY};
    socklen_t len = sizeof(peer);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
        peer = (struct ucred){.uid = HUB_NOBODY};
    return (struct hub_caller){.uid = peer.uid, .pid = peer.pid};
}

struct rpc_session *rpc_session_new(struct rpc_server *server, int fd)
{
    struct rpc_session *session = calloc(1, sizeof(*session));
    if (session == NULL)
        return NULL;
    session->server = server;
    session->fd = fd;
    numbers_note(fd);
    session->last = -1;
    session->caller = rpc_caller_of(fd);
    if (!quota_take(server->users, session->caller.uid, USER_RPC_CONNECTIONS, 1)) {
        free(session);
        return NULL;
    }
    LIST_INIT(&session->calls);
    LIST_INIT(&session->handles);
    LIST_INIT(&session->deliveries);
    LIST_INSERT_HEAD(&server->sessions, session, in_server);
    server->session_count++;
    server->counters.connections++;
    return session;
}

bool rpc_session_gone(const struct rpc_session *session)
{
    struct pollfd pollfd = {.fd = session->fd, .events = POLLRDHUP};
    /* The event of an upgraded connection has told; a look would be a system call for each call. */
    if (rpc_is_upgraded(session))
        return session->closing;
    return poll(&pollfd, 1, 0) == 1;
}

void rpc_session_end(struct rpc_session *session)
{
    struct rpc_call *call;
    struct rpc_handle *handle;
    while ((call = LIST_FIRST(&session->calls)) != NULL)
        if (call->silent && !session->server->stopping)
            rpc_call_outlive(call);
        else
            rpc_call_give_up(call);
    while ((handle = LIST_FIRST(&session->handles)) != NULL)
        if (handle->keep_ms > 0 && !session->server->stopping)
            rpc_keep_begin(handle);
        else
            rpc_handle_close(handle);
}

void rpc_session_free(struct rpc_session *session)
{
    rpc_session_end(session);
    LIST_REMOVE(session, in_server);
    session->server->session_count--;
    quota_give(session->server->users, session->caller.uid, USER_RPC_CONNECTIONS, 1);
    if (session->last >= 0)
        LIST_INSERT_HEAD(&session->server->ended, session, in_server);
    else
        free(session);
}

void rpc_sessions_bury(struct rpc_server *server)
{
    struct rpc_session *session;
    while ((session = LIST_FIRST(&server->ended)) != NULL) {
        LIST_REMOVE(session, in_server);
        closer_close(session->last, session->caller.uid);
        free(session);
    }
}
