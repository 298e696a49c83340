/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * flows: many connections at once in one thread, each carrying checked data both ways at the same
 * time.
 *
 *     flows accept  key=value...     port=P or name=S; prints "ready port=P"; count=N connections
 *     flows connect key=value...     domid=D, port=P or name=S; opens count=N connections
 *
 * Theory of operation
 *
 * Both sides do the same on each connection: send `bytes` bytes (-1: until told to stop), written
 * `chunk` at a time, then shutdown(SHUT_WR); meanwhile read to the end of file and check each byte.
 * The data are those of pattern.h with a seed made of the connecting side's port and the direction,
 * so a byte of another connection, or of the other direction, is found.
 *
 * As soon as its count of connections is there, each side prints "open n=N". Lines on standard
 *     input:
 *     stop       send no more: half-close what still sends
 *     read       begin to read (for stall=1, with which nothing is read before)
 *     progress   prints "progress sent=A,B,C... received=A,B,C..." for the connections in the order
 *                of their making
 *     close      half-close (for hold=1, with which connections stay open after the data; when all
 *                have sent and
 * received `bytes` bytes it says "idle n=N") When every connection has ended: "done n=N sent=S
 * received=R bad=B errors=E hash_sent=H hash_received=H": sums over all connections, of hashes too,
 * so the numbers of both sides must agree crosswise. Each error has a line of its own.
 * type=seqpacket: each chunk is one message. plain=1: data are not made, checked or hashed, only
 * counted, and a socket is filled until it is full: so the programs cost little, and the link is
 * what is scarce.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "idc.h"
#include "tests/programs/pattern.h"

#define BUFFER (256 * 1024)
#define LINE 256

struct flow {
    int fd; /* -1: over */
    uint64_t seed_out, seed_in;
    long long sent, received;
    bool sending, reading;
    bool held; /* has sent all, and waits for "close" */
    struct hash hash_sent, hash_received;
};

static struct {
    bool connecting, hold, stall, stop, plain;
    int type, count, open, over;
    uint32_t domid, port;
    const char *name;
    long long bytes, chunk;
} options = {.type = IDC_STREAM, .count = 1, .bytes = 1024, .chunk = 65536};

static struct flow *flows;
static int poller, listener = -1, idle;
static long long bad, errors;
static uint8_t buffer[BUFFER], out[BUFFER];

/* ---- one flow ---- */

static void flows_watch(const struct flow *flow, bool first)
{
    struct epoll_event event = {.data.u64 = (uint64_t)(flow - flows)};
    event.events = (flow->sending && !flow->held ? EPOLLOUT : 0u) |
                   (flow->reading && !options.stall ? EPOLLIN : 0u);
    if (epoll_ctl(poller, first ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, flow->fd, &event) < 0) {
        perror("flows: epoll_ctl");
        exit(1);
    }
}

static void let_go(struct flow *flow)
{
    close(flow->fd);
    flow->fd = -1;
    options.over++;
}

static void flows_fail(struct flow *flow, const char *where, int error)
{
    printf("error flow=%d where=%s errno=%s sent=%lld received=%lld\n", (int)(flow - flows), where,
           strerrorname_np(error), flow->sent, flow->received);
    errors++;
    flow->sending = flow->reading = false;
    let_go(flow);
}

/* One half or both are over. */
static void half_over(struct flow *flow)
{
    if (flow->sending || flow->reading)
        flows_watch(flow, false);
    else
        let_go(flow);
}

static void count_idle(const struct flow *flow)
{
    if (!options.hold || flow->sent != options.bytes || flow->received != options.bytes ||
        ++idle != options.count)
        return;
    printf("idle n=%d\n", idle);
    fflush(stdout);
}

static void end_sending(struct flow *flow)
{
    flow->sending = false;
    if (shutdown(flow->fd, SHUT_WR) < 0)
        flows_fail(flow, "shutdown", errno);
    else
        half_over(flow);
}

static ssize_t send_part(struct flow *flow, size_t length)
{
    if (!options.plain)
        pattern_fill(flow->seed_out, (uint64_t)flow->sent, out, length);
    if (options.type == IDC_STREAM)
        return send(flow->fd, out, length, MSG_NOSIGNAL);
    return idc_send(flow->fd, out, length);
}

