/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How much of what was given to a program may lie in the kernel unread: the send buffer of
 * link_mgr's end (SO_SNDBUF), which the kernel keeps to. So the bound costs a byte on its way
 * nothing: no counting, and no question.
 *
 * A connection begins with the usual buffer, as long as the peer's budget has plenty of room for
 * it. Later ones begin with the smallest that the kernel allows. That one is not charged: a peer
 * has it for each connection. When a program reads, and its buffer is full all the same, it grows
 * by a step, if there is room. If there is none, one of the peer's other buffers goes down a step:
 * one that was given nothing since the last look, or one that is two steps ahead. So busy
 * connections take room from idle ones, and all come to the same size if there are many. What lies
 * in a buffer that has shrunk stays charged until it is looked at again.
 *
 * What a program has not read when its connection is over stays in its socket, and link_mgr has no
 * end of it any more. It stays charged. When room is short, the kernel is asked (base/unix_diag.h)
 * whether the program has read it or has closed. Where the kernel does not tell, it is not charged.
 *
 * A message must fit the buffer as a whole. For one that does not, where there is no room, the
 * buffer is made large while it is sent. Then its credit stays charged until it was received
 * (PUSH_LENT).
 */
#include <errno.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "common/handover.h"
#include "link_mgr/base/clock.h"
#include "link_mgr/program/endpoint_private.h"

#define BUFFER_SMALL 4608u /* as the kernel counts it: twice what is asked for */
#define BUFFER_LOOKS 4     /* at others' buffers, each time that there is no room */
#define BUFFER_ASKS 4      /* about what was left unread, in a tick of the clock */
/* The last piece may exceed a stream's buffer. The kernel makes it of half the buffer at most, and
 * of 49 KiB, with what it adds. */
#define BUFFER_PIECE (53u * 1024)

/* What sockets have by default. It is asked for once. */
static unsigned buffer_usual(int fd)
{
    static unsigned usual;
    int size = 0;
    if (usual == 0 && getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, &(socklen_t){sizeof(size)}) == 0)
        usual = (unsigned)size;
    return usual;
}

/* The top step of messages is what programs receive; where it cannot be, long ones go by memfd. */
static unsigned buffer_size(const struct endpoint *ep, unsigned step)
{
    if (step < BUFFER_TOP)
        return BUFFER_SMALL << 2 * step;
    return ep->config.conn->type == IDC_STREAM ? buffer_usual(ep->fd) : 2 * HANDOVER_PLAIN_BUFFER;
}

/* The most that the kernel takes for what is in it. */
static uint64_t buffer_cost(const struct endpoint *ep, unsigned step)
{
    uint64_t size = buffer_size(ep, step);
    if (step == 0)
        return 0;
    if (ep->config.conn->type == IDC_SEQPACKET)
        return 2 * size;
    return size + (size / 2 < BUFFER_PIECE ? size / 2 : BUFFER_PIECE);
}

