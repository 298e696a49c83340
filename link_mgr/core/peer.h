/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * peer.h - another domain, as this one sees it: the policy about it, the presence of its link_mgr,
 * its connections, and the memory set aside for it. Here is also the link to it, and how the link
 * comes about (docs/xenstore.md).
 *
 * The rendezvous is a state machine driven by store events, channel events and one deadline. The
 * domain with the higher domid offers, the other asks and attaches. From every state peer_drop_link
 * leads back to PEER_DOWN, and needs nothing from the other side.
 */
#ifndef IDC_PEER_H
#define IDC_PEER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "link_mgr/core/budget.h"
#include "link_mgr/core/conn.h"
#include "link_mgr/core/pace.h"
#include "link_mgr/core/policy.h"
#include "link_mgr/core/rule_use.h"

struct core;
struct channel;

enum peer_state {
    PEER_DOWN, /* no link, and nobody wants one */
    /* a link is wanted; waiting for the peer's `alive` node, or (lower domid) for its offer */
    PEER_WAITING,
    PEER_OFFERING,  /* higher domid: the channel was offered; waiting for the peer to attach */
    PEER_ATTACHING, /* lower domid: waiting for the channel to open */
    PEER_GREETING,  /* the channel is open; waiting for HELLO */
    PEER_UP,        /* connections can be made */
    /* the peer broke the protocol, or making the link failed, or links to it end too soon: no link
     * until the deadline */
    PEER_BACKOFF,
};

/* how often a step of making a link is looked at while we wait for it */
#define PEER_SETUP_MS 5000
/* time for the peer's `alive` to appear after a permission: the peer learns of the permission by
 * itself */
#define PEER_GRACE_MS 1000
#define PEER_BACKOFF_MS 1000
/* time for the answer of a peer that fell silent. It is longer than the peer's backoff, during
 * which the peer answers nothing */
#define PEER_SILENT_MS 1500
#define PEER_ALIVE_MS 1000   /* until `alive` is tried again that could not be published */
#define PEER_CLOSING_MS 1000 /* for the resets of a revoked peer to reach it */
#define PEER_RETRY_MS 100    /* before another attempt; it doubles, up to PEER_BACKOFF_MS */
#define PEER_DOUBLINGS 3     /* of the time that an attempt has */
/* Links that end soon after they were begun (peer_setup.c, "links that end soon") */
#define PEER_SHORT_MS 5000     /* so soon; half of idle_ms if that is less */
#define PEER_SHORT_FREE 32     /* so many are free */
#define PEER_FORGET_MS 10000   /* after each of these times one is forgotten */
#define PEER_CALM_MAX_MS 64000 /* the longest time until the next */
/* how often we look whether a peer without link_mgr is gone, while memory is kept for it */
#define PEER_LENT_MS 10000
/* until what a peer without a rule still holds is looked at first; it doubles, up to PEER_LENT_MS
 */
#define PEER_PART_MS 100
#define PEER_NO_DEADLINE UINT64_MAX
#define PEER_TEXT_MAX 160 /* of what status shows */

struct peer {
    struct core *core;
    int domid;
    unsigned attempts;    /* to make the link, that failed in a row */
    unsigned looks;       /* how often the present step was not done in PEER_SETUP_MS */
    unsigned short_links; /* channels that ended soon, and are not forgotten */
    uint64_t short_since; /* ms: when the last of them was forgotten, or the first one ended */
    uint64_t calm_until;  /* ms: no channel is made before */
    bool named;           /* there is a policy node for it: */
    struct policy policy;
    bool allowed;           /* the node, or a rule, may allow something (judge_joins) */
    uint64_t allowed_since; /* ms */
    struct budget budget;
    struct rule_use_list uses; /* of rules with limits */
    struct pace_list paces;    /* of rules with a bandwidth */
    struct places use_places, pace_places;
    uint64_t pace_due; /* ms: when they give turns and credit, or PEER_NO_DEADLINE */

