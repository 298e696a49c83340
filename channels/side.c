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

struct side side_of(int in, int out)
{
    struct side side = {.in = in, .out = out, .form = SIDE_PLAIN};
    if (in == out)
        side.form = side_form_of(in);
    if (side.form == SIDE_SOCKET)
        side_set_linger(in, true);
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

/* Nothing new is there. If nothing can come any more, the held byte is taken out, and what follows
 * it is the end or an error. */
static ssize_t side_read_end(struct side *side, void *buf, size_t size)
{
    if (!side_hung_up(side->in))
        return -EAGAIN;
    if (side->held)
        recv(side->in, buf, 1, MSG_DONTWAIT);
    side->held = false;
    ssize_t got = recv(side->in, buf, size, MSG_DONTWAIT);
    return got < 0 ? -errno : got;
}

/* Takes out the held byte and len bytes behind it. Returns how many of the latter came. */
static ssize_t side_take(struct side *side, void *buf, size_t len)
{
    char held;
    struct iovec parts[2] = {{&held, side->held}, {buf, len}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    if (len == 0 && !side->held)
        return 0;
    ssize_t got = recvmsg(side->in, &message, MSG_DONTWAIT);
    if (got <= 0)
        return got < 0 ? -errno : -EIO; /* the kernel has just told of more */
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

static ssize_t side_read_unix(struct side *side, char *buf, size_t size)
{
    int waiting = 0;
    if (ioctl(side->in, SIOCINQ, &waiting) < 0)
        return -errno;
    size_t fresh = (size_t)waiting - side->held;
    if (fresh == 0)
        return side_read_end(side, buf, size);
    bool all = fresh <= size;
    size_t len = all ? fresh - 1 : size;
    side_note(side, all ? fresh : size, all);
    ssize_t got = side_take(side, buf, len);
    if (got < 0 || (size_t)got < len || !all)
        return got;
    ssize_t peeked = recv(side->in, buf + got, 1, MSG_DONTWAIT | MSG_PEEK);
    side->held = peeked == 1;
    return got + side->held;
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

bool side_has_more(const struct side *side)
{
    int waiting = 0;
    return ioctl(side->in, SIOCINQ, &waiting) == 0 && waiting > (int)side->held;
}

void side_let_go(struct side *side)
{
    char byte;
    if (!side->held || side_hung_up(side->in))
        return;
    recv(side->in, &byte, 1, MSG_DONTWAIT);
    side->held = false;
}

bool side_is_untold(const struct side *side)
{
    int waiting = 0;
    return side->form == SIDE_UNIX && side->in >= 0 && !side->held &&
           ioctl(side->in, SIOCINQ, &waiting) == 0 && waiting == 0 && !side_hung_up(side->in);
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
        recv(side->in, &held, 1, MSG_DONTWAIT);
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
    if (side->in >= 0)
        close(side->in);
    if (side->out >= 0 && side->out != side->in)
        close(side->out);
    side->in = side->out = -1;
}
