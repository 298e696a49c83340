/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The half of a connection towards its program. Data go from the link's spans to the program's
 * socket. When the program does not take them, they go to the queue, and from there to the program
 * when it takes data again.
 */
#include "link_mgr/core/conn_private.h"

#include <errno.h>
#include <sys/socket.h>
#include <syslog.h>

#include "link_mgr/core/link.h"
#include "link_mgr/core/pace.h"
#include "link_mgr/core/peer.h"

/* So much was pushed. */
static void conn_pushed(struct conn *conn, uint64_t credit)
{
    if (conn->listener)
        conn->untaken += credit;
    else
        conn_consume(conn, credit);
}

/* The program has got everything. */
void conn_finish_in(struct conn *conn)
{
    conn->in = IN_DONE;
    if (conn->end != REASON_OK) {
        conn_close_program(conn, conn->end);
        return;
    }
    if (conn->ep)
        conn_host(conn)->shut(conn->ep, SHUT_WR);
    conn_check_end(conn);
}

/* The program takes no more, and something was meant for it. */
static void reader_gone(struct conn *conn, bool closed)
{
    conn_drop_queue(conn);
    conn->dropped = true;
    if (closed && conn->out == OUT_DONE && conn->phase == CONN_OPEN) {
        /* the program has sent nothing that a reset could overtake */
        conn_reset(conn, REASON_PROGRAM_RESET);
        return;
    }
    if (conn->end != REASON_OK || conn->got_end) {
        conn_finish_in(conn);
        return;
    }
    conn->in = IN_DROPPING;
    conn_owe(conn, OWED_NO_MORE_WANTED);
    if (conn->readable && conn->link)
        link_ready(conn->link, conn);
}

/* As conn_pushed, for a message. */
static void message_pushed(struct conn *conn, ssize_t n, uint64_t credit)
{
    if (n == PUSH_LENT)
        conn->lent = credit;
    else
        conn_pushed(conn, credit);
}

/* Makes one push from the queue. False: there is nothing left to do for now. */
static bool deliver_some(struct conn *conn)
{
    struct iovec spans[QUEUE_SPANS];
    int count = 1;
    if (conn->type == IDC_STREAM)
        count = queue_peek(&conn->queue, spans);
    else
        queue_peek_message(&conn->queue, spans);
    ssize_t n = conn_host(conn)->push(conn->ep, spans, count);
    if (n == -EAGAIN)
        return false;
    if (n < 0) {
        reader_gone(conn, n == -ECONNRESET);
        return false;
    }
    if (conn->type == IDC_STREAM) {
        queue_drop(&conn->queue, (size_t)n);
        conn_pushed(conn, (uint64_t)n);
    } else {
        uint64_t credit = spans[0].iov_len + WIRE_MESSAGE_COST;
        queue_drop_message(&conn->queue);
        message_pushed(conn, n, credit);
    }
    return true;
}

static void conn_in_deliver(struct conn *conn)
{
    while (conn->lent == 0 && conn_deliverable(conn))
        if (!deliver_some(conn))
            break;
    if (conn->in == IN_DRAINING && !conn_deliverable(conn))
        conn_finish_in(conn);
    conn_update_limit(conn);
}

void conn_writable(struct conn *conn)
{
    if (!conn->ep || conn->in > IN_DRAINING)
        return;
    conn_consume(conn, conn->lent);
    conn->lent = 0;
    conn_in_deliver(conn);
}

/* The credit promised the peer room for the data, but this link_mgr has no memory for them. */
static void no_memory_for(struct conn *conn, const struct conn_data *data)
{
    peer_log(conn->peer, LOG_ERR,
             "a connection of local port %u was reset: no memory is left for %u bytes that its "
             "program has not taken yet",
             conn->local_port, data->length);
    conn_reset(conn, REASON_NO_RESOURCES);
}

/* Bytes of a stream go to the program; what it does not take goes to the queue. */
static void take_stream(struct conn *conn, const struct conn_data *data)
{
    ssize_t n = 0;
    if (queue_empty(&conn->queue)) {
        n = conn_host(conn)->push(conn->ep, data->spans.at, data->spans.count);
        if (n == -EPIPE || n == -ECONNRESET) {
            reader_gone(conn, n == -ECONNRESET);
            return;
        }
        if (n < 0)
            n = 0;
        conn_pushed(conn, (uint64_t)n);
    }
    if ((uint32_t)n == data->length)
        return;
    struct spans rest = data->spans;
    spans_skip(&rest, (size_t)n);
    if (!queue_append(&conn->queue, rest.at, rest.count))
        no_memory_for(conn, data);
    else if (n > 0)
        /* until -EAGAIN: only that makes sure that conn_writable will come */
        conn_in_deliver(conn);
}

