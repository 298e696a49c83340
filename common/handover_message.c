/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * handover_message.c - messages of seqpacket connections: theory of operation
 *
 * Long messages. A front differs from a message of the same length by its one descriptor. The
 * descriptor's file is sealed against writing and shrinking, is longer than the front, and begins
 * with it. Whatever is not all of that is an ordinary message, and its descriptors are closed. Only
 * memory files can have seals. So the receiver never waits for something of the sender's making
 * (FUSE, a pipe, a device), and the bytes cannot change while it reads them. It reads with pread,
 * never by mmap, so there is no SIGBUS.
 */
#include "common/handover_private.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/front.h"

/* Since Linux 6.3; where vm.memfd_noexec is 2 a memfd cannot be had without it. */
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

/* So many bytes at either end of a front are compared with its file. */
#define FRONT_LOOK 64
/* A front of more pieces is a short one. */
#define FRONT_SPANS 16

#define REFS_PAUSE_MS 5
#define REFS_PAUSE_MAX_MS 80

static int new_memfd(void)
{
    int fd = memfd_create("idc-message", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
    if (fd < 0 && errno == EINVAL)
        fd = memfd_create("idc-message", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    return fd < 0 ? -errno : fd;
}

static int append_to_memfd(int fd, const uint8_t *buf, size_t len)
{
    while (len > 0) {
        ssize_t wrote = write(fd, buf, len);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote <= 0)
            return wrote < 0 ? -errno : -EIO;
        buf += wrote;
        len -= (size_t)wrote;
    }
    return 0;
}

static int fill_memfd(int fd, const struct iovec *spans, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int error = append_to_memfd(fd, spans[i].iov_base, spans[i].iov_len);
        if (error < 0)
            return error;
    }
    return fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) == 0
               ? 0
               : -errno;
}

/* We notice a full socket that does not block before megabytes are copied in vain. */
void handover_make_room(int fd)
{
    /* The kernel doubles it, and counts some memory in addition to the bytes. */
    int size = 2 * (int)(HANDOVER_INLINE_MAX + HANDOVER_INLINE_MAX / 4);
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) < 0)
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
}

/* We ask for the default once. */
void handover_make_stream_room(int fd)
{
    static atomic_int usual;
    int size = atomic_load_explicit(&usual, memory_order_relaxed);
    if (size == 0 && getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, &(socklen_t){sizeof(size)}) == 0)
        atomic_store_explicit(&usual, size, memory_order_relaxed);
    if (size < 2 * HANDOVER_STREAM_BUFFER)
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &(int){HANDOVER_STREAM_BUFFER}, sizeof(int));
}

bool handover_may_wait(int sock, int flags)
{
    return !(flags & MSG_DONTWAIT) && !(fcntl(sock, F_GETFL) & O_NONBLOCK);
}

static bool would_block(int sock, int flags)
{
    if (handover_may_wait(sock, flags))
        return false;
    struct pollfd p = {.fd = sock, .events = POLLOUT};
    return poll(&p, 1, 0) == 0;
}

/* A program's end has no name for link_mgr. For a program, the peer of a connection to another
 * domain is link_mgr itself. */
static enum front_way way_of(int sock)
{
    struct handover_name name = {0};
    if (handover_name(sock, &name) < 0)
        return FRONT_TO_PROGRAM;
    return name.local.domid == name.peer.domid ? FRONT_WITHIN_DOMAIN : FRONT_TO_LINK_MGR;
}

/* The first len bytes of the message, or fewer, if more than FRONT_SPANS places have them. */
static int front_cut(struct iovec out[FRONT_SPANS], const struct iovec *spans, size_t count,
                     size_t len)
{
    int used = 0;
    for (; len > 0 && count > 0 && used < FRONT_SPANS; spans++, count--) {
        out[used] = *spans;
        if (out[used].iov_len > len)
            out[used].iov_len = len;
        len -= out[used++].iov_len;
    }
    return len == 0 ? used : 0;
}

/* A message in many small pieces. */
static ssize_t send_short_front(int sock, int memfd, const struct iovec *spans, int flags)
{
    uint8_t bytes[FRONT_SHORT], *to = bytes;
    for (size_t left = FRONT_SHORT; left > 0; spans++) {
        size_t part = spans->iov_len < left ? spans->iov_len : left;
        if (part > 0)
            memcpy(to, spans->iov_base, part);
        to += part;
        left -= part;
    }
    return handover_send(sock, bytes, FRONT_SHORT, &memfd, 1, flags);
}

