/* SPDX-License-Identifier: GPL-2.0-or-later */
/* peer_private.h - what peer.c and peer_setup.c share; nobody else includes it. */
#ifndef IDC_PEER_PRIVATE_H
#define IDC_PEER_PRIVATE_H

#include "link_mgr/core/core.h"
#include "link_mgr/core/peer.h"

static inline struct host *peer_host(const struct peer *peer)
{
    return peer->core->host;
}

static inline uint64_t peer_now(const struct peer *peer)
{
    return peer_host(peer)->now(peer_host(peer));
}

static inline unsigned peer_min(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* The one with the higher domid offers. */
static inline bool peer_offers(const struct peer *peer)
{
    return peer->core->domid > peer->domid;
}

/* ---- peer.c ---- */
/* Sets the deadline of the present state. */
void peer_set_deadline(struct peer *peer, uint64_t due);
/* Sets when `alive` is tried again; PEER_NO_DEADLINE: never. */
void peer_set_alive_due(struct peer *peer, uint64_t due);
/* The peer may be gone, with its domain: arranges to look, so that what was shared with it is given
 * back. */
void peer_watch_lent(struct peer *peer);
void peer_set_state(struct peer *peer, enum peer_state state, uint64_t within_ms);
/* Makes the connects that wait for a link fail. */
void peer_fail_waiting(struct peer *peer, enum reason reason);

/* ---- peer_setup.c ---- */
/* Does no link_mgr run there, although its `alive` stands? */
bool peer_is_gone(const struct peer *peer);
/* The channel has ended: counts it if that was soon. */
void peer_count_short(struct peer *peer);
/* The link could not be made: arranges another attempt after a while. */
void peer_setup_failed(struct peer *peer, const char *text);
/* A path below the peer's rendezvous directory for us; leaf "": the directory. */
void peer_their_path(const struct peer *peer, const char *leaf, char path[PLATFORM_PATH_MAX + 1]);
/* Writes a node below our rendezvous directory for the peer. The value is the epoch, then the
 * number and the reader's epoch unless they are 0. */
/* 0, or a negative errno that is in the log and in own_error. */
int peer_publish(struct peer *peer, const char *leaf, uint64_t number, uint64_t reader);
/* If it fails, it is tried again after a while. */
void peer_publish_alive(struct peer *peer);
void peer_retract(struct peer *peer, const char *leaf);
/* Removes the `want` node, if there is one. */
void peer_stop_wanting(struct peer *peer);
/* Does what the nodes of the store and the wishes of programs ask for. */
void peer_evaluate(struct peer *peer);
/* The channel is open: HELLO is next. */
void peer_greet(struct peer *peer);
/* HELLO came: requests can be sent. */
void peer_arrived(struct peer *peer);

#endif