/* False: nothing more can be sent now. */
static bool may_send(struct flow *flow)
{
    long long left = options.bytes < 0 ? options.chunk : options.bytes - flow->sent;
    size_t length = (size_t)(left < options.chunk ? left : options.chunk);
    ssize_t n = length && !options.stop ? send_part(flow, length) : 0;
    if (n < 0) {
        if (errno != EAGAIN)
            flows_fail(flow, "send", errno);
        return false;
    }
    if (!options.plain)
        hash_add(&flow->hash_sent, out, (size_t)n);
    flow->sent += n;
    if (n > 0)
        count_idle(flow);
    flow->held = options.hold && flow->sent == options.bytes;
    if (flow->held)
        flows_watch(flow, false);
    else if (options.stop || flow->sent == options.bytes)
        end_sending(flow);
    return n > 0 && flow->fd >= 0 && flow->sending && !flow->held;
}

static void may_receive(struct flow *flow)
{
    ssize_t n = idc_recv(flow->fd, buffer, sizeof(buffer));
    if (n < 0 && errno == EAGAIN)
        return;
    if (n < 0) {
        flows_fail(flow, "recv", errno);
        return;
    }
    if (n == 0) {
        flow->reading = false;
        half_over(flow);
        return;
    }
    if (!options.plain &&
        pattern_check(flow->seed_in, (uint64_t)flow->received, buffer, (size_t)n) >= 0)
        bad++;
    if (!options.plain)
        hash_add(&flow->hash_received, buffer, (size_t)n);
    flow->received += n;
    count_idle(flow);
}

