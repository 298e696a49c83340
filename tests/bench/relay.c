/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * relay.c - a plain relay between Unix sockets: one thread, one epoll, a buffer of 64 KiB each way
 * for each connection. Two of them in a row are the least that any design with a relay in each
 * domain does to a byte. So they are the measure for IDC.
 *
 * A direction reads while its buffer is empty and writes while it is not, at once and as long as it
 * can. When neither goes on, it asks epoll (edge-triggered). The end of one direction is passed on
 * by shutdown.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/bench/transports.h"

#define ROOM (64 * 1024)

struct way {
    int from, to;
    bool over;
    size_t len, done;
    char *buf;
};

struct pair {
    struct way ways[2];
    bool dead;
    struct pair *next_dead;
};

static int poller;
static struct pair *dead;

static void relay_bury(struct pair *pair)
{
    if (pair->dead)
        return;
    pair->dead = true;
    pair->next_dead = dead;
    dead = pair;
    close(pair->ways[0].from);
    close(pair->ways[1].from);
}

/* After a turn, when no event can name them any more. */
static void free_dead(void)
{
    while (dead) {
        struct pair *pair = dead;
        dead = pair->next_dead;
        free(pair->ways[0].buf);
        free(pair->ways[1].buf);
        free(pair);
    }
}

/* False: it can't go on for now, or is over. */
static bool relay_step(struct pair *pair, struct way *way)
{
    bool reading = way->done == way->len;
    ssize_t n = reading ? recv(way->from, way->buf, ROOM, MSG_DONTWAIT)
                        : send(way->to, way->buf + way->done, way->len - way->done,
                               MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0) {
        if (errno != EAGAIN && errno != EINTR)
            relay_bury(pair);
        return errno == EINTR;
    }
    if (reading && n == 0) {
        way->over = true;
        shutdown(way->to, SHUT_WR);
        if (pair->ways[0].over && pair->ways[1].over)
            relay_bury(pair);
        return false;
    }
    if (reading) {
        way->len = (size_t)n;
        way->done = 0;
    } else {
        way->done += (size_t)n;
    }
    return true;
}

static void relay_serve(struct pair *pair)
{
    for (int i = 0; i < 2; i++)
        while (!pair->dead && !pair->ways[i].over && relay_step(pair, &pair->ways[i]))
            continue;
}

static int unix_socket(const char *path, struct sockaddr_un *address)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address->sun_path))
        return measure_fail("the path is too long: %s", path);
    memcpy(address->sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return fd < 0 ? measure_fail("socket: %s", strerror(errno)) : fd;
}

static void add_pair(int client, const char *to)
{
    struct sockaddr_un address;
    struct pair *pair = calloc(1, sizeof(*pair));
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                                .data.ptr = pair};
    int server = unix_socket(to, &address);
    if (pair == NULL || server < 0 ||
        connect(server, (struct sockaddr *)&address, sizeof(address)) < 0) {
        perror("bench relay");
        free(pair);
        close(client);
        close(server);
        return;
    }
    pair->ways[0] = (struct way){.from = client, .to = server, .buf = malloc(ROOM)};
    pair->ways[1] = (struct way){.from = server, .to = client, .buf = malloc(ROOM)};
    if (pair->ways[0].buf == NULL || pair->ways[1].buf == NULL ||
        epoll_ctl(poller, EPOLL_CTL_ADD, client, &event) < 0 ||
        epoll_ctl(poller, EPOLL_CTL_ADD, server, &event) < 0)
        relay_bury(pair);
    else
        relay_serve(pair);
}

int relay_listen(const char *path)
{
    struct sockaddr_un address;
    int fd = unix_socket(path, &address);
    if (fd < 0)
        return -1;
    unlink(path);
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 && listen(fd, 4096) == 0)
        return fd;
    measure_fail("cannot listen on %s: %s", path, strerror(errno));
    close(fd);
    return -1;
}

int relay_run(int listener, const char *to)
{
    struct epoll_event events[64], event = {.events = EPOLLIN};
    poller = epoll_create1(EPOLL_CLOEXEC);
    if (poller < 0 || epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event) < 0)
        return measure_fail("epoll: %s", strerror(errno));
    for (;;) {
        int count = epoll_wait(poller, events, 64, -1);
        if (count < 0 && errno != EINTR)
            return measure_fail("epoll: %s", strerror(errno));
        for (int i = 0; i < count; i++) {
            struct pair *pair = events[i].data.ptr;
            int client = pair ? -1 : accept4(listener, NULL, NULL, SOCK_CLOEXEC);
            if (pair)
                relay_serve(pair);
            else if (client >= 0)
                add_pair(client, to);
        }
        free_dead();
    }
}
