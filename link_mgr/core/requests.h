/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * requests.h - the requests that wait to be sent over a link, and which of them is next.
 *
 * Theory of operation
 *
 * The peer takes a limited number of unanswered requests, grants at once, and refuses at a limited
 * rate (docs/protocol.md, Rates). Refused requests would therefore soon be all that is unanswered,
 * and those that would be granted would wait for them. So they are kept apart by how the latest
 * request of the same uid to the same place was answered: granted, not known, refused. Requests of
 * the first kind may take all of the unanswered ones. Those of the other two may take half, and
 * those of the last a quarter.
 *
 * Users have turns. Each uid falls into one of some rows, and of what the doubtful kinds may take,
 * a row gets no more than it leaves to the others. So a user who tries all ports delays the first
 * connect of another one by hardly anything.
 *
 * What is remembered of answers is a table of fixed size. A place that grants is forgotten only for
 * another one that grants.
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
/* Any that waits, or NULL. */
struct conn *requests_first(const struct requests *requests);
/* The next one to be sent to a peer that takes so many unanswered; NULL: none now. It stays. */
struct conn *requests_next(struct requests *requests, uint32_t max);
/* It was sent (and removed before); it was answered. */
void requests_sent(struct requests *requests, struct conn *conn);
void requests_answered(struct requests *requests, const struct conn *conn, bool granted);

#endif
