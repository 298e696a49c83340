/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hub_private.h - the hub from the inside, for its own files: hub.c (requests of programs),
 * hub_host.c (what the core asks for), hub_within.c, hub_records.c and hub_status.c (snapshots).
 */
#ifndef IDC_HUB_PRIVATE_H
#define IDC_HUB_PRIVATE_H

#include <event2/event.h>
#include <event2/event_struct.h>

#include "link_mgr/core/core.h"
#include "link_mgr/program/acceptor.h"
#include "link_mgr/program/endpoint.h"
#include "link_mgr/hub/hub.h"
#include "link_mgr/hub/port_manager.h"
#include "link_mgr/base/trim.h"

#define HUB_REASONS 4096 /* ends of connections that are remembered */
#define HUB_BUCKETS 4096

/* A connection, for hub_reason. */
struct hub_record {
    LIST_ENTRY(hub_record) bucket;
    uint64_t serial;
    uint32_t uid;            /* of its program here: the one that connected, or that listens */
    const struct conn *conn; /* NULL: it has ended, with reason */
    enum reason reason;
};
LIST_HEAD(hub_record_list, hub_record);

struct hub {
    struct event_base *base;
    struct core *core;
    struct host host;
    struct port_manager *manager;
    struct acceptors acceptors;
    uint64_t next_serial;
    struct event deadline;                       /* the core's */
    uint64_t timer_deadline;                     /* what it is set to; UINT64_MAX: not set */
    struct hub_record_list records[HUB_BUCKETS]; /* by serial */
    struct hub_record ended[HUB_REASONS];        /* a ring */
    uint64_t ended_count;
    struct endpoints endpoints;
    struct trim trim;
    uint64_t joined; /* connections within the domain */
};

/* A connect that was not answered yet. */
struct hub_pending {
    struct hub *hub;
    struct conn *conn; /* NULL: the timer will give the answer, with error and why */
    struct hub_connect request;
    hub_connect_done *done;
    void *arg;
    int error;
    char why[HUB_WHY_MAX];
    struct event timer;
    struct event retry;          /* the next attempt of a connect that waits */
    int64_t pause_ms;            /* before that */
    struct hub_connected result; /* of one within the domain; fd -1 otherwise */
};

uint64_t hub_new_serial(struct hub *hub);
/* hub_records.c. A connection with a serial number begins; it does not come about after all; it
 * ends. */
void hub_records_init(struct hub *hub);
void hub_records_free(struct hub *hub);
int hub_record_begin(struct hub *hub, const struct conn *conn, uint32_t uid);
void hub_record_cancel(struct hub *hub, uint64_t serial);
void hub_record_end(struct hub *hub, uint64_t serial, enum reason reason);
/* Fills in the core's host, apart from ops and platform. */
void hub_fill_host(struct hub *hub);
/* Calls done and frees pending. */
void hub_answer(struct hub_pending *pending, int error, const char *why,
                const struct hub_connected *result);
/* The answer is known, and its why is in pending or in the arguments. It is given later, because it
 * must not be given from inside hub_connect. */
void hub_answer_known(struct hub_pending *pending, int error);
void hub_answer_soon(struct hub_pending *pending, int error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Tries a connect that waits again later, if time can heal the error. Until then pending keeps the
 * error and why. False: the error is the outcome. */
bool hub_try_again(struct hub_pending *pending, int error, const char *why);
/* Says in words why a connect was refused, and whose policy it was. */
void hub_explain(const struct hub *hub, const struct hub_connect *request, enum reason reason,
                 char *text, size_t size);
/* Connects to a listener of this domain, and answers or tries again. */
void hub_connect_within(struct hub *hub, struct hub_pending *pending);
void hub_close_if_open(int fd);
/* The backlog, limited to what a listener may have. */
int hub_backlog(int backlog);
/* The other end of conn, as its local program sees it. */
struct idc_addr hub_peer_address(const struct conn *conn);

#endif
