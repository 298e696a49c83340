/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "channels/side.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "channels/child.h"
#include "channels/foreign.h"
#include "link_mgr/base/unix_diag.h"

static void side_set_linger(int fd, bool resets)
{
    struct linger linger = {.l_onoff = resets, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}

static enum side_form side_form_of(int fd)
{
    int domain = 0, type = 0;
    socklen_t len = sizeof(domain);
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) < 0 ||
        getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0)
        return SIDE_PLAIN;
    return domain == AF_UNIX && type == SOCK_STREAM ? SIDE_UNIX : SIDE_SOCKET;
}

/* Otherwise the kernel would hide an urgent byte from recv, and drop it when the next one is read.
 * Of a Unix socket it also counts that byte among those that are there. */
static void side_take_urgent_bytes(int fd)
{
    setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &(int){1}, sizeof(int));
}

struct side side_unix(int fd, bool held)
{
    side_take_urgent_bytes(fd);
    return (struct side){.in = fd, .out = fd, .form = SIDE_UNIX, .held = held};
}

struct side side_of(int in, int out)
{
    struct side side = {.in = in, .out = out, .form = SIDE_PLAIN};
    if (in == out)
        side.form = side_form_of(in);
    if (side.form == SIDE_UNIX)
        return side_unix(in, false);
    if (side.form == SIDE_SOCKET) {
        side_take_urgent_bytes(in);
        side_set_linger(in, true);
    }
    if (side.form != SIDE_PLAIN)
        return side; /* each call says that it does not wait */
    if (in >= 0)
        fcntl(in, F_SETFL, fcntl(in, F_GETFL) | O_NONBLOCK);
    if (out >= 0 && out != in)
        fcntl(out, F_SETFL, fcntl(out, F_GETFL) | O_NONBLOCK);
    return side;
}

bool side_is_deaf(const struct side *side)
{
    return side->form == SIDE_PTY || side->form == SIDE_MUTE;
}

/* ---- reading ---- */

static bool side_hung_up(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLRDHUP};
    return poll(&p, 1, 0) == 1 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

/* Bytes in a Unix socket that were not passed on, or a negative errno. The held byte has gone if
 * another program has a copy of the socket, and has read from it: a client of this domain may have
 * kept one. */
static ssize_t side_fresh(const struct side *side)
{
    int waiting = 0;
    if (ioctl(side->in, SIOCINQ, &waiting) < 0)
        return -errno;
    return waiting < side->held ? -ENODATA : waiting - side->held;
}

/* The end, or why there is none. The held byte stays. */
static ssize_t side_read_end(const struct side *side)
{
    int error = 0;
    socklen_t len = sizeof(error);
    getsockopt(side->in, SOL_SOCKET, SO_ERROR, &error, &len);
    return -error;
}

/* Takes out the held byte and len bytes behind it. Returns how many of the latter came. recvmsg
 * stops behind bytes with which descriptors came, and before an urgent one. So there may be less,
 * and then something is left. */
static ssize_t side_take(struct side *side, void *buf, size_t len)
{
    char held;
    struct iovec parts[2] = {{&held, side->held}, {buf, len}};
    if (len == 0 && !side->held)
        return 0;
    ssize_t got = foreign_recv(side->in, parts, 2);
    if (got <= 0)
        return got < 0 ? got : -EIO; /* the kernel has just told of more */
    got -= side->held;
    side->held = false;
    return got;
}

static void side_note(struct side *side, size_t fresh, bool all)
{
    if (side->ended && !unix_diag_blocks_grow())
        side->block = 0;
    side->block = fresh < UINT32_MAX - side->block ? side->block + (uint32_t)fresh : UINT32_MAX;
    side->ended = all;
    side->news = true;
}

/* Something is there. */
static ssize_t side_read_fresh(struct side *side, char *buf, size_t size, size_t fresh)
{
    bool all = fresh <= size;
    size_t len = all ? fresh - 1 : size;
    bool held = side->held;
    side_note(side, all ? fresh : size, all);
    ssize_t got = side_take(side, buf, len);
    if (got == 0 && len > 0 && held) /* it was all of a piece */
        got = side_take(side, buf, len);
    if (got < 0 || (size_t)got < len || !all)
        return got;
    ssize_t peeked = recv(side->in, buf + got, 1, MSG_DONTWAIT | MSG_PEEK);
    side->held = peeked == 1;
    return got + side->held;
}

