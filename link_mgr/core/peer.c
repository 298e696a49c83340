/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A peer's life, its policy, its turns, and the end of its link. How a link comes about is in
 * peer_setup.c.
 */
#include "link_mgr/core/peer_private.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "common/text_cut.h"
#include "link_mgr/core/judge.h"
#include "link_mgr/core/link.h"

static const char *const state_names[] = {
    [PEER_DOWN] = "down",           [PEER_WAITING] = "waiting",   [PEER_OFFERING] = "offering",
    [PEER_ATTACHING] = "attaching", [PEER_GREETING] = "greeting", [PEER_UP] = "up",
    [PEER_BACKOFF] = "backoff",
};

const char *peer_state_name(const struct peer *peer)
{
    return peer->state == PEER_UP && peer->link && link_end_proposed(peer->link)
               ? "closing"
               : state_names[peer->state];
}

void peer_log(struct peer *peer, int priority, const char *format, ...)
{
    char text[512];
    va_list args;
    int length = snprintf(text, sizeof(text), "domain %d: ", peer->domid);
    va_start(args, format);
    length += vsnprintf(text + length, sizeof(text) - (size_t)length, format, args);
    va_end(args);
    text_mark_cut(text, sizeof(text), length);
    peer_host(peer)->log(peer_host(peer), &peer->log_limit, priority, text);
}

/* The earliest of those that are not the link's. */
static uint64_t own_deadline(const struct peer *peer)
{
    uint64_t due = peer->due < peer->alive_due ? peer->due : peer->alive_due;
    uint64_t left = conn_left_due(peer);
    due = due < left ? due : left;
    return due < peer->lent_due ? due : peer->lent_due;
}

static void update_deadline(struct peer *peer)
{
    uint64_t link = peer->link ? link_deadline(peer->link) : PEER_NO_DEADLINE;
    uint64_t own = own_deadline(peer);
    peer->deadline = link < own ? link : own;
    if (peer->deadline < peer->core->deadline)
        peer->core->deadline = peer->deadline;
}

void peer_left_changed(struct peer *peer)
{
    update_deadline(peer);
}

void peer_set_deadline(struct peer *peer, uint64_t due)
{
    peer->due = due;
    update_deadline(peer);
}

void peer_set_alive_due(struct peer *peer, uint64_t due)
{
    peer->alive_due = due;
    update_deadline(peer);
}

/* Memory that was shared with a domain is kept for its next link until it is gone (platform.h). A
 * link_mgr that runs there has not gone. */
static bool peer_keeps_lent(struct peer *peer)
{
    struct platform_lent lent;
    if (!peer_offers(peer) || peer->alive != 0)
        return false;
    peer_host(peer)->ops->lent(peer_host(peer)->platform, peer->domid, &lent);
    return lent.kept || lent.held;
}

void peer_watch_lent(struct peer *peer)
{
    peer->lent_due = peer_keeps_lent(peer) ? peer_now(peer) + PEER_LENT_MS : PEER_NO_DEADLINE;
    update_deadline(peer);
}

void peer_set_state(struct peer *peer, enum peer_state state, uint64_t within_ms)
{
    peer_log(peer, LOG_DEBUG, "link %s -> %s", state_names[peer->state], state_names[state]);
    peer->state = state;
    peer->looks = 0;
    peer_set_deadline(peer, within_ms == PEER_NO_DEADLINE ? PEER_NO_DEADLINE
                                                          : peer_now(peer) + within_ms);
}

void peer_wake(struct peer *peer)
{
    if (peer->is_busy)
        return;
    peer->is_busy = true;
    TAILQ_INSERT_TAIL(&peer->core->busy, peer, busy);
}

void peer_notify(struct peer *peer)
{
    peer->total.notifications_sent++;
    peer_host(peer)->ops->channel_notify(peer->channel);
}

/* ---- the end of a link ---- */

void peer_fail_waiting(struct peer *peer, enum reason reason)
{
    struct conn *conn;
    while ((conn = TAILQ_FIRST(&peer->waiting))) {
        TAILQ_REMOVE(&peer->waiting, conn, control);
        conn_cut_off(conn, reason);
    }
}

static void keep_totals(struct peer *peer, const struct link *link)
{
    struct link_stats stats;
    link_stats(link, &stats);
    peer->total.bytes_sent += stats.bytes_sent;
    peer->total.bytes_received += stats.bytes_received;
    peer->total.frames_sent += stats.frames_sent;
    peer->total.frames_received += stats.frames_received;
}

