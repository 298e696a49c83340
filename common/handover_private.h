/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* handover_private.h - what the files of handover.h share. */
#ifndef IDC_HANDOVER_PRIVATE_H
#define IDC_HANDOVER_PRIVATE_H

#include "common/handover.h"

/* ---- little-endian numbers ---- */

static inline uint8_t *handover_put_le(uint8_t *to, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        to[i] = (uint8_t)(value >> (8 * i));
    return to + bytes;
}

static inline uint64_t handover_get_le(const uint8_t *from, int bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++)
        value |= (uint64_t)from[i] << (8 * i);
    return value;
}

static inline bool handover_valid_domid(uint64_t domid)
{
    return domid < IDC_DOMID_SELF;
}

/* ---- handover.c ---- */

/* How often the end has to be seen before it is one. */
#define HANDOVER_END_LOOKS 2

/* Closes descriptors that came from the other side. fds may be NULL, if count is 0. */
void handover_close_fds(const int *fds, int count);
/* As handover_recv, but that the end is HANDOVER_END when it was seen `looks` times, and *lacks
 * tells that descriptors were lost. */
ssize_t handover_receive(int sock, struct iovec *bytes, int *fds, int *count, int flags, int looks,
                         bool *lacks);

/* ---- handover_message.c ---- */

/* Waits a call with these flags on sock, when it has to? */
bool handover_may_wait(int sock, int flags);

#endif