static ssize_t side_read_unix(struct side *side, char *buf, size_t size)
{
    ssize_t fresh = side_fresh(side);
    if (fresh == 0) {
        if (!side_hung_up(side->in))
            return -EAGAIN;
        fresh = side_fresh(side); /* it may have come before the end */
    }
    if (fresh < 0)
        return fresh;
    return fresh == 0 ? side_read_end(side) : side_read_fresh(side, buf, size, (size_t)fresh);
}

ssize_t side_read(struct side *side, void *buf, size_t size)
{
    ssize_t got = 0;
    if (side->in < 0 || side->form == SIDE_MUTE)
        return 0;
    if (side->form == SIDE_UNIX)
        got = side_read_unix(side, buf, size);
    else if (side->form == SIDE_SOCKET)
        got = recv(side->in, buf, size, MSG_DONTWAIT);
    else
        got = read(side->in, buf, size);
    if (got == -1 && side->form != SIDE_UNIX)
        got = -errno;
    if (got == -EINTR)
        return -EAGAIN;
    /* a terminal whose other side has closed */
    if (got == -EIO && side->form == SIDE_PLAIN)
        got = 0;
    return got;
}

ssize_t side_take_byte(const struct side *side, char *byte)
{
    return foreign_recv(side->in, &(struct iovec){byte, 1}, 1);
}

void side_let_go(struct side *side)
{
    char byte;
    if (!side->held || side_hung_up(side->in))
        return;
    side_take_byte(side, &byte);
    side->held = false;
}

bool side_is_untold(const struct side *side)
{
    return side->form == SIDE_UNIX && side->in >= 0 && !side->held && side_fresh(side) == 0 &&
           !side_hung_up(side->in);
}

bool side_has_more(const struct side *side)
{
    int waiting = 0;
    return side->in >= 0 && ioctl(side->in, FIONREAD, &waiting) == 0 && waiting > side->held;
}

/* ---- writing ---- */

ssize_t side_write(const struct side *side, const void *buf, size_t len)
{
    ssize_t sent;
    if (side->form == SIDE_UNIX || side->form == SIDE_SOCKET)
        sent = send(side->out, buf, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    else
        sent = write(side->out, buf, len);
    if (sent >= 0)
        return sent;
    return errno == EINTR ? -EAGAIN : -errno;
}

void side_end_writing(struct side *side)
{
    if (side->form == SIDE_UNIX || side->form == SIDE_SOCKET) {
        shutdown(side->out, SHUT_WR);
    } else if (side->form == SIDE_PLAIN && side->out >= 0 && side->out != side->in) {
        close(side->out);
        side->out = -1;
    }
}

void side_end_reading(struct side *side)
{
    if (side->form == SIDE_UNIX || side->form == SIDE_SOCKET) {
        shutdown(side->in, SHUT_RD);
    } else if (side->form == SIDE_PLAIN && side->in >= 0 && side->in != side->out) {
        close(side->in);
        side->in = -1;
    }
}

/* ---- the end ---- */

static void side_close_cleanly(const struct side *side)
{
    char held;
    if (side->form == SIDE_UNIX && side->held)
        side_take_byte(side, &held);
    if (side->form == SIDE_UNIX)
        shutdown(side->in, SHUT_RDWR); /* it is told now, whenever it is closed */
    if (side->form == SIDE_SOCKET)
        side_set_linger(side->in, false);
}

void side_close(struct side *side, int error)
{
    if (side_is_deaf(side))
        return;
    if (error == 0 && side->in >= 0)
        side_close_cleanly(side);
    if (side->child != NULL) {
        if (error != 0)
            child_terminate(side->child);
        child_release(side->child);
        side->child = NULL;
    }
    if (side->in >= 0 && side->form == SIDE_UNIX && !side->guarded)
        foreign_close(side->in);
    else if (side->in >= 0)
        close(side->in);
    if (side->out >= 0 && side->out != side->in)
        close(side->out);
    side->in = side->out = -1;
}