void peer_drop_link(struct peer *peer, enum reason reason, const char *text)
{
    struct host *host = peer_host(peer);
    struct link *link = peer->link;
    peer_stop_wanting(peer);
    if (!peer->channel)
        return;
    if (reason != REASON_OK) {
        snprintf(peer->last_error, sizeof(peer->last_error), "%s", text);
        peer_log(peer, LOG_NOTICE, "link ended: %s", text);
        peer->core->count.links_lost++;
    }
    if (peer_offers(peer))
        peer_retract(peer, "offer");
    host->watch(host, peer, -1, &peer->watch);
    peer->link = NULL;
    if (link) {
        keep_totals(peer, link);
        link_free(link, reason);
    }
    host->ops->channel_close(peer->channel);
    peer->channel = NULL;
    peer_watch_lent(peer);
    peer_count_short(peer);
    peer_set_state(peer, PEER_DOWN, PEER_NO_DEADLINE);
    peer_wake(peer);
}

static void peer_misbehaved(struct peer *peer, enum reason reason, const char *text)
{
    char line[PEER_TEXT_MAX];
    if (reason == REASON_OK || reason == REASON_SHUTDOWN) {
        peer_drop_link(peer, reason == REASON_OK ? REASON_OK : REASON_LINK_LOST, text);
        return;
    }
    /* When a domain was restored or destroyed, its pages read as zeros before the news arrives. */
    if (reason == REASON_PROTOCOL &&
        peer_host(peer)->ops->channel_poll(peer->channel) == CHANNEL_DEAD) {
        peer->silent = true;
        peer_drop_link(peer, REASON_LINK_LOST, "the other domain or its link_mgr ended");
        return;
    }
    if (reason == REASON_LINK_LOST) {
        peer_setup_failed(peer, text);
        return;
    }
    snprintf(line, sizeof(line), "the peer sent %s", text);
    if (reason == REASON_PROTOCOL)
        peer->core->count.protocol_errors++;
    peer_drop_link(peer, reason, reason == REASON_PROTOCOL ? line : text);
    peer_fail_waiting(peer, reason);
    peer_set_state(peer, PEER_BACKOFF, PEER_BACKOFF_MS);
}

/* ---- turns ---- */

static void check_channel(struct peer *peer)
{
    enum channel_state state = peer_host(peer)->ops->channel_poll(peer->channel);
    peer->channel_event = false;
    if (state == CHANNEL_OPEN && (peer->state == PEER_OFFERING || peer->state == PEER_ATTACHING))
        peer_greet(peer);
    peer->channel_dead = state == CHANNEL_DEAD;
}

static void channel_died(struct peer *peer)
{
    peer->channel_dead = false;
    if (peer->state != PEER_UP)
        peer_setup_failed(peer, "the other side gave up");
    else if (link_end_proposed(peer->link)) /* so it has no connection */
        peer_drop_link(peer, REASON_OK, "idle");
    else {
        peer->silent = true;
        peer_drop_link(peer, REASON_LINK_LOST, "the other domain or its link_mgr ended");
    }
}

/* Memory has come free, perhaps enough for a message that waits for some. */
static void peer_feed(struct peer *peer)
{
    struct conn *conn;
    while ((conn = TAILQ_FIRST(&peer->hungry)) && conn_feed(conn))
        ;
}

/* Moves frames. False when the link is gone. */
static bool run_link(struct peer *peer, bool *more)
{
    enum reason reason = REASON_OK;
    const char *wrong = link_receive(peer->link, more, &reason);
    if (!wrong && peer->state == PEER_GREETING && link_is_up(peer->link))
        peer_arrived(peer);
    if (!peer->link)
        return false;
    peer_feed(peer);
    if (!wrong)
        wrong = link_send(peer->link, peer_now(peer), more, &reason);
    if (wrong)
        peer_misbehaved(peer, reason, wrong);
    else
        update_deadline(peer);
    return !wrong;
}

void peer_catch_up(struct peer *peer)
{
    enum reason reason = REASON_OK;
    const char *wrong = peer->link ? link_catch_up(peer->link, &reason) : NULL;
    if (wrong)
        peer_misbehaved(peer, reason, wrong);
    if (peer->link)
        peer_wake(peer);
}

bool peer_turn(struct peer *peer)
{
    bool more = false;
    peer->again = false;
    if (peer->channel && peer->channel_event)
        check_channel(peer);
    bool alive = peer->link && run_link(peer, &more);
    /* By now we have taken what was in the ring when the peer died, unless there is more. */
    if (peer->channel && peer->channel_dead && !(alive && more))
        channel_died(peer);
    peer_evaluate(peer);
    return more || peer->again;
}

