/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * status.h - the state of a daemon as it is shown: one struct for each kind of object, and a
 * visitor that is called for each object in turn. The core fills the structs in, the hub adds what
 * it knows, and whoever asks needs to know neither. Texts are valid during the call.
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
    const char *last_error;               /* why the latest link to this peer ended, or "" */
    bool allowed;                         /* the policy has an entry for this peer */
    bool present; /* its link_mgr has published in the store that it is there for us */
};

struct status_connection {
    uint64_t serial;
    int peer_domid;
    uint32_t local_port, peer_port;
    const char *service;
    const char *state; /* "connecting", "open", "closing" */
    const char *type;  /* "stream", "seqpacket" */
    bool incoming;
    uint32_t uid; /* of the connecting program */
    uint64_t bytes_sent, bytes_received;
    uint64_t buffered; /* bytes that the local program has not taken yet */
};

struct status_listener {
    uint32_t port;
    const char *service;
    const char *type;
    uint32_t uid;
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
    void (*link)(void *arg, const struct status_link *info);
    void (*connection)(void *arg, const struct status_connection *info);
    void (*listener)(void *arg, const struct status_listener *info);
    void (*counter)(void *arg, const struct status_counter *counter);
};

#endif
