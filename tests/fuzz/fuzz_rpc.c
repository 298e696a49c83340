/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzzer: what a program sends to link_mgr's RPC socket. The real server with libmicrohttpd and
 * xmlrpc-c in this process, on a socket of its own; behind it the hub of the unit tests
 * (fake_hub.h). Of the input the first byte says how the rest is sent:
 *
 *     0  as it is: HTTP                      3  in messages on an upgraded connection, as XML
 *     1  as the body of a POST               4  the same, idc-rpc/2
 *     2  as it is, behind an upgrade         5  idc-rpc/2: bytes pick what compact calls consist
 *        of; 6: with descriptors
 *
 * and the second in how large pieces. Whatever comes, the server neither crashes nor holds anything
 * once the program has gone: no session, call, memory, descriptor or pending connect.
 */
#include <dirent.h>
#include <endian.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "common/compact.h"
#include "link_mgr/rpc/methods.h"
#include "link_mgr/rpc/rpc.h"
#include "link_mgr/rpc/rpc_private.h"
#include "tests/unit/fake_hub.h"

#define BYTES_MAX 65536
#define POST "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n"
#define UPGRADE "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: idc-rpc/%d\r\n\r\n"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
    const uint8_t *data;
    size_t size;
};

static struct hub hub;
static struct rpc_server *server;
static char directory[] = "/tmp/idc-fuzz-XXXXXX";
static char path[64];
static int descriptors; /* at rest */

static struct {
    uint8_t at[BYTES_MAX];
    size_t len;
} out;

static uint8_t rpc_take(struct input *input)
{
    return input->size > 0 ? input->size--, *input->data++ : 0;
}

/* ---- the server ---- */

/* Sockets: the fuzzer opens other things itself. */
static int count_descriptors(void)
{
    int count = 0;
    char target[8];
    const struct dirent *entry;
    DIR *dir = opendir("/proc/self/fd");
    if (!dir)
        abort();
    while ((entry = readdir(dir)))
        count += readlinkat(dirfd(dir), entry->d_name, target, sizeof(target)) > 0 &&
                 memcmp(target, "socket:", 7) == 0;
    closedir(dir);
    return count;
}

static void rpc_do_stop(void)
{
    rpc_stop(server);
    fake_hub_end(&hub);
    rmdir(directory);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    char why[256] = "";
    (void)argc, (void)argv;
    signal(SIGPIPE, SIG_IGN);
    struct event_base *base = event_base_new();
    fake_hub_init(&hub, base);
    if (!mkdtemp(directory))
        abort();
    snprintf(path, sizeof(path), "%s/rpc.sock", directory);
    if (rpc_start(&(struct rpc_config){base, &hub, path}, &server, why, sizeof(why)) != 0) {
        fprintf(stderr, "fuzz_rpc: %s\n", why);
        abort();
    }
    atexit(rpc_do_stop);
    return 0;
}

static void rpc_turn(void)
{
    event_base_loop(hub.base, EVLOOP_NONBLOCK);
}

static bool at_rest(void)
{
    for (int i = 0; i < FAKE_ENDS; i++) {
        if (hub.ends[i].fd >= 0 && hub.ends[i].port == 8) /* it doesn't look */
            fake_end_close(&hub.ends[i]);
        else if (hub.ends[i].fd >= 0)
            return false;
    }
    for (int i = 0; i < FAKE_LISTENERS; i++)
        if (hub.listeners[i].fd >= 0)
            return false;
    return LIST_EMPTY(&server->sessions) && server->memory == 0 &&
           server->counters.calls_now == 0 && hub.pending == 0;
}

static void expect_rest(void)
{
    for (int i = 0; !at_rest() || (descriptors != 0 && count_descriptors() != descriptors); i++) {
        rpc_turn();
        if (i > 50)
            usleep(1000);
        if (i < 5000)
            continue;
        fprintf(
            stderr,
            "fuzz_rpc: left: sessions %d, memory %zu, calls %d, connects %d; %d sockets, were %d\n",
            !LIST_EMPTY(&server->sessions), server->memory, (int)server->counters.calls_now,
            hub.pending, count_descriptors(), descriptors);
        abort();
    }
    descriptors = count_descriptors();
}

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
static void put_messages(struct input *input)
{
    while (input->size > 0) {
        size_t len = (size_t)rpc_take(input) << 8;
        len = len / 16 + rpc_take(input);
        len = len < input->size ? len : input->size;
        put_message(input->data, len);
        input->data += len;
        input->size -= len;
    }
}

static void put_member(struct compact_writer *call, const char *names, struct input *input)
{
    static const int64_t numbers[] = {0, 1,  2,  3,  5,      6,         7,
                                      8, 13, 80, -1, 0x7FF0, 1ll << 32, INT64_MIN};
    static const char *const texts[] = {"stream", "seqpacket", "a.b", "", "80", "/"};
    char name[64];
    int skip = rpc_take(input) % 8;
    for (; skip > 0 && strchr(names, ' '); skip--)
        names = strchr(names, ' ') + 1;
    snprintf(name, sizeof(name), "%.*s", (int)strcspn(names, " "), names);
    uint8_t value = rpc_take(input);
    if (value % 4 == 0)
        compact_put_boolean(call, name, value & 4);
    else if (value % 4 == 1)
        compact_put_text(call, name, texts[value / 4 % 6]);
    else
        compact_put_number(call, name, numbers[value / 4 % 14]);
}

static void put_compact_calls(struct input *input)
{
    struct compact_writer call;
    while (input->size > 0) {
        const struct rpc_method *method = &rpc_methods[rpc_take(input) % rpc_method_count];
        compact_begin(&call, COMPACT_CALL, method->name);
        for (int count = rpc_take(input) % 6; count > 0; count--)
            put_member(&call, method->members ? method->members : "x ", input);
        put_message(call.bytes, call.len);
    }
}

static void make_bytes(uint8_t mode, struct input *input)
{
    char head[128] = "";
    out.len = 0;
    if (mode == 1)
        snprintf(head, sizeof(head), POST, input->size);
    else if (mode > 1)
        snprintf(head, sizeof(head), UPGRADE, mode < 4 ? 1 : 2);
    rpc_put(head, strlen(head));
    if (mode < 3)
        rpc_put(input->data, input->size);
    else if (mode < 5)
        put_messages(input);
    else
        put_compact_calls(input);
}

/* ---- the program ---- */

static int rpc_dial(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    strcpy(address.sun_path, path);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        abort();
    return fd;
}

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
        rpc_turn();
        read_answers(fd);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    if (descriptors == 0)
        expect_rest();
    uint8_t mode = rpc_take(&input) % 7, piece = rpc_take(&input);
    make_bytes(mode, &input);
    int fd = rpc_dial();
    send_all(fd, piece < 128 ? piece + 1u : BYTES_MAX, mode == 6);
    for (int i = 0; i < 3; i++) {
        rpc_turn();
        read_answers(fd);
    }
    close(fd);
    expect_rest();
    return 0;
}