void peer_channel_event(struct peer *peer)
{
    peer->total.notifications_received++;
    peer->channel_event = true;
    peer_wake(peer);
}

/* The present step was not done in time: docs/xenstore.md says what follows. */
static void setup_expired(struct peer *peer)
{
    bool gone = peer_is_gone(peer);
    if (!gone && !TAILQ_EMPTY(&peer->waiting) &&
        ++peer->looks <= 1u << peer_min(peer->attempts, PEER_DOUBLINGS)) {
        peer_log(peer, LOG_DEBUG, "link still %s", state_names[peer->state]);
        /* The awaited event may have come while this side was held up. */
        peer->channel_event = peer->channel;
        peer_set_deadline(peer, peer_now(peer) + PEER_SETUP_MS);
        return;
    }
    peer_drop_link(peer, REASON_LINK_LOST, "the other side does not answer");
    peer->attempts = TAILQ_EMPTY(&peer->waiting) ? 0 : peer->attempts + 1;
    if (gone) {
        peer->silent = true;
        peer_fail_waiting(peer, REASON_UNREACHABLE);
    }
    peer_set_state(peer, PEER_DOWN, PEER_NO_DEADLINE);
}

static void up_expired(struct peer *peer)
{
    peer_set_deadline(peer, PEER_NO_DEADLINE);
    if (!peer->allowed)
        peer_drop_link(peer, REASON_REVOKED, "the policy no longer names the domain");
    else if (link_end_proposed(peer->link) && link_idle(peer->link))
        peer_drop_link(peer, REASON_OK, "idle");
    else if (link_idle(peer->link)) {
        link_propose_end(peer->link);
        peer_set_deadline(peer, peer_now(peer) + PEER_SETUP_MS);
    }
    peer_wake(peer);
}

void peer_expired(struct peer *peer)
{
    if (peer_now(peer) >= peer->alive_due)
        peer_publish_alive(peer);
    if (peer_now(peer) >= peer->lent_due)
        peer_watch_lent(peer);
    conn_left_expired(peer);
    if (peer_now(peer) < peer->due) { /* it is for the link, in its next turn */
        peer->deadline = own_deadline(peer);
        peer_wake(peer);
        return;
    }
    switch (peer->state) {
    case PEER_UP:
        up_expired(peer);
        break;
    case PEER_DOWN:
    case PEER_BACKOFF:
        peer_set_state(peer, PEER_DOWN, PEER_NO_DEADLINE);
        break;
    default:
        setup_expired(peer);
    }
    peer_wake(peer);
}

void peer_count_changed(struct peer *peer)
{
    if (peer->state != PEER_UP || !peer->allowed)
        return;
    if (peer->conn_count == 0)
        peer_set_deadline(peer, peer_now(peer) + peer->core->config.idle_ms);
    else
        peer_set_deadline(peer, PEER_NO_DEADLINE);
}

void peer_request(struct peer *peer, struct conn *conn)
{
    if (peer->link && peer->state == PEER_UP) {
        link_request(peer->link, conn);
        return;
    }
    TAILQ_INSERT_TAIL(&peer->waiting, conn, control);
    if (!peer->known && peer->due == PEER_NO_DEADLINE)
        peer_set_state(peer, PEER_WAITING, PEER_SETUP_MS);
    peer_wake(peer);
}

/* ---- policy, life ---- */

static void peer_revoke(struct conn *conn)
{
    struct host *host = peer_host(conn->peer);
    if (conn->phase < CONN_OPEN && conn->cookie)
        host->connected(host, conn->cookie, conn, REASON_POLICY, &conn->ep);
    if (conn->phase < CONN_OPEN) {
        conn->rule = NULL;
        conn_abandon(conn);
        return;
    }
    conn_reset(conn, REASON_REVOKED);
    conn->rule = NULL; /* it may be freed before the other side has answered */
    conn_settle(conn);
}

/* The next one that is to be judged again, or NULL. It counts as judged from here on. */
static struct conn *peer_take_unjudged(struct peer *peer)
{
    struct conn *conn = TAILQ_FIRST(&peer->conns);
    if (!conn || conn->judged == peer->judging)
        return NULL;
    TAILQ_REMOVE(&peer->conns, conn, of_peer);
    TAILQ_INSERT_TAIL(&peer->conns, conn, of_peer);
    conn->judged = peer->judging;
    return conn;
}