    enum peer_state state;
    uint64_t due; /* ms: when something has to happen in this state, or PEER_NO_DEADLINE */
    /* the earliest of `due`, `alive_due`, `lent_due`, conn_left_due and the time at which the link
     * wants to be woken */
    uint64_t deadline;
    bool known;           /* the store has told what there is of the peer */
    uint64_t alive;       /* the peer's epoch; 0: no link_mgr there */
    uint64_t want_number; /* lower: our latest wish */
    bool want_published;
    uint64_t answered;                /* higher: the peer's latest wish that was answered */
    uint64_t wish_epoch, wish_number; /* higher: what the peer's `want` says */
    /* lower: what the peer's `offer` says */
    uint64_t offer_epoch, offer_generation, offer_reader;
    /* lower: the latest generation attached to, in epoch attached_epoch */
    uint64_t attached;
    uint64_t attached_epoch;
    uint64_t generation; /* of the link that is being made or is up */

    uint64_t epoch_seen; /* `alive`, as of the latest turn */
    /* the link ended without a word, or nobody runs there: its `alive` may be stale */
    bool silent;

    struct channel *channel;
    uint64_t channel_since; /* ms */
    bool channel_event, channel_dead;
    bool again;  /* another turn is needed at once */
    void *watch; /* the host's, of the channel's descriptor */
    struct link *link;
    /* All of them. Those that are to be judged again come first. */
    struct conn_list conns;
    uint64_t judging; /* how often all were to be judged again */
    /* those in CONN_WAITING without a link, by their `control` entry */
    struct conn_list waiting;
    struct conn_list hungry; /* those whose message waits for memory */
    struct conn_list left;   /* those whose program has closed, by their `left_entry` */
    unsigned conn_count;
    char last_error[PEER_TEXT_MAX];
    char own_error
        [PEER_TEXT_MAX]; /* why this side cannot do its part of making a link; "": it can */
    /* ms: when `alive` is tried again that could not be published, or PEER_NO_DEADLINE */
    uint64_t alive_due;
    uint64_t lent_due; /* ms: when we look whether it is gone, or PEER_NO_DEADLINE */
    struct log_limit log_limit;
    struct {
        uint64_t links, notifications_received, notifications_sent, bytes_sent, bytes_received,
            frames_sent, frames_received;
    } total; /* of links that have ended, except links: all */
    TAILQ_ENTRY(peer) all, busy;
    bool is_busy;
};
TAILQ_HEAD(peer_list, peer);

struct peer *peer_new(struct core *core, int domid);
/* Ends the link, resets the connections, retracts what was published, and frees it. */
void peer_free(struct peer *peer, enum reason reason);

/* The rules, or the time, have changed: the policy says something else of the peer, perhaps.
 * Connections that it no longer allows end with REASON_REVOKED: as many as may be judged in this
 * turn, and the others by peer_judge_more. */
void peer_judge_again(struct peer *peer);
/* Goes on with that, as far as core->judge_left allows. True: all are judged. False: core->judging
 * is set. */
bool peer_judge_more(struct peer *peer);
/* Sets the policy's entry for this peer; NULL: there is none. Connections that it no longer allows
 * end as above. */
void peer_set_policy(struct peer *peer, const char *value);
/* A node of the peer's rendezvous directory has changed: "alive", "want" or "offer". value NULL: it
 * is gone. leaf NULL: all are gone. */
void peer_store_event(struct peer *peer, const char *leaf, const char *value);
void peer_channel_event(struct peer *peer);
/* The deadline has passed. */
void peer_expired(struct peer *peer);
/* Does the work that peer_wake noted. True: there is more. */
bool peer_turn(struct peer *peer);
void peer_wake(struct peer *peer);
/* Sends an event to the other side. */
void peer_notify(struct peer *peer);

/* Makes sure that conn, which is in CONN_WAITING, will be requested or fail. */
void peer_request(struct peer *peer, struct conn *conn);
/* Takes the frames that have come by now. */
void peer_catch_up(struct peer *peer);
/* For the idle timer: the last connection has gone, or there is one again. */
void peer_count_changed(struct peer *peer);
/* What conn_left_due says may have changed. */
void peer_left_changed(struct peer *peer);
/* Ends the link (if any): connections get reason, text goes to the log and the status. */
void peer_drop_link(struct peer *peer, enum reason reason, const char *text);
/* A line about the peer: "domain N: " and the text. */
void peer_log(struct peer *peer, int priority, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
const char *peer_state_name(const struct peer *peer);

#endif
