/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzzer: upgraded RPC connections (link_mgr/rpc/transport_upgraded.c), several at a time and in
 * turn, with descriptors. The input is a row of acts. A program upgrades, in HTTP with calls right
 * behind it or not; sends calls as a whole, in pieces, several in one go, or with a header that
 * lies; sends ends of pairs and other descriptors with them, at the right place or not; reads its
 * answers, or does not; shuts down; closes. Other connections of the same program go on meanwhile.
 *
 * An answer must be whole, have the tag of a call that was sent, and bring at most one descriptor.
 * And once all have gone, the server holds nothing (fuzz_expect_rest).
 */
#include <endian.h>

#include "common/connecting.h"
#include "tests/fuzz/fuzz_count.h"
#include "tests/fuzz/fuzz_server.h"

#define LINES 4
#define ACTS_MAX 200
#define TAG_MAGIC 0x5a000000u /* in the upper byte of each tag that is sent on purpose */
#define BATCH_MAX 40
#define PART_MAX (16u * 1024)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A connection. `rest` of a message is still to be sent when it was cut. */
static struct line {
    int fd;    /* -1: none */
    bool lied; /* bytes were sent that are no message, so tags may be anything */
    uint8_t rest[2 * COMPACT_MAX];
    size_t rest_len;
    uint8_t in[1 << 20];
    size_t in_len;
} lines[LINES];

static uint32_t upgraded_tag;

/* ---- descriptors that go along ---- */

static int fuzz_pair(int type, int *other)
{
    int pair[2];
    fuzz_require(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair) == 0, "no sockets");
    *other = pair[1];
    return pair[0];
}

/* Both ends of a pair as libidc sends them: filled. */
static int two_ends(struct fuzz_input *input, int fds[HANDOVER_FDS_MAX])
{
    int type = fuzz_byte(input) % 2 ? SOCK_STREAM : SOCK_SEQPACKET;
    fds[0] = fuzz_pair(type, &fds[1]);
    if (fuzz_byte(input) % 4)
        connecting_fill(fds[1], fds[0]);
    if (fuzz_byte(input) % 2 == 0)
        return 2;
    close(fds[1]);
    return 1;
}

static int upgraded_descriptors(struct fuzz_input *input, int own, int fds[HANDOVER_FDS_MAX])
{
    uint8_t which = fuzz_byte(input) % 4;
    if (which == 0)
        return two_ends(input, fds);
    return which == 1 ? fuzz_descriptors(input, own, fds) : 0;
}

/* ---- what is sent ---- */

static size_t put_header(uint8_t *at, size_t len, uint32_t tag)
{
    uint32_t header[2] = {htole32((uint32_t)len), htole32(tag)};
    memcpy(at, header, sizeof(header));
    return sizeof(header);
}

static size_t put_call(struct fuzz_input *input, uint8_t *at)
{
    struct compact_writer call;
    uint8_t which = fuzz_byte(input);
    const struct rpc_method *method = &rpc_methods[which % rpc_method_count];
    compact_begin(&call, COMPACT_CALL, method->name);
    for (int count = fuzz_byte(input) % 6; count > 0; count--)
        fuzz_put_member(&call, method->members ? method->members : "x ", input);
    if (which >= 200)
        call.bytes[fuzz_byte(input) % call.len] = fuzz_byte(input);
    size_t header = put_header(at, call.len, TAG_MAGIC | upgraded_tag++);
    memcpy(at + header, call.bytes, call.len);
    return header + call.len;
}

static void line_send(struct fuzz_input *input, struct line *line, const uint8_t *bytes, size_t len)
{
    int fds[HANDOVER_FDS_MAX], count = upgraded_descriptors(input, line->fd, fds);
    ssize_t sent = handover_send(line->fd, bytes, len, fds, count, MSG_DONTWAIT);
    line->lied = line->lied || sent != (ssize_t)len; /* the rest is missing */
    while (count > 0)
        close(fds[--count]);
}

static void send_rest(struct fuzz_input *input, struct line *line)
{
    size_t len = line->rest_len;
    line->rest_len = 0;
    if (len > 0)
        line_send(input, line, line->rest, len);
}

/* One call, or several in one go; the last one may be cut. */
static void send_calls(struct fuzz_input *input, struct line *line)
{
    static uint8_t batch[BATCH_MAX * sizeof(line->rest)];
    size_t len = 0, last = 0;
    send_rest(input, line);
    uint8_t count = fuzz_byte(input);
    for (count = count < 200               ? 1
                 : count - 199 > BATCH_MAX ? BATCH_MAX
                                           : count - 199;
         count > 0; count--) {
        fuzz_count("calls");
        last = put_call(input, batch + len);
        len += last;
    }
    uint8_t cut = fuzz_byte(input);
    if (cut >= 128) {
        line->rest_len = 1 + cut % last;
        line->rest_len -= line->rest_len > last;
        len -= line->rest_len;
        memcpy(line->rest, batch + len, line->rest_len);
    }
    if (len > 0)
        line_send(input, line, batch, len);
}

