/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * attack.c - attacks on link_mgr by one program, each at the full speed of one thread. It does what
 * link_mgr refuses again and again, without a pause: a refusal must be cheap. What an attack may
 * have at a time is more than link_mgr lets one user have (link_mgr/base/users.h).
 */
#include "tests/bench/attack.h"

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "idc.h"

#define OPEN_MAX_AT_ONCE 3000 /* RPC connections; one user may have 1,024 */
#define BODY (1024u * 1024)

static unsigned target, target_port;
static int open_fds[OPEN_MAX_AT_ONCE];

/* A connection to link_mgr, in place of the oldest one. -1: not now. */
static int attack_dial(unsigned turn)
{
    int *place = &open_fds[turn % OPEN_MAX_AT_ONCE];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *path = getenv("IDC_SOCKET");
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path ? path : "");
    if (*place > 0)
        close(*place);
    *place = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (*place < 0 || connect(*place, (struct sockaddr *)&address, sizeof(address)) < 0)
        return -1;
    return *place;
}

static void send_text(int fd, const char *text)
{
    if (fd >= 0)
        send(fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void half_request(unsigned turn)
{
    send_text(attack_dial(turn), "POST / HTTP/1.1\r\nHost: idc\r\nContent-Le");
}

/* The request says that more will come than does. */
static void unfinished_body(unsigned turn)
{
    int fd = attack_dial(turn);
    send_text(fd, "POST / HTTP/1.1\r\nHost: idc\r\nContent-Type: text/xml\r\n"
                  "Content-Length: 20000000\r\n\r\n");
    if (fd >= 0) {
        static char body[BODY];
        send(fd, body, sizeof(body), MSG_NOSIGNAL | MSG_DONTWAIT);
    }
}

static void connect_and_close(unsigned turn)
{
    (void)turn;
    int fd = idc_connect(target, target_port);
    if (fd >= 0)
        idc_disconnect(fd);
}

/* All stay open, until link_mgr refuses more. */
static void connect_and_keep(unsigned turn)
{
    (void)turn;
    idc_connect(target, target_port);
}

/* A document over an upgraded connection (docs/rpc.md, 4). */
static void send_call(int fd, uint32_t tag, const char *method, const char *members)
{
    char message[1024];
    int len =
        snprintf(message + 8, sizeof(message) - 8,
                 "<?xml version=\"1.0\"?><methodCall><methodName>%s</methodName><params><param>"
                 "<value><struct>%s</struct></value></param></params></methodCall>",
                 method, members);
    const uint32_t header[2] = {(uint32_t)len, tag};
    memcpy(message, header, sizeof(header));
    for (size_t at = 0, all = sizeof(header) + (size_t)len; at < all;) {
        ssize_t sent = send(fd, message + at, all - at, MSG_NOSIGNAL);
        if (sent < 0)
            return;
        at += (size_t)sent;
    }
}

static int dial_upgraded(unsigned turn)
{
    char answer[512] = "";
    int fd = attack_dial(turn);
    send_text(fd, "GET / HTTP/1.1\r\nHost: idc\r\nConnection: Upgrade\r\n"
                  "Upgrade: idc-rpc/1\r\n\r\n");
    for (size_t at = 0; fd >= 0 && !strstr(answer, "\r\n\r\n"); at++)
        if (at == sizeof(answer) - 1 || read(fd, answer + at, 1) != 1)
            return -1;
    return fd;
}

static void drop_answers(int fd)
{
    static char answers[64 * 1024];
    while (recv(fd, answers, sizeof(answers), MSG_DONTWAIT) > 0)
        ;
}

/* Calls that wait for a listener that never comes, and are refused when there are too many. */
static void waiting_call(unsigned turn)
{
    static int fd = -1;
    if (fd < 0)
        fd = dial_upgraded(turn);
    if (fd < 0)
        return;
    send_call(fd, turn, "idc.connect",
              "<member><name>domid</name><value><int>32752</int></value></member>"
              "<member><name>port</name><value><int>54321</int></value></member>"
              "<member><name>wait</name><value><boolean>1</boolean></value></member>"
              "<member><name>timeout_ms</name><value><int>600000</int></value></member>");
    drop_answers(fd);
}

static void status_request(unsigned turn)
{
    static int fd = -1;
    static char answer[64 * 1024];
    if (fd < 0)
        fd = dial_upgraded(turn);
    if (fd < 0)
        return;
    send_call(fd, turn, "idc.status", "");
    struct pollfd p = {.fd = fd, .events = POLLIN};
    poll(&p, 1, 1000);
    while (recv(fd, answer, sizeof(answer), MSG_DONTWAIT) > 0)
        ;
}

static void one_byte(unsigned turn)
{
    static int fd = -1;
    (void)turn;
    if (fd < 0)
        fd = idc_connect(target, target_port);
    if (fd >= 0 && send(fd, "x", 1, MSG_NOSIGNAL) == 1)
        return;
    close(fd);
    fd = -1;
}

static void listen_and_close(unsigned turn)
{
    (void)turn;
    int fd = idc_listen(0, 16);
    if (fd >= 0)
        idc_unlisten(fd);
}

static const struct attack {
    const char *name;
    void (*again)(unsigned turn);
} attacks[] = {
    {"half-requests", half_request}, {"unfinished-bodies", unfinished_body},
    {"connects", connect_and_close}, {"connections", connect_and_keep},
    {"waiting-calls", waiting_call}, {"single-bytes", one_byte},
    {"listens", listen_and_close},   {"status", status_request},
};

int attack_run(const char *kind, unsigned domid, unsigned port)
{
    const struct attack *attack = NULL;
    target = domid;
    target_port = port;
    for (size_t i = 0; i < sizeof(attacks) / sizeof(attacks[0]); i++)
        if (strcmp(attacks[i].name, kind) == 0)
            attack = &attacks[i];
    if (!attack) {
        fprintf(stderr, "bench: no attack %s\n", kind);
        return 2;
    }
    puts("ready");
    fflush(stdout);
    for (unsigned turn = 0;; turn++)
        attack->again(turn);
}

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static int compare_times(const void *one, const void *other)
{
    const int64_t *a = one, *b = other;
    return (*a > *b) - (*a < *b);
}

static long long percentile_99(int64_t *times, unsigned count)
{
    qsort(times, count, sizeof(*times), compare_times);
    return (long long)times[count * 99ull / 100];
}

static bool victim_connects(unsigned domid, unsigned port, unsigned count, int64_t *times)
{
    const struct timespec pause = {.tv_nsec = 2000000};
    for (unsigned i = 0; i < count; i++) {
        nanosleep(&pause, NULL);
        int64_t begun = now_ns();
        int fd = idc_connect(domid, port);
        times[i] = now_ns() - begun;
        if (fd < 0) {
            fprintf(stderr, "bench: %s\n", idc_last_error());
            return false;
        }
        idc_disconnect(fd);
    }
    return true;
}

int attack_victim(unsigned domid, unsigned port, unsigned count)
{
    int64_t *times = calloc(count, sizeof(*times));
    bool good = count > 0 && times && victim_connects(domid, port, count, times);
    if (good)
        printf("%lld\n", percentile_99(times, count));
    free(times);
    return good ? 0 : 1;
}
