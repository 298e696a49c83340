/* SPDX-License-Identifier: GPL-2.0-or-later */
/* uring.h - io_uring by plain system calls, one request at a time. */
#ifndef IDC_TEST_URING_H
#define IDC_TEST_URING_H

#include <stdbool.h>
#include <stddef.h>

#include <linux/io_uring.h>

struct uring {
    int fd;
    char *rings; /* both of them */
    size_t rings_size;
    struct io_uring_sqe *requests;
    struct io_uring_params params;
};

/* False: the kernel has none, or does not let us. */
bool uring_begin(struct uring *ring);
void uring_end(struct uring *ring);
/* The request's result, or -EIO. */
int uring_carry_out(struct uring *ring, const struct io_uring_sqe *request);

#endif
