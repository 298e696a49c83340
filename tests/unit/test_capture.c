/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Captures: what a frame becomes in a file, byte by byte; and that link_mgr's part of it waits for
 * nobody, is bounded, and counts what it drops. */
#include <check.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/capture.h"
#include "link_mgr/core/capture.h"
#include "link_mgr/core/reason.h"
#include "link_mgr/hub/hub_private.h"
#include "tests/unit/suite.h"
#include "tools/pcap/pcapng.h"
#include "tools/pcap/vsockmon.h"

#define OWN 1
#define PEER 2

/* ---- the headers ---- */

static uint64_t number_at(const uint8_t *bytes, unsigned size)
{
    uint64_t value = 0;
    while (size-- > 0)
        value = value << 8 | bytes[size];
    return value;
}

static void check_ends(const uint8_t *head, bool outgoing)
{
    ck_assert_uint_eq(number_at(head, 8), outgoing ? OWN + 2 : PEER + 2);
    ck_assert_uint_eq(number_at(head + 8, 8), outgoing ? PEER + 2 : OWN + 2);
    ck_assert_uint_eq(number_at(head + 16, 4), outgoing ? 0x80000001u : 80);
    ck_assert_uint_eq(number_at(head + 20, 4), outgoing ? 80 : 0x80000001u);
}

static const struct {
    uint8_t type, flags, refused, socket_type;
    uint16_t op, virtio_op;
    uint32_t virtio_flags;
} mapped[] = {
    {CAPTURE_CONNECT_REQ, 0, 0, IDC_STREAM, 1, 1, 0},
    {CAPTURE_CONNECT_RSP, 0, 0, IDC_STREAM, 1, 2, 0},
    {CAPTURE_CONNECT_RSP, 0, 1, IDC_STREAM, 2, 3, 0},
    {CAPTURE_DATA, 0, 0, IDC_STREAM, 4, 5, 0},
    {CAPTURE_DATA, 0, 0, IDC_SEQPACKET, 4, 5, 1},
    {CAPTURE_DATA, CAPTURE_DATA_MORE, 0, IDC_SEQPACKET, 4, 5, 0},
    {CAPTURE_CREDIT, 0, 0, IDC_STREAM, 3, 6, 0},
    {CAPTURE_DISCONNECT, WIRE_NO_MORE_DATA, 0, IDC_STREAM, 2, 4, 2},
    {CAPTURE_DISCONNECT, WIRE_NO_MORE_WANTED, 0, IDC_STREAM, 2, 4, 1},
    {CAPTURE_DISCONNECT, WIRE_NO_MORE_DATA | WIRE_LAST, 0, IDC_STREAM, 2, 4, 2},
    {CAPTURE_DISCONNECT, WIRE_LAST, 0, IDC_STREAM, 2, 4, 3},
    {CAPTURE_DISCONNECT, WIRE_RESET | WIRE_LAST, 0, IDC_STREAM, 2, 3, 0},
    {CAPTURE_HELLO, 0, 0, 0, 3, 0, 0},
    {CAPTURE_BYE, 0, 0, 0, 3, 0, 0},
    {200, 0, 0, 0, 3, 0, 0},
};

static void check_mapped(size_t row, bool outgoing)
{
    uint8_t head[VSOCKMON_MAX];
    const struct capture_record record = {.type = mapped[row].type,
                                          .flags = mapped[row].flags,
                                          .refused = mapped[row].refused,
                                          .socket_type = mapped[row].socket_type,
                                          .outgoing = outgoing,
                                          .peer = PEER,
                                          .local_port = 0x80000001u,
                                          .peer_port = 80,
                                          .credit = 0x12345678,
                                          .length = 77};
    uint32_t length = vsockmon_header(&record, OWN, head);
    check_ends(head, outgoing);
    ck_assert_uint_eq(number_at(head + 24, 2), mapped[row].op);
    ck_assert_uint_eq(number_at(head + 26, 2), mapped[row].virtio_op ? 2 : 1);
    ck_assert_uint_eq(number_at(head + 28, 2), length - 32);
    if (mapped[row].virtio_op == 0) {
        ck_assert_uint_eq(length, 32);
        return;
    }
    ck_assert_uint_eq(length, 76);
    check_ends(head + 32, outgoing);
    ck_assert_uint_eq(number_at(head + 56, 4), 77);
    ck_assert_uint_eq(number_at(head + 60, 2), mapped[row].socket_type);
    ck_assert_uint_eq(number_at(head + 62, 2), mapped[row].virtio_op);
    ck_assert_uint_eq(number_at(head + 64, 4), mapped[row].virtio_flags);
    ck_assert_uint_eq(number_at(head + 68, 4), 0x12345678);
    ck_assert_uint_eq(number_at(head + 72, 4), 0);
}

