/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzzer: the hand-over of connections. The input says what goes over the socket of a listener,
 * both ways. At the program's end handover_accept and the readers of messages see anything, with
 * descriptors. At link_mgr's end an acceptor sees answers that are true, late, twice or rubbish.
 * Neither crashes, and nothing is left open.
 */
#include <errno.h>

#include "link_mgr/core/conn.h"
#include "link_mgr/program/acceptor.h"
#include "tests/fuzz/fuzz_sockets.h"

#define OFFERS 100

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- what a program reads ---- */

static void read_names(const uint8_t *bytes, size_t len)
{
    struct handover_waiting waiting, again;
    uint8_t out[HANDOVER_WAITING_SIZE];
    handover_taken_number(bytes, len);
    if (handover_decode_waiting(bytes, len, &waiting) < 0)
        return;
    handover_encode_waiting(out, &waiting);
    fuzz_require(handover_decode_waiting(out, sizeof(out), &again) == 0 &&
                     again.number == waiting.number && again.peer.port == waiting.peer.port &&
                     strcmp(again.peer.service, waiting.peer.service) == 0,
                 "a message that is read is written differently");
}

static void program_takes(struct fuzz_input *input, int fd)
{
    static uint8_t bytes[64 * 1024];
    struct idc_addr peer;
    size_t length;
    int fds[2] = {-1, -1}, count = 2, what = fuzz_byte(input) % 4;
    int got = what < 2 ? handover_accept(fd, 1, &peer, MSG_DONTWAIT) : -1;
    if (got >= 0) {
        handover_take_mark(got);
        close(got);
    }
    if (what == 2)
        handover_recv_message(fd, bytes, fuzz_length(input) / 2, MSG_DONTWAIT, &length);
    if (what == 3 && handover_recv(fd, bytes, sizeof(bytes), fds, &count, MSG_DONTWAIT) >= 0)
        while (count > 0)
            close(fds[--count]);
}

/* link_mgr's end says anything, or almost the right thing. */
static void manager_says(struct fuzz_input *input, int fd)
{
    uint8_t message[HANDOVER_WAITING_SIZE];
    struct handover_waiting waiting = {
        .peer = {.domid = fuzz_byte(input), .port = fuzz_byte(input), .type = IDC_STREAM},
        .marked = fuzz_byte(input) % 2,
        .number = 1 + fuzz_byte(input)};
    handover_encode_waiting(message, &waiting);
    if (fuzz_byte(input) % 2)
        message[fuzz_byte(input) % sizeof(message)] = fuzz_byte(input);
    fuzz_send(input, fd, message, sizeof(message) - fuzz_byte(input) / 128);
}

static void fuzz_program(struct fuzz_input *input)
{
    int ends[2];
    read_names(input->data, input->size);
    fuzz_require(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0, "no sockets");
    for (int i = 0; i < 100 && input->size > 0; i++) {
        uint8_t what = fuzz_byte(input) % 8;
        size_t len = input->size < 200 ? input->size : 200;
        if (what < 3)
            manager_says(input, ends[0]);
        else if (what == 3)
            fuzz_send(input, ends[0], input->data, len < 20 ? len : fuzz_byte(input) % len);
        else if (what == 4)
            fuzz_option(input, ends[1]);
        else
            program_takes(input, ends[1]);
    }
    close(ends[0]);
    close(ends[1]);
}

/* ---- what link_mgr reads ---- */

static struct {
    struct event_base *base;
    struct acceptors all;
    struct quota users;
    struct core core;
    struct listener *listener;
    struct conn conns[OFFERS];
    void *tickets[OFFERS];
    int offered, program;
    uint64_t serial;
} scene;

static void on_unlistened(struct host *host, const struct listener *listener)
{
    (void)host, (void)listener;
}

static struct acceptor *scene_acceptor(void)
{
    struct listener *listener = listener_by_port(&scene.core.listeners, 80);
    return listener ? listener->owner : NULL;
}

