/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The ring itself; ring.h has the theory. An access to shared memory is one atomic load or store of
 * an index or a wish byte, or a copy of data. Private indexes determine the positions of a copy.
 */
#include "common/ring.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

static_assert(sizeof(struct ring_page) == 24, "must match struct vchan_interface");
static_assert(offsetof(struct ring_page, left_order) == 16, "must match struct vchan_interface");
static_assert(offsetof(struct ring_page, cli_live) == 20, "must match struct vchan_interface");
static_assert(offsetof(struct ring_page, srv_notify) == 23, "must match struct vchan_interface");

static void ring_init(struct ring *ring, struct ring_indexes *shared, void *data, uint32_t size,
                      bool writer)
{
    assert(size != 0 && (size & (size - 1)) == 0);
    *ring = (struct ring){.shared = shared, .data = data, .size = size};
    ring->own = __atomic_load_n(writer ? &shared->prod : &shared->cons, __ATOMIC_RELAXED);
}

void ring_pair_init(struct ring_pair *pair, bool server, struct ring_page *page, void *left_data,
                    uint32_t left_size, void *right_data, uint32_t right_size)
{
    struct ring *left = server ? &pair->in : &pair->out;
    struct ring *right = server ? &pair->out : &pair->in;
    ring_init(left, &page->left, left_data, left_size, !server);
    ring_init(right, &page->right, right_data, right_size, server);
    pair->my_wish = server ? &page->cli_notify : &page->srv_notify;
    pair->peer_wish = server ? &page->srv_notify : &page->cli_notify;
}

int64_t ring_space(struct ring *ring)
{
    uint32_t cons = __atomic_load_n(&ring->shared->cons, __ATOMIC_ACQUIRE);
    uint32_t used = ring->own - cons;
    if (ring->bad || used > ring->size) {
        ring->bad = true;
        return -EPROTO;
    }
    return ring->size - used;
}

int64_t ring_ready(struct ring *ring)
{
    uint32_t prod = __atomic_load_n(&ring->shared->prod, __ATOMIC_ACQUIRE);
    uint32_t ready = prod - ring->own;
    if (ring->bad || ready > ring->size) {
        ring->bad = true;
        return -EPROTO;
    }
    return ready;
}

static int spans_at(const struct ring *ring, uint32_t offset, uint32_t len, struct iovec spans[2])
{
    uint32_t start = (ring->own + offset) & (ring->size - 1);
    uint32_t first = ring->size - start;
    assert(len <= ring->size && offset <= ring->size - len);
    spans[0] = (struct iovec){ring->data + start, len < first ? len : first};
    if (len <= first)
        return 1;
    spans[1] = (struct iovec){ring->data, len - first};
    return 2;
}

int ring_space_spans(const struct ring *ring, uint32_t offset, uint32_t len, struct iovec spans[2])
{
    return spans_at(ring, offset, len, spans);
}

int ring_ready_spans(const struct ring *ring, uint32_t offset, uint32_t len, struct iovec spans[2])
{
    return spans_at(ring, offset, len, spans);
}

void ring_put(const struct ring *ring, uint32_t offset, const void *from, uint32_t len)
{
    struct iovec spans[2];
    int count = spans_at(ring, offset, len, spans);
    memcpy(spans[0].iov_base, from, spans[0].iov_len);
    if (count == 2)
        memcpy(spans[1].iov_base, (const uint8_t *)from + spans[0].iov_len, spans[1].iov_len);
}

void ring_get(const struct ring *ring, uint32_t offset, void *to, uint32_t len)
{
    struct iovec spans[2];
    int count = spans_at(ring, offset, len, spans);
    memcpy(to, spans[0].iov_base, spans[0].iov_len);
    if (count == 2)
        memcpy((uint8_t *)to + spans[0].iov_len, spans[1].iov_base, spans[1].iov_len);
}

void ring_publish(struct ring *ring, uint32_t len)
{
    ring->own += len;
    __atomic_store_n(&ring->shared->prod, ring->own, __ATOMIC_RELEASE);
}

void ring_consume(struct ring *ring, uint32_t len)
{
    ring->own += len;
    __atomic_store_n(&ring->shared->cons, ring->own, __ATOMIC_RELEASE);
}

void ring_want(const struct ring_pair *pair, uint8_t wish)
{
    /* The wish must be seen before the index is read again. The exchange alone doesn't see to that:
     * on ARM, an acquiring load (LDAPR) may pass the store half of even a sequentially consistent
     * one. */
    __atomic_fetch_or(pair->my_wish, wish, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

bool ring_take_wish(const struct ring_pair *pair, uint8_t wish)
{
    /* The index was stored before; it must be seen before the wish is read. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (!(__atomic_load_n(pair->peer_wish, __ATOMIC_RELAXED) & wish))
        return false;
    return __atomic_fetch_and(pair->peer_wish, (uint8_t)~wish, __ATOMIC_SEQ_CST) & wish;
}
