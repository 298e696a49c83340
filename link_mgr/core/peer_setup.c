/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How a link comes about: the rendezvous of docs/xenstore.md. Store events only record what the
 * peer's nodes say. The peer's next turn decides what follows from them (peer_evaluate). So the
 * order in which the events of one batch arrive does not matter.
 */
#include "link_mgr/core/peer_private.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>

#include "link_mgr/core/link.h"

/* ---- the store ---- */

static void own_path(const struct peer *peer, const char *leaf, char path[PLATFORM_PATH_MAX + 1])
{
    snprintf(path, PLATFORM_PATH_MAX + 1, "/local/domain/%d/data/idc/%d%s%s", peer->core->domid,
             peer->domid, leaf[0] ? "/" : "", leaf);
}

void peer_their_path(const struct peer *peer, const char *leaf, char path[PLATFORM_PATH_MAX + 1])
{
    snprintf(path, PLATFORM_PATH_MAX + 1, "/local/domain/%d/data/idc/%d%s%s", peer->domid,
             peer->core->domid, leaf[0] ? "/" : "", leaf);
}

static void note_own_error(struct peer *peer, const char *what, int error)
{
    snprintf(peer->own_error, sizeof(peer->own_error), "this domain's link_mgr cannot %.100s: %s",
             what, strerror(-error));
}

/* Has a line said already that `alive` cannot be written? */
static bool is_known_to_fail(const struct peer *peer, const char *leaf)
{
    return strcmp(leaf, "alive") == 0 && peer->alive_due != PEER_NO_DEADLINE;
}

int peer_publish(struct peer *peer, const char *leaf, uint64_t number, uint64_t reader)
{
    char path[PLATFORM_PATH_MAX + 1], value[64], what[PLATFORM_PATH_MAX + 8];
    own_path(peer, leaf, path);
    int length = snprintf(value, sizeof(value), "%016" PRIx64, peer->core->epoch);
    if (number)
        length += snprintf(value + length, sizeof(value) - (size_t)length, " %" PRIu64, number);
    if (reader)
        snprintf(value + length, sizeof(value) - (size_t)length, " %016" PRIx64, reader);
    int error = peer_host(peer)->ops->publish(peer_host(peer)->platform, path, value, peer->domid);
    bool known = is_known_to_fail(peer, leaf);
    if (error && !known)
        peer_log(peer, LOG_ERR, "cannot write %s: %s", path, strerror(-error));
    if (!error && known)
        peer_log(peer, LOG_NOTICE, "%s is written now", path);
    if (error) {
        snprintf(what, sizeof(what), "write %s", path);
        note_own_error(peer, what, error);
    }
    return error;
}

void peer_publish_alive(struct peer *peer)
{
    bool failed = peer_publish(peer, "alive", 0, 0) != 0;
    if (!failed && peer->alive_due != PEER_NO_DEADLINE)
        peer->own_error[0] = '\0';
    peer_set_alive_due(peer, failed ? peer_now(peer) + PEER_ALIVE_MS : PEER_NO_DEADLINE);
}

void peer_retract(struct peer *peer, const char *leaf)
{
    char path[PLATFORM_PATH_MAX + 1];
    own_path(peer, leaf, path);
    peer_host(peer)->ops->retract(peer_host(peer)->platform, path);
}

/* 16: it is not a digit. */
static unsigned digit_value(char c)
{
    if (c >= '0' && c <= '9')
        return (unsigned)(c - '0');
    c |= 'a' ^ 'A';
    return c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10 : 16;
}

/* Takes one number, and the blanks before it, off the text. False: there is none, or it has more
 * than 64 bits. */
static bool take_number(const char **text, unsigned base, uint64_t *number)
{
    const char *at = *text + strspn(*text, " ");
    const char *first = at;
    *number = 0;
    for (; digit_value(*at) < base; at++) {
        unsigned digit = digit_value(*at);
        if (*number > (UINT64_MAX - digit) / base)
            return false;
        *number = *number * base + digit;
    }
    *text = at;
    return at != first;
}

/* Reads "EPOCH NUMBER", for an offer also "READER"; the values are 0 if the text is different. The
 * rest is ignored. */
static void parse_numbers(const char *value, uint64_t *epoch, uint64_t *number, uint64_t *reader)
{
    *reader = 0;
    if (!value || !take_number(&value, 16, epoch) || !take_number(&value, 10, number)) {
        *epoch = *number = 0;
        return;
    }
    if (!take_number(&value, 16, reader))
        *reader = 0;
}