/* A header with any length, and a part of what it announces. */
static void send_lie(struct fuzz_input *input, struct line *line)
{
    static uint8_t part[PART_MAX];
    static const uint32_t lengths[] = {0, 1, 100, PART_MAX, 1 << 20, (1 << 20) + 1, UINT32_MAX};
    send_rest(input, line);
    put_header(part, lengths[fuzz_byte(input) % 7], TAG_MAGIC | upgraded_tag++);
    line->lied = true;
    line_send(input, line, part, 1 + fuzz_byte(input) * (fuzz_byte(input) % 64));
}

/* ---- answers ---- */

/* Takes whole answers off the front, and looks at each. */
static void check_answers(struct line *line)
{
    size_t at = 0;
    while (line->in_len - at >= 8) {
        uint32_t header[2];
        memcpy(header, line->in + at, sizeof(header));
        size_t len = le32toh(header[0]);
        if (line->in_len - at < 8 + len)
            break;
        fuzz_require(len > 0 && (line->lied || (le32toh(header[1]) & 0xff000000u) == TAG_MAGIC),
                     "an answer to no call");
        at += 8 + len;
    }
    line->in_len -= at;
    memmove(line->in, line->in + at, line->in_len);
}

static void line_read(struct line *line)
{
    ssize_t got;
    do {
        int fds[4], count = 4;
        got = handover_recv(line->fd, line->in + line->in_len, sizeof(line->in) - line->in_len, fds,
                            &count, MSG_DONTWAIT);
        fuzz_require(count <= 1, "two descriptors with one answer");
        while (got >= 0 && count > 0)
            close(fds[--count]);
        line->in_len += got > 0 ? (size_t)got : 0;
        check_answers(line);
    } while (got > 0);
}

/* ---- connections ---- */

static void line_close(struct line *line)
{
    if (line->fd >= 0)
        close(line->fd);
    line->fd = -1;
}

static bool line_is_upgraded(struct line *line)
{
    for (int i = 0; i < 10; i++) {
        char head[1024];
        fuzz_turn();
        ssize_t got = recv(line->fd, head, sizeof(head), MSG_DONTWAIT | MSG_PEEK);
        const char *end = got > 0 ? memmem(head, (size_t)got, "\r\n\r\n", 4) : NULL;
        if (end)
            return recv(line->fd, head, (size_t)(end + 4 - head), 0) > 0 &&
                   memcmp(head, "HTTP/1.1 101", 12) == 0;
    }
    return false;
}

static void line_open(struct fuzz_input *input, struct line *line)
{
    static const char request[] =
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: idc-rpc/3\r\n\r\n";
    uint8_t bytes[sizeof(request) + sizeof(line->rest)];
    size_t len = sizeof(request) - 1;
    line->lied = false;
    line->rest_len = line->in_len = 0;
    memcpy(bytes, request, len);
    if (fuzz_byte(input) % 4 == 0) /* libmicrohttpd reads this */
        len += put_call(input, bytes + len);
    line->fd = fuzz_dial();
    fuzz_require(send(line->fd, bytes, len, MSG_NOSIGNAL) == (ssize_t)len, "not sent");
    fuzz_require(line_is_upgraded(line), "not upgraded");
}

static void upgraded_act(struct fuzz_input *input)
{
    uint8_t byte = fuzz_byte(input);
    struct line *line = &lines[byte % LINES];
    uint8_t what = byte / LINES % 16;
    if (line->fd < 0)
        line_open(input, line);
    if (what < 8)
        send_calls(input, line);
    else if (what == 8)
        send_rest(input, line);
    else if (what == 9 && fuzz_byte(input) % 4 == 0)
        send_lie(input, line);
    else if (what == 10 && fuzz_byte(input) % 4 == 0)
        shutdown(line->fd, fuzz_byte(input) % 3);
    else if (what == 11)
        line_close(line);
    else if (what == 12)
        fuzz_option(input, line->fd);
    else if (what == 13)
        line_read(line);
    else
        fuzz_turn();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    if (fuzz_sockets_at_rest == 0)
        fuzz_expect_rest();
    upgraded_tag = 0;
    for (int i = 0; i < LINES; i++)
        lines[i].fd = -1;
    for (int i = 0; i < ACTS_MAX && input.size > 0; i++)
        upgraded_act(&input);
    fuzz_turn();
    for (int i = 0; i < LINES; i++)
        if (lines[i].fd >= 0 && fuzz_byte(&input) % 2 == 0)
            line_read(&lines[i]);
    for (int i = 0; i < LINES; i++)
        line_close(&lines[i]);
    fuzz_expect_rest();
    return 0;
}
