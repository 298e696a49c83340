/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The calls of feed.h. Each way sends up to `len` bytes of the buffer, which does not change. */
#include "tests/programs/feed.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tests/programs/pattern.h"
#include "tests/programs/uring.h"

struct feeder {
    int socket;
    uint8_t *bytes;
    int file;                /* with the same bytes */
    int first[2], second[2]; /* pipes */
    size_t in_pipe;          /* in that from which the socket is filled */
    bool poll;
    struct uring ring;
    bool has_ring;
};

struct way {
    const char *name;
    ssize_t (*send)(struct feeder *feeder, size_t at, size_t len);
};

static ssize_t feed_write(struct feeder *feeder, size_t at, size_t len)
{
    return send(feeder->socket, feeder->bytes + at, len, MSG_NOSIGNAL);
}

/* In three pieces. */
static ssize_t feed_more(struct feeder *feeder, size_t at, size_t len)
{
    size_t third = len / 3;
    uint8_t *bytes = feeder->bytes + at;
    struct iovec parts[3] = {
        {bytes, third}, {bytes + third, third}, {bytes + 2 * third, len - 2 * third}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 3};
    return sendmsg(feeder->socket, &message, MSG_NOSIGNAL | MSG_MORE);
}

static ssize_t feed_sendfile(struct feeder *feeder, size_t at, size_t len)
{
    off_t offset = (off_t)at;
    return sendfile(feeder->socket, feeder->file, &offset, len);
}

static ssize_t feed_from_pipe(struct feeder *feeder, int pipe)
{
    unsigned flags = SPLICE_F_MOVE | (feeder->poll ? SPLICE_F_NONBLOCK : SPLICE_F_MORE);
    ssize_t n = splice(pipe, NULL, feeder->socket, NULL, feeder->in_pipe, flags);
    feeder->in_pipe -= n > 0 ? (size_t)n : 0;
    return n;
}

static ssize_t feed_splice(struct feeder *feeder, size_t at, size_t len)
{
    off_t offset = (off_t)at;
    if (feeder->in_pipe == 0) {
        ssize_t n = splice(feeder->file, &offset, feeder->first[1], NULL, len, 0);
        if (n <= 0)
            return n;
        feeder->in_pipe = (size_t)n;
    }
    return feed_from_pipe(feeder, feeder->first[0]);
}

static ssize_t feed_tee(struct feeder *feeder, size_t at, size_t len)
{
    static uint8_t sink[1 << 16];
    size_t part = len < sizeof(sink) ? len : sizeof(sink);
    if (feeder->in_pipe == 0) {
        ssize_t n = write(feeder->first[1], feeder->bytes + at, part);
        if (n > 0)
            n = tee(feeder->first[0], feeder->second[1], (size_t)n, 0);
        if (n <= 0 || read(feeder->first[0], sink, (size_t)n) != n)
            return -1;
        feeder->in_pipe = (size_t)n;
    }
    return feed_from_pipe(feeder, feeder->second[0]);
}

static ssize_t feed_vmsplice(struct feeder *feeder, size_t at, size_t len)
{
    struct iovec span = {feeder->bytes + at, len};
    if (feeder->in_pipe == 0) {
        ssize_t n = vmsplice(feeder->first[1], &span, 1, SPLICE_F_NONBLOCK);
        if (n <= 0)
            return n;
        feeder->in_pipe = (size_t)n;
    }
    return feed_from_pipe(feeder, feeder->first[0]);
}

static ssize_t feed_request(struct feeder *feeder, const struct io_uring_sqe *request)
{
    int n = uring_carry_out(&feeder->ring, request);
    errno = n < 0 ? -n : 0;
    return n < 0 ? -1 : n;
}

static ssize_t feed_uring(struct feeder *feeder, size_t at, size_t len)
{
    if (!feeder->has_ring)
        return feed_write(feeder, at, len);
    return feed_request(feeder, &(struct io_uring_sqe){.opcode = IORING_OP_SEND,
                                                       .fd = feeder->socket,
                                                       .addr = (uintptr_t)(feeder->bytes + at),
                                                       .len = (uint32_t)len,
                                                       .msg_flags = MSG_NOSIGNAL});
}