void peer_store_event(struct peer *peer, const char *leaf, const char *value)
{
    uint64_t epoch = 0, unused;
    peer->known = true;
    if (!leaf || strcmp(leaf, "alive") == 0) {
        if (!value || !take_number(&value, 16, &epoch))
            epoch = 0;
        peer->alive = epoch;
    }
    if (!leaf || strcmp(leaf, "want") == 0)
        parse_numbers(value, &peer->wish_epoch, &peer->wish_number, &unused);
    if (!leaf || strcmp(leaf, "offer") == 0)
        parse_numbers(value, &peer->offer_epoch, &peer->offer_generation, &peer->offer_reader);
    peer_wake(peer);
}

void peer_stop_wanting(struct peer *peer)
{
    if (peer->want_published)
        peer_retract(peer, "want");
    peer->want_published = false;
}

/* ---- the way up ---- */

/* After kill -9 of the other side's link_mgr its `alive` stays. Where the platform can't tell
 * whether it runs, a link_mgr that fell silent and then did not answer counts as gone. */
bool peer_is_gone(const struct peer *peer)
{
    struct host *host = peer_host(peer);
    enum platform_presence presence = host->ops->presence(host->platform, peer->domid);
    return presence == PLATFORM_GONE || (presence == PLATFORM_UNKNOWN && peer->silent);
}

void peer_setup_failed(struct peer *peer, const char *text)
{
    uint64_t pause = (uint64_t)PEER_RETRY_MS << peer_min(peer->attempts, 8);
    peer_drop_link(peer, REASON_LINK_LOST, text);
    if (peer_is_gone(peer))
        peer_fail_waiting(peer, REASON_UNREACHABLE);
    peer->attempts = TAILQ_EMPTY(&peer->waiting) ? 0 : peer->attempts + 1;
    peer_set_state(peer, PEER_BACKOFF, pause < PEER_BACKOFF_MS ? pause : PEER_BACKOFF_MS);
}

/* The time for the answer to a wish or an offer. A peer that fell silent gets as long as a link_mgr
 * needs to restart. */
static uint64_t peer_setup_patience(const struct peer *peer)
{
    return peer->silent ? PEER_SILENT_MS : PEER_SETUP_MS;
}

/* ---- links that end soon ----
 *
 * Each channel costs this domain memory, grants and work, and a peer decides how long it lasts. So
 * those that end soon are counted. The first ones in a while are free: a link_mgr may be restarted
 * a few times. After each further one, the time until the next channel doubles. An idle link that
 * ends in its time is not counted. */

static uint64_t short_limit(const struct peer *peer)
{
    uint64_t half = peer->core->config.idle_ms / 2;
    return half < PEER_SHORT_MS ? half : PEER_SHORT_MS;
}

static void forget_short(struct peer *peer, uint64_t now)
{
    uint64_t times = (now - peer->short_since) / PEER_FORGET_MS;
    peer->short_links -= times < peer->short_links ? (unsigned)times : peer->short_links;
    peer->short_since = peer->short_links ? peer->short_since + times * PEER_FORGET_MS : now;
}

void peer_count_short(struct peer *peer)
{
    uint64_t now = peer_now(peer);
    if (now - peer->channel_since >= short_limit(peer))
        return;
    forget_short(peer, now);
    if (++peer->short_links <= PEER_SHORT_FREE)
        return;
    uint64_t calm = (uint64_t)PEER_BACKOFF_MS
                    << peer_min(peer->short_links - PEER_SHORT_FREE - 1, 8);
    if (calm > PEER_CALM_MAX_MS)
        calm = PEER_CALM_MAX_MS;
    peer->calm_until = now + calm;
    size_t used = strlen(peer->last_error);
    snprintf(peer->last_error + used, sizeof(peer->last_error) - used,
             "%sof the latest links %u ended soon, so the next one waits for %u s",
             used ? "; " : "", peer->short_links, (unsigned)(calm / 1000));
    peer_log(peer, LOG_WARNING, "%s", peer->last_error);
}

/* May no channel be made now? Then another turn comes when it may. */
static bool peer_is_calming(struct peer *peer)
{
    uint64_t now = peer_now(peer);
    if (peer->channel || now >= peer->calm_until)
        return false;
    if (peer->state != PEER_BACKOFF || peer->due > peer->calm_until) {
        peer_stop_wanting(peer);
        peer_set_state(peer, PEER_BACKOFF, peer->calm_until - now);
    }
    return true;
}

/* This side can't do its part now; own_error says why. */
static void fail_own(struct peer *peer)
{
    peer_fail_waiting(peer, REASON_NO_RESOURCES);
    peer_drop_link(peer, REASON_LINK_LOST, peer->own_error);
    peer_stop_wanting(peer);
    peer_set_state(peer, PEER_BACKOFF, PEER_RETRY_MS);
}

