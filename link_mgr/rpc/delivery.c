/* SPDX-License-Identifier: GPL-2.0-or-later */
/* delivery.c - see delivery.h. */
#include "link_mgr/rpc/delivery.h"

#include <linux/sockios.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "link_mgr/rpc/handle.h"

/* Sessions that may have read their answers. Clients that do not read must not cost more. */
#define LOOKED_AT_ONCE 64
#define POLLED_AT_ONCE 256 /* by one call of poll */

struct rpc_delivery {
    struct rpc_session *session;
    struct rpc_handle *handle;
    bool begun;
    LIST_ENTRY(rpc_delivery) in_session, in_handle;
};

static void delivery_end(struct rpc_delivery *delivery)
{
    struct rpc_session *session = delivery->session;
    LIST_REMOVE(delivery, in_session);
    LIST_REMOVE(delivery, in_handle);
    if (LIST_EMPTY(&session->deliveries))
        TAILQ_REMOVE(&session->server->delivering, session, delivering);
    free(delivery);
}

static void deliveries_end(struct rpc_session *session, bool lost)
{
    struct rpc_delivery *delivery;
    while ((delivery = LIST_FIRST(&session->deliveries)) != NULL) {
        struct rpc_handle *handle = delivery->handle;
        delivery_end(delivery);
        if (lost)
            rpc_handle_lose(handle);
    }
}

/* The order matters: when a client closes, the kernel first sets the error, and then removes what
 * the client has not read. */
static void delivery_look(struct rpc_session *session)
{
    int unread = 0, error = 0;
    socklen_t len = sizeof(error);
    if (session->sending || LIST_EMPTY(&session->deliveries))
        return;
    bool all_read = ioctl(session->fd, SIOCOUTQ, &unread) == 0 && unread == 0;
    bool failed = getsockopt(session->fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 && error != 0;
    if (failed || all_read)
        deliveries_end(session, failed);
}

bool rpc_delivery_look(struct rpc_session *session)
{
    delivery_look(session);
    return !LIST_EMPTY(&session->deliveries);
}

/* The delivery that exists, or a new one. */
static struct rpc_delivery *delivery_find(struct rpc_session *session, struct rpc_handle *handle)
{
    struct rpc_delivery *delivery;
    LIST_FOREACH (delivery, &session->deliveries, in_session)
        if (delivery->handle == handle)
            return delivery;
    delivery = calloc(1, sizeof(*delivery));
    if (delivery != NULL)
        *delivery = (struct rpc_delivery){.session = session, .handle = handle};
    return delivery;
}

struct rpc_delivery *rpc_delivery_new(struct rpc_session *session, struct rpc_handle *handle)
{
    delivery_look(session);
    struct rpc_delivery *delivery = delivery_find(session, handle);
    if (delivery != NULL)
        session->sending = true;
    return delivery;
}

void rpc_delivery_begin(struct rpc_delivery *delivery)
{
    struct rpc_session *session = delivery->session;
    if (delivery->begun)
        return;
    delivery->begun = true;
    if (LIST_EMPTY(&session->deliveries))
        TAILQ_INSERT_TAIL(&session->server->delivering, session, delivering);
    LIST_INSERT_HEAD(&session->deliveries, delivery, in_session);
    LIST_INSERT_HEAD(&delivery->handle->deliveries, delivery, in_handle);
}

void rpc_delivery_cancel(struct rpc_delivery *delivery)
{
    delivery->session->sending = false; /* its connection ends, or it gets a fault */
    if (!delivery->begun)
        free(delivery);
}

/* Of the sessions from first on, at most POLLED_AT_ONCE. Returns the one after them. */
static struct rpc_session *look_at_ended(struct rpc_session *first)
{
    struct pollfd polled[POLLED_AT_ONCE];
    struct rpc_session *sessions[POLLED_AT_ONCE], *session = first;
    nfds_t count = 0;
    for (; session && count < POLLED_AT_ONCE; session = TAILQ_NEXT(session, delivering)) {
        sessions[count] = session;
        polled[count++] = (struct pollfd){.fd = session->fd};
    }
    if (poll(polled, count, 0) <= 0)
        return session;
    for (nfds_t i = 0; i < count; i++) {
        if (polled[i].revents != 0)
            delivery_look(sessions[i]); /* takes at most this one off the list */
    }
    return session;
}

void rpc_delivery_look_around(struct rpc_server *server)
{
    struct rpc_session *session = TAILQ_FIRST(&server->delivering);
    while (session)
        session = look_at_ended(session);
    for (int i = 0; i < LOOKED_AT_ONCE && (session = TAILQ_FIRST(&server->delivering)); i++) {
        TAILQ_REMOVE(&server->delivering, session, delivering);
        TAILQ_INSERT_TAIL(&server->delivering, session, delivering);
        delivery_look(session);
    }
}

void rpc_delivery_session_ends(struct rpc_session *session, bool in_order)
{
    if (in_order)
        delivery_look(session);
    deliveries_end(session, !in_order);
}

void rpc_delivery_handle_ends(struct rpc_handle *handle)
{
    struct rpc_delivery *delivery;
    while ((delivery = LIST_FIRST(&handle->deliveries)) != NULL)
        delivery_end(delivery);
}
