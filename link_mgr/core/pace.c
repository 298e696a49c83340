/* SPDX-License-Identifier: GPL-2.0-or-later */
/* pace.c - see pace.h: which connections a rule's bandwidth is for, and when it is looked at. The
 * two directions are in pace_out.c and pace_in.c. */
#include "link_mgr/core/pace.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "link_mgr/core/conn_private.h"
#include "link_mgr/core/core.h"
#include "link_mgr/core/link.h"
#include "link_mgr/core/pace_private.h"
#include "link_mgr/core/peer.h"
#include "link_mgr/core/rules.h"

/* ---- time ---- */

uint64_t pace_now(const struct pace *pace)
{
    struct host *host = pace->peer->core->host;
    return host->now(host);
}

void pace_plan(struct peer *peer, uint64_t due)
{
    if (due < peer->pace_due)
        peer->pace_due = due;
}

void pace_soon(struct pace *pace)
{
    pace_plan(pace->peer, 0);
    peer_wake(pace->peer);
}

void pace_pass(struct peer *peer, uint64_t now)
{
    struct pace *pace;
    peer->pace_due = UINT64_MAX;
    LIST_FOREACH (pace, &peer->paces, all) {
        pace_pass_in(pace, now);
        pace_pass_out(pace, now);
    }
}

/* ---- life ---- */

static uint64_t pace_part(uint64_t bandwidth, uint32_t parts)
{
    uint64_t part = bandwidth / parts;
    return part ? part : 1;
}

static void pace_free(struct pace *pace)
{
    assert(pace->conns == 0 && TAILQ_EMPTY(&pace->line) && TAILQ_EMPTY(&pace->held));
    places_remove(&pace->peer->pace_places, &pace->by_place);
    LIST_REMOVE(pace, all);
    free(pace);
}

/* Frees those that a new one would be like. */
static void pace_tidy(struct peer *peer, uint64_t now)
{
    struct pace *pace, *next;
    for (pace = LIST_FIRST(&peer->paces); pace; pace = next) {
        next = LIST_NEXT(pace, all);
        bucket_earn(&pace->out, now);
        bucket_earn(&pace->in, now);
        if (pace->conns == 0 && bucket_full(&pace->out) && bucket_full(&pace->in))
            pace_free(pace);
    }
}

void pace_end(struct peer *peer)
{
    while (!LIST_EMPTY(&peer->paces))
        pace_free(LIST_FIRST(&peer->paces));
    places_end(&peer->pace_places);
}

static uint64_t pace_rate_in(uint64_t bandwidth)
{
    return bandwidth + bandwidth / PACE_MORE_IN;
}

static struct pace *pace_new(struct peer *peer, const struct rule *rule, uint32_t hash,
                             uint64_t now)
{
    size_t length = strlen(rule->place);
    struct pace *pace = calloc(1, sizeof(*pace) + length + 1);
    if (!pace)
        return NULL;
    memcpy(pace->place, rule->place, length + 1);
    pace->peer = peer;
    pace->bandwidth = rule->bandwidth;
    bucket_init(&pace->out, rule->bandwidth, pace_part(rule->bandwidth, PACE_BURST_OUT), now);
    bucket_init(&pace->in, pace_rate_in(rule->bandwidth), pace_part(rule->bandwidth, PACE_BURST_IN),
                now);
    TAILQ_INIT(&pace->line);
    TAILQ_INIT(&pace->held);
    LIST_INSERT_HEAD(&peer->paces, pace, all);
    places_add(&peer->pace_places, &pace->by_place, hash);
    return pace;
}

/* What the peer may send already was promised at another bandwidth. It is free now: otherwise it
 * could make a debt for a very long time. */
static void pace_change(struct pace *pace, uint64_t bandwidth)
{
    struct conn *conn;
    uint64_t now = pace_now(pace);
    pace->bandwidth = bandwidth;
    bucket_change(&pace->out, bandwidth, pace_part(bandwidth, PACE_BURST_OUT), now);
    bucket_change(&pace->in, pace_rate_in(bandwidth), pace_part(bandwidth, PACE_BURST_IN), now);
    TAILQ_FOREACH (conn, &pace->peer->conns, of_peer)
        if (conn->pace == pace)
            conn->paced.paid = conn->paced.told;
    pace->turn = NULL; /* it asks again */
    pace_soon(pace);
}

static struct pace *pace_find(const struct peer *peer, const struct rule *rule, uint32_t hash)
{
    struct place *place;
    for (place = places_first(&peer->pace_places, hash); place; place = places_next(place)) {
        struct pace *pace = (struct pace *)place; /* it is the first member */
        if (strcmp(pace->place, rule->place) == 0)
            return pace;
    }
    return NULL;
}

/* before: where the connection is, or NULL. */
static struct pace *pace_get(struct peer *peer, const struct rule *rule, struct pace *before)
{
    bool same = before && strcmp(before->place, rule->place) == 0;
    const uint32_t hash = same ? before->by_place.hash : places_hash(rule->place);
    struct pace *pace = same ? before : pace_find(peer, rule, hash);
    if (!pace) {
        uint64_t now = peer->core->host->now(peer->core->host);
        pace_tidy(peer, now);
        return pace_new(peer, rule, hash, now);
    }
    if (pace->bandwidth != rule->bandwidth)
        pace_change(pace, rule->bandwidth);
    return pace;
}

/* ---- which connections ---- */

static void pace_enter(struct pace *pace, struct conn *conn, bool paced_before)
{
    pace->conns++;
    conn->pace = pace;
    conn->paced.paid = 0;
    if (conn->phase == CONN_WAITING) {
        pace_promise_first(conn);
        return;
    }
    /* The peer may have heard of this limit. */
    if (!paced_before)
        conn->paced.told = conn->in_limit;
    if (conn->phase == CONN_OPEN)
        conn->paced.paid = conn->paced.told;
}

void pace_forget(struct conn *conn)
{
    struct pace *pace = conn->pace;
    if (conn->paced.in_line) {
        TAILQ_REMOVE(&pace->line, conn, ready);
        conn->paced.in_line = conn->on_ready = false;
    }
    if (pace->turn != conn)
        return;
    pace->turn = NULL;
    pace_soon(pace);
}

static void pace_detach(struct conn *conn)
{
    struct pace *pace = conn->pace;
    pace_forget(conn);
    if (conn->paced.is_held)
        TAILQ_REMOVE(&pace->held, conn, paced.held);
    conn->paced.is_held = false;
    conn->pace = NULL;
    pace->conns--;
}

void pace_leave(struct conn *conn)
{
    if (conn->pace)
        pace_detach(conn);
}

/* It is no longer limited. */
static void pace_release(struct conn *conn)
{
    if (conn->in_limit != conn->paced.told && conn->phase != CONN_WAITING)
        conn_owe(conn, OWED_CREDIT);
}

bool pace_follow(struct conn *conn)
{
    const struct rule *rule = conn->rule;
    struct pace *before = conn->pace, *pace = NULL;
    if (rule && rule->bandwidth) {
        pace = pace_get(conn->peer, rule, before);
        if (!pace)
            return false;
    }
    if (pace == before || conn->phase == CONN_ENDING)
        return true;
    if (before)
        pace_detach(conn);
    if (pace)
        pace_enter(pace, conn, before);
    else
        pace_release(conn);
    if (conn->link && conn->phase == CONN_OPEN) {
        link_ready(conn->link, conn);
        if (pace)
            pace_promise(conn);
    }
    return true;
}