START_TEST(each_frame_is_mapped)
{
    check_mapped((size_t)_i, false);
    check_mapped((size_t)_i, true);
}
END_TEST

/* ---- the file ---- */

START_TEST(a_packet_has_these_bytes)
{
    static const uint8_t wanted[] = {
        6,   0,   0,   0,   76,  0,   0,   0,                   /* a packet, 76 bytes */
        0,   0,   0,   0,   2,   0,   0,   0,   1,   0,   0, 0, /* interface, time 2^33 + 1 */
        5,   0,   0,   0,   9,   0,   0,   0,                   /* 5 bytes of 9 */
        'h', 'e', 'a', 'd', 'd', 0,   0,   0,                   /* these */
        2,   0,   4,   0,   2,   0,   0,   0,                   /* outgoing */
        4,   0,   8,   0,   3,   0,   0,   0,   0,   0,   0, 0, /* 3 were lost before */
        1,   0,   6,   0,   'a', ' ', 't', 'e', 'x', 't', 0, 0, /* comment */
        0,   0,   0,   0,   76,  0,   0,   0,                   /* the end */
    };
    uint8_t bytes[256];
    struct pcapng out = {.bytes = bytes, .size = sizeof(bytes)};
    pcapng_put_packet(&out, &(struct pcapng_packet){.time_ns = (1ull << 33) + 1,
                                                    .outgoing = true,
                                                    .head = (const uint8_t *)"head",
                                                    .head_length = 4,
                                                    .data = (const uint8_t *)"data",
                                                    .data_length = 1,
                                                    .length = 9,
                                                    .dropped = 3,
                                                    .comment = "a text, cut",
                                                    .comment_length = 6});
    ck_assert_uint_eq(out.length, sizeof(wanted));
    ck_assert_mem_eq(bytes, wanted, sizeof(wanted));
}
END_TEST

START_TEST(head_and_end_are_whole_blocks)
{
    uint8_t bytes[1024];
    struct pcapng out = {.bytes = bytes, .size = sizeof(bytes)};
    pcapng_put_head(&out, &(struct pcapng_head){"program", "odd", "domain 1", 271});
    pcapng_put_end(&out, &(struct pcapng_end){1, 2, 30, 4, "why"});
    size_t at = 0;
    static const uint32_t types[] = {0x0a0d0d0a, 1, 5};
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        ck_assert_uint_eq(number_at(bytes + at, 4), types[i]);
        uint32_t length = (uint32_t)number_at(bytes + at + 4, 4);
        ck_assert_uint_eq(length % 4, 0);
        if (types[i] == 1)
            ck_assert_uint_eq(number_at(bytes + at + 8, 2), 271);
        at += length;
        ck_assert_uint_le(at, out.length);
        ck_assert_uint_eq(number_at(bytes + at - 4, 4), length);
    }
    ck_assert_uint_eq(at, out.length);
}
END_TEST

/* ---- link_mgr's part ---- */

static struct hub *hub;
static struct core core;
static uint8_t payload[64 * 1024];

static void capture_begin(void)
{
    hub = calloc(1, sizeof(*hub));
    core.domid = OWN;
    hub->core = &core;
    hub->host.ctx = hub;
    hub->base = event_base_new();
    LIST_INIT(&hub->captures.list);
    memset(payload, 'p', sizeof(payload));
}

static void capture_end(void)
{
    ck_assert(LIST_EMPTY(&hub->captures.list));
    ck_assert_ptr_null(hub->host.frame);
    event_base_free(hub->base);
    free(hub);
}

static struct hub_capture_request want_everything(uint32_t data)
{
    return (struct hub_capture_request){.caller.uid = geteuid(), .data = data};
}

static int capture_started(const struct hub_capture_request *request)
{
    char why[HUB_WHY_MAX] = "";
    int fd = -1, error = hub_capture(hub, request, &fd, why);
    ck_assert_msg(error == 0, "%s", why);
    return fd;
}

