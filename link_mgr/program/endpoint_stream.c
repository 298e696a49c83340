/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A stream from the program: how small and large pieces are read, and when they are consumed.
 * endpoint.h has the theory. */
#include <errno.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "link_mgr/program/endpoint_private.h"

#define BULK 8192 /* from here on, reading in place is cheaper than copying twice */

/* How much may stay unread beyond the held byte (endpoint.h says why). A piece is what one look
 * brought. The kernel lets a program poll writable while at most a quarter of its buffer is taken.
 * Some 70 of the smallest writes take a quarter. LAG_SURE bytes, one by one, do not; nor do
 * LAG_PIECES of any size with LAG_BYTES in all. */
#define LAG_SURE 64
#define LAG_BYTES 12288
#define LAG_PIECES 32
/* So many bytes are consumed at the moment when that costs least. */
#define CATCH_UP_BYTES 8192
#define CATCH_UP_PIECES 16

/* Consumes bytes that were forwarded. */
static int stream_consume(struct endpoint *ep, size_t len)
{
    while (len > 0) {
        struct iovec sink = {endpoint_scratch,
                             len < sizeof(endpoint_scratch) ? len : sizeof(endpoint_scratch)};
        ssize_t dropped = endpoint_receive(ep, &sink, 1, 0);
        if (dropped <= 0)
            return -ECONNRESET; /* this cannot happen: the bytes were there */
        ep->held -= (size_t)dropped;
        len -= (size_t)dropped;
    }
    return 0;
}

void endpoint_release_stream(struct endpoint *ep)
{
    stream_consume(ep, ep->held);
    ep->bare = true;
}

void endpoint_catch_up(struct endpoint *ep)
{
    bool much = ep->pieces >= CATCH_UP_PIECES || ep->held >= CATCH_UP_BYTES;
    if (ep->pieces == 0 || ep->held <= 1 || !much)
        return;
    ep->pieces = 0;
    stream_consume(ep, ep->held - 1); /* if anything is wrong, the next look shows it */
}

void endpoint_let_lag_go(struct endpoint *ep)
{
    if (ep->config.conn->type == IDC_STREAM && ep->held > 1)
        stream_consume(ep, ep->held - 1); /* as above */
}

/* ---- reading ---- */

/* The first len bytes of the spans. */
static int cut_spans(struct iovec *out, const struct iovec *spans, int count, size_t len)
{
    int used = 0;
    for (int i = 0; i < count && len > 0; i++) {
        out[used] = spans[i];
        if (out[used].iov_len > len)
            out[used].iov_len = len;
        len -= out[used++].iov_len;
    }
    return used;
}

/* The place for byte number `at` of the spans. */
static uint8_t *stream_place(const struct iovec *spans, size_t at)
{
    return at < spans[0].iov_len ? (uint8_t *)spans[0].iov_base + at
                                 : (uint8_t *)spans[1].iov_base + (at - spans[0].iov_len);
}

/* May the forwarded bytes stay unread for now, with n more bytes? */
static bool may_lag(struct endpoint *ep, size_t n)
{
    bool answered = ep->answered;
    ep->answered = false;
    return !ep->tight && (ep->held + n <= LAG_SURE ||
                          (answered && ep->held + n <= LAG_BYTES && ep->pieces < LAG_PIECES));
}

/* Looks. The bytes that it sees are consumed at once, except the last one, or a little later. */
static ssize_t pull_little(struct endpoint *ep, const struct iovec *spans, int count)
{
    struct iovec copy[2];
    int used = cut_spans(copy, spans, count, sizeof(endpoint_scratch));
    size_t room = endpoint_length_of(copy, used);
    ssize_t n = endpoint_receive(ep, copy, used, MSG_PEEK);
    ep->bulk = n >= BULK;
    if (n <= 0)
        return n;
    bool lag = may_lag(ep, (size_t)n);
    ep->behind -= (size_t)n < ep->behind ? (size_t)n : ep->behind;
    ep->held += (size_t)n;
    if (lag) {
        ep->pieces++;
        ep->drained = (size_t)n < room && !ep->cut && !ep->ending;
        return n;
    }
    ep->pieces = 0;
    return stream_consume(ep, ep->held - 1) < 0 ? -ECONNRESET : n;
}

/* Reads in place, together with the bytes held before. If nothing is left behind them, the last
 * byte is only peeked. */
static ssize_t read_in_place(struct endpoint *ep, const struct iovec *spans, int count, size_t len)
{
    bool last = len == ep->behind;
    ssize_t n;
    for (;;) {
        struct iovec in[3] = {{endpoint_scratch, ep->held}};
        n = endpoint_receive(ep, in, 1 + cut_spans(in + 1, spans, count, len - last), 0);
        if (n <= 0)
            return -ECONNRESET; /* this cannot happen: the bytes are there */
        if ((size_t)n > ep->held)
            break;
        /* a descriptor that the program sent along has ended the read early */
        ep->held -= (size_t)n;
    }
    n -= (ssize_t)ep->held;
    ep->held = 0;
    if (last && (size_t)n == len - 1) {
        struct iovec rest = {stream_place(spans, (size_t)n), 1};
        if (endpoint_receive(ep, &rest, 1, MSG_PEEK) != 1)
            return -ECONNRESET;
        ep->held = 1;
        n++;
    }
    ep->behind -= (size_t)n;
    return n;
}

static ssize_t pull_bulk(struct endpoint *ep, const struct iovec *spans, int count)
{
    int queued = 0;
    size_t room = endpoint_length_of(spans, count);
    if (ep->behind <= room) {
        if (ioctl(ep->fd, SIOCINQ, &queued) < 0 || (size_t)queued < ep->held + BULK)
            return pull_little(ep, spans, count);
        ep->behind = (size_t)queued - ep->held;
    }
    if (room <= 1)
        return pull_little(ep, spans, count);
    return read_in_place(ep, spans, count, room < ep->behind ? room : ep->behind);
}

ssize_t endpoint_pull_stream(struct endpoint *ep, const struct iovec *spans, int count)
{
    ssize_t n = -EAGAIN;
    if (!ep->drained)
        n = ep->bulk ? pull_bulk(ep, spans, count) : pull_little(ep, spans, count);
    if (ep->foreign)
        return -EPERM;
    if (n > 0)
        endpoint_pulled(ep, (size_t)n);
    if (n == -EAGAIN)
        ep->batch_ended = true;
    if (n == -EAGAIN && ep->tight)
        endpoint_make_room_now(ep);
    return n;
}
