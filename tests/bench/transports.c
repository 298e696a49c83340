/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * transports.c - the sockets of the kernel: Unix, TCP and vsock over loopback, TCP to any address,
 * a socket pair, and Unix through two relays. What is not there (no vsock, say) is told in one line
 * that contains "not available"; nothing is loaded or configured.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#include "common/handover.h"
#include "tests/bench/transports.h"

#define BACKLOG 4096

union address {
    struct sockaddr any;
    struct sockaddr_un local;
    struct sockaddr_in inet;
    struct sockaddr_vm vsock;
};

pid_t fork_tied(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() == 1)
            _exit(1);
    }
    return pid;
}

int side_cpus[2] = {-1, -1};

void pin_to_side(enum side side)
{
    cpu_set_t set;
    if (side_cpus[side] < 0)
        return;
    CPU_ZERO(&set);
    CPU_SET((size_t)side_cpus[side], &set);
    if (sched_setaffinity(0, sizeof(set), &set) < 0)
        fprintf(stderr, "bench: cannot keep to processor %d: %s\n", side_cpus[side],
                strerror(errno));
}

struct watch *place_watch(struct place *place)
{
    if (place->own == NULL)
        place->own = calloc(1, sizeof(struct watch));
    return place->own;
}

/* ---- addresses ---- */

static int parse_unix(const char *path, union address *address)
{
    if (path == NULL || strlen(path) >= sizeof(address->local.sun_path))
        return measure_fail("the address is the path of a socket, of at most %zu bytes",
                            sizeof(address->local.sun_path) - 1);
    address->local.sun_family = AF_UNIX;
    memcpy(address->local.sun_path, path, strlen(path) + 1);
    return 0;
}

/* PORT, or IPV4:PORT. */
static int parse_tcp(const char *text, union address *address)
{
    char host[INET_ADDRSTRLEN] = "127.0.0.1";
    const char *colon = text ? strchr(text, ':') : NULL, *port = colon ? colon + 1 : text;
    unsigned long number = port ? strtoul(port, NULL, 10) : 0;
    if (colon)
        snprintf(host, sizeof(host), "%.*s", (int)(colon - text), text);
    address->inet =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)number)};
    if (number < 1 || number > 65535 || inet_pton(AF_INET, host, &address->inet.sin_addr) != 1)
        return measure_fail("the address is a port, 1 to 65535, or IPV4:PORT");
    return 0;
}

static int parse_vsock(const char *text, union address *address)
{
    unsigned cid, port;
    if (text == NULL || sscanf(text, "%10u:%10u", &cid, &port) != 2)
        return measure_fail("the address is CID:PORT; CID 1 is this machine");
    address->vsock = (struct sockaddr_vm){.svm_family = AF_VSOCK, .svm_cid = cid, .svm_port = port};
    return 0;
}

static int transports_parse(const struct place *place, union address *address)
{
    memset(address, 0, sizeof(*address));
    if (place->transport == &transport_tcp)
        return parse_tcp(place->address, address);
    if (place->transport == &transport_vsock)
        return parse_vsock(place->address, address);
    return parse_unix(place->address, address);
}

static socklen_t length_of(const union address *address)
{
    switch (address->any.sa_family) {
    case AF_UNIX:
        return sizeof(address->local);
    case AF_INET:
        return sizeof(address->inet);
    default:
        return sizeof(address->vsock);
    }
}

/* ---- sockets ---- */

static int fail_unless_there(const struct place *place, const char *what)
{
    bool missing = errno == EAFNOSUPPORT || (place->transport == &transport_vsock &&
                                             (errno == ENODEV || errno == EADDRNOTAVAIL));
    return measure_fail("%s%s: %s", missing ? "not available: " : "", what, strerror(errno));
}

static void without_delay(const struct place *place, int fd)
{
    int one = 1;
    if (place->transport == &transport_tcp)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

static int open_socket(const struct place *place, union address *address)
{
    if (transports_parse(place, address) < 0)
        return -1;
    int fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return fd < 0 ? fail_unless_there(place, "socket") : fd;
}

static int socket_listen(struct place *place)
{
    union address address;
    int one = 1, fd = open_socket(place, &address);
    if (fd < 0)
        return -1;
    if (address.any.sa_family == AF_UNIX)
        unlink(place->address);
    if (address.any.sa_family == AF_INET)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(fd, &address.any, length_of(&address)) < 0 || listen(fd, BACKLOG) < 0) {
        fail_unless_there(place, "listening");
        close(fd);
        return -1;
    }
    place->listener = fd;
    return 0;
}

static int socket_accept(struct place *place, struct stream *stream)
{
    do
        stream->fd = accept4(place->listener, NULL, NULL, SOCK_CLOEXEC);
    while (stream->fd < 0 && (errno == EINTR || errno == ECONNABORTED));
    if (stream->fd < 0)
        return measure_fail("accept: %s", strerror(errno));
    without_delay(place, stream->fd);
    return 0;
}