static void pass_data(uint32_t length, uint32_t local_port)
{
    const struct wire_frame frame = {.type = WIRE_TYPE_DATA, .length = length, .credit = 5};
    const struct capture_frame shown = {
        .domid = PEER,
        .frame = &frame,
        .ends = {.local_port = local_port, .peer_port = 7, .type = IDC_STREAM, .name = ""},
        .payload = {.at = {{payload, length / 3}, {payload, length - length / 3}}, .count = 2}};
    if (hub->host.frame)
        hub->host.frame(&hub->host, &shown);
}

/* One turn of the loop. */
static void capture_turn(void)
{
    hub_captures_write(hub);
    event_base_loop(hub->base, EVLOOP_NONBLOCK);
}

struct seen {
    uint64_t frames, lost, data; /* lost: what the gaps add up to */
    struct capture_record last;
    char text[CAPTURE_TEXT_MAX];
};

/* All that comes, while link_mgr has its turns, up to the end. */
static void read_all(int fd, struct seen *seen)
{
    static uint8_t bytes[CAPTURE_RECORD_MAX];
    struct capture_record record;
    *seen = (struct seen){.frames = 0};
    fcntl(fd, F_SETFL, O_NONBLOCK);
    for (size_t have = 0;;) {
        ssize_t n = read(fd, bytes + have, sizeof(bytes) - have);
        ck_assert(n >= 0 || errno == EAGAIN);
        if (n == 0)
            break;
        if (n < 0) {
            capture_turn();
            continue;
        }
        have += (size_t)n;
        size_t at = 0;
        for (; have - at >= sizeof(record); at += record.size) {
            memcpy(&record, bytes + at, sizeof(record));
            ck_assert_uint_eq(record.size % 8, 0);
            if (record.size > have - at)
                break;
            seen->lost += record.dropped - seen->last.dropped;
            seen->frames += record.kind == CAPTURE_FRAME;
            seen->data += record.captured;
            seen->last = record;
            memcpy(seen->text, bytes + at + sizeof(record), record.text_length);
            seen->text[record.text_length] = '\0';
        }
        have -= at;
        memmove(bytes, bytes + at, have);
    }
}

START_TEST(nobody_captures)
{
    capture_begin();
    struct hub_capture_request request = want_everything(0);
    ck_assert_ptr_null(hub->host.frame);
    int one = capture_started(&request), other = capture_started(&request);
    ck_assert_ptr_nonnull(hub->host.frame);
    close(one);
    capture_turn();
    ck_assert_ptr_nonnull(hub->host.frame);
    close(other);
    capture_turn();
    capture_end();
}
END_TEST

START_TEST(who_may)
{
    capture_begin();
    char why[HUB_WHY_MAX];
    int fd, fds[CAPTURES_MAX];
    struct hub_capture_request request = want_everything(0);
    static const uint32_t others[] = {4242, HUB_NOBODY};
    for (int i = 0; i < 2; i++) {
        request.caller.uid = others[i];
        ck_assert_int_eq(hub_capture(hub, &request, &fd, why), -EACCES);
    }
    request.caller.uid = 0;
    request.one_peer = true;
    request.domid = OWN;
    ck_assert_int_eq(hub_capture(hub, &request, &fd, why), -EINVAL);
    request.domid = PEER;
    for (int i = 0; i < CAPTURES_MAX; i++)
        fds[i] = capture_started(&request);
    ck_assert_int_eq(hub_capture(hub, &request, &fd, why), -EBUSY);
    for (int i = 0; i < CAPTURES_MAX; i++)
        close(fds[i]);
    capture_turn();
    capture_end();
}
END_TEST

START_TEST(a_reader_that_reads_loses_nothing)
{
    struct seen seen;
    capture_begin();
    struct hub_capture_request request = want_everything(10);
    int fd = capture_started(&request);
    for (int i = 0; i < 1000; i++)
        pass_data((uint32_t)i, 80);
    capture_turn();
    shutdown(fd, SHUT_WR);
    read_all(fd, &seen);
    ck_assert_uint_eq(seen.frames, 1000);
    ck_assert_uint_eq(seen.data, 45 + 990 * 10);
    ck_assert_uint_eq(seen.lost, 0);
    ck_assert_uint_eq(seen.last.kind, CAPTURE_END);
    ck_assert_str_eq(seen.text, "");
    close(fd);
    capture_end();
}
END_TEST

