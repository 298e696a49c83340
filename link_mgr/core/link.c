/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A link's life, the ids of its connections, and its lists of connections that have something to
 * send. link.h has the theory. */
#include "link_mgr/core/link_private.h"
#include "link_mgr/core/pace.h"

#include <assert.h>
#include <stdlib.h>

#define SLOT_BITS 20
#define SLOT_MASK ((1u << SLOT_BITS) - 1)
#define GENERATION_MAX ((1u << (32 - SLOT_BITS)) - 1)

struct link *link_new(const struct link_config *config)
{
    struct link *link = calloc(1, sizeof(*link));
    if (!link)
        return NULL;
    uint32_t most = config->rings.in.size / 4;
    link->peer = config->peer;
    link->rings = config->rings;
    link->own = (struct wire_hello){
        .version_min = WIRE_VERSION_MIN,
        .version_max = WIRE_VERSION_MAX,
        .features = WIRE_FEATURES,
        .epoch = config->epoch,
        .generation = config->generation,
        .max_frame = most < LINK_FRAME_MAX ? most : LINK_FRAME_MAX,
        .max_requests = LINK_REQUESTS,
        .domid = config->own_domid,
        .wish = config->wish,
    };
    link->free_slot = SLOT_MASK;
    link->tokens = 1000ull * LINK_REFUSAL_BURST;
    TAILQ_INIT(&link->control);
    TAILQ_INIT(&link->fresh);
    TAILQ_INIT(&link->ready);
    life_init(&link->life);
    requests_init(&link->requests);
    return link;
}

void link_free(struct link *link, enum reason reason)
{
    struct conn *conn;
    while ((conn = requests_first(&link->requests))) {
        requests_remove(&link->requests, conn);
        conn->link = NULL;
        if (reason == REASON_OK || reason == REASON_LINK_LOST)
            peer_request(link->peer,
                         conn); /* the peer has not heard of it, so the next link can carry it */
        else
            conn_cut_off(conn, reason);
    }
    for (uint32_t i = 0; i < link->slot_count; i++)
        if (link->slots[i].conn)
            conn_cut_off(link->slots[i].conn, reason);
    requests_end(&link->requests);
    free(link->slots);
    free(link);
}

static bool grow_table(struct link *link)
{
    uint32_t count = link->slot_count ? 2 * link->slot_count : 16;
    struct slot *slots = count <= SLOT_MASK ? realloc(link->slots, count * sizeof(*slots)) : NULL;
    if (!slots)
        return false;
    for (uint32_t i = count; i-- > link->slot_count;) {
        slots[i] = (struct slot){.id = 1u << SLOT_BITS | i, .next_free = link->free_slot};
        link->free_slot = i;
    }
    link->slots = slots;
    link->slot_count = count;
    return true;
}

bool link_enter(struct link *link, struct conn *conn)
{
    if (link->free_slot == SLOT_MASK && !grow_table(link))
        return false;
    struct slot *slot = &link->slots[link->free_slot];
    link->free_slot = slot->next_free;
    slot->conn = conn;
    conn->id = slot->id;
    conn->link = link;
    link->connections++;
    return true;
}

struct conn *link_find(const struct link *link, uint32_t id)
{
    uint32_t index = id & SLOT_MASK;
    if (index >= link->slot_count || link->slots[index].id != id)
        return NULL;
    return link->slots[index].conn;
}

static void link_leave(struct link *link, struct conn *conn)
{
    uint32_t index = conn->id & SLOT_MASK;
    struct slot *slot = &link->slots[index];
    uint32_t generation = conn->id >> SLOT_BITS;
    assert(slot->conn == conn);
    generation = generation == GENERATION_MAX ? 1 : generation + 1;
    *slot = (struct slot){.id = generation << SLOT_BITS | index, .next_free = link->free_slot};
    link->free_slot = index;
    link->connections--;
}

void link_forget(struct link *link, struct conn *conn)
{
    if (conn->on_control)
        TAILQ_REMOVE(&link->control, conn, control);
    life_forget(conn);
    if (conn->pace)
        pace_forget(conn);
    if (conn->on_ready)
        TAILQ_REMOVE(conn->is_fresh ? &link->fresh : &link->ready, conn, ready);
    conn->on_control = conn->on_ready = false;
    if (conn->phase == CONN_WAITING)
        requests_remove(&link->requests, conn);
    else
        link_leave(link, conn);
    conn->link = NULL;
}

void link_owe(struct link *link, struct conn *conn)
{
    peer_wake(link->peer);
    if (conn->on_control || conn->phase < CONN_OPEN)
        return;
    conn->on_control = true;
    TAILQ_INSERT_TAIL(&link->control, conn, control);
}

void link_ready(struct link *link, struct conn *conn)
{
    peer_wake(link->peer);
    if (conn->on_ready)
        return;
    conn->on_ready = conn->is_fresh = true;
    TAILQ_INSERT_TAIL(&link->fresh, conn, ready);
}

/* Puts the connection at the end of the line, even if it has nothing left. Its next turn shows that
 * it has nothing, and until then it does not count as fresh. */
void link_line_up(struct link *link, struct conn *conn)
{
    if (conn->on_ready)
        return;
    conn->on_ready = true;
    TAILQ_INSERT_TAIL(&link->ready, conn, ready);
}

void link_request(struct link *link, struct conn *conn)
{
    conn->link = link;
    requests_add(&link->requests, conn);
    peer_wake(link->peer);
}

bool link_is_up(const struct link *link)
{
    return link->up;
}

bool link_idle(const struct link *link)
{
    return link->connections == 0 && link->refusal_count == 0 && !requests_first(&link->requests);
}

bool link_end_proposed(const struct link *link)
{
    return link->end_proposed;
}

void link_stats(const struct link *link, struct link_stats *stats)
{
    *stats = link->stats;
    stats->connections = link->connections;
}

uint64_t link_silence(const struct link *link, uint64_t now)
{
    return life_silence(link, now);
}

uint64_t link_wish(const struct link *link)
{
    return link->other.wish;
}

uint32_t link_ring_size(const struct link *link)
{
    return link->rings.out.size;
}
