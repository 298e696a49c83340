/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * spans.h - where the bytes lie that pass between a link and a program. They are in one piece, or
 * in the two pieces before and after the end of a ring. Only the link knows whose memory it is, the
 * ring's or a copy of it. Spans are valid for the length of a call.
 */
#ifndef IDC_SPANS_H
#define IDC_SPANS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct spans {
    struct iovec at[2];
    int count; /* 0: no bytes; the spans that count are not empty */
};

/* Keeps only the first length bytes, or all if there are fewer. */
static inline void spans_keep(struct spans *spans, size_t length)
{
    if (spans->count == 2 && length > spans->at[0].iov_len) {
        length -= spans->at[0].iov_len;
        if (length < spans->at[1].iov_len)
            spans->at[1].iov_len = length;
    } else if (spans->count > 0 && length <= spans->at[0].iov_len) {
        spans->at[0].iov_len = length;
        spans->count = length > 0;
    }
}

/* Drops the first length bytes. There must be so many. */
static inline void spans_skip(struct spans *spans, size_t length)
{
    while (spans->count > 0 && length >= spans->at[0].iov_len) {
        length -= spans->at[0].iov_len;
        if (--spans->count > 0)
            spans->at[0] = spans->at[1];
    }
    if (spans->count > 0) {
        spans->at[0].iov_base = (uint8_t *)spans->at[0].iov_base + length;
        spans->at[0].iov_len -= length;
    }
}

#endif