/* More than buffer and socket hold, by frames of all sizes: what is missing is counted. */
START_TEST(a_reader_that_does_not_read_costs_frames_and_nothing_else)
{
    struct seen seen;
    uint32_t length = 1;
    uint64_t passed = 0;
    capture_begin();
    struct hub_capture_request request = want_everything(UINT32_MAX);
    int fd = capture_started(&request);
    for (int round = 0; round < 3000; round++, passed++) {
        pass_data(length, 80);
        length = (length * 31 + 17) % (uint32_t)sizeof(payload);
        if (round % 10 == 0)
            capture_turn();
    }
    shutdown(fd, SHUT_WR);
    capture_turn();
    pass_data(1, 80); /* after the end */
    read_all(fd, &seen);
    ck_assert_uint_gt(seen.lost, 0);
    ck_assert_uint_eq(seen.frames + seen.lost, passed);
    ck_assert_uint_eq(seen.last.kind, CAPTURE_END);
    ck_assert_uint_eq(seen.last.frames, passed);
    ck_assert_uint_eq(seen.last.dropped, seen.lost);
    ck_assert_uint_gt(seen.data, CAPTURE_BUFFER * 8 / 10);
    ck_assert_uint_lt(seen.data, CAPTURE_BUFFER + (2u << 20)); /* with what the kernel holds */
    close(fd);
    capture_end();
}
END_TEST

START_TEST(only_what_was_asked_for)
{
    struct seen seen;
    capture_begin();
    struct hub_capture_request request = want_everything(0);
    request.port = 80;
    int by_port = capture_started(&request);
    request = want_everything(0);
    request.one_peer = true;
    request.domid = PEER + 1;
    int by_peer = capture_started(&request);
    pass_data(1, 80);
    pass_data(2, 81);
    pass_data(3, 80);
    shutdown(by_port, SHUT_WR);
    shutdown(by_peer, SHUT_WR);
    capture_turn();
    read_all(by_port, &seen);
    ck_assert_uint_eq(seen.frames, 2);
    ck_assert_uint_eq(seen.data, 0);
    read_all(by_peer, &seen);
    ck_assert_uint_eq(seen.frames, 0);
    close(by_port);
    close(by_peer);
    capture_end();
}
END_TEST

START_TEST(link_mgr_ends)
{
    struct seen seen;
    capture_begin();
    struct hub_capture_request request = want_everything(0);
    int fd = capture_started(&request);
    pass_data(1, 80);
    hub_captures_end(hub);
    read_all(fd, &seen);
    ck_assert_uint_eq(seen.frames, 1);
    ck_assert_str_eq(seen.text, "link_mgr has ended");
    close(fd);
    capture_end();
}
END_TEST

/* ---- what frames say ---- */

static void capture_described(uint8_t type, uint8_t flags, const void *bytes, uint32_t length,
                              bool outgoing, struct seen *seen)
{
    const struct wire_frame frame = {.type = type, .flags = flags, .length = length};
    const struct capture_frame shown = {
        .domid = PEER,
        .outgoing = outgoing,
        .frame = &frame,
        .features = WIRE_FEATURES,
        .ends = {.local_port = 3, .peer_port = 4, .name = "x.y"},
        .payload = {.at = {{(void *)(uintptr_t)bytes, length}}, .count = length > 0}};
    struct hub_capture_request request = want_everything(0);
    int fd = capture_started(&request);
    hub->host.frame(&hub->host, &shown);
    shutdown(fd, SHUT_WR);
    event_base_loop(hub->base, EVLOOP_NONBLOCK);
    struct capture_record record;
    ck_assert_int_eq(read(fd, &record, sizeof(record)), sizeof(record));
    ck_assert_int_eq(read(fd, seen->text, record.size - sizeof(record)),
                     record.size - sizeof(record));
    seen->text[record.text_length] = '\0';
    seen->last = record;
    close(fd);
}

START_TEST(a_request_by_name)
{
    struct seen seen;
    uint8_t bytes[WIRE_CONNECT_REQ + IDC_SERVICE_MAX];
    const struct wire_connect_req req = {
        .id = 0x10, .source_port = 9, .uid = 5, .type = IDC_SEQPACKET, .name = "org.example"};
    capture_begin();
    uint32_t length = wire_put_connect_req(bytes, &req);
    capture_described(WIRE_TYPE_CONNECT_REQ, 0, bytes, length, false, &seen);
    ck_assert_str_eq(seen.text, "CONNECT_req id 0x10 service org.example uid 5");
    ck_assert_uint_eq(seen.last.peer_port, 9);
    ck_assert_uint_eq(seen.last.local_port, 0);
    ck_assert_uint_eq(seen.last.socket_type, IDC_SEQPACKET);
    capture_described(WIRE_TYPE_CONNECT_REQ, 0, bytes, length, true, &seen);
    ck_assert_uint_eq(seen.last.local_port, 9);
    ck_assert_uint_eq(seen.last.peer_port, 0);
    capture_described(WIRE_TYPE_CONNECT_REQ, 0, bytes, 3, false, &seen);
    ck_assert_int_eq(strncmp(seen.text, "CONNECT_req: ", 13), 0);
    capture_end();
}
END_TEST

