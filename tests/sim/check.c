/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The invariants: after each step, when all is quiet, and at the end of an episode. */
#include "link_mgr/core/link.h"
#include "tests/sim/sim.h"

static void check_conn(struct sim *sim, const struct peer *peer, const struct conn *conn)
{
    CHECK(sim, conn->peer == peer, "a connection at the wrong peer");
    CHECK(sim, conn->sent <= conn->send_limit, "sent beyond the credit");
    CHECK(sim,
          !conn->pace || (conn->received <= conn->paced.told && conn->paced.told <= conn->in_limit),
          "the peer was told of other credit than there is");
    CHECK(sim, conn->consumed <= conn->received && conn->received <= conn->in_limit,
          "received beyond the credit");
    CHECK(sim, conn->queue.bytes + conn->lent <= conn->received - conn->consumed,
          "more is held than was received");
    if (conn->ep && conn->in <= IN_DRAINING)
        CHECK(sim, (conn->lent > 0) == conn->ep->lent, "a message is lent, and nobody knows it");
    else
        CHECK(sim, conn->lent == 0, "a message is lent to nobody");
    CHECK(sim, conn->link == NULL || conn->link == peer->link, "a connection on an old link");
    CHECK(sim, conn->phase != CONN_ENDING || conn->link || conn->ep, "a connection that has ended");
    if (conn->ep)
        CHECK(sim, conn->ep->open && conn->ep->conn == conn, "an endpoint that belongs to another");
}

static uint64_t check_peer(struct sim *sim, const struct peer *peer)
{
    const struct conn *conn;
    uint64_t charged = 0;
    unsigned count = 0;
    TAILQ_FOREACH (conn, &peer->conns, of_peer) {
        check_conn(sim, peer, conn);
        charged +=
            BUDGET_CONNECTION + BUDGET_WINDOW_MIN + budget_extra(conn->in_limit - conn->consumed);
        count++;
    }
    CHECK(sim, count == peer->conn_count, "%u connections, counted %u", count, peer->conn_count);
    CHECK(sim, charged == peer->budget.charged, "charged %llu instead of %llu",
          (unsigned long long)peer->budget.charged, (unsigned long long)charged);
    CHECK(sim, charged <= peer->budget.ceiling, "more memory than the ceiling");
    CHECK(sim, (peer->link != NULL) == (peer->state == PEER_GREETING || peer->state == PEER_UP),
          "link and state differ");
    return charged;
}

void check_invariants(struct sim *sim)
{
    const struct peer *peer;
    for (int i = 0; i < sim->domain_count; i++)
        if (sim->domains[i].core)
            TAILQ_FOREACH (peer, &sim->domains[i].core->peers, all)
                check_peer(sim, peer);
    for (int a = 0; a < sim->domain_count; a++)
        for (int b = 0; b < a; b++)
            CHECK(sim,
                  world_channels_between(sim->world, sim->domains[a].domid,
                                         sim->domains[b].domid) <= 1,
                  "two links between two domains");
}

void check_quiet(struct sim *sim)
{
    struct pair *pair;
    LIST_FOREACH (pair, &sim->pairs, list) {
        CHECK(sim, !pair->waiting, "pair %llu: a connect without an answer",
              (unsigned long long)pair->number);
        for (int side = 0; side < 2 && !pair->excused && !pair->failed; side++) {
            const struct endpoint *end = &pair->end[side], *from = &pair->end[!side];
            if (end->closed || !end->open)
                continue;
            CHECK(sim, end->pushed == from->written,
                  "pair %llu stalls: side %d has %llu of %llu bytes",
                  (unsigned long long)pair->number, side, (unsigned long long)end->pushed,
                  (unsigned long long)from->written);
            CHECK(sim, end->eof == (from->shut_wr || from->closed || from->no_writes),
                  "pair %llu: the end did not arrive", (unsigned long long)pair->number);
        }
    }
}

void check_empty(struct sim *sim)
{
    const struct peer *peer;
    CHECK(sim, LIST_EMPTY(&sim->pairs), "a connection is left");
    for (int i = 0; i < sim->domain_count; i++) {
        if (!sim->domains[i].core)
            continue;
        TAILQ_FOREACH (peer, &sim->domains[i].core->peers, all) {
            CHECK(sim, peer->conn_count == 0 && peer->budget.charged == 0,
                  "a peer still has connections");
            CHECK(sim, !peer->channel && !peer->link, "an idle link is left, in state %s",
                  peer_state_name(peer));
        }
    }
    CHECK(sim, world_channels(sim->world) == 0, "a channel is left");
}
