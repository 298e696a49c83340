/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Watches a peer for connections that want to know whether it hangs; life.h has the theory. */
#include "link_mgr/core/life.h"
#include "link_mgr/core/link_private.h"

#include <inttypes.h>
#include <syslog.h>

void life_init(struct life *life)
{
    *life = (struct life){.due = PEER_NO_DEADLINE};
    TAILQ_INIT(&life->watched);
}

/* The shortest time of a connection that is watched. */
static uint64_t life_shortest(const struct life *life)
{
    const struct conn *conn;
    uint64_t shortest = UINT64_MAX;
    TAILQ_FOREACH (conn, &life->watched, watched)
        if (conn->peer_timeout_ms < shortest)
            shortest = conn->peer_timeout_ms;
    return shortest;
}

/* Plans the next look. */
static void life_plan(struct life *life, uint64_t now)
{
    uint64_t shortest = life_shortest(life), end = life->heard + shortest;
    if (TAILQ_EMPTY(&life->watched)) {
        life->due = PEER_NO_DEADLINE;
    } else if (!life->asked) {
        life->due = life->heard + shortest / LIFE_ASK_PART;
    } else {
        uint64_t look = now + shortest / LIFE_LOOK_PART;
        life->due = look < end ? look : end;
    }
}

/* How far the peer has taken what we sent. An index that lies is found where the ring is written.
 */
static uint32_t life_taken(struct link *link)
{
    struct ring *out = &link->rings.out;
    int64_t space = ring_space(out);
    return space < 0 ? link->life.taken : out->own - (out->size - (uint32_t)space);
}

/* Has the peer moved since this was asked last? */
static bool life_moved(struct link *link)
{
    struct life *life = &link->life;
    uint32_t taken = life_taken(link);
    bool moved = life->frames != link->stats.frames_received || life->taken != taken;
    life->frames = link->stats.frames_received;
    life->taken = taken;
    return moved;
}

/* All begins anew. */
static void life_hear(struct life *life, uint64_t now)
{
    life->heard = now;
    life->asked = life->owes_ping = false;
}

void life_watch(struct conn *conn, uint32_t ms)
{
    struct link *link = conn->link;
    conn->peer_timeout_ms = ms;
    if (!link || conn->phase != CONN_OPEN || !(link_features(link) & WIRE_PING))
        return;
    struct life *life = &link->life;
    uint64_t now = link->peer->core->host->now(link->peer->core->host);
    if (TAILQ_EMPTY(&life->watched)) {
        life_moved(link);
        life_hear(life, now);
    }
    life_forget(conn);
    if (ms > 0) {
        TAILQ_INSERT_TAIL(&life->watched, conn, watched);
        conn->is_watched = true;
    }
    life_plan(life, now);
    peer_wake(link->peer);
}

void life_forget(struct conn *conn)
{
    if (conn->is_watched)
        TAILQ_REMOVE(&conn->link->life.watched, conn, watched);
    conn->is_watched = false;
}

/* Ends the connections that do not wait any longer. */
static void life_end_some(struct link *link, uint64_t silence)
{
    struct conn *conn, *next;
    unsigned ended = 0;
    for (conn = TAILQ_FIRST(&link->life.watched); conn; conn = next) {
        next = TAILQ_NEXT(conn, watched);
        if (silence < conn->peer_timeout_ms)
            continue;
        conn_reset(conn, REASON_SILENT);
        conn_settle(conn);
        ended++;
    }
    if (ended > 0)
        peer_log(link->peer, LOG_WARNING,
                 "its link_mgr has not moved for %" PRIu64 " ms: connections that were ended for "
                 "it: %u",
                 silence, ended);
}

void life_turn(struct link *link, uint64_t now)
{
    struct life *life = &link->life;
    if (life->due == PEER_NO_DEADLINE)
        return;
    if (life_moved(link))
        life_hear(life, now);
    if (now < life->due)
        return;
    /* as long as this look comes late, this side stood still */
    life->heard += now - life->due;
    if (life->heard > now)
        life->heard = now;
    uint64_t silence = now - life->heard;
    if (!life->asked && !TAILQ_EMPTY(&life->watched) &&
        silence >= life_shortest(life) / LIFE_ASK_PART)
        life->asked = life->owes_ping = true;
    if (life->asked)
        life_end_some(link, silence);
    life_plan(life, now);
}

uint64_t life_silence(const struct link *link, uint64_t now)
{
    const struct life *life = &link->life;
    return life->asked && !TAILQ_EMPTY(&life->watched) ? now - life->heard : 0;
}
