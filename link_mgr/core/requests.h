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
 * Users take turns. Each uid falls into one of a few rows. Of what the doubtful kinds may take, a
 * row gets no more than it leaves to the others. So a user who tries all ports hardly delays
 * another user's first connect.
 *
 * A table of fixed size remembers the answers. A place that grants is forgotten only for another
 * place that grants.
 */
#ifndef IDC_REQUESTS_H
#define IDC_REQUESTS_H

#include <stdbool.h>
#include <stdint.h>

#include "link_mgr/core/conn.h"

#define REQUEST_ROWS 16
#define REQUEST_PLACES 1024

enum request_kind { REQUEST_GRANTED, REQUEST_UNKNOWN, REQUEST_REFUSED, REQUEST_KINDS };

struct request_row {
    struct conn_list waiting[REQUEST_KINDS];
    uint32_t unanswered[REQUEST_KINDS];
};

struct requests {
    struct request_row rows[REQUEST_ROWS];
    uint32_t next;                      /* the row whose turn it is */
    uint32_t waiting;                   /* in all rows */
    uint32_t unanswered[REQUEST_KINDS]; /* in all rows */
    struct {
        uint32_t key;
        enum request_kind kind;
    } places[REQUEST_PLACES];
};

void requests_init(struct requests *requests);
/* The row of a uid. */
uint32_t requests_row(uint32_t uid);
/* conn->control is the list that it waits on. */
void requests_add(struct requests *requests, struct conn *conn);
void requests_remove(struct requests *requests, struct conn *conn);
/* Any request that waits, or NULL. */
struct conn *requests_first(const struct requests *requests);
/* The next request to send to a peer that takes max unanswered ones; NULL: none now. It stays in
 * its list. */
struct conn *requests_next(struct requests *requests, uint32_t max);
/* The request was sent (and removed before); the request was answered. */
void requests_sent(struct requests *requests, struct conn *conn);
void requests_answered(struct requests *requests, const struct conn *conn, bool granted);

#endif