/* The longest front that the socket can carry, and the memfd beside it. */
static ssize_t send_front(int sock, int memfd, const struct iovec *spans, size_t count, size_t len,
                          int flags)
{
    struct iovec cut[FRONT_SPANS];
    size_t lengths[FRONT_TRIES];
    int buffer = 0;
    ssize_t result = -EMSGSIZE;
    if (getsockopt(sock, SOL_SOCKET, SO_SNDBUF, &buffer, &(socklen_t){sizeof(buffer)}) < 0)
        return -errno;
    int tries = front_lengths(way_of(sock), (size_t)buffer, len, lengths);
    for (int i = 0; i < tries && result == -EMSGSIZE; i++) {
        int used = front_cut(cut, spans, count, lengths[i]);
        result = used > 0 ? handover_sendv(sock, cut, used, &memfd, 1, flags)
                          : send_short_front(sock, memfd, spans, flags);
    }
    return result;
}

/* As send_front. A user may have so many descriptors under way, in all sockets together, and no
 * event tells that there are fewer. A call that may wait tries again, for as long as SO_SNDTIMEO
 * allows. */
static ssize_t send_front_patiently(int sock, int memfd, const struct iovec *spans, size_t count,
                                    size_t len, int flags)
{
    struct timeval limit = {0};
    getsockopt(sock, SOL_SOCKET, SO_SNDTIMEO, &limit, &(socklen_t){sizeof(limit)});
    int64_t left = (int64_t)limit.tv_sec * 1000 + (limit.tv_usec + 999) / 1000;
    bool limited = left > 0;
    for (int pause = REFS_PAUSE_MS;; pause = pause < REFS_PAUSE_MAX_MS ? 2 * pause : pause) {
        ssize_t result = send_front(sock, memfd, spans, count, len, flags);
        if (result != -ETOOMANYREFS || !handover_may_wait(sock, flags))
            return result;
        if (limited && (left -= pause) < 0)
            return -EAGAIN;
        if (poll(NULL, 0, pause) < 0)
            return -errno;
    }
}

ssize_t handover_send_by_memfd(int sock, const struct iovec *spans, size_t count, size_t len,
                               int flags)
{
    if (would_block(sock, flags))
        return -EAGAIN;
    int fd = new_memfd();
    if (fd < 0)
        return fd;
    ssize_t result = fill_memfd(fd, spans, count);
    if (result == 0)
        result = send_front_patiently(sock, fd, spans, count, len, flags);
    close(fd);
    return result < 0 ? result : (ssize_t)len;
}

ssize_t handover_send_message(int sock, const void *buf, size_t len, int flags)
{
    if (len > IDC_MESSAGE_MAX)
        return -EMSGSIZE;
    ssize_t sent =
        len <= HANDOVER_INLINE_MAX ? handover_send(sock, buf, len, NULL, 0, flags) : -EMSGSIZE;
    /* it may also be that the program has made its buffer small */
    if (sent != -EMSGSIZE || len <= FRONT_SHORT)
        return sent;
    return handover_send_by_memfd(sock, &(struct iovec){(void *)(uintptr_t)buf, len}, 1, len,
                                  flags);
}

/* The length of fd, if it is a memory file that nobody can change or shorten any more, and is no
 * longer than a message may be. Else 0. */
static size_t sound_memfd(int fd)
{
    struct stat status;
    const int needed = F_SEAL_SHRINK | F_SEAL_WRITE;
    int seals = fcntl(fd, F_GET_SEALS);
    bool sound = seals >= 0 && (seals & needed) == needed && fstat(fd, &status) == 0 &&
                 S_ISREG(status.st_mode) && status.st_size > 0 && status.st_size <= IDC_MESSAGE_MAX;
    return sound ? (size_t)status.st_size : 0;
}

/* Has fd these bytes there? */
static bool memfd_has(int fd, size_t at, const uint8_t *bytes, size_t len)
{
    uint8_t in_file[FRONT_LOOK];
    return pread(fd, in_file, len, (off_t)at) == (ssize_t)len && memcmp(in_file, bytes, len) == 0;
}