static int socket_connect(struct place *place, struct stream *stream)
{
    union address address;
    stream->fd = open_socket(place, &address);
    if (stream->fd < 0)
        return -1;
    without_delay(place, stream->fd);
    if (connect(stream->fd, &address.any, length_of(&address)) == 0)
        return 0;
    fail_unless_there(place, "connecting");
    close(stream->fd);
    return -1;
}

/* ---- socket pairs: a forked server gets one end of each ---- */

static void no_word(struct place *place, void *arg)
{
    (void)place, (void)arg;
}

static int pair_listen(struct place *place)
{
    static const struct watch nothing;
    int control[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control) < 0)
        return measure_fail("socketpair: %s", strerror(errno));
    pid_t pid = fork_tied();
    if (pid < 0)
        return measure_fail("fork: %s", strerror(errno));
    if (pid == 0) {
        pin_to_side(SERVER_SIDE);
        close(control[0]);
        place->listener = control[1];
        measure_serve(place, &nothing, no_word, NULL);
        _exit(0);
    }
    close(control[1]);
    place->listener = control[0];
    return 0;
}

static int pair_accept(struct place *place, struct stream *stream)
{
    char byte;
    int count = 1;
    stream->fd = -1;
    if (handover_recv(place->listener, &byte, 1, &stream->fd, &count, 0) == 1 && count == 1)
        return 0;
    return measure_fail("no more connections");
}

static int pair_connect(struct place *place, struct stream *stream)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        return measure_fail("socketpair: %s", strerror(errno));
    ssize_t sent = handover_send(place->listener, "c", 1, &ends[1], 1, 0);
    close(ends[1]);
    stream->fd = ends[0];
    if (sent == 1)
        return 0;
    close(ends[0]);
    return measure_fail("handing over a socket: %s", strerror(-(int)sent));
}

/* ---- Unix through two relays ---- */

static int start_relay(struct place *place, enum side side, const char *from, const char *to)
{
    int listener = relay_listen(from);
    pid_t pid = listener < 0 ? -1 : fork_tied();
    if (pid == 0) {
        pin_to_side(side);
        close(place->listener);
        relay_run(listener, to);
        fprintf(stderr, "bench relay: %s\n", measure_error());
        _exit(1);
    }
    close(listener);
    if (pid > 0)
        watch_add(place_watch(place), pid);
    return pid < 0 ? -1 : 0;
}

/* Path: the first relay; Path.2: the second; Path.3: the server. */
static int chain_listen(struct place *place)
{
    char second[112], last[112];
    snprintf(second, sizeof(second), "%.100s.2", place->address ? place->address : "");
    snprintf(last, sizeof(last), "%.100s.3", place->address ? place->address : "");
    struct place server = {.transport = &transport_unix, .address = last, .listener = -1};
    if (socket_listen(&server) < 0)
        return -1;
    place->listener = server.listener;
    if (start_relay(place, SERVER_SIDE, second, last) < 0)
        return -1;
    return start_relay(place, CLIENT_SIDE, place->address, second);
}

/* ---- the table ---- */

const struct transport transport_unix = {
    .name = "unix",
    .address = "PATH",
    .listen = socket_listen,
    .accept = socket_accept,
    .connect = socket_connect,
};
const struct transport transport_tcp = {
    .name = "tcp",
    .address = "PORT (of the loopback interface), or IPV4:PORT",
    .listen = socket_listen,
    .accept = socket_accept,
    .connect = socket_connect,
};
const struct transport transport_vsock = {
    .name = "vsock",
    .address = "CID:PORT (of the kernel's own AF_VSOCK)",
    .listen = socket_listen,
    .accept = socket_accept,
    .connect = socket_connect,
};
const struct transport transport_socketpair = {
    .name = "socketpair",
    .address = "none; run forks the server",
    .own_server = true,
    .listen = pair_listen,
    .accept = pair_accept,
    .connect = pair_connect,
};
const struct transport transport_chain = {
    .name = "chain",
    .address = "PATH (and PATH.2, PATH.3)",
    .listen = chain_listen,
    .accept = socket_accept,
    .connect = socket_connect,
};

const struct transport *const transports[] = {
    &transport_idc, &transport_idc_seqpacket, &transport_unix,  &transport_socketpair,
    &transport_tcp, &transport_vsock,         &transport_chain, NULL};

const struct transport *transport_number(size_t number)
{
    size_t own = sizeof(transports) / sizeof(transports[0]) - 1;
    if (number < own)
        return transports[number];
    return more_transports ? more_transports[number - own] : NULL;
}

const struct transport *find_transport(const char *name)
{
    const struct transport *transport;
    for (size_t i = 0; (transport = transport_number(i)); i++)
        if (strcmp(transport->name, name) == 0)
            return transport;
    return NULL;
}
