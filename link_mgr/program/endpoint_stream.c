/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From the program, a stream: how little is read, how much, and what is consumed when; endpoint.h
 * has the theory. */
#include <errno.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "link_mgr/program/endpoint_private.h"
#include "link_mgr/base/clock.h"

#define BULK 8192 /* from here on, reading in place is cheaper than copying twice */

/* How much may stay unread beyond the held byte (endpoint.h says why). A piece is what one look
 * brought. The kernel lets a program poll writable while a quarter of its buffer is taken, which
 * some 70 of the smallest writes do: LAG_SURE bytes, one by one, do not, nor do LAG_PIECES of any
 * size with LAG_BYTES in all. */
#define LAG_SURE 64
#define LAG_BYTES 12288
#define LAG_PIECES 32
#define LAG_MS 10
/* From so much on it is consumed in the moment in which that costs least. */
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
            return -ECONNRESET; /* cannot happen: they were there */
        ep->held -= (size_t)dropped;
        len -= (size_t)dropped;
    }
    return 0;
}

void endpoint_release_stream(struct endpoint *ep)
{
    stream_consume(ep, ep->held);
}

/* ---- those that lag ---- */

static const struct timeval lag_wait = {.tv_usec = LAG_MS * 1000};

/* Looks after it when the program has sent nothing for LAG_MS. */
static void lag_begin(struct endpoint *ep)
{
    struct endpoints *all = ep->config.all;
    if (ep->lagging)
        TAILQ_REMOVE(&all->lagging, ep, lag);
    else if (TAILQ_EMPTY(&all->lagging))
        event_add(&all->timer, &lag_wait);
    ep->lagging = true;
    ep->lag_since = clock_now_ms();
    TAILQ_INSERT_TAIL(&all->lagging, ep, lag);
}

void endpoint_lag_end(struct endpoint *ep)
{
    if (ep->lagging)
        TAILQ_REMOVE(&ep->config.all->lagging, ep, lag);
    ep->lagging = false;
    ep->pieces = 0;
}

void endpoint_catch_up(struct endpoint *ep)
{
    bool much = ep->pieces >= CATCH_UP_PIECES || ep->held >= CATCH_UP_BYTES;
    if (ep->pieces == 0 || ep->held <= 1 || !much)
        return;
    ep->pieces = 0;
    stream_consume(ep, ep->held - 1); /* what is wrong, if anything, the next look tells */
}

/* The program has sent nothing for a while. */
static void look_after(struct endpoint *ep)
{
    struct conn *conn = ep->config.conn;
    endpoint_lag_end(ep);
    if (ep->held > 1)
        stream_consume(ep, ep->held - 1); /* as above */
    if (ep->drained) {
        ep->drained = false;
        conn_readable(conn);
        conn_settle(conn);
    }
}

static void on_lag(evutil_socket_t fd, short what, void *arg)
{
    struct endpoints *all = arg;
    struct endpoint *ep;
    uint64_t now = clock_now_ms();
    (void)fd, (void)what;
    while ((ep = TAILQ_FIRST(&all->lagging)) && now - ep->lag_since >= LAG_MS)
        look_after(ep);
    if (ep)
        event_add(&all->timer, &lag_wait);
}

void endpoints_init(struct endpoints *all, struct event_base *base)
{
    all->base = base;
    TAILQ_INIT(&all->lagging);
    evtimer_assign(&all->timer, base, on_lag, all);
}

void endpoints_end(struct endpoints *all)
{
    event_del(&all->timer);
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

/* Where byte number `at` of the spans goes. */
static uint8_t *stream_place(const struct iovec *spans, size_t at)
{
    return at < spans[0].iov_len ? (uint8_t *)spans[0].iov_base + at
                                 : (uint8_t *)spans[1].iov_base + (at - spans[0].iov_len);
}

/* May what was forwarded stay unread for now, n more bytes included? */
static bool may_lag(struct endpoint *ep, size_t n)
{
    bool answered = ep->answered;
    ep->answered = false;
    return ep->held + n <= LAG_SURE ||
           (answered && ep->held + n <= LAG_BYTES && ep->pieces < LAG_PIECES);
}

/* Looks. What it sees is consumed at once, but for the last byte, or a little later. */
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
        lag_begin(ep);
        return n;
    }
    ep->pieces = 0;
    return stream_consume(ep, ep->held - 1) < 0 ? -ECONNRESET : n;
}

/* Reads in place, and what was held before it. If nothing is left behind it, the last byte is only
 * peeked. */
static ssize_t read_in_place(struct endpoint *ep, const struct iovec *spans, int count, size_t len)
{
    bool last = len == ep->behind;
    ssize_t n;
    for (;;) {
        struct iovec in[3] = {{endpoint_scratch, ep->held}};
        n = endpoint_receive(ep, in, 1 + cut_spans(in + 1, spans, count, len - last), 0);
        if (n <= 0)
            return -ECONNRESET; /* cannot happen: they are there */
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
    if (ep->drained)
        return -EAGAIN;
    return ep->bulk ? pull_bulk(ep, spans, count) : pull_little(ep, spans, count);
}