static void flow_event(struct flow *flow, uint32_t events)
{
    if (flow->fd >= 0 && flow->reading && !options.stall &&
        events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        may_receive(flow);
    if (flow->fd >= 0 && flow->sending && !flow->held && events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
        while (may_send(flow) && options.plain)
            continue;
}

/* port: of the connecting side, which both sides know. */
static void add_flow(int fd, uint32_t port)
{
    struct flow *flow = &flows[options.open++];
    uint64_t seed = 2 * (uint64_t)port;
    *flow = (struct flow){.fd = fd, .sending = true, .reading = true};
    flow->seed_out = seed + options.connecting;
    flow->seed_in = seed + !options.connecting;
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    flows_watch(flow, true);
    if (options.open == options.count) {
        printf("open n=%d\n", options.open);
        fflush(stdout);
    }
}

/* ---- getting connections ---- */

static void flows_die(const char *what)
{
    printf("failed where=%s errno=%s open=%d text=%s\n", what, strerrorname_np(errno), options.open,
           idc_last_error());
    exit(1);
}

static void connect_one(void)
{
    struct idc_options connect = IDC_OPTIONS_INIT;
    struct idc_addr own;
    connect.type = options.type;
    int fd = options.name ? idc_connect_name_with(options.domid, options.name, &connect)
                          : idc_connect_with(options.domid, options.port, &connect);
    if (fd < 0 || idc_getsockname(fd, &own) < 0)
        flows_die("connect");
    add_flow(fd, own.port);
}

static void accept_some(void)
{
    struct idc_addr peer;
    while (options.open < options.count) {
        int fd = idc_accept(listener, &peer);
        if (fd < 0 && errno == EAGAIN)
            return;
        if (fd < 0)
            flows_die("accept");
        add_flow(fd, peer.port);
    }
    epoll_ctl(poller, EPOLL_CTL_DEL, listener, NULL);
}

static void open_listener(void)
{
    struct idc_options listen = IDC_OPTIONS_INIT;
    struct idc_addr own;
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = UINT64_MAX};
    listen.type = options.type;
    listener = idc_listen_with(options.port, options.name, 4096, &listen);
    if (listener < 0 || idc_getsockname(listener, &own) < 0)
        flows_die("listen");
    fcntl(listener, F_SETFL, fcntl(listener, F_GETFL) | O_NONBLOCK);
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
    printf("ready port=%u\n", own.port);
    fflush(stdout);
}

/* ---- what the test says ---- */

static void print_progress(void)
{
    printf("progress sent=");
    for (int i = 0; i < options.open; i++)
        printf("%s%lld", i ? "," : "", flows[i].sent);
    printf(" received=");
    for (int i = 0; i < options.open; i++)
        printf("%s%lld", i ? "," : "", flows[i].received);
    printf("\n");
    fflush(stdout);
}

static void watch_all(void)
{
    for (int i = 0; i < options.open; i++)
        if (flows[i].fd >= 0 && (flows[i].sending || flows[i].reading))
            flows_watch(&flows[i], false);
}

static void close_all(void)
{
    options.hold = false;
    for (int i = 0; i < options.open; i++)
        if (flows[i].fd >= 0 && flows[i].held)
            end_sending(&flows[i]);
}

static void flows_obey(void)
{
    char line[LINE];
    ssize_t n = read(STDIN_FILENO, line, sizeof(line) - 1);
    if (n <= 0)
        exit(1); /* the test has ended */
    line[n] = '\0';
    if (strstr(line, "stop"))
        options.stop = true;
    if (strstr(line, "progress"))
        print_progress();
    if (strstr(line, "close"))
        close_all();
    if (strstr(line, "read")) {
        options.stall = false;
        watch_all();
    }
}

static void flows_step(void)
{
    struct epoll_event events[256];
    int n = epoll_wait(poller, events, 256, -1);
    for (int i = 0; i < n; i++) {
        if (events[i].data.u64 == UINT64_MAX)
            accept_some();
        else if (events[i].data.u64 == UINT64_MAX - 1)
            flows_obey();
        else
            flow_event(&flows[events[i].data.u64], events[i].events);
    }
}

static void flows_report(void)
{
    long long sent = 0, received = 0;
    uint64_t hash_sent = 0, hash_received = 0;
    for (int i = 0; i < options.open; i++) {
        sent += flows[i].sent;
        received += flows[i].received;
        hash_sent += hash_value(&flows[i].hash_sent);
        hash_received += hash_value(&flows[i].hash_received);
    }
    printf("done n=%d sent=%lld received=%lld bad=%lld errors=%lld hash_sent=%016llx "
           "hash_received=%016llx\n",
           options.open, sent, received, bad, errors, (unsigned long long)hash_sent,
           (unsigned long long)hash_received);
    fflush(stdout);
}

/* ---- start ---- */

static void flows_take(const char *word)
{
    const char *value = strchr(word, '=');
    size_t length = value ? (size_t)(value - word) : 0;
    struct {
        const char *key;
        long long *number;
    } numbers[] = {{"bytes", &options.bytes}, {"chunk", &options.chunk}};
    for (int i = 0; i < 2; i++)
        if (length == strlen(numbers[i].key) && strncmp(word, numbers[i].key, length) == 0)
            *numbers[i].number = strtoll(value + 1, NULL, 0);
    if (strncmp(word, "count=", 6) == 0)
        options.count = atoi(word + 6);
    else if (strncmp(word, "domid=", 6) == 0)
        options.domid = (uint32_t)strtoul(word + 6, NULL, 0);
    else if (strncmp(word, "port=", 5) == 0)
        options.port = (uint32_t)strtoul(word + 5, NULL, 0);
    else if (strncmp(word, "name=", 5) == 0)
        options.name = word + 5;
    else if (strcmp(word, "type=seqpacket") == 0)
        options.type = IDC_SEQPACKET;
    else if (strcmp(word, "plain=1") == 0)
        options.plain = true;
    else if (strcmp(word, "hold=1") == 0)
        options.hold = true;
    else if (strcmp(word, "stall=1") == 0)
        options.stall = true;
}

static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

int main(int argc, char **argv)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = UINT64_MAX - 1};
    if (argc < 2)
        return 2;
    options.connecting = strcmp(argv[1], "connect") == 0;
    for (int i = 2; i < argc; i++)
        flows_take(argv[i]);
    if (options.chunk > BUFFER)
        options.chunk = BUFFER;
    raise_descriptor_limit();
    pattern_init();
    flows = calloc((size_t)options.count, sizeof(*flows));
    poller = epoll_create1(EPOLL_CLOEXEC);
    epoll_ctl(poller, EPOLL_CTL_ADD, STDIN_FILENO, &event);
    if (!options.connecting)
        open_listener();
    while (options.over < options.count) {
        if (options.connecting && options.open < options.count)
            connect_one();
        if (!options.connecting || options.open == options.count)
            flows_step();
    }
    flows_report();
    return bad || errors ? 1 : 0;
}
