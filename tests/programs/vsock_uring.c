/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vsock_uring.c - io_uring on a connected socket: its requests pass by every library. One at a
 * time. */
#include <poll.h>

#include "tests/programs/uring.h"
#include "tests/programs/vsock.h"

static struct uring ring;

static int carry_out(const struct io_uring_sqe *request)
{
    return uring_carry_out(&ring, request);
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
    if (!uring_begin(&ring))
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
    uring_end(&ring);
}
