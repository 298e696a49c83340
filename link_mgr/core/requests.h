/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * requests.h - the requests that wait to be sent over a link, and the choice of the next one.
 *
 * Theory of operation
 *
 * The peer takes a limited number of unanswered requests, grants at once, and refuses at a limited
 * rate (docs/protocol.md, Rates). Therefore soon only requests that are going to be refused would
 * be unanswered, and all others would wait for them. So requests are kept apart by the answer to
 * the latest request of the same uid to the same place: granted, not known, refused. Requests of
 * the first kind may take all of the unanswered ones. Those of the other two may take half, and
 * those of the last a quarter.
 *
 * Users take turns, uid by uid, and so do the three kinds. Of what the doubtful kinds may take, a
 * user gets no more than it leaves to the others. So a user who tries all ports, or who connects
 * without end, hardly delays another user's first connect. A user is known here as long as it has a
 * request that waits or is unanswered. When there is no memory for one more, it shares the turns of
 * other such users.
 *
 * A table of fixed size remembers the answers. A place that grants is forgotten only for another
 * place that grants.
 */
#ifndef IDC_REQUESTS_H
#define IDC_REQUESTS_H

#include <stdbool.h>
#include <stdint.h>

#include "link_mgr/core/conn.h"

#define REQUEST_BUCKETS 64
#define REQUEST_PLACES 1024

enum request_kind { REQUEST_GRANTED, REQUEST_UNKNOWN, REQUEST_REFUSED, REQUEST_KINDS };

/* A user who has requests. */
struct requester {
    LIST_ENTRY(requester) bucket;
    uint32_t uid;
    uint32_t count; /* that wait or are unanswered */
    struct conn_list waiting[REQUEST_KINDS];
    uint32_t unanswered[REQUEST_KINDS];
    TAILQ_ENTRY(requester) turn[REQUEST_KINDS]; /* where waiting is not empty */
};
LIST_HEAD(requester_list, requester);
TAILQ_HEAD(requester_turns, requester);

struct requests {
    struct requester_list users[REQUEST_BUCKETS];
    struct requester others; /* all for whom there was no memory */
    struct requester_turns turns[REQUEST_KINDS];
    unsigned next;                      /* the kind whose turn it is */
    uint32_t unanswered[REQUEST_KINDS]; /* of all users */
    struct {
        uint32_t key;
        enum request_kind kind;
    } places[REQUEST_PLACES];
};

void requests_init(struct requests *requests);
/* Nothing waits any more. */
void requests_end(struct requests *requests);
/* conn->control is the list that it waits on. */
void requests_add(struct requests *requests, struct conn *conn);
void requests_remove(struct requests *requests, struct conn *conn);
/* Any request that waits, or NULL. */
struct conn *requests_first(const struct requests *requests);
/* The next request to send to a peer that takes max unanswered ones; NULL: none now. It stays in
 * its list. */
struct conn *requests_next(struct requests *requests, uint32_t max);
/* A request that waited is sent. It is unanswered until one of the other two is called: it was
 * answered, or it could not be sent after all. */
void requests_sent(struct requests *requests, struct conn *conn);
void requests_answered(struct requests *requests, struct conn *conn, bool granted);
void requests_unsent(struct requests *requests, struct conn *conn);

#endif
