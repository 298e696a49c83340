/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The rings of uring.h. */
#include "tests/programs/uring.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static size_t requests_size(const struct uring *ring)
{
    return ring->params.sq_entries * sizeof(struct io_uring_sqe);
}

static void *uring_map(const struct uring *ring, size_t size, off_t what)
{
    return mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring->fd, what);
}

bool uring_begin(struct uring *ring)
{
    *ring = (struct uring){.rings = MAP_FAILED, .requests = MAP_FAILED};
    ring->fd = (int)syscall(SYS_io_uring_setup, 4, &ring->params);
    if (ring->fd < 0)
        return false;
    const struct io_uring_params *params = &ring->params;
    size_t answers_end = params->cq_off.cqes + params->cq_entries * sizeof(struct io_uring_cqe);
    size_t requests_end = params->sq_off.array + params->sq_entries * sizeof(uint32_t);
    ring->rings_size = answers_end > requests_end ? answers_end : requests_end;
    if (params->features & IORING_FEAT_SINGLE_MMAP) {
        ring->rings = uring_map(ring, ring->rings_size, IORING_OFF_SQ_RING);
        ring->requests = uring_map(ring, requests_size(ring), IORING_OFF_SQES);
    }
    if (ring->rings != MAP_FAILED && ring->requests != MAP_FAILED)
        return true;
    uring_end(ring);
    return false;
}

void uring_end(struct uring *ring)
{
    if (ring->rings != MAP_FAILED)
        munmap(ring->rings, ring->rings_size);
    if (ring->requests != MAP_FAILED)
        munmap(ring->requests, requests_size(ring));
    close(ring->fd);
}

static _Atomic uint32_t *index_at(const struct uring *ring, uint32_t offset)
{
    return (_Atomic uint32_t *)(void *)(ring->rings + offset);
}

int uring_carry_out(struct uring *ring, const struct io_uring_sqe *request)
{
    const struct io_uring_params *params = &ring->params;
    uint32_t tail = *index_at(ring, params->sq_off.tail);
    uint32_t head = *index_at(ring, params->cq_off.head);
    uint32_t at = tail & *index_at(ring, params->sq_off.ring_mask);
    ring->requests[at] = *request;
    ((uint32_t *)(void *)(ring->rings + params->sq_off.array))[at] = at;
    atomic_store(index_at(ring, params->sq_off.tail), tail + 1);
    long taken;
    do
        taken = syscall(SYS_io_uring_enter, ring->fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0);
    while (taken < 0 && errno == EINTR);
    if (taken != 1 || atomic_load(index_at(ring, params->cq_off.tail)) != head + 1)
        return -EIO;
    const struct io_uring_cqe *answers = (void *)(ring->rings + params->cq_off.cqes);
    int result = answers[head & *index_at(ring, params->cq_off.ring_mask)].res;
    atomic_store(index_at(ring, params->cq_off.head), head + 1);
    return result;
}
