/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzzer: what a program sends to link_mgr's RPC socket. The real server with libmicrohttpd and
 * xmlrpc-c in this process, on a socket of its own; behind it the hub of the unit tests
 * (fake_hub.h). Of the input the first byte says how the rest is sent:
 *
 *     0  as it is: HTTP                      3  in messages on an upgraded connection, as XML
 *     1  as the body of a POST               4  the same, idc-rpc/3
 *     2  as it is, behind an upgrade         5  idc-rpc/3: bytes pick what compact calls consist
 *        of, and overwrite some of it; 6: with descriptors
 *
 * and the second in how large pieces. Whatever comes, the server neither crashes nor holds anything
 * once the program has gone: no session, call, memory, descriptor or pending connect.
 */
#include <endian.h>

#include "tests/fuzz/fuzz_server.h"

#define BYTES_MAX 65536
#define POST "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n"
#define UPGRADE "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: idc-rpc/%d\r\n\r\n"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct {
    uint8_t at[BYTES_MAX];
    size_t len;
} out;

/* ---- what is sent ---- */

static void rpc_put(const void *bytes, size_t len)
{
    if (len > sizeof(out.at) - out.len)
        return;
    memcpy(out.at + out.len, bytes, len);
    out.len += len;
}

static void put_message(const void *bytes, size_t len)
{
    uint32_t header[2] = {htole32((uint32_t)len), htole32((uint32_t)out.len)};
    rpc_put(header, sizeof(header));
    rpc_put(bytes, len);
}

/* Lengths are in the input, so that messages can be cut anywhere. */
static void put_messages(struct fuzz_input *input)
{
    while (input->size > 0) {
        size_t len = (size_t)fuzz_byte(input) << 8;
        len = len / 16 + fuzz_byte(input);
        len = len < input->size ? len : input->size;
        put_message(input->data, len);
        input->data += len;
        input->size -= len;
    }
}

/* A writer takes no NUL in a name and no length that lies. */
static void damage_call(struct compact_writer *call, struct fuzz_input *input)
{
    for (int count = 1 + fuzz_byte(input) % 4; count > 0; count--) {
        size_t at = fuzz_byte(input) | (size_t)fuzz_byte(input) << 8;
        call->bytes[at % call->len] = fuzz_byte(input);
    }
}

static void put_compact_calls(struct fuzz_input *input)
{
    struct compact_writer call;
    while (input->size > 0) {
        uint8_t which = fuzz_byte(input);
        const struct rpc_method *method = &rpc_methods[which % rpc_method_count];
        compact_begin(&call, COMPACT_CALL, method->name);
        for (int count = fuzz_byte(input) % 6; count > 0; count--)
            fuzz_put_member(&call, method->members ? method->members : "x ", input);
        if (which >= 128)
            damage_call(&call, input);
        put_message(call.bytes, call.len);
    }
}

static void make_bytes(uint8_t mode, struct fuzz_input *input)
{
    char head[128] = "";
    out.len = 0;
    if (mode == 1)
        snprintf(head, sizeof(head), POST, input->size);
    else if (mode > 1)
        snprintf(head, sizeof(head), UPGRADE, mode < 4 ? 1 : 3);
    rpc_put(head, strlen(head));
    if (mode < 3)
        rpc_put(input->data, input->size);
    else if (mode < 5)
        put_messages(input);
    else
        put_compact_calls(input);
}

/* ---- the program ---- */

/* With two ends of a pair. */
static ssize_t send_with_descriptors(int fd, const uint8_t *bytes, size_t len)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        abort();
    ssize_t sent = handover_send(fd, bytes, len, pair, 2, MSG_DONTWAIT);
    close(pair[0]);
    close(pair[1]);
    return sent;
}

static void read_answers(int fd)
{
    static char answers[65536];
    int fds[4], count = 4;
    while (handover_recv(fd, answers, sizeof(answers), fds, &count, MSG_DONTWAIT) > 0) {
        while (count > 0)
            close(fds[--count]);
        count = 4;
    }
}

static void send_all(int fd, size_t piece, bool with_descriptors)
{
    for (size_t at = 0; at < out.len;) {
        size_t len = out.len - at < piece ? out.len - at : piece;
        ssize_t sent = with_descriptors ? send_with_descriptors(fd, out.at + at, len)
                                        : send(fd, out.at + at, len, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent <= 0)
            return;
        at += (size_t)sent;
        fuzz_turn();
        read_answers(fd);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    if (fuzz_sockets_at_rest == 0)
        fuzz_expect_rest();
    uint8_t mode = fuzz_byte(&input) % 7, piece = fuzz_byte(&input);
    make_bytes(mode, &input);
    int fd = fuzz_dial();
    send_all(fd, piece < 128 ? piece + 1u : BYTES_MAX, mode == 6);
    for (int i = 0; i < 3; i++) {
        fuzz_turn();
        read_answers(fd);
    }
    close(fd);
    fuzz_expect_rest();
    return 0;
}