/* A message that is not in parts. */
static void take_message(struct conn *conn, const struct conn_data *data)
{
    const struct spans *spans = &data->spans;
    if (conn->lent == 0 && queue_empty(&conn->queue)) {
        ssize_t n = conn_host(conn)->push(conn->ep, spans->at, spans->count);
        if (n >= 0) {
            message_pushed(conn, n, data->length + WIRE_MESSAGE_COST);
            return;
        }
        if (n != -EAGAIN) {
            reader_gone(conn, n == -ECONNRESET);
            return;
        }
    }
    if (!queue_begin_message(&conn->queue, data->length) ||
        !queue_add_to_message(&conn->queue, spans->at, spans->count, data->length)) {
        no_memory_for(conn, data);
        return;
    }
    queue_end_message(&conn->queue);
}

/* A part of a message. */
static void take_part(struct conn *conn, const struct conn_data *data)
{
    const struct spans *spans = &data->spans;
    /* Makes no more room than the given credit covers. */
    uint64_t covered = conn->message_end < conn->in_limit ? conn->message_end : conn->in_limit;
    if ((data->has_total && !queue_begin_message(&conn->queue, data->length)) ||
        !queue_add_to_message(&conn->queue, spans->at, spans->count,
                              (size_t)(covered - conn->message_start))) {
        no_memory_for(conn, data);
        return;
    }
    if (conn->in_message == 0) {
        queue_end_message(&conn->queue);
        conn_in_deliver(conn);
    }
}

/* Updates in_message for data of a seqpacket connection, and returns the credit that they cost. */
static const char *account_message(struct conn *conn, const struct conn_data *data,
                                   uint32_t *credit)
{
    if (conn->in_message > 0) {
        if (data->has_total || data->length > conn->in_message ||
            data->more != (data->length < conn->in_message))
            return "a part of a message that does not fit its total";
        conn->in_message -= data->length;
        *credit = data->length;
        return NULL;
    }
    *credit = data->length + WIRE_MESSAGE_COST;
    if (!data->more)
        return NULL;
    if (!data->has_total)
        return "a first part of a message without its total";
    if (data->total > IDC_MESSAGE_MAX || data->total <= data->length)
        return "a message with a total out of range";
    conn->in_message = data->total - data->length;
    conn->message_start = conn->received + WIRE_MESSAGE_COST;
    conn->message_end = conn->message_start + data->total;
    return NULL;
}

const char *conn_on_data(struct conn *conn, const struct conn_data *data)
{
    uint32_t credit = data->length;
    bool first = conn->in_message == 0;
    if (conn->phase < CONN_OPEN || conn->got_end || conn->got_last)
        return "a DATA_ind where none may come";
    if (conn->type == IDC_STREAM && (data->length == 0 || data->more || data->has_total))
        return "a DATA_ind that does not belong on a stream";
    const char *wrong = conn->type == IDC_STREAM ? NULL : account_message(conn, data, &credit);
    if (wrong)
        return wrong;
    if (credit > conn_told_limit(conn) - conn->received)
        return "data beyond the credit";
    conn->received += credit;
    if (conn->pace)
        pace_received(conn, credit, data->length);
    conn->bytes_received += data->length;
    conn->busy |= conn->received > BUDGET_WINDOW_NEW;
    if (conn->in != IN_OPEN || conn->phase != CONN_OPEN) {
        conn_consume(conn, credit);
        conn->dropped = true;
        if (conn->phase == CONN_OPEN && !conn->ep)
            /* the program closed, and now something is lost */
            conn_reset(conn, REASON_PROGRAM_RESET);
    } else if (conn->in_message > 0 &&
               conn->message_end - conn->consumed > conn->peer->budget.ceiling / 2)
        conn_reset(conn, REASON_TOO_LONG);
    else if (conn->type == IDC_STREAM)
        take_stream(conn, data);
    else if (first && conn->in_message == 0)
        take_message(conn, data);
    else
        take_part(conn, data);
    conn_update_limit(conn);
    return NULL;
}
