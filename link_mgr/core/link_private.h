/* SPDX-License-Identifier: GPL-2.0-or-later */
/* link_private.h - what link.c (life and ids), link_receive.c and link_send.c share; nobody else
 * includes it. */
#ifndef IDC_LINK_PRIVATE_H
#define IDC_LINK_PRIVATE_H

#include "link_mgr/core/capture.h"
#include "link_mgr/core/core.h"
#include "link_mgr/core/life.h"
#include "link_mgr/core/link.h"
#include "link_mgr/core/peer.h"
#include "link_mgr/core/requests.h"
#include "link_mgr/core/wire.h"

/* A link handles at most so much in one turn, in each direction. Then other links, and programs
 * that have just written something, get their turns. */
#define LINK_TURN_FRAMES 64
#define LINK_TURN_BYTES (128u * 1024)

/* While small requests come, bulk flows leave most of the ring empty, because a request has to wait
 * for what is in the ring already. */
/* a frame that is less, of one that had nothing for a while, is a small request */
#define LINK_SMALL 4096u
#define LINK_SMALL_MS 100 /* how long more of them are expected */
#define LINK_BULK_SHARE(size) ((size) / 8 * 3)

struct slot {
    struct conn *conn; /* NULL: free */
    uint32_t id;       /* of conn, or of the next one */
    uint32_t next_free;
};

struct refusal {
    uint32_t id;
    uint32_t status;
    uint32_t uid;               /* users have turns */
    uint32_t rule;              /* as in a CONNECT_rsp */
    uint32_t source_port, port; /* of the request, for captures */
    uint32_t type;
};

struct link {
    struct peer *peer;
    struct ring_pair rings;
    struct wire_hello own, other;
    bool hello_sent, up;
    bool end_proposed;
    uint32_t max_frame; /* that we send */

    struct slot *slots;
    uint32_t slot_count, free_slot; /* free_slot: head of the list, SLOT_MASK when empty */
    uint32_t connections;

    struct conn_list control; /* frames are owed */
    struct conn_list fresh;   /* may have data, after a while without */
    uint32_t bulk_id,
        small_id; /* the connections that sent the last large frame, and the last small request */
    uint64_t small_until;     /* small requests are expected until then */
    struct conn_list ready;   /* may have data */
    struct requests requests; /* of ours, to be sent and unanswered */
    uint32_t unanswered_in;
    struct refusal refusals[LINK_REQUESTS]; /* in the order in which they came */
    uint32_t refusal_count, refusal_uid;    /* whose the latest one sent was */
    uint64_t tokens, tokens_at;             /* thousandths of a refusal; when they were counted */

    struct life life;
    bool quiet;           /* frames were published without an event */
    uint64_t quiet_until; /* by then they get one */
    uint64_t now;         /* of this turn */

    uint32_t consumed; /* bytes consumed since the peer's wish for space was looked at */
    struct link_stats stats;
};

/* The features in use. */
static inline uint64_t link_features(const struct link *link)
{
    return link->own.features & link->other.features;
}

/* Does the host want to see frames? */
static inline bool link_is_captured(const struct link *link)
{
    return __builtin_expect(link->peer->core->host->frame != NULL, 0);
}

/* Gives conn an id. False: memory is short, or there are too many. */
bool link_enter(struct link *link, struct conn *conn);
/* The connection to which we gave that id, or NULL. */
struct conn *link_find(const struct link *link, uint32_t id);

#endif
