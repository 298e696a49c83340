/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ring.h - the two shared-memory rings of a link, in the layout of libxenvchan
 * (xen/io/libxenvchan.h, Xen 4.17).
 *
 * The code is pure. Both platforms of link_mgr, the tests, and anybody else who holds a side of a
 * link use it.
 *
 * One page, struct ring_page, describes both rings: left carries client to server, right carries
 * server to client. The attaching side is the client, the offering side the server. The data of
 * each ring are elsewhere.
 *
 * The peer may write anything anywhere at any time. Therefore the own indexes live in private
 * memory and are only ever written to the page. The peer's index is read once per operation and
 * checked: it may neither run ahead of what was written nor fall behind what was consumed. Sizes
 * come from the set-up, never from the page. After a bad index every operation reports -EPROTO.
 * Data in the ring may change at any time: copy, then check, then use.
 *
 * Notification is libxenvchan's. A side that is about to sleep sets its wish in the page
 * (ring_want), looks at the ring once more, and sleeps. A side that wrote or consumed clears the
 * wish, and notifies if it was set (ring_take_wish).
 */
#ifndef IDC_RING_H
#define IDC_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/* struct vchan_interface. */
struct ring_indexes {
    uint32_t cons, prod;
};
struct ring_page {
    struct ring_indexes left, right;
    uint16_t left_order, right_order;
    uint8_t cli_live, srv_live; /* 0 gone, 1 connected, 2 (cli_live) not yet attached */
    /* RING_WANT_*: cli_notify is set by the server, to be told by the client */
    uint8_t cli_notify, srv_notify;
};
#define RING_WANT_DATA 0x1u  /* VCHAN_NOTIFY_WRITE: tell me when data was written */
#define RING_WANT_SPACE 0x2u /* VCHAN_NOTIFY_READ: tell me when data was consumed */

/* One direction, as one side sees it. */
struct ring {
    struct ring_indexes *shared;
    uint8_t *data;
    uint32_t size; /* bytes, a power of two */
    uint32_t own;  /* own index: prod when writing, cons when reading */
    bool bad;
};

struct ring_pair {
    struct ring in, out;
    uint8_t *my_wish;   /* where this side says what it wants to be told */
    uint8_t *peer_wish; /* where the peer says what it wants to be told */
};

/* page and data stay the caller's. Sizes are powers of two. The rings begin at the present indexes
 * of the page, which are zero for a new channel. */
void ring_pair_init(struct ring_pair *pair, bool server, struct ring_page *page, void *left_data,
                    uint32_t left_size, void *right_data, uint32_t right_size);

/* Bytes that can be written now, or -EPROTO. */
int64_t ring_space(struct ring *ring);
/* Spans (1 or 2) of len bytes of free space starting offset bytes after the own index; offset + len
 * <= space. */
int ring_space_spans(const struct ring *ring, uint32_t offset, uint32_t len, struct iovec spans[2]);
/* Copies into free space at offset. */
void ring_put(const struct ring *ring, uint32_t offset, const void *from, uint32_t len);
/* Makes len bytes visible to the reader. */
void ring_publish(struct ring *ring, uint32_t len);

/* Bytes that can be read now, or -EPROTO. */
int64_t ring_ready(struct ring *ring);
int ring_ready_spans(const struct ring *ring, uint32_t offset, uint32_t len, struct iovec spans[2]);
void ring_get(const struct ring *ring, uint32_t offset, void *to, uint32_t len);
/* Gives len bytes back to the writer. */
void ring_consume(struct ring *ring, uint32_t len);

/* Asks the peer to notify on the next write or consumption; look at the ring again afterwards. */
void ring_want(const struct ring_pair *pair, uint8_t wish);
/* After publish (RING_WANT_DATA) or consume (RING_WANT_SPACE): was a notification asked for? Takes
 * the wish away. */
bool ring_take_wish(const struct ring_pair *pair, uint8_t wish);

#endif