static ssize_t feed_uring_splice(struct feeder *feeder, size_t at, size_t len)
{
    off_t offset = (off_t)at;
    if (!feeder->has_ring)
        return feed_write(feeder, at, len);
    if (feeder->in_pipe == 0) {
        ssize_t n = splice(feeder->file, &offset, feeder->first[1], NULL, len, 0);
        if (n <= 0)
            return n;
        feeder->in_pipe = (size_t)n;
    }
    ssize_t n = feed_request(feeder, &(struct io_uring_sqe){.opcode = IORING_OP_SPLICE,
                                                            .fd = feeder->socket,
                                                            .off = (uint64_t)-1,
                                                            .splice_fd_in = feeder->first[0],
                                                            .splice_off_in = (uint64_t)-1,
                                                            .len = (uint32_t)feeder->in_pipe});
    feeder->in_pipe -= n > 0 ? (size_t)n : 0;
    return n;
}

static const struct way ways[] = {
    {"write", feed_write},       {"more", feed_more},
    {"sendfile", feed_sendfile}, {"splice", feed_splice},
    {"tee", feed_tee},           {"vmsplice", feed_vmsplice},
    {"uring", feed_uring},       {"uring_splice", feed_uring_splice},
};

static const struct way *find_way(const char *name)
{
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
        if (strcmp(ways[i].name, name) == 0)
            return &ways[i];
    return NULL;
}

static int feed_loop(struct feeder *feeder, const struct way *way, const struct feed *feed,
                     size_t *done)
{
    struct pollfd pollfd = {.fd = feeder->socket, .events = POLLOUT};
    while (*done < feed->length) {
        size_t left = feed->length - *done;
        if (feeder->poll && poll(&pollfd, 1, -1) < 0)
            return errno;
        ssize_t n = way->send(feeder, *done, left < feed->block ? left : feed->block);
        if (n < 0 && errno != EAGAIN)
            return errno;
        *done += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

static int feeder_open(struct feeder *feeder, const struct feed *feed)
{
    feeder->file = memfd_create("feed", MFD_CLOEXEC);
    if (feeder->file < 0 || ftruncate(feeder->file, (off_t)feed->length) < 0 ||
        pipe2(feeder->first, O_CLOEXEC) < 0 || pipe2(feeder->second, O_CLOEXEC) < 0)
        return errno;
    void *map = mmap(NULL, feed->length, PROT_READ | PROT_WRITE, MAP_SHARED, feeder->file, 0);
    if (map == MAP_FAILED)
        return errno;
    feeder->bytes = map;
    pattern_fill(feed->seed, 0, feeder->bytes, feed->length);
    return 0;
}

static void feeder_close(struct feeder *feeder, const struct feed *feed)
{
    const int fds[] = {feeder->file, feeder->first[0], feeder->first[1], feeder->second[0],
                       feeder->second[1]};
    if (feeder->bytes)
        munmap(feeder->bytes, feed->length);
    for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

int feed_socket(int fd, const struct feed *feed, size_t *done)
{
    struct feeder feeder = {
        .socket = fd, .file = -1, .first = {-1, -1}, .second = {-1, -1}, .poll = feed->poll};
    const struct way *way = find_way(feed->how);
    int flags = fcntl(fd, F_GETFL);
    if (!way || feed->length == 0)
        return EINVAL;
    int error = feeder_open(&feeder, feed);
    if (!error && feed->sndbuf > 0 &&
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &feed->sndbuf, sizeof(feed->sndbuf)) < 0)
        error = errno;
    feeder.has_ring = strncmp(feed->how, "uring", 5) == 0 && uring_begin(&feeder.ring);
    if (!error && feed->poll)
        fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    if (!error)
        error = feed_loop(&feeder, way, feed, done);
    fcntl(fd, F_SETFL, flags);
    if (feeder.has_ring)
        uring_end(&feeder.ring);
    feeder_close(&feeder, feed);
    return error;
}
