/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hub_private.h - the hub from the inside, for its own files: hub.c and hub_listen.c (requests of
 * programs), hub_names.c (which domain is meant), hub_permit.c (who may listen), hub_host.c (what
 * the core asks for), hub_within.c, hub_prospect.c (what would become of a connect), hub_records.c
 * and hub_status.c (snapshots).
 */
#ifndef IDC_HUB_PRIVATE_H
#define IDC_HUB_PRIVATE_H

#include <event2/event.h>
#include <event2/event_struct.h>

#include "link_mgr/core/core.h"
#include "link_mgr/core/judge.h"
#include "link_mgr/core/names.h"
#include "link_mgr/program/acceptor.h"
#include "link_mgr/program/endpoint.h"
#include "link_mgr/hub/audit.h"
#include "link_mgr/hub/hub.h"
#include "link_mgr/hub/hub_capture.h"
#include "link_mgr/hub/listen_rules.h"
#include "link_mgr/hub/port_manager.h"
#include "link_mgr/base/trim.h"
#include "link_mgr/base/users.h"

#define HUB_REASONS 4096 /* ends of connections that are remembered */
#define HUB_BUCKETS 4096
#define HUB_SERIALS 32

/* A connection, for hub_reason. */
struct hub_record {
    LIST_ENTRY(hub_record) bucket;
    uint64_t serial;
    uint32_t uid;      /* of its program here: the one that connected, or that listens */
    struct conn *conn; /* NULL: it has ended, with reason */
    enum reason reason;
};
LIST_HEAD(hub_record_list, hub_record);

/* The rules in force of who may listen. */
struct hub_rules {
    struct listen_rules *rules; /* NULL: there are none */
    const char *path;
    bool is_public; /* everybody may read the file */
    bool is_old;    /* the file has something wrong in it now */
};
LIST_HEAD(hub_permit_list, hub_permit);

struct hub {
    struct event_base *base;
    struct core *core;
    struct quota *users;
    struct host host;
    struct port_manager *manager;
    struct acceptors acceptors;
    uint64_t serials[HUB_SERIALS]; /* of which the first serials_left are unused */
    unsigned serials_left;
    struct event deadline;                       /* the core's */
    uint64_t timer_deadline;                     /* what it is set to; UINT64_MAX: not set */
    struct hub_record_list records[HUB_BUCKETS]; /* by serial */
    struct hub_record ended[HUB_REASONS];        /* a ring */
    uint64_t ended_count;
    struct quota shares; /* hub_share.c */
    struct endpoints endpoints;
    struct trim trim;
    struct audit audit;
    struct hub_captures captures;
    struct hub_rules rules;
    struct hub_permit_list permits;
    uint64_t listens_refused, listeners_revoked;
    uint64_t joined; /* connections within the domain */
};

/* Where a connect to `any` is on its way through the domains of the route. They are copied, so that
 * each of them is tried once, whatever becomes of the route meanwhile. */
struct hub_route {
    unsigned count, next; /* next: the one that is tried after the present one */
    uint32_t domids[NAMES_ROUTE_MAX];
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
    uint64_t due;                 /* ms: when it fires; UINT64_MAX: never */
    struct event retry;           /* the next attempt of a connect that waits */
    struct event silence;         /* a domain of a route has had its share of the time */
    int64_t pause_ms;             /* before that */
    struct hub_route route;       /* of a connect to `any` */
    struct closer_note *near_end; /* the program's near end is being closed (hub_within.c) */
    bool near_end_named;          /* ... after it was named */
    struct hub_connected result;  /* of one within the domain; fd -1 otherwise */
};

uint64_t hub_new_serial(struct hub *hub);
/* hub_records.c. A connection with a serial number begins; it does not come about after all; it
 * ends. */
void hub_records_init(struct hub *hub);
void hub_records_free(struct hub *hub);
bool hub_record_exists(struct hub *hub, uint64_t serial);
/* 0, -EDQUOT: the user here has as many as it may have, -EUSERS: others of its domain have left it
 * none (hub_share.c), -ENOMEM. */