static void buffer_set(const struct endpoint *ep, unsigned step)
{
    int size = (int)buffer_size(ep, step) / 2;
    setsockopt(ep->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
}

static uint64_t buffer_held(const struct endpoint *ep)
{
    int held = 0;
    return ioctl(ep->fd, SIOCOUTQ, &held) == 0 && held > 0 ? (uint64_t)held : 0;
}

static void buffer_charged(struct endpoint *ep, uint64_t cost)
{
    struct budget *budget = ep->config.budget;
    if (ep->buffer_cost > 0)
        TAILQ_REMOVE(&budget->roomy, ep, roomy);
    ep->buffer_cost = cost;
    if (cost > 0)
        TAILQ_INSERT_TAIL(&budget->roomy, ep, roomy);
}

void endpoint_buffer_look_back(struct endpoints *all, struct budget *budget)
{
    struct budget_unread *unread;
    uint64_t now = clock_now_ms();
    if (all->looked_ms == now)
        return;
    all->looked_ms = now;
    for (int i = 0; i < BUFFER_ASKS && (unread = TAILQ_FIRST(&budget->unread)); i++) {
        int64_t bytes = unix_diag_unread(&all->diag, unread->socket);
        if (bytes == 0 || bytes == -ENOENT) {
            budget_forget_room(budget, unread);
            continue;
        }
        TAILQ_REMOVE(&budget->unread, unread, entry);
        TAILQ_INSERT_TAIL(&budget->unread, unread, entry);
    }
}

static bool buffer_take_room(struct endpoint *ep, uint64_t more)
{
    struct budget *budget = ep->config.budget;
    if (budget_take_room(budget, more))
        return true;
    endpoint_buffer_look_back(ep->config.all, budget);
    return budget_take_room(budget, more);
}

void endpoint_buffer_begin(struct endpoint *ep)
{
    uint64_t cost = buffer_cost(ep, BUFFER_TOP);
    ep->buffer = BUFFER_TOP;
    if (ep->config.budget && !buffer_take_room(ep, cost))
        ep->buffer = 0;
    else if (ep->config.budget)
        buffer_charged(ep, cost);
    if (ep->buffer == 0 || ep->config.conn->type == IDC_SEQPACKET)
        buffer_set(ep, ep->buffer);
}

/* How much of its room must stay taken, because the program has not read what is there. */
static uint64_t buffer_unread(struct endpoint *ep)
{
    uint64_t held = buffer_held(ep);
    if (held <= ENDPOINT_SMALL_MOST)
        return 0;
    if (ep->peer_inode == 0)
        ep->peer_inode = unix_diag_peer(&ep->config.all->diag, ep->fd);
    if (ep->peer_inode <= 0)
        return 0;
    return held < ep->buffer_cost ? held : ep->buffer_cost;
}

void endpoint_buffer_end(struct endpoint *ep)
{
    struct budget *budget = ep->config.budget;
    uint64_t cost = ep->buffer_cost, unread = cost > 0 ? buffer_unread(ep) : 0;
    if (cost == 0)
        return;
    buffer_charged(ep, 0);
    budget_give_room(budget, cost - unread);
    if (unread > 0)
        budget_keep_room(budget, unread, (uint32_t)ep->peer_inode);
}

/* Goes down to that step. What lies in it already is charged as long as it may lie there. */
static void buffer_shrink(struct endpoint *ep, unsigned step)
{
    if (step < ep->buffer)
        buffer_set(ep, step);
    ep->buffer = step;
    uint64_t cost = buffer_cost(ep, step), held = buffer_held(ep);
    if (step == 0 && held <= ENDPOINT_SMALL_MOST)
        held = 0;
    cost = cost > held ? cost : held;
    if (cost > ep->buffer_cost)
        return; /* a program has made its own pair larger */
    budget_give_room(ep->config.budget, ep->buffer_cost - cost);
    buffer_charged(ep, cost);
}

/* Must it go down a step, so that ep can go up? */
static bool buffer_gives_way(struct endpoint *other, const struct endpoint *ep)
{
    bool idle = !other->used;
    other->used = false;
    return other->buffer >= ep->buffer + 2 ||
           (idle && other->buffer > 0 && other->buffer >= ep->buffer);
}

/* Looks for one of the peer's other buffers that can shrink, or that has, and was read since. */
static void buffer_take_from_others(struct endpoint *ep)
{
    struct budget *budget = ep->config.budget;
    for (int i = 0; i < BUFFER_LOOKS && !TAILQ_EMPTY(&budget->roomy); i++) {
        struct endpoint *other = TAILQ_FIRST(&budget->roomy);
        bool less = other != ep && buffer_gives_way(other, ep);
        if (less || other->buffer_cost != buffer_cost(other, other->buffer)) {
            buffer_shrink(other, other->buffer - less);
            return;
        }
        buffer_charged(other, other->buffer_cost); /* it goes to the end of the list */
    }
}

bool endpoint_buffer_grow(struct endpoint *ep)
{
    struct budget *budget = ep->config.budget;
    if (ep->buffer == BUFFER_TOP || !budget)
        return false;
    uint64_t cost = buffer_cost(ep, ep->buffer + 1);
    uint64_t more = cost > ep->buffer_cost ? cost - ep->buffer_cost : 0;
    if (!buffer_take_room(ep, more)) {
        buffer_take_from_others(ep);
        cost = buffer_cost(ep, ep->buffer + 1);
        more = cost > ep->buffer_cost ? cost - ep->buffer_cost : 0;
        if (!budget_take_room(budget, more))
            return false;
    }
    buffer_charged(ep, ep->buffer_cost + more);
    buffer_set(ep, ++ep->buffer);
    return true;
}

/* Sends it by memfd, or, if it is not long, as it is in a buffer that is large enough now. */
static ssize_t buffer_send(const struct endpoint *ep, const struct iovec *spans, int count,
                           size_t len)
{
    const struct msghdr msg = {.msg_iov = (struct iovec *)spans, .msg_iovlen = (size_t)count};
    if (len <= HANDOVER_PLAIN_MAX && ep->buffer < BUFFER_TOP) {
        ssize_t n = sendmsg(ep->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n >= 0 || errno != EMSGSIZE)
            return n;
    }
    ssize_t n = handover_send_by_memfd(ep->fd, spans, (size_t)count, len, MSG_DONTWAIT);
    errno = n < 0 ? (int)-n : 0;
    return n;
}

ssize_t endpoint_buffer_lend(struct endpoint *ep, const struct iovec *spans, int count, size_t len)
{
    bool small = ep->buffer < BUFFER_TOP;
    if (small && 4 * buffer_held(ep) > buffer_size(ep, ep->buffer)) {
        errno = EAGAIN; /* until it polls writable */
        return -1;
    }
    if (small)
        buffer_set(ep, BUFFER_TOP);
    ssize_t n = buffer_send(ep, spans, count, len);
    int error = errno;
    if (small)
        buffer_set(ep, ep->buffer);
    errno = error;
    /* There is room again when it was received, because it takes nearly all of the buffer. (A
     * program that has made the buffer small itself has no such messages.) */
    return n >= 0 && event_add(&ep->writable, NULL) == 0 ? PUSH_LENT : n;
}