/* Does this side have no descriptor or memory left? Another attempt would hide that from the
 * program. */
static bool lacks_own(int error)
{
    return error == -EMFILE || error == -ENFILE || error == -ENOMEM || error == -ENOSPC;
}

/* A link that cannot be watched would be up and carry nothing. */
static void watch_channel(struct peer *peer)
{
    struct host *host = peer_host(peer);
    int error = host->watch(host, peer, host->ops->channel_fd(peer->channel), &peer->watch);
    if (error) {
        note_own_error(peer, "watch a link", error);
        fail_own(peer);
        return;
    }
    /* It may be open already, and no event will say so. */
    peer->channel_event = peer->again = true;
}

static void note_offer_error(struct peer *peer, int error)
{
    struct platform_lent lent;
    if (error == -EDQUOT) {
        peer_host(peer)->ops->lent(peer_host(peer)->platform, peer->domid, &lent);
        snprintf(peer->own_error, sizeof(peer->own_error),
                 "no link: domain %d still holds %u pages of links that have ended", peer->domid,
                 (unsigned)lent.held);
        peer_log(peer, LOG_ERR, "%s", peer->own_error);
    } else {
        peer_log(peer, LOG_ERR, "cannot offer a link: %s", strerror(-error));
        note_own_error(peer, "offer a link", error);
    }
    snprintf(peer->last_error, sizeof(peer->last_error), "%s", peer->own_error);
}

static void peer_setup_offer(struct peer *peer)
{
    char path[PLATFORM_PATH_MAX + 1];
    struct host *host = peer_host(peer);
    own_path(peer, "link", path);
    int error = host->ops->offer(host->platform, peer->domid, path, peer->core->config.ring_size,
                                 &peer->channel);
    if (error) {
        peer->channel = NULL;
        note_offer_error(peer, error);
        fail_own(peer);
        return;
    }
    peer->channel_since = peer_now(peer);
    peer->generation = ++peer->core->generation;
    peer_set_state(peer, PEER_OFFERING, peer_setup_patience(peer));
    if (peer_publish(peer, "offer", peer->generation, peer->alive) != 0)
        fail_own(peer);
    else
        watch_channel(peer);
}

static void peer_setup_attach(struct peer *peer)
{
    char path[PLATFORM_PATH_MAX + 1];
    struct host *host = peer_host(peer);
    peer->attached_epoch = peer->offer_epoch;
    peer->attached = peer->generation = peer->offer_generation;
    peer_stop_wanting(peer);
    peer_their_path(peer, "link", path);
    int error = host->ops->attach(host->platform, peer->domid, path, &peer->channel);
    if (error) {
        peer->channel = NULL;
        if (lacks_own(error)) {
            note_own_error(peer, "attach to a link", error);
            fail_own(peer);
        } else {
            peer_setup_failed(peer, strerror(-error));
        }
        return;
    }
    peer->channel_since = peer_now(peer);
    peer_set_state(peer, PEER_ATTACHING, PEER_SETUP_MS);
    watch_channel(peer);
}

static void peer_setup_want(struct peer *peer)
{
    peer->want_number = ++peer->core->wish;
    peer->want_published = true;
    if (peer_publish(peer, "want", peer->want_number, 0) != 0)
        fail_own(peer);
    else
        peer_set_state(peer, PEER_WAITING, peer_setup_patience(peer));
}

void peer_greet(struct peer *peer)
{
    struct host *host = peer_host(peer);
    struct link_config config = {
        .peer = peer,
        .epoch = peer_offers(peer) ? peer->core->epoch : peer->attached_epoch,
        .generation = peer->generation,
        .own_domid = (uint16_t)peer->core->domid,
        .wish = peer_offers(peer) ? 0 : peer->want_number,
    };
    host->ops->channel_rings(peer->channel, &config.rings);
    peer->link = link_new(&config);
    if (!peer->link) {
        note_own_error(peer, "make a link", -ENOMEM);
        fail_own(peer);
        return;
    }
    peer_set_state(peer, PEER_GREETING, PEER_SETUP_MS);
}

/* Has the peer a wish that was not answered? */
static bool peer_setup_wished(const struct peer *peer)
{
    return peer_offers(peer) && peer->wish_epoch == peer->alive &&
           peer->wish_number > peer->answered;
}

static const char other_lost_it[] = "the other side has lost it";