size_t handover_front(const uint8_t *bytes, size_t there, size_t len, int fd)
{
    size_t look = there < FRONT_LOOK ? there : FRONT_LOOK;
    if (fd < 0 || !front_is_length(len))
        return 0;
    size_t total = sound_memfd(fd);
    bool same = total > len && memfd_has(fd, 0, bytes, look) &&
                memfd_has(fd, there - look, bytes + there - look, look);
    return same ? total : 0;
}

static ssize_t read_memfd(int fd, size_t message_len, uint8_t *buf, size_t len)
{
    size_t wanted = message_len < len ? message_len : len;
    for (size_t done = 0; done < wanted;) {
        ssize_t got = pread(fd, buf + done, wanted - done, (off_t)done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return -EPROTO;
        done += (size_t)got;
    }
    return (ssize_t)wanted;
}

/* The kernel's number of a socket, which no other one gets; 0: it is none. */
static uint64_t socket_cookie(int sock)
{
    uint64_t cookie = 0;
    socklen_t len = sizeof(cookie);
    return getsockopt(sock, SOL_SOCKET, SO_COOKIE, &cookie, &len) == 0 ? cookie : 0;
}

/* A duplicate of the socket, if its number is still that of the socket. If there is no room for a
 * duplicate, the number itself has to do. */
static int message_hold(int sock, uint64_t cookie)
{
    int held = fcntl(sock, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    if (held < 0)
        held = sock;
    if (socket_cookie(held) == cookie)
        return held;
    if (held != sock)
        close(held);
    return -EBADF;
}

/* Waits for a message, and returns its length. Another thread may close the socket meanwhile, and
 * its number may become that of another one. So the number is good for one call that waits. For
 * everything after that there is *held. */
static ssize_t message_await(int sock, int flags, int *held)
{
    char byte;
    *held = sock;
    ssize_t there = recv(sock, &byte, 1, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT);
    if (there < 0 && errno == EAGAIN && !(flags & MSG_DONTWAIT)) {
        uint64_t cookie = socket_cookie(sock);
        there = recv(sock, &byte, 1, MSG_PEEK | MSG_TRUNC);
        if (there >= 0)
            *held = message_hold(sock, cookie);
        if (*held < 0)
            return *held;
    }
    return there < 0 ? -errno : there;
}

/* A front whose descriptor cannot be placed would be cut when it is taken, so it is left where it
 * is. */
static int message_has_room(int sock, size_t there)
{
    char byte;
    int none = 0;
    if (!front_is_length(there))
        return 0;
    ssize_t again = handover_recv(sock, &byte, 1, NULL, &none, MSG_PEEK | MSG_DONTWAIT);
    return again < 0 && again != -EAGAIN ? (int)again : 0;
}

static ssize_t message_take(int sock, void *buf, size_t len, int flags, size_t *length)
{
    /* So much is needed to know a front, even when the caller wants fewer bytes. */
    uint8_t small[FRONT_LOOK];
    bool use_small = len < sizeof(small), lacks;
    struct iovec bytes = {use_small ? small : buf, use_small ? sizeof(small) : len};
    int fds[2] = {-1, -1}, count = 2;
    ssize_t got =
        handover_receive(sock, &bytes, fds, &count, MSG_TRUNC | flags, HANDOVER_END_LOOKS, &lacks);
    if (got < 0)
        return got;
    size_t there = (size_t)got < bytes.iov_len ? (size_t)got : bytes.iov_len;
    size_t total = handover_front(bytes.iov_base, there, (size_t)got, count == 1 ? fds[0] : -1);
    *length = total > 0 ? total : (size_t)got;
    if (total > 0) {
        got = read_memfd(fds[0], total, buf, len);
    } else {
        got = (size_t)got < len ? got : (ssize_t)len;
        if (use_small && got > 0)
            memcpy(buf, small, (size_t)got);
    }
    if (total > 0)
        close(fds[0]); /* a memory file is closed at once */
    else
        handover_close_fds(fds, count);
    /* not if it came alone; another thread has taken what was looked at first */
    return lacks && count == 0 && front_is_length(*length) ? -EMFILE : got;
}

ssize_t handover_recv_message(int sock, void *buf, size_t len, int flags, size_t *length)
{
    int held;
    ssize_t got = message_await(sock, flags, &held);
    if (got >= 0)
        got = message_has_room(held, (size_t)got);
    if (got >= 0)
        got = message_take(held, buf, len, flags, length);
    if (held >= 0 && held != sock)
        close(held);
    return got;
}
