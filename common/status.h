/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * status.h - the state of a daemon as it is shown: one struct for each kind of object, and a
 * visitor that is called for each object in turn. The core fills the structs in, the hub adds what
 * it knows, and whoever asks needs to know neither. Texts are valid during the call.
 *
 * There may be very many objects. So the visitor is asked before anything is done for one of them,
 * and sees them page by page.
 */
#ifndef IDC_STATUS_H
#define IDC_STATUS_H

#include <stdbool.h>
#include <stdint.h>

struct status_link {
    int peer;
    /* "down", "offering", "waiting", "attaching", "greeting", "up", "closing", "backoff" */
    const char *state;
    uint64_t generation;
    uint32_t ring_size; /* bytes each way */
    uint32_t connections;
    uint64_t bytes_sent, bytes_received, frames_sent, frames_received;
    uint64_t notifications_sent, notifications_received;
    uint64_t memory_held, memory_ceiling; /* bytes */
    /* pages of ours that are shared with it; of these, those that it may still have mapped after
     * a link's end */
    uint32_t pages_shared, pages_held;
    /* why the latest link to this peer ended or could not be offered, or "" */
    const char *last_error;
    uint64_t silent_ms; /* the peer was asked, and has not moved for so long; 0: it does */
    bool allowed;       /* the policy has an entry for this peer */
    bool present;       /* its link_mgr has published in the store that it is there for us */
};

struct status_connection {
    uint64_t serial;
    int peer_domid;
    uint32_t local_port, peer_port;
    const char *service;
    const char *state; /* "connecting", "open", "closing" */
    const char *type;  /* "stream", "seqpacket" */
    bool incoming;
    uint32_t uid;          /* of the connecting program */
    uint32_t listener_uid; /* of the program that listens; UINT32_MAX: not known (yet) */
    int pid;               /* of the program of this domain; 0: not known */
    const char *rule;      /* the place of the rule that allows it; "": the policy node does */
    uint64_t bytes_sent, bytes_received;
    uint64_t buffered; /* bytes that the local program has not taken yet */
};

struct status_listener {
    uint32_t port;
    const char *service;
    const char *type;
    uint32_t uid;
    int pid; /* of the program that began to listen; 0: not known */
    bool local_only;
    int backlog, waiting;
    uint64_t accepted;
};

struct status_counter {
    const char *name;
    uint64_t value;
};

struct status_visitor {
    void *arg;
    /* Is the next link, connection or listener wanted? Asked once for each. */
    bool (*wants)(void *arg);
    void (*link)(void *arg, const struct status_link *info);
    void (*connection)(void *arg, const struct status_connection *info);
    void (*listener)(void *arg, const struct status_listener *info);
    void (*counter)(void *arg, const struct status_counter *counter);
};

#endif