void peer_arrived(struct peer *peer)
{
    struct conn *conn;
    peer->attempts = 0;
    peer->silent = false;
    peer->own_error[0] = '\0';
    /* we may notice its `want` node only later */
    if (link_wish(peer->link) > peer->answered)
        peer->answered = link_wish(peer->link);
    if (peer_setup_wished(peer)) { /* it asks for another already, so this one is dead */
        peer_drop_link(peer, REASON_LINK_LOST, other_lost_it);
        return;
    }
    peer->total.links++;
    peer->core->count.links_made++;
    peer_set_state(peer, PEER_UP, PEER_NO_DEADLINE);
    peer_log(peer, LOG_INFO, "link %" PRIu64 " is up", peer->generation);
    while ((conn = TAILQ_FIRST(&peer->waiting))) {
        TAILQ_REMOVE(&peer->waiting, conn, control);
        link_request(peer->link, conn);
    }
    peer_count_changed(peer);
}

/* Has the peer an offer that was not taken, and is it for us, not for the link_mgr that ran here
 * before? (With an older offer, the peer would later learn that a new link_mgr runs here. Then it
 * would end the link, although the link is already with the new one.) */
static bool peer_setup_offered(const struct peer *peer)
{
    return !peer_offers(peer) && peer->offer_epoch == peer->alive &&
           (peer->offer_reader == peer->core->epoch || peer->offer_reader == 0) &&
           (peer->attached_epoch != peer->alive || peer->offer_generation > peer->attached);
}

/* The peer's epoch to which the present link belongs, if there is a link. */
static void check_epoch(struct peer *peer, uint64_t *seen)
{
    if (*seen == peer->alive)
        return;
    if (*seen != 0) {
        peer_drop_link(peer, REASON_LINK_LOST,
                       peer->alive ? "its link_mgr was restarted" : "its link_mgr has ended");
        peer->answered = 0;
    }
    *seen = peer->alive;
    peer->silent = false;
    peer->attempts = 0;
    peer_watch_lent(peer);
}

/* The peer's `alive` isn't there, but may be on its way. If a connect depends on it, this waits and
 * returns true. */
static bool await_alive(struct peer *peer)
{
    uint64_t end = peer->allowed_since + PEER_GRACE_MS, now = peer_now(peer);
    if (peer->alive != 0 || !peer->allowed || now >= end || TAILQ_EMPTY(&peer->waiting))
        return false;
    peer_stop_wanting(peer);
    if (peer->state != PEER_WAITING || peer->due != end)
        peer_set_state(peer, PEER_WAITING, end - now);
    return true;
}

/* The peer wants a link: ends the one that there is, and offers another. */
static void peer_setup_answer(struct peer *peer)
{
    peer->silent = false;
    if (peer->state == PEER_UP)
        peer_drop_link(peer, REASON_LINK_LOST, other_lost_it);
    /* If a channel is offered, HELLO will tell whether it answers this wish. */
    if (peer->channel || peer_is_calming(peer))
        return;
    peer->answered = peer->wish_number;
    peer_setup_offer(peer);
}

/* The peer has made a link: ends the one that there is, and attaches to that. */
static void peer_setup_take(struct peer *peer)
{
    peer->silent = false;
    peer_drop_link(peer, REASON_LINK_LOST, "the other side has made a new one");
    if (!peer_is_calming(peer))
        peer_setup_attach(peer);
}

/* Programs wait for a link. */
static void peer_setup_begin(struct peer *peer)
{
    if (peer_is_calming(peer))
        return;
    if (peer->alive_due == PEER_NO_DEADLINE)
        peer->own_error[0] = '\0';
    if (peer_offers(peer))
        peer_setup_offer(peer);
    else
        peer_setup_want(peer);
}

/* Does what the nodes of the store and the wishes of programs ask for. A pause because of links
 * that ended soon may be long. So what else the store says is looked at all the same. */
void peer_evaluate(struct peer *peer)
{
    bool calming = peer_now(peer) < peer->calm_until;
    if (!peer->known || (peer->state == PEER_BACKOFF && !calming))
        return;
    check_epoch(peer, &peer->epoch_seen);
    if (peer->alive_due != PEER_NO_DEADLINE && peer->allowed && !TAILQ_EMPTY(&peer->waiting))
        peer_publish_alive(peer);
    if (await_alive(peer))
        return;
    if (peer->alive == 0 || !peer->allowed) {
        peer_stop_wanting(peer);
        peer_fail_waiting(peer, peer->allowed ? REASON_UNREACHABLE : REASON_POLICY);
        if (peer->state == PEER_WAITING)
            peer_set_state(peer, PEER_DOWN, PEER_NO_DEADLINE);
        return;
    }
    if (peer_setup_wished(peer))
        peer_setup_answer(peer);
    else if (peer_setup_offered(peer))
        peer_setup_take(peer);
    else if (!TAILQ_EMPTY(&peer->waiting) && !peer->channel && !peer->want_published)
        peer_setup_begin(peer);
}
