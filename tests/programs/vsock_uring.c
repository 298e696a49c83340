/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vsock_uring.c - io_uring on a connected socket: its requests pass by every library. One at a
 * time, by plain system calls. */
#include <poll.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <linux/io_uring.h>

#include "tests/programs/vsock.h"

static struct {
    int fd;
    char *map; /* both rings */
    struct io_uring_sqe *requests;
    struct io_uring_params params;
} ring;

/* False: the kernel has none, or does not let us. */
static bool vsock_uring_begin(void)
{
    ring.fd = (int)syscall(SYS_io_uring_setup, 4, &ring.params);
    if (ring.fd < 0 || !(ring.params.features & IORING_FEAT_SINGLE_MMAP))
        return false;
    size_t answers_end =
        ring.params.cq_off.cqes + ring.params.cq_entries * sizeof(struct io_uring_cqe);
    size_t requests_end = ring.params.sq_off.array + ring.params.sq_entries * sizeof(uint32_t);
    ring.map = mmap(NULL, answers_end > requests_end ? answers_end : requests_end,
                    PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring.fd, IORING_OFF_SQ_RING);
    ring.requests =
        mmap(NULL, ring.params.sq_entries * sizeof(struct io_uring_sqe), PROT_READ | PROT_WRITE,
             MAP_SHARED | MAP_POPULATE, ring.fd, IORING_OFF_SQES);
    return ring.map != MAP_FAILED && ring.requests != MAP_FAILED;
}

static _Atomic uint32_t *index_at(uint32_t offset)
{
    return (_Atomic uint32_t *)(void *)(ring.map + offset);
}

/* One request, and its result. */
static int carry_out(const struct io_uring_sqe *request)
{
    uint32_t tail = *index_at(ring.params.sq_off.tail), head = *index_at(ring.params.cq_off.head);
    uint32_t at = tail & *index_at(ring.params.sq_off.ring_mask);
    ring.requests[at] = *request;
    ((uint32_t *)(void *)(ring.map + ring.params.sq_off.array))[at] = at;
    atomic_store(index_at(ring.params.sq_off.tail), tail + 1);
    CHECK(syscall(SYS_io_uring_enter, ring.fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) == 1);
    CHECK(atomic_load(index_at(ring.params.cq_off.tail)) == head + 1);
    const struct io_uring_cqe *answers = (void *)(ring.map + ring.params.cq_off.cqes);
    int result = answers[head & *index_at(ring.params.cq_off.ring_mask)].res;
    atomic_store(index_at(ring.params.cq_off.head), head + 1);
    return result;
}

/* Offset 0 is what SEND and RECV want, -1, the file's own place, is right for READ and WRITE. */
static int vsock_uring_transfer(uint8_t operation, int fd, void *bytes, uint32_t len)
{
    bool of_file = operation == IORING_OP_READ || operation == IORING_OP_WRITE;
    return carry_out(&(struct io_uring_sqe){.opcode = operation,
                                            .fd = fd,
                                            .addr = (uintptr_t)bytes,
                                            .len = len,
                                            .off = of_file ? (uint64_t)-1 : 0});
}

static int poll_for(int fd, uint16_t events)
{
    return carry_out(
        &(struct io_uring_sqe){.opcode = IORING_OP_POLL_ADD, .fd = fd, .poll_events = events});
}

static void check_with(int fd, uint8_t sending, uint8_t receiving)
{
    char text[] = "over and back", back[sizeof(text)];
    CHECK(poll_for(fd, POLLOUT) == POLLOUT);
    CHECK(vsock_uring_transfer(sending, fd, text, sizeof(text)) == sizeof(text));
    CHECK(poll_for(fd, POLLIN) == POLLIN);
    await_bytes(fd, sizeof(text));
    CHECK(vsock_uring_transfer(receiving, fd, back, sizeof(back)) == sizeof(back) &&
          memcmp(text, back, sizeof(text)) == 0);
}

void test_io_uring(const struct other *other)
{
    struct sockaddr_vm address;
    socklen_t len = sizeof(address);
    if (!vsock_uring_begin())
        return;
    for (int type = SOCK_STREAM; type <= SOCK_SEQPACKET; type += SOCK_SEQPACKET - SOCK_STREAM) {
        int fd = ask(other, type, "echo");
        check_with(fd, IORING_OP_SEND, IORING_OP_RECV);
        check_with(fd, IORING_OP_WRITE, IORING_OP_READ);
        check_echo(fd);
        CHECK(carry_out(&(struct io_uring_sqe){.opcode = IORING_OP_CLOSE, .fd = fd}) == 0);
        CHECK_ERRNO(getpeername(fd, (struct sockaddr *)&address, &len), EBADF);
        CHECK(new_socket(SOCK_STREAM) == fd && own_address(fd).svm_port == VMADDR_PORT_ANY);
    }
}