static void peer_spend(struct core *core, uint32_t looks)
{
    core->judge_left -= looks < core->judge_left ? looks : core->judge_left;
}

bool peer_judge_more(struct peer *peer)
{
    struct conn *conn;
    struct core *core = peer->core;
    struct judge_memo memo = {.is_set = false};
    while (core->judge_left > 0 && (conn = peer_take_unjudged(peer))) {
        memo.looks = 1;
        if (!judge_keeps(conn, &memo))
            peer_revoke(conn);
        peer_spend(core, memo.looks);
    }
    rule_use_tidy(peer);
    /* The link, and our `alive` node, stay for a moment, so that the other side's programs learn
     * the reason. */
    if (!peer->allowed && peer->state == PEER_UP)
        peer_set_deadline(peer, peer_now(peer) + PEER_CLOSING_MS);
    if (!peer->allowed)
        peer_wake(peer);
    conn = TAILQ_FIRST(&peer->conns);
    bool more = conn && conn->judged != peer->judging;
    core->judging |= more;
    return !more;
}

void peer_judge_again(struct peer *peer)
{
    bool before = peer->allowed;
    peer->allowed = judge_joins(peer->core, (uint32_t)peer->domid);
    if (peer->allowed && !before) {
        peer->allowed_since = peer_now(peer);
        peer_publish_alive(peer);
        peer_wake(peer);
    }
    if (!peer->allowed)
        peer_set_alive_due(peer, PEER_NO_DEADLINE);
    peer->judging++;
    peer_judge_more(peer);
}

void peer_set_policy(struct peer *peer, const char *value)
{
    const char *why = NULL;
    bool before = peer->allowed;
    peer->named = value;
    if (policy_parse(&peer->policy, value ? value : "", &why))
        peer_log(peer, LOG_ERR, "its policy allows nothing, because it can't be read: %s", why);
    peer_judge_again(peer);
    /* Somebody may have deleted the node meanwhile. */
    if (value && before)
        peer_publish_alive(peer);
}

struct peer *peer_new(struct core *core, int domid)
{
    char path[PLATFORM_PATH_MAX + 1];
    struct peer *peer = calloc(1, sizeof(*peer));
    if (!peer)
        return NULL;
    peer->core = core;
    peer->domid = domid;
    peer->due = peer->alive_due = peer->lent_due = peer->deadline = peer->pace_due =
        PEER_NO_DEADLINE;
    LIST_INIT(&peer->paces);
    TAILQ_INIT(&peer->conns);
    TAILQ_INIT(&peer->waiting);
    TAILQ_INIT(&peer->hungry);
    TAILQ_INIT(&peer->left);
    LIST_INIT(&peer->uses);
    places_init(&peer->use_places);
    places_init(&peer->pace_places);
    budget_init(&peer->budget, core->config.memory_ceiling);
    peer_their_path(peer, "", path);
    int error = core->host->ops->subscribe(core->host->platform, path);
    if (error) {
        core_log(core, LOG_ERR, "cannot watch %s: %s", path, strerror(-error));
        free(peer);
        return NULL;
    }
    TAILQ_INSERT_TAIL(&core->peers, peer, all);
    core->by_domid[domid] = peer;
    return peer;
}

void peer_free(struct peer *peer, enum reason reason)
{
    char path[PLATFORM_PATH_MAX + 1];
    struct core *core = peer->core;
    struct conn *conn, *next;
    if (peer->link && reason == REASON_SHUTDOWN)
        link_say_bye(peer->link, reason);
    peer_drop_link(peer, reason, reason_text(reason));
    peer_fail_waiting(peer, reason);
    for (conn = TAILQ_FIRST(&peer->conns); conn; conn = next) {
        next = TAILQ_NEXT(conn, of_peer);
        conn_reset(conn, reason);
        conn_settle(conn);
    }
    assert(peer->conn_count == 0 && peer->budget.charged == 0);
    budget_end(&peer->budget);
    rule_use_follow(peer, NULL);
    rule_use_tidy(peer);
    places_end(&peer->use_places);
    pace_end(peer);
    peer_their_path(peer, "", path);
    core->host->ops->unsubscribe(core->host->platform, path);
    peer_retract(peer, "");
    TAILQ_REMOVE(&core->peers, peer, all);
    if (peer->is_busy)
        TAILQ_REMOVE(&core->busy, peer, busy);
    core->by_domid[peer->domid] = NULL;
    if (peer_offers(peer))
        core_part(core, peer->domid);
    free(peer);
}