START_TEST(an_answer)
{
    struct seen seen;
    uint8_t bytes[WIRE_CONNECT_RSP_RULE];
    struct wire_connect_rsp rsp = {.id = 0x20, .port = 99, .uid = 6};
    capture_begin();
    uint32_t length = wire_put_connect_rsp(bytes, WIRE_FEATURES, &rsp);
    capture_described(WIRE_TYPE_CONNECT_RSP, 0, bytes, length, false, &seen);
    ck_assert_str_eq(seen.text, "CONNECT_rsp service x.y id 0x20 uid 6");
    ck_assert_uint_eq(seen.last.peer_port, 99);
    ck_assert_uint_eq(seen.last.refused, 0);
    rsp = (struct wire_connect_rsp){.status = REASON_POLICY, .uid = WIRE_UID_UNKNOWN, .rule = 3};
    length = wire_put_connect_rsp(bytes, WIRE_FEATURES, &rsp);
    capture_described(WIRE_TYPE_CONNECT_RSP, 0, bytes, length, false, &seen);
    ck_assert_uint_eq(seen.last.refused, 1);
    ck_assert_ptr_nonnull(strstr(seen.text, "refused: "));
    ck_assert_ptr_nonnull(strstr(seen.text, "(rule 3)"));
    capture_end();
}
END_TEST

START_TEST(other_frames)
{
    struct seen seen;
    uint8_t bytes[8] = {0};
    capture_begin();
    wire_put_u32(bytes, 1000);
    capture_described(WIRE_TYPE_DATA, WIRE_DATA_MORE | WIRE_DATA_TOTAL, bytes, 8, false, &seen);
    ck_assert_str_eq(seen.text, "DATA_ind of a message of 1000 bytes");
    ck_assert_uint_eq(seen.last.length, 4);
    wire_put_u32(bytes, REASON_REVOKED);
    capture_described(WIRE_TYPE_DISCONNECT, WIRE_RESET | WIRE_LAST, bytes, 4, true, &seen);
    ck_assert_int_eq(strncmp(seen.text, "DISCONNECT_ind RESET LAST: ", 27), 0);
    capture_described(WIRE_TYPE_CREDIT, 0, bytes, 0, true, &seen);
    ck_assert_str_eq(seen.text, "");
    wire_put_u32(bytes, REASON_OK);
    capture_described(WIRE_TYPE_BYE, 0, bytes, 4, true, &seen);
    ck_assert_str_eq(seen.text, "BYE: the link is idle");
    capture_described(WIRE_TYPE_HELLO, 0, bytes, 4, true, &seen);
    ck_assert_int_eq(strncmp(seen.text, "HELLO: ", 7), 0);
    capture_described(WIRE_TYPE_PING, 0, bytes, 0, true, &seen);
    ck_assert_str_eq(seen.text, "PING");
    capture_described(WIRE_TYPE_PONG, 0, bytes, 0, false, &seen);
    ck_assert_str_eq(seen.text, "PONG");
    capture_described(222, 0, payload, sizeof(payload), false, &seen);
    ck_assert_str_eq(seen.text, "a frame of type 222, which is skipped");
    capture_end();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("capture");
    TCase *tests = tcase_create("capture");
    tcase_add_loop_test(tests, each_frame_is_mapped, 0, sizeof(mapped) / sizeof(mapped[0]));
    tcase_add_test(tests, a_packet_has_these_bytes);
    tcase_add_test(tests, head_and_end_are_whole_blocks);
    tcase_add_test(tests, nobody_captures);
    tcase_add_test(tests, who_may);
    tcase_add_test(tests, a_reader_that_reads_loses_nothing);
    tcase_add_test(tests, a_reader_that_does_not_read_costs_frames_and_nothing_else);
    tcase_add_test(tests, only_what_was_asked_for);
    tcase_add_test(tests, link_mgr_ends);
    tcase_add_test(tests, a_request_by_name);
    tcase_add_test(tests, an_answer);
    tcase_add_test(tests, other_frames);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
