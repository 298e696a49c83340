/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The half of a connection from its program. Data go from the program's socket straight into the
 * link's spans. Here is also what follows when the program sends no more, has closed, or must not
 * send any more.
 */
#include "link_mgr/core/conn_private.h"

#include <errno.h>
#include <sys/socket.h>

#include "link_mgr/core/link.h"
#include "link_mgr/core/peer.h"

/* The program has closed, and all that it sent was pulled. */
static void program_closed(struct conn *conn)
{
    if (conn->dropped || !queue_empty(&conn->queue)) {
        conn_reset(conn,
                   REASON_PROGRAM_RESET); /* something that was meant for the program is lost */
        return;
    }
    if (conn->in == IN_DONE)
        return;
    if (conn->in == IN_DRAINING) {
        /* Only a lent message was left, and the program has taken it: to close with a message
         * unread is a reset. */
        conn_finish_in(conn);
        return;
    }
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

/* Resets the connection if what pull or message returned is a failure. */
static bool reset_for(struct conn *conn, ssize_t error)
{
    if (error != -ECONNRESET && error != -EMSGSIZE && error != -EPERM)
        return false;
    conn_reset(conn, error == -EMSGSIZE ? REASON_TOO_LONG
                     : error == -EPERM  ? REASON_DESCRIPTORS
                                        : REASON_PROGRAM_RESET);
    return true;
}

/* Is there more from the program, although nobody wants it? Returns as pull does. */
static ssize_t look_at_program(struct conn *conn)
{
    uint8_t scratch[4096];
    struct iovec span = {scratch, sizeof(scratch)};
    if (conn->type == IDC_STREAM)
        return conn_host(conn)->pull(conn->ep, &span, 1);
    ssize_t n = conn_host(conn)->message(conn->ep);
    return n == -ENODATA ? 0 : n == 0 ? 1 : n;
}

/* Drops everything that the program has sent. Returns as look_at_program does. */
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

/* What the program sends from now on finds its socket closed, or stays unread in it. In both cases
 * the kernel makes it a reset. */
void conn_peer_closed(struct conn *conn)
{
    conn->in = IN_DONE;
    /* First, so that a program that goes on writing can't keep us dropping. */
    conn_host(conn)->shut(conn->ep, SHUT_RD);
    if (reset_for(conn, lose_output(conn)))
        return;
    conn->out = OUT_DONE;
    conn_owe(conn, OWED_NO_MORE_DATA);
    conn_check_end(conn);
}

/* The peer wants no more, so whatever the program has sent since is lost. The program can't add
 * more, because it was shut off. */
static void drop_output(struct conn *conn)
{
    ssize_t n = lose_output(conn);
    if (!reset_for(conn, n) && n != -EAGAIN)
        program_ended(conn);
}

/* The program has said that it sends no more. Has it closed meanwhile? */
static void look_for_close(struct conn *conn)
{
    conn->readable = false;
    if (!reset_for(conn, look_at_program(conn)) && conn_host(conn)->gone(conn->ep))
        program_closed(conn);
}

/* Always false. */
static bool nothing_to_send(struct conn *conn, ssize_t error)
{
    conn->readable = false;
    if (error == 0 || error == -ENODATA)
        program_ended(conn);
    else
        reset_for(conn, error);
    return false;
}

/* Of so much credit, what may be used now. */
static uint64_t conn_out_most(const struct conn *conn, uint64_t credit)
{
    return conn->pace && conn->paced.left < credit ? conn->paced.left : credit;
}

static bool fill_stream(struct conn *conn, struct conn_data *data)
{
    uint64_t credit = conn_out_most(conn, conn->send_limit - conn->sent);
    if (credit == 0)
        return false; /* conn_on_credit goes on */
    if (credit < data->length)
        spans_keep(&data->spans, (size_t)credit);
    ssize_t n = conn_host(conn)->pull(conn->ep, data->spans.at, data->spans.count);
    if (n <= 0)
        return nothing_to_send(conn, n);
    data->length = (uint32_t)n;
    conn->sent += (uint64_t)n;
    return true;
}

/* The first length bytes of the room. */
static bool pull_exactly(struct conn *conn, struct conn_data *data, uint32_t length)
{
    spans_keep(&data->spans, length);
    data->length = length;
    return conn_host(conn)->pull(conn->ep, data->spans.at, data->spans.count) == (ssize_t)length;
}

/* A message, or the first part of one. */
static bool fill_first(struct conn *conn, struct conn_data *data, uint32_t total_size)
{
    uint64_t credit = conn->send_limit - conn->sent;
    ssize_t total = conn_host(conn)->message(conn->ep);
    if (total < 0)
        return nothing_to_send(conn, total);
    if (credit < WIRE_MESSAGE_COST + (total > 0))
        return false;
    credit = conn_out_most(conn, credit - WIRE_MESSAGE_COST);
    uint32_t length = (uint32_t)total;
    if (length > data->length || length > credit) {
        uint32_t room = data->length - total_size;
        length = credit < room ? (uint32_t)credit : room;
        spans_skip(&data->spans, total_size);
        data->more = data->has_total = true;
        data->total = (uint32_t)total;
    }
    if (!pull_exactly(conn, data, length))
        return nothing_to_send(conn, -ECONNRESET);
    conn->out_message = (uint32_t)total - length;
    conn->sent += length + WIRE_MESSAGE_COST;
    return true;
}

/* A later part of a message. */
static bool fill_part(struct conn *conn, struct conn_data *data)
{
    uint64_t credit = conn_out_most(conn, conn->send_limit - conn->sent);
    uint32_t length = conn->out_message < data->length ? conn->out_message : data->length;
    if (credit < length)
        length = (uint32_t)credit;
    if (length == 0)
        return false;
    if (!pull_exactly(conn, data, length))
        return nothing_to_send(conn, -ECONNRESET);
    conn->out_message -= length;
    conn->sent += length;
    data->more = conn->out_message > 0;
    return true;
}

bool conn_fill_data(struct conn *conn, struct conn_data *data, uint32_t total_size)
{
    bool filled = false;
    if (conn->phase != CONN_OPEN || !conn->ep || !conn->readable)
        return false;
    if (conn->out == OUT_DROPPING)
        drop_output(conn);
    else if (conn->out == OUT_OPEN && conn->type == IDC_STREAM)
        filled = fill_stream(conn, data);
    else if (conn->out == OUT_OPEN && conn->out_message == 0)
        filled = fill_first(conn, data, total_size);
    else if (conn->out == OUT_OPEN)
        filled = fill_part(conn, data);
    else
        look_for_close(conn);
    if (filled) {
        conn->bytes_sent += data->length;
        conn_left_sent(conn, data->length);
    }
    return filled;
}

void conn_readable(struct conn *conn)
{
    conn->readable = true;
    if (conn->link && conn->phase == CONN_OPEN)
        link_ready(conn->link, conn);
}
