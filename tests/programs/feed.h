/* SPDX-License-Identifier: GPL-2.0-or-later */
/* feed.h - sending the pattern by each call with which Linux lets a program fill a socket. */
#ifndef IDC_TEST_FEED_H
#define IDC_TEST_FEED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct feed {
    const char *how; /* write, more, sendfile, splice, tee, vmsplice; uring and uring_splice, which
                         write where the kernel has no io_uring */
    uint64_t seed;
    size_t length, block; /* in all; for each call */
    int sndbuf;           /* SO_SNDBUF to set first, 0: none */
    bool poll;            /* waits for POLLOUT before each call, which does not block */
};

/* 0 or an errno; *done: how much was sent. */
int feed_socket(int fd, const struct feed *feed, size_t *done);

#endif
