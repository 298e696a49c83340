/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The half of a connection towards its program: data from the ring to the program's socket, or to
 * the queue when the program does not take them, and from the queue when it does again.
 */
#include "link_mgr/core/conn_private.h"

#include <errno.h>
#include <sys/socket.h>

#include "link_mgr/core/link.h"
#include "link_mgr/core/peer.h"

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
        /* nothing of the program's is on its way that a reset could overtake */
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

/* One push from the queue. False when there is nothing left to do for now. */
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
        conn_consume(conn, (uint64_t)n);
    } else {
        uint64_t credit = spans[0].iov_len + WIRE_MESSAGE_COST;
        queue_drop_message(&conn->queue);
        conn_consume(conn, credit);
    }
    return true;
}

static void conn_in_deliver(struct conn *conn)
{
    while (conn_deliverable(conn))
        if (!deliver_some(conn))
            break;
    if (conn->in == IN_DRAINING && !conn_deliverable(conn))
        conn_finish_in(conn);
    conn_update_limit(conn);
}

void conn_writable(struct conn *conn)
{
    if (conn->ep && conn->in <= IN_DRAINING)
        conn_in_deliver(conn);
}

/* Bytes of a stream: to the program, and what it does not take to the queue. */
static void take_stream(struct conn *conn, const struct ring *ring, uint32_t length)
{
    struct iovec spans[2];
    ssize_t n = 0;
    if (queue_empty(&conn->queue)) {
        n = conn_host(conn)->push(conn->ep, spans,
                                  ring_ready_spans(ring, WIRE_HEADER, length, spans));
        if (n == -EPIPE || n == -ECONNRESET) {
            reader_gone(conn, n == -ECONNRESET);
            return;
        }
        if (n < 0)
            n = 0;
        conn_consume(conn, (uint64_t)n);
    }
    uint32_t rest = length - (uint32_t)n;
    if (rest == 0)
        return;
    if (!queue_append(&conn->queue, spans,
                      ring_ready_spans(ring, WIRE_HEADER + (uint32_t)n, rest, spans)))
        conn_reset(conn, REASON_NO_RESOURCES);
    else if (n > 0)
        /* up to -EAGAIN: only that makes sure that conn_writable will come */
        conn_in_deliver(conn);
}

/* A message in one frame. */
static void take_message(struct conn *conn, const struct ring *ring, uint32_t length)
{
    struct iovec spans[2];
    int count = length ? ring_ready_spans(ring, WIRE_HEADER, length, spans) : 0;
    if (queue_empty(&conn->queue)) {
        ssize_t n = conn_host(conn)->push(conn->ep, spans, count);
        if (n >= 0) {
            conn_consume(conn, length + WIRE_MESSAGE_COST);
            return;
        }
        if (n != -EAGAIN) {
            reader_gone(conn, n == -ECONNRESET);
            return;
        }
    }
    if (!queue_begin_message(&conn->queue, length) ||
        !queue_add_to_message(&conn->queue, spans, count, length)) {
        conn_reset(conn, REASON_NO_RESOURCES);
        return;
    }
    queue_end_message(&conn->queue);
}

/* A part of a message; the payload proper starts at offset of the ring. */
static void take_part(struct conn *conn, const struct ring *ring, uint32_t offset, uint32_t length,
                      bool first)
{
    struct iovec spans[2];
    int count = ring_ready_spans(ring, offset, length, spans);
    /* No more room is made than the credit that was given covers. */
    uint64_t covered = conn->message_end < conn->in_limit ? conn->message_end : conn->in_limit;
    if ((first && !queue_begin_message(&conn->queue, length)) ||
        !queue_add_to_message(&conn->queue, spans, count,
                              (size_t)(covered - conn->message_start))) {
        conn_reset(conn, REASON_NO_RESOURCES);
        return;
    }
    if (conn->in_message == 0) {
        queue_end_message(&conn->queue);
        conn_in_deliver(conn);
    }
}

/* What a DATA_ind of a seqpacket connection means for in_message; yields its credit and where its
 * bytes start. */
static const char *account_message(struct conn *conn, const struct wire_frame *frame,
                                   const struct ring *ring, uint32_t *credit, uint32_t *skip)
{
    *skip = 0;
    if (conn->in_message > 0) {
        bool more = frame->flags & WIRE_DATA_MORE;
        if ((frame->flags & WIRE_DATA_TOTAL) || frame->length > conn->in_message ||
            more != (frame->length < conn->in_message))
            return "a part of a message that does not fit its total";
        conn->in_message -= frame->length;
        *credit = frame->length;
        return NULL;
    }
    if (!(frame->flags & WIRE_DATA_MORE)) {
        *credit = frame->length + WIRE_MESSAGE_COST;
        return NULL;
    }
    if (!(frame->flags & WIRE_DATA_TOTAL))
        return "a first part of a message without its total";
    uint8_t total[4];
    ring_get(ring, WIRE_HEADER, total, sizeof(total));
    *skip = sizeof(total);
    if (wire_get_u32(total) > IDC_MESSAGE_MAX || wire_get_u32(total) <= frame->length - *skip)
        return "a message with a total out of range";
    conn->in_message = wire_get_u32(total) - (frame->length - *skip);
    conn->message_start = conn->received + WIRE_MESSAGE_COST;
    conn->message_end = conn->message_start + wire_get_u32(total);
    *credit = frame->length - *skip + WIRE_MESSAGE_COST;
    return NULL;
}

const char *conn_on_data(struct conn *conn, const struct wire_frame *frame, const struct ring *ring)
{
    uint32_t credit = frame->length, skip = 0;
    bool first = conn->in_message == 0;
    if (conn->phase < CONN_OPEN || conn->got_end || conn->got_last)
        return "a DATA_ind where none may come";
    if (conn->type == IDC_STREAM && (frame->length == 0 || frame->flags != 0))
        return "a DATA_ind that does not belong on a stream";
    const char *wrong =
        conn->type == IDC_STREAM ? NULL : account_message(conn, frame, ring, &credit, &skip);
    if (wrong)
        return wrong;
    if (credit > conn->in_limit - conn->received)
        return "data beyond the credit";
    conn->received += credit;
    conn->bytes_received += frame->length - skip;
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
        take_stream(conn, ring, frame->length);
    else if (first && conn->in_message == 0)
        take_message(conn, ring, frame->length);
    else
        take_part(conn, ring, WIRE_HEADER + skip, frame->length - skip, first);
    conn_update_limit(conn);
    return NULL;
}
