/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The half of a connection from its program: data from the program's socket straight into the ring,
 * and what follows when the program sends no more, has closed, or is not wanted to send any more.
 */
#include "link_mgr/core/conn_private.h"

#include <errno.h>

#include "link_mgr/core/link.h"
#include "link_mgr/core/peer.h"

/* The program has closed, and all that it sent was pulled. */
static void program_closed(struct conn *conn)
{
    if (conn->dropped || !queue_empty(&conn->queue)) {
        conn_reset(conn, REASON_PROGRAM_RESET); /* something that was meant for it is lost */
        return;
    }
    if (conn->in == IN_DONE)
        return;
    conn_owe(conn, OWED_NO_MORE_WANTED);
    conn->in = IN_DROPPING;
    conn_close_program(conn, conn->lost ? REASON_PROGRAM_RESET : REASON_OK);
}

/* The program will send no more; perhaps it still reads. */
static void program_ended(struct conn *conn)
{
    conn->out = OUT_DONE;
    conn_owe(conn, OWED_NO_MORE_DATA);
    if (conn_host(conn)->gone(conn->ep))
        program_closed(conn);
    conn_check_end(conn);
}

/* Whether there is more from the program, when nobody wants it: as pull. */
static ssize_t look_at_program(struct conn *conn)
{
    uint8_t scratch[4096];
    struct iovec span = {scratch, sizeof(scratch)};
    if (conn->type == IDC_STREAM)
        return conn_host(conn)->pull(conn->ep, &span, 1);
    ssize_t n = conn_host(conn)->message(conn->ep);
    return n == -ENODATA ? 0 : n == 0 ? 1 : n;
}

/* Whatever the program has sent is lost. As look_at_program. */
static ssize_t lose_output(struct conn *conn)
{
    ssize_t n = look_at_program(conn);
    conn->lost |= n > 0 || conn->out_message > 0;
    conn->out_message = 0;
    while (n > 0 && conn->type == IDC_STREAM)
        n = look_at_program(conn);
    conn->readable = false;
    return n;
}

/* What it sends from now on finds its socket closed, or is left unread in it; the kernel then makes
 * a reset of that. */
void conn_peer_closed(struct conn *conn)
{
    conn->in = IN_DONE;
    if (lose_output(conn) == -ECONNRESET) {
        conn_reset(conn, REASON_PROGRAM_RESET);
        return;
    }
    conn->out = OUT_DONE;
    conn_owe(conn, OWED_NO_MORE_DATA);
    conn_check_end(conn);
}

/* The peer wants no more: whatever the program has sent since is lost. It can't add to it: it was
 * shut off. */
static void drop_output(struct conn *conn)
{
    ssize_t n = lose_output(conn);
    if (n == -ECONNRESET)
        conn_reset(conn, REASON_PROGRAM_RESET);
    else if (n != -EAGAIN)
        program_ended(conn);
}

/* The program has said that it sends no more. Has it closed meanwhile? */
static void look_for_close(struct conn *conn)
{
    conn->readable = false;
    if (look_at_program(conn) == -ECONNRESET)
        conn_reset(conn, REASON_PROGRAM_RESET);
    else if (conn_host(conn)->gone(conn->ep))
        program_closed(conn);
}

static int64_t nothing_to_send(struct conn *conn, ssize_t error)
{
    conn->readable = false;
    if (error == 0 || error == -ENODATA)
        program_ended(conn);
    else if (error == -ECONNRESET)
        conn_reset(conn, REASON_PROGRAM_RESET);
    else if (error == -EMSGSIZE)
        conn_reset(conn, REASON_TOO_LONG);
    return -EAGAIN;
}

static int64_t fill_stream(struct conn *conn, const struct ring *ring, uint32_t room)
{
    struct iovec spans[2];
    uint64_t credit = conn->send_limit - conn->sent;
    uint32_t length = credit < room ? (uint32_t)credit : room;
    if (length == 0)
        return -EAGAIN; /* conn_on_credit goes on */
    ssize_t n =
        conn_host(conn)->pull(conn->ep, spans, ring_space_spans(ring, WIRE_HEADER, length, spans));
    if (n <= 0)
        return nothing_to_send(conn, n);
    conn->sent += (uint64_t)n;
    return n;
}

static bool pull_exactly(struct conn *conn, const struct ring *ring, uint32_t offset,
                         uint32_t length)
{
    struct iovec spans[2];
    int count = length ? ring_space_spans(ring, offset, length, spans) : 0;
    return conn_host(conn)->pull(conn->ep, spans, count) == (ssize_t)length;
}

static int64_t fill_first(struct conn *conn, const struct ring *ring, uint32_t room,
                          struct wire_frame *frame)
{
    uint64_t credit = conn->send_limit - conn->sent;
    ssize_t total = conn_host(conn)->message(conn->ep);
    if (total < 0)
        return nothing_to_send(conn, total);
    if (credit < WIRE_MESSAGE_COST + (total > 0))
        return -EAGAIN;
    credit -= WIRE_MESSAGE_COST;
    uint32_t length = (uint32_t)total, skip = 0;
    if (length > room || length > credit) {
        uint8_t head[4];
        skip = sizeof(head);
        length = credit < room - skip ? (uint32_t)credit : room - skip;
        wire_put_u32(head, (uint32_t)total);
        ring_put(ring, WIRE_HEADER, head, sizeof(head));
        frame->flags = WIRE_DATA_MORE | WIRE_DATA_TOTAL;
    }
    if (!pull_exactly(conn, ring, WIRE_HEADER + skip, length))
        return nothing_to_send(conn, -ECONNRESET);
    conn->out_message = (uint32_t)total - length;
    conn->sent += length + WIRE_MESSAGE_COST;
    return length + skip;
}

static int64_t fill_part(struct conn *conn, const struct ring *ring, uint32_t room,
                         struct wire_frame *frame)
{
    uint64_t credit = conn->send_limit - conn->sent;
    uint32_t length = conn->out_message < room ? conn->out_message : room;
    if (credit < length)
        length = (uint32_t)credit;
    if (length == 0)
        return -EAGAIN;
    if (!pull_exactly(conn, ring, WIRE_HEADER, length))
        return nothing_to_send(conn, -ECONNRESET);
    conn->out_message -= length;
    conn->sent += length;
    frame->flags = conn->out_message > 0 ? WIRE_DATA_MORE : 0;
    return length;
}

int64_t conn_fill_data(struct conn *conn, const struct ring *ring, uint32_t room,
                       struct wire_frame *frame)
{
    int64_t length = -EAGAIN;
    *frame = (struct wire_frame){.type = WIRE_TYPE_DATA, .connection = conn->peer_id};
    if (conn->phase != CONN_OPEN || !conn->ep || !conn->readable)
        return -EAGAIN;
    if (conn->out == OUT_DROPPING)
        drop_output(conn);
    else if (conn->out == OUT_OPEN && conn->type == IDC_STREAM)
        length = fill_stream(conn, ring, room);
    else if (conn->out == OUT_OPEN && conn->out_message == 0)
        length = fill_first(conn, ring, room, frame);
    else if (conn->out == OUT_OPEN)
        length = fill_part(conn, ring, room, frame);
    else
        look_for_close(conn);
    if (length < 0)
        return length;
    frame->length = (uint32_t)length;
    frame->credit = conn_credit_field(conn);
    conn->bytes_sent += (uint64_t)length;
    return length;
}

void conn_readable(struct conn *conn)
{
    conn->readable = true;
    if (conn->link && conn->phase == CONN_OPEN)
        link_ready(conn->link, conn);
}