static void scene_begin(uint8_t backlog)
{
    static struct host host = {.unlistened = on_unlistened};
    struct acceptor *acceptor;
    struct listener *clash;
    struct user_limits limits;
    memset(&scene, 0, sizeof(scene));
    users_usual(&limits);
    users_init(&scene.users, &limits);
    scene.base = event_base_new();
    scene.serial = (uint64_t)getpid() << 16;
    scene.core.host = &host;
    scene.core.domid = 1;
    TAILQ_INIT(&scene.core.peers);
    listener_table_init(&scene.core.listeners, 0);
    fuzz_require(acceptors_init(&scene.all, scene.base, &scene.users) == 0 &&
                     listener_add(&scene.core.listeners, 80, "", &scene.listener, &clash) == 0,
                 "no listener");
    scene.listener->backlog = 1 + backlog % OFFERS;
    scene.listener->type = IDC_STREAM;
    fuzz_require(acceptor_new(&scene.all, &scene.core, scene.listener, ++scene.serial, &acceptor,
                              &scene.program) == 0,
                 "no acceptor");
}

static void scene_end(void)
{
    if (scene_acceptor())
        acceptor_free(scene_acceptor());
    close(scene.program);
    acceptors_end(&scene.all);
    quota_end(&scene.users);
    event_base_free(scene.base);
}

static void scene_offer(void)
{
    int pair[2];
    const struct idc_addr peer = {.domid = 2, .port = 9, .type = IDC_STREAM};
    if (!scene_acceptor() || scene.offered == OFFERS)
        return;
    struct conn *conn = &scene.conns[scene.offered];
    conn->listener = scene.listener;
    fuzz_require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0, "no sockets");
    if (acceptor_offer(scene_acceptor(), conn, pair[0], &peer, &scene.tickets[scene.offered]) < 0)
        close(pair[0]);
    else
        scene.offered++;
    close(pair[1]);
}

static void scene_end_or_await(struct fuzz_input *input)
{
    uint8_t byte = fuzz_byte(input);
    void **ticket = &scene.tickets[byte % OFFERS];
    if (*ticket == NULL)
        return;
    if (byte & 128) {
        acceptor_await(*ticket);
        return;
    }
    acceptor_conn_ended(*ticket);
    *ticket = NULL;
}

/* The listener goes on at a socket that a program has made. */
static void scene_move(void)
{
    int ends[2];
    if (!scene_acceptor() || scene.listener->waiting > 0)
        return;
    fuzz_require(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0, "no sockets");
    if (acceptor_move(scene_acceptor(), ends[1], ++scene.serial) < 0)
        close(ends[1]);
    close(scene.program);
    scene.program = ends[0];
}

static void scene_act(struct fuzz_input *input)
{
    uint8_t rubbish[200] = {0}, what = fuzz_byte(input) % 11;
    size_t len = fuzz_byte(input) % sizeof(rubbish);
    if (what < 3)
        scene_offer();
    else if (what == 3)
        handover_tell_taken(scene.program, fuzz_byte(input));
    else if (what == 4)
        fuzz_send(input, scene.program, rubbish, len);
    else if (what == 5)
        fuzz_option(input, scene.program);
    else if (what == 6)
        program_takes(input, scene.program);
    else if (what == 7)
        scene_end_or_await(input);
    else if (what == 9)
        scene_move();
    else if (what == 8 && scene_acceptor())
        acceptor_look(scene_acceptor());
    else
        event_base_loop(scene.base, EVLOOP_NONBLOCK);
}

static void fuzz_acceptor(struct fuzz_input *input)
{
    scene_begin(fuzz_byte(input));
    for (int i = 0; i < 300 && input->size > 0; i++)
        scene_act(input);
    scene_end();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    int before = fuzz_open_descriptors();
    if (fuzz_byte(&input) % 2)
        fuzz_program(&input);
    else
        fuzz_acceptor(&input);
    fuzz_require(fuzz_open_descriptors() == before, "a descriptor was left");
    return 0;
}