int hub_record_begin(struct hub *hub, struct conn *conn, uint32_t uid);
void hub_record_cancel(struct hub *hub, uint64_t serial);
void hub_record_end(struct hub *hub, uint64_t serial, enum reason reason);
/* hub_share.c. A connection from another domain to a service of that user, which is counted for the
 * user already, begins, and ends. False: the other domain or its user has too many of them. */
void hub_shares_init(struct hub *hub);
void hub_shares_end(struct hub *hub);
bool hub_share_take(struct hub *hub, uint32_t uid, const struct conn *conn);
void hub_share_give(struct hub *hub, uint32_t uid, const struct conn *conn);
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
/* An attempt has failed: with a reason, or (REASON_OK) with an error of another kind. A connect to
 * `any` goes on with the next domain, if the reason is that nobody serves there. A connect that
 * waits is tried again later, if time can heal the error. Until then pending keeps the error and
 * why. False: the error is the outcome. */
bool hub_try_again(struct hub_pending *pending, enum reason reason, int error, const char *why);
/* Makes the next attempt of a connect. */
void hub_attempt(struct hub *hub, struct hub_pending *pending);
/* Says in words why a connect was refused, and whose policy it was. */
void hub_explain(const struct hub *hub, const struct hub_connect *request, const struct conn *conn,
                 enum reason reason, char *text, size_t size);
/* hub_audit.c. A connect of ours has failed; why: more than the reason's own text, or NULL. */
void hub_audit_connect(struct hub *hub, const struct hub_pending *pending, enum reason reason,
                       const char *why);
/* A request of another domain was refused. */
void hub_audit_request(struct hub *hub, const struct judge_question *question, enum reason reason,
                       const struct judge_verdict *verdict);
/* A program has got a connection. */
void hub_audit_connected(struct hub *hub, const struct conn *conn);
/* A connection has ended, whoever ended it. */
void hub_audit_ended(struct hub *hub, const struct conn *conn, enum reason reason);
/* Connects to a listener of this domain, and answers or tries again. */
void hub_connect_within(struct hub *hub, struct hub_pending *pending);
/* hub_within.c. Parts with the program's near end, and then makes the next attempt. listener: NULL
 * if it is not known yet. Negative errno: that cannot be. */
int hub_part_with_near_end(struct hub_pending *pending, const struct listener *listener);
/* In words, why that cannot be. */
const char *hub_near_end_text(int error);
/* hub_names.c. Finds out which domain the next attempt of a connect goes to: request.domid. False:
 * there is none now, and the connect was answered or is tried again later. */
bool hub_find_domain(struct hub *hub, struct hub_pending *pending);
/* Can the connect go to several domains, or to one that is known only later? */
bool hub_is_open_ended(const struct hub_connect *request);
#define HUB_CALLED_MAX 112
/* "domain 3", or "domain web (3)" if it is named so: the beginning of an error. */
const char *hub_called(const struct hub_pending *pending, char text[HUB_CALLED_MAX]);
/* hub_permit.c. Makes a permit for what a program asks for, and judges it. 0 or negative errno; the
 * caller puts the permit (NULL: there is none) in both cases. */
int hub_permit_new(struct hub *hub, const struct hub_listen *request, struct hub_permit **permit,
                   char why[HUB_WHY_MAX]);
/* Judges a port that was picked. */
int hub_permit_picked(struct hub *hub, struct hub_permit *permit, uint32_t port,
                      char why[HUB_WHY_MAX]);
/* The listener holds the permit until hub_permit_unlistened. permit may be NULL. */
void hub_permit_use(struct hub_permit *permit, struct listener *listener);
void hub_permit_unlistened(const struct listener *listener);
struct hub_permit *hub_permit_hold(struct hub_permit *permit);
void hub_permit_put(struct hub_permit *permit);
/* Frees the rules; no permit is left. */
void hub_permits_end(struct hub *hub);
/* Listens. permit: NULL for link_mgr itself. */
int hub_listen_on(struct hub *hub, const struct hub_listen *request, struct hub_permit *permit,
                  struct hub_listening *result, char why[HUB_WHY_MAX]);
/* The backlog, limited to what a listener may have. */
int hub_backlog(int backlog);
/* The other end of conn, as its local program sees it. */
struct idc_addr hub_peer_address(const struct conn *conn);

#endif
