/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzzer: a program's socket (link_mgr/program/endpoint*.c). The program does what the input says:
 * it writes, with descriptors, sets options, shuts down, closes. So does the core, on the other
 * side: it pulls, pushes, shuts, tells that the connection was taken, and closes. What a stream
 * delivers is what was written, in order; and nothing is left open.
 */
#include <errno.h>

#include "common/connecting.h"
#include "link_mgr/core/conn.h"
#include "link_mgr/program/endpoint_private.h"
#include "tests/fuzz/fuzz_sockets.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct {
    struct event_base *base;
    struct endpoints all;
    struct conn conn;
    struct endpoint *ep;
    int program;
    uint8_t written, pulled; /* of a stream: the next byte */
} scene;

static uint8_t bytes[320 * 1024];

static void endpoint_ended(void *arg, struct conn *conn, enum reason reason)
{
    (void)arg, (void)conn, (void)reason;
}

static void endpoint_untaken(void *arg, struct conn *conn)
{
    (void)arg, (void)conn;
}

/* The program's own pair, as it comes with a call. Returns the far end. */
static int scene_far_end(enum idc_type type)
{
    int ends[2];
    int kind = type == IDC_SEQPACKET ? SOCK_SEQPACKET : SOCK_STREAM;
    fuzz_require(socketpair(AF_UNIX, kind | SOCK_CLOEXEC, 0, ends) == 0 &&
                     connecting_fill(ends[0], ends[1]) == 0,
                 "no pair");
    scene.program = ends[0];
    return ends[1];
}

static void scene_begin(uint8_t mode)
{
    int made;
    enum idc_type type = mode & 1 ? IDC_SEQPACKET : IDC_STREAM;
    struct handover_name name = {.serial = (uint64_t)getpid(),
                                 .local = {.domid = 1, .port = 1, .type = type},
                                 .peer = {.domid = 2, .port = 2, .type = type}};
    const struct endpoint_config config = {.all = &scene.all,
                                           .conn = &scene.conn,
                                           .name = &name,
                                           .far_end = mode & 8 ? scene_far_end(type) : -1,
                                           .reset_is_end = mode & 2,
                                           .untaken = mode & 4 ? endpoint_untaken : NULL,
                                           .ended = endpoint_ended};
    scene.base = event_base_new();
    endpoints_init(&scene.all, scene.base);
    scene.conn = (struct conn){.phase = CONN_OPEN, .type = type};
    scene.written = scene.pulled = 0;
    fuzz_require(endpoint_new(&config, &scene.ep, &made) == 0, "no endpoint");
    if (config.far_end < 0)
        scene.program = made;
}

static void scene_end(enum reason reason)
{
    endpoint_close(scene.ep, reason);
    if (scene.program >= 0)
        close(scene.program);
    endpoints_end(&scene.all);
    event_base_free(scene.base);
}

static void program_writes(struct fuzz_input *input)
{
    int fds[HANDOVER_FDS_MAX];
    size_t len = fuzz_length(input);
    int count = fuzz_descriptors(input, scene.program, fds);
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)(scene.written + i);
    ssize_t sent = handover_send(scene.program, bytes, len, fds, count, MSG_DONTWAIT);
    scene.written = (uint8_t)(scene.written + (sent > 0 ? sent : 0));
    while (count > 0)
        close(fds[--count]);
}

/* A front that the program makes by itself, right or wrong. */
static void program_sends_long(struct fuzz_input *input)
{
    struct iovec span = {bytes, 2 * fuzz_length(input)};
    if (scene.conn.type == IDC_SEQPACKET && span.iov_len > 4096)
        handover_send_by_memfd(scene.program, &span, 1, span.iov_len, MSG_DONTWAIT);
}

static void core_pulls(struct fuzz_input *input)
{
    struct iovec span = {bytes, 1 + fuzz_length(input)};
    if (scene.conn.type == IDC_SEQPACKET) {
        ssize_t length = endpoint_message(scene.ep);
        if (length < 0)
            return;
        span.iov_len = span.iov_len < (size_t)length ? span.iov_len : (size_t)length;
    }
    ssize_t n = endpoint_pull(scene.ep, &span, 1);
    fuzz_require(n <= (ssize_t)span.iov_len, "more was pulled than there is room for");
    for (ssize_t i = 0; i < n && scene.conn.type == IDC_STREAM; i++)
        fuzz_require(bytes[i] == scene.pulled++, "a stream delivers what was not written");
}

static void core_pushes(struct fuzz_input *input)
{
    struct iovec span = {bytes, 1 + fuzz_length(input)};
    endpoint_push(scene.ep, &span, 1);
}

static void program_reads(struct fuzz_input *input)
{
    size_t length;
    if (scene.conn.type == IDC_SEQPACKET && fuzz_byte(input) % 2)
        handover_recv_message(scene.program, bytes, fuzz_length(input), MSG_DONTWAIT, &length);
    else
        recv(scene.program, bytes, 1 + fuzz_length(input), MSG_DONTWAIT);
}

static void scene_act(struct fuzz_input *input)
{
    uint8_t what = fuzz_byte(input) % 12;
    if (scene.program < 0 && (what < 4 || what == 10))
        return;
    if (what == 0)
        program_writes(input);
    else if (what == 1)
        program_sends_long(input);
    else if (what == 2)
        program_reads(input);
    else if (what == 3)
        fuzz_option(input, scene.program);
    else if (what < 6)
        core_pulls(input);
    else if (what == 6)
        core_pushes(input);
    else if (what == 7)
        endpoint_gone(scene.ep);
    else if (what == 8)
        endpoint_shut(scene.ep, fuzz_byte(input) % 2 ? SHUT_RD : SHUT_WR);
    else if (what == 9)
        endpoint_taken(scene.ep);
    else if (what == 10 && fuzz_byte(input) % 4)
        shutdown(scene.program, fuzz_byte(input) % 3);
    else if (what == 10) {
        close(scene.program);
        scene.program = -1;
    } else
        event_base_loop(scene.base, EVLOOP_NONBLOCK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    int before = fuzz_open_descriptors();
    scene_begin(fuzz_byte(&input));
    for (int i = 0; i < 200 && input.size > 0; i++)
        scene_act(&input);
    scene_end(size % 2 ? REASON_OK : REASON_LINK_LOST);
    fuzz_require(fuzz_open_descriptors() == before, "a descriptor was left");
    return 0;
}
