/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * core.h - the whole of link_mgr without the operating system: peers, links, connections,
 * listeners, policy.
 *
 * One struct core is one domain. The host (host.h) feeds it events. After each batch of events it
 * gives the core a turn, in which the core does what the events have made necessary. The daemon
 * runs this core. The simulation runs several of it at a time, with a virtual clock.
 */
#ifndef IDC_CORE_H
#define IDC_CORE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/status.h"
#include "link_mgr/core/conn.h"
#include "link_mgr/core/host.h"
#include "link_mgr/core/listener.h"
#include "link_mgr/core/peer.h"
#include "link_mgr/core/rules_store.h"
#include "link_mgr/core/tell.h"

struct core_config {
    uint32_t ring_size;      /* bytes each way, a power of two, 4096..1 MiB */
    uint64_t memory_ceiling; /* bytes for each peer */
    uint64_t idle_ms;        /* after so long a link without connections is ended */
};
#define CORE_CONFIG_DEFAULT                                                                 \
    (struct core_config)                                                                    \
    {                                                                                       \
        .ring_size = 256 * 1024, .memory_ceiling = BUDGET_CEILING_DEFAULT, .idle_ms = 10000 \
    }

struct core {
    struct host *host;
    struct core_config config;
    int domid;
    uint64_t epoch;
    uint64_t generation, wish; /* latest numbers used */
    bool policy_known;         /* the store has told what policy there is */
    bool store_more;           /* not all events of the store were taken */
    struct rules_store rules_store;
    struct rules *rules; /* in force; NULL: none */
    /* of before, the latest first: connections that are not judged again yet may point into them */
    struct rules *rules_before;
    uint32_t judge_left;   /* so much more is judged in this turn (rules_force.h) */
    bool judging;          /* not all connections are judged again yet */
    bool rules_settled;    /* some are in force, or it was seen that there are none */
    uint64_t rules_due;    /* ms: when a rule ends, or something is tried again */
    uint64_t rules_judged; /* seconds since 1970: when all connections were judged by them */
    bool rules_incomplete; /* there was no memory for a peer that they name */
    bool rules_unread;     /* the policy could not be read again yet */
    struct tell tell;
    struct listener_table listeners;
    struct peer_list peers; /* every peer the policy names, or that still has connections */
    struct peer *by_domid[IDC_DOMID_SELF];
    struct peer_list busy;
    uint64_t deadline;          /* earliest of the peers', of lent_due, rules_due and tell's */
    uint64_t lent_due;          /* ms: when unwanted memory is looked at, or PEER_NO_DEADLINE */
    uint64_t lent_pause;        /* ms: until the look after that */
    struct log_limit log_limit; /* of lines about no peer */
    struct {
        uint64_t connects, connected, refused, accepted, requests_refused, links_made, links_lost,
            protocol_errors;
    } count;
};

/* Removes what an earlier run left in the store, and asks for the policy. The host stays the
 * caller's. */
struct core *core_new(struct host *host, const struct core_config *config);
/* Ends everything; programs see ECONNRESET. */
void core_free(struct core *core);

struct core_request {
    uint32_t domid;      /* another domain */
    uint32_t port;       /* 0 when a name is given */
    const char *name;    /* "": none */
    uint32_t local_port; /* 0: a free one */
    enum idc_type type;
    uint32_t uid;             /* of the program */
    uint32_t peer_timeout_ms; /* 0: none */
    void *cookie;             /* not NULL; for host->connected */
};

/* Starts a connection to another domain. host->connected gives the answer in a later turn. Returns
 * NULL when the request was refused at once; then *reason says why, and host->connected is not
 * called. */
struct conn *core_connect(struct core *core, const struct core_request *request,
                          enum reason *reason);
/* A connect to another domain was refused before core_connect was called for it: counts it. */
void core_count_refused(struct core *core);
/* Call this before a listener is made: it judges the requests that have come by now without that
 * listener. Otherwise the listener could get a request whose program has given up since. */
void core_catch_up(struct core *core);
/* Resets the connections that listener's program has not taken, and removes it. */
void core_unlisten(struct core *core, struct listener *listener);

/* Breaks off the connections to programs of this domain that are among those. */
void core_break_off(struct core *core, bool (*among)(const struct conn *conn), enum reason reason);

/* Calls the visitor for each link, connection (if it has something for them), listener that a
 * program listens on, and counter. */
void core_visit(struct core *core, const struct status_visitor *visitor);

/* Events. */
void core_store_event(struct core *core, const struct store_event *event);
/* Takes such events from the platform, but only some. Others may be as many as the writers of the
 * store like, so everybody else has a turn before the next ones. 1: there may be more, and the
 * caller must come back; 0: there are none; negative: the store is lost. */
int core_take_store_events(struct core *core);
#define CORE_STORE_EVENTS 64
void core_channel_event(struct core *core, void *token);

/* Does what is due. True: the core wants another turn at once. */
bool core_turn(struct core *core);
/* The latest time at which core_turn must be called, in ms; UINT64_MAX: never. */
uint64_t core_deadline(const struct core *core);

/* A peer was freed, to which memory may still be lent: looks at it now and then, until nothing is
 * unwanted. */
void core_part(struct core *core, int domid);

/* Asks the store to tell the policy's nodes (all of them, also those that it told before), or no
 * more. */
int core_watch_policy(struct core *core, bool begin);

void core_log(struct core *core, int priority, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
