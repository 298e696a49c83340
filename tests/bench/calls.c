/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * calls.c - the cost of calls that have nothing to do with vsock. It runs by itself and under `idc
 * run`; the differences are what the preloaded library adds. Of each call the best of many short
 * rounds, since other work can only make one slower.
 */
#include <fcntl.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/transports.h"

#define ROUNDS 400
#define CALLS 500

static int tcp, ends[2], null;

static void call_getsockopt(void)
{
    int value;
    socklen_t len = sizeof(value);
    getsockopt(tcp, SOL_SOCKET, SO_ERROR, &value, &len);
}

static void call_setsockopt(void)
{
    int value = 1;
    setsockopt(ends[0], SOL_SOCKET, SO_KEEPALIVE, &value, sizeof(value));
}

static void call_getsockname(void)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof(address);
    getsockname(tcp, (struct sockaddr *)&address, &len);
}

static void call_fcntl(void)
{
    fcntl(tcp, F_GETFL);
}

static void call_ioctl(void)
{
    int bytes;
    ioctl(ends[0], FIONREAD, &bytes);
}

static void call_write(void)
{
    if (write(null, "", 1) < 0)
        _exit(1);
}

static void call_close(void)
{
    close(-1);
}

static void call_dup_and_close(void)
{
    close(dup(null));
}

static void call_socket_and_close(void)
{
    close(socket(AF_UNIX, SOCK_STREAM, 0));
}

static void call_recvmsg(void)
{
    char byte;
    struct iovec span = {&byte, 1};
    struct msghdr message = {.msg_iov = &span, .msg_iovlen = 1};
    if (recvmsg(ends[0], &message, MSG_DONTWAIT) >= 0)
        abort(); /* nothing was sent */
}

static const struct {
    const char *name;
    void (*call)(void);
} calls[] = {
    {"getsockopt", call_getsockopt},
    {"setsockopt", call_setsockopt},
    {"getsockname", call_getsockname},
    {"fcntl", call_fcntl},
    {"ioctl", call_ioctl},
    {"write", call_write},
    {"recvmsg", call_recvmsg},
    {"close", call_close},
    {"dup_close", call_dup_and_close},
    {"socket_close", call_socket_and_close},
};
#define COUNT (sizeof(calls) / sizeof(calls[0]))

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static double round_of(void (*call)(void))
{
    int64_t begin = now_ns();
    for (int i = 0; i < CALLS; i++)
        call();
    return (double)(now_ns() - begin) / CALLS;
}

int calls_run(void)
{
    double best[COUNT];
    tcp = socket(AF_INET, SOCK_STREAM, 0);
    null = open("/dev/null", O_WRONLY);
    if (tcp < 0 || null < 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, ends) < 0)
        return 1;
    for (size_t i = 0; i < COUNT; i++)
        best[i] = 1e9;
    for (int round = 0; round < ROUNDS; round++)
        for (size_t i = 0; i < COUNT; i++) {
            double ns = round_of(calls[i].call);
            best[i] = ns < best[i] ? ns : best[i];
        }
    printf("{\"test\": \"calls\"");
    for (size_t i = 0; i < COUNT; i++)
        printf(", \"%s_ns\": %.1f", calls[i].name, best[i]);
    printf("}\n");
    return 0;
}
