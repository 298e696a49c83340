/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fuzz_server.h - the RPC server that fuzz_rpc and fuzz_upgraded speak to: the real one, with
 * libmicrohttpd and xmlrpc-c, in this process, on a socket of its own. Behind it is the hub of the
 * unit tests (fake_hub.h). To be included by one file of a fuzzer.
 */
#ifndef IDC_FUZZ_SERVER_H
#define IDC_FUZZ_SERVER_H

#include <signal.h>
#include <sys/un.h>

#include "common/compact.h"
#include "link_mgr/rpc/methods.h"
#include "link_mgr/rpc/rpc.h"
#include "link_mgr/rpc/rpc_private.h"
#include "tests/fuzz/fuzz_sockets.h"
#include "tests/unit/fake_hub.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);

static struct hub hub;
static struct rpc_server *server;
static struct quota fuzz_users;
static char directory[] = "/tmp/idc-fuzz-XXXXXX";
static char path[64];
static int fuzz_sockets_at_rest;

/* ---- the server ---- */

/* Sockets: the fuzzer opens other things itself. */
static int fuzz_count_sockets(void)
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

static void fuzz_stop_server(void)
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
    struct user_limits limits;
    struct event_base *base = event_base_new();
    users_usual(&limits);
    users_init(&fuzz_users, &limits);
    fake_hub_init(&hub, base);
    if (!mkdtemp(directory))
        abort();
    snprintf(path, sizeof(path), "%s/rpc.sock", directory);
    if (rpc_start(
            &(struct rpc_config){.base = base, .hub = &hub, .users = &fuzz_users, .path = path},
            &server, why, sizeof(why)) != 0) {
        fprintf(stderr, "fuzz: %s\n", why);
        abort();
    }
    atexit(fuzz_stop_server);
    return 0;
}

static void fuzz_turn(void)
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

static void fuzz_expect_rest(void)
{
    for (int i = 0;
         !at_rest() || (fuzz_sockets_at_rest != 0 && fuzz_count_sockets() != fuzz_sockets_at_rest);
         i++) {
        fuzz_turn();
        if (i > 50)
            usleep(1000);
        if (i < 5000)
            continue;
        fprintf(stderr,
                "fuzz: left: sessions %d, memory %zu, calls %d, connects %d; %d sockets, were %d\n",
                !LIST_EMPTY(&server->sessions), server->memory, (int)server->counters.calls_now,
                hub.pending, fuzz_count_sockets(), fuzz_sockets_at_rest);
        abort();
    }
    fuzz_sockets_at_rest = fuzz_count_sockets();
}

/* ---- a program ---- */

static int fuzz_dial(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    strcpy(address.sun_path, path);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        abort();
    return fd;
}

/* A member of a call: a name of those given, and a value of any type. */
static void fuzz_put_member(struct compact_writer *call, const char *names,
                            struct fuzz_input *input)
{
    static const int64_t numbers[] = {0, 1,  2,  3,  5,      6,         7,
                                      8, 13, 80, -1, 0x7FF0, 1ll << 32, INT64_MIN};
    static const char *const texts[] = {"stream", "seqpacket", "a.b", "", "80", "/"};
    char name[64];
    int skip = fuzz_byte(input) % 8;
    for (; skip > 0 && strchr(names, ' '); skip--)
        names = strchr(names, ' ') + 1;
    snprintf(name, sizeof(name), "%.*s", (int)strcspn(names, " "), names);
    uint8_t value = fuzz_byte(input);
    if (value % 4 == 0)
        compact_put_boolean(call, name, value & 4);
    else if (value % 4 == 1)
        compact_put_text(call, name, texts[value / 4 % 6]);
    else
        compact_put_number(call, name, numbers[value / 4 % 14]);
}

#endif
