/* SPDX-License-Identifier: GPL-2.0-or-later */
/* core_visit: shows the core's objects to others, one by one. */
#include "link_mgr/core/core.h"
#include "link_mgr/core/link.h"

static const char *visit_type(enum idc_type type)
{
    return type == IDC_STREAM ? "stream" : "seqpacket";
}

static struct platform_lent lent_to(const struct core *core, int domid)
{
    struct platform_lent lent = {0};
    core->host->ops->lent(core->host->platform, domid, &lent);
    return lent;
}

static void visit_link(const struct peer *peer, const struct status_visitor *visitor)
{
    const struct platform_lent lent = lent_to(peer->core, peer->domid);
    struct status_link info = {
        .peer = peer->domid,
        .state = peer_state_name(peer),
        .generation = peer->generation,
        .connections = peer->conn_count,
        .bytes_sent = peer->total.bytes_sent,
        .bytes_received = peer->total.bytes_received,
        .frames_sent = peer->total.frames_sent,
        .frames_received = peer->total.frames_received,
        .notifications_sent = peer->total.notifications_sent,
        .notifications_received = peer->total.notifications_received,
        .memory_held = peer->budget.charged,
        .memory_ceiling = peer->core->config.memory_ceiling,
        .pages_shared = lent.shared,
        .pages_held = lent.held,
        .last_error = peer->last_error,
        .allowed = peer->allowed,
        .present = peer->alive != 0,
    };
    if (peer->link) {
        struct link_stats stats;
        link_stats(peer->link, &stats);
        info.ring_size = link_ring_size(peer->link);
        info.silent_ms = link_silence(peer->link, peer->core->host->now(peer->core->host));
        info.bytes_sent += stats.bytes_sent;
        info.bytes_received += stats.bytes_received;
        info.frames_sent += stats.frames_sent;
        info.frames_received += stats.frames_received;
    }
    visitor->link(visitor->arg, &info);
}

/* Whoever has taken it may have said so, and nobody has looked yet. */
static void visit_look(const struct conn *conn)
{
    struct host *host = conn->peer->core->host;
    if (conn->listener)
        host->listening(host, conn->listener, false);
}

static void visit_connection(const struct conn *conn, const struct status_visitor *visitor)
{
    static const char *const states[] = {[CONN_WAITING] = "connecting",
                                         [CONN_REQUESTED] = "connecting",
                                         [CONN_OPEN] = "open",
                                         [CONN_ENDING] = "closing"};
    visit_look(conn);
    struct status_connection info = {
        .serial = conn->serial,
        .peer_domid = (uint32_t)conn->peer->domid,
        .local_port = conn->local_port,
        .peer_port = conn->peer_port,
        .service = conn->incoming ? conn->service : conn->name,
        .state = states[conn->phase],
        .type = visit_type(conn->type),
        .incoming = conn->incoming,
        .uid = conn->uid,
        .listener_uid = conn->listener_uid,
        .pid = conn->pid,
        .rule = conn->rule ? conn->rule->place : "",
        .bytes_sent = conn->bytes_sent,
        .bytes_received = conn->bytes_received,
        .buffered = conn->queue.bytes + conn->lent,
    };
    visitor->connection(visitor->arg, &info);
}

static void visit_listener(const struct listener *listener, const struct status_visitor *visitor)
{
    struct status_listener info = {
        .port = listener->port,
        .service = listener->name,
        .type = visit_type(listener->type),
        .uid = listener->uid,
        .pid = listener->pid,
        .local_only = listener->local_only,
        .backlog = listener->backlog,
        .waiting = listener->waiting,
        .accepted = listener->accepted,
    };
    visitor->listener(visitor->arg, &info);
}

static void visit_counters(const struct core *core, const struct status_visitor *visitor)
{
    const struct platform_lent lent = lent_to(core, PLATFORM_LENT_ALL);
    const struct status_counter counters[] = {
        {"connects", core->count.connects},
        {"connected", core->count.connected},
        {"refused", core->count.refused},
        {"accepted", core->count.accepted},
        {"requests_refused", core->count.requests_refused},
        {"links_made", core->count.links_made},
        {"links_lost", core->count.links_lost},
        {"protocol_errors", core->count.protocol_errors},
        {"pages_shared_now", lent.shared},
        {"pages_held_now", lent.held},
    };
    for (size_t i = 0; i < sizeof(counters) / sizeof(counters[0]); i++)
        visitor->counter(visitor->arg, &counters[i]);
}

void core_visit(struct core *core, const struct status_visitor *visitor)
{
    const struct peer *peer;
    const struct conn *conn;
    struct listener *listener;
    TAILQ_FOREACH (peer, &core->peers, all) {
        if (visitor->wants(visitor->arg))
            visit_link(peer, visitor);
        if (visitor->connection)
            TAILQ_FOREACH (conn, &peer->conns, of_peer)
                if (visitor->wants(visitor->arg))
                    visit_connection(conn, visitor);
    }
    for (int i = 0; i < LISTENER_BUCKETS; i++)
        LIST_FOREACH (listener, &core->listeners.ports[i], by_port)
            if (visitor->wants(visitor->arg) && core->host->listening(core->host, listener, false))
                visit_listener(listener, visitor);
    visit_counters(core, visitor);
}
