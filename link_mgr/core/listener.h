/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * listener.h - the ports and service names of this domain on which programs accept.
 *
 * A listener always has a port, and may have a name. Both are unique. Lookup is by hash, in a fixed
 * number of buckets.
 */
#ifndef IDC_LISTENER_H
#define IDC_LISTENER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "idc.h"

#define LISTENER_BUCKETS 256
#define LISTENER_BACKLOG_MAX 4096

struct listener {
    uint32_t port;
    char name[IDC_SERVICE_MAX + 1]; /* "": none */
    enum idc_type type;
    uint32_t uid;
    int pid;                  /* the host's: of the program that asked for it */
    bool local_only;          /* other domains do not see it */
    bool reset_is_end;        /* the host's, for the connections that are accepted */
    uint32_t peer_timeout_ms; /* of the connections that are accepted; 0: none */
    int backlog;              /* 0: the port is only reserved, nobody listens yet */
    int waiting;          /* handed to the program and not yet taken by it; counted by the host */
    uint64_t accepted;    /* taken; counted by the host */
    void *owner, *permit; /* the host's */
    LIST_ENTRY(listener) by_port, by_name;
};
LIST_HEAD(listener_list, listener);

struct listener_table {
    struct listener_list ports[LISTENER_BUCKETS], names[LISTENER_BUCKETS];
    uint32_t next_port; /* where the search for a free ephemeral port begins */
};

void listener_table_init(struct listener_table *table, uint32_t first_port);
/* Enters a listener; port 0 picks a free one. Returns 0, -EINVAL (port, name), -ENOMEM, or
 * -EADDRINUSE; then *clash is the listener that is in the way. */
int listener_add(struct listener_table *table, uint32_t port, const char *name,
                 struct listener **listener, struct listener **clash);
void listener_remove(struct listener *listener);
struct listener *listener_by_port(struct listener_table *table, uint32_t port);
struct listener *listener_by_name(struct listener_table *table, const char *name);
/* A port that no listener has, for a connecting program. */
uint32_t listener_ephemeral_port(struct listener_table *table);

#endif
