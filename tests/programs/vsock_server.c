/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vsock_server.c - a thread for each connection. The request is one word, padded to REQUEST_SIZE:
 *   echo      what comes goes back, until the end, which goes back too
 *   close     closes at once
 *   unread    closes when something has come that it does not read
 *   answer    the same, after sending "abc" and "def" (two messages)
 *   names     sends the addresses of accept, getpeername and getsockname
 *   hold      reads nothing until somebody asks for go, then all of it, and sends the number of
 *             bytes as text
 *   go
 *   watch     sends one byte, and remembers the error that the next receive ends with
 *   errno     sends that, as text, when there is one
 *   sizes     messages of 1, 10, 70000, 131073, 262144 and 327680 bytes, each of its number in the
 *             row
 */
#include <poll.h>
#include <pthread.h>

#include "tests/programs/vsock.h"

#define LISTENERS 3

struct client {
    int fd;
    struct sockaddr_vm from;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int gone, seen_errno = -1; /* how often "go" was asked for */
static int holding;               /* threads that wait for it */

static void vsock_server_echo(int fd)
{
    static __thread char bytes[400000];
    ssize_t got;
    while ((got = recv(fd, bytes, sizeof(bytes), 0)) > 0)
        for (ssize_t sent = 0, n; sent < got; sent += n)
            if ((n = send(fd, bytes + sent, (size_t)(got - sent), MSG_NOSIGNAL)) < 0)
                return;
}

static void say_names(const struct client *client)
{
    struct sockaddr_vm names[3] = {client->from, peer_address(client->fd), own_address(client->fd)};
    send(client->fd, names, sizeof(names), MSG_NOSIGNAL);
}

static void vsock_server_hold(int fd)
{
    static __thread char bytes[400000];
    char text[32];
    long total = 0;
    ssize_t got;
    pthread_mutex_lock(&lock);
    int before = gone;
    holding++;
    pthread_cond_broadcast(&changed);
    while (gone == before)
        pthread_cond_wait(&changed, &lock);
    holding--;
    pthread_mutex_unlock(&lock);
    while ((got = recv(fd, bytes, sizeof(bytes), 0)) > 0)
        total += got;
    snprintf(text, sizeof(text), "%ld", total);
    send(fd, text, strlen(text), MSG_NOSIGNAL);
}

static void vsock_server_go(int fd)
{
    pthread_mutex_lock(&lock);
    /* Whoever is to go may not have come to its waiting yet. */
    while (holding == 0)
        pthread_cond_wait(&changed, &lock);
    gone++;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    send(fd, "", 1, MSG_NOSIGNAL);
}

static void vsock_server_watch(int fd)
{
    char byte;
    send(fd, "w", 1, MSG_NOSIGNAL);
    ssize_t got = recv(fd, &byte, 1, 0);
    pthread_mutex_lock(&lock);
    seen_errno = got < 0 ? errno : 0;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void say_errno(int fd)
{
    char text[32];
    pthread_mutex_lock(&lock);
    while (seen_errno < 0)
        pthread_cond_wait(&changed, &lock);
    snprintf(text, sizeof(text), "%d", seen_errno);
    seen_errno = -1;
    pthread_mutex_unlock(&lock);
    send(fd, text, strlen(text), MSG_NOSIGNAL);
}

static void send_sizes(int fd)
{
    static const size_t sizes[] = {1, 10, 70000, 131073, 262144, 327680};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        char *message = malloc(sizes[i]);
        memset(message, (int)i + 'a', sizes[i]);
        send(fd, message, sizes[i], MSG_NOSIGNAL);
        free(message);
    }
}

static void answer_and_leave(int fd)
{
    polled(fd, POLLIN, WAIT_MS);
    send(fd, "abc", 3, MSG_NOSIGNAL);
    send(fd, "def", 3, MSG_NOSIGNAL);
}

static void vsock_server_answer(const struct client *client, const char *request)
{
    int fd = client->fd;
    if (strcmp(request, "echo") == 0)
        vsock_server_echo(fd);
    else if (strcmp(request, "unread") == 0)
        polled(fd, POLLIN, WAIT_MS);
    else if (strcmp(request, "answer") == 0)
        answer_and_leave(fd);
    else if (strcmp(request, "names") == 0)
        say_names(client);
    else if (strcmp(request, "hold") == 0)
        vsock_server_hold(fd);
    else if (strcmp(request, "go") == 0)
        vsock_server_go(fd);
    else if (strcmp(request, "watch") == 0)
        vsock_server_watch(fd);
    else if (strcmp(request, "errno") == 0)
        say_errno(fd);
    else if (strcmp(request, "sizes") == 0)
        send_sizes(fd);
}

static void *serve_client(void *arg)
{
    struct client *client = arg;
    char request[REQUEST_SIZE + 1] = "";
    if (recv(client->fd, request, REQUEST_SIZE, MSG_WAITALL) == REQUEST_SIZE)
        vsock_server_answer(client, request);
    close(client->fd);
    free(client);
    return NULL;
}

static void vsock_server_take(int listener)
{
    pthread_t thread;
    struct client *client = calloc(1, sizeof(*client));
    socklen_t len = sizeof(client->from);
    client->fd = accept4(listener, (struct sockaddr *)&client->from, &len, SOCK_CLOEXEC);
    CHECK(client->fd >= 0 && len == sizeof(client->from));
    CHECK(pthread_create(&thread, NULL, serve_client, client) == 0);
    pthread_detach(thread);
}

static int listen_on(int type, uint32_t cid, uint32_t port)
{
    int fd = new_socket(type);
    CHECK(bind_to(fd, cid, port) == 0 && listen(fd, 100) == 0);
    allow_messages(fd, 1 << 20); /* the connections get it from the listener */
    return fd;
}

void serve(uint32_t port)
{
    struct pollfd listeners[LISTENERS] = {
        {.fd = listen_on(SOCK_STREAM, VMADDR_CID_ANY, port), .events = POLLIN},
        {.fd = listen_on(SOCK_SEQPACKET, VMADDR_CID_ANY, port + 1), .events = POLLIN},
        {.fd = listen_on(SOCK_STREAM, VMADDR_CID_LOCAL, port + 2), .events = POLLIN}};
    printf("ready\n");
    fflush(stdout);
    for (;;) {
        CHECK(poll(listeners, LISTENERS, -1) > 0);
        for (int i = 0; i < LISTENERS; i++)
            if (listeners[i].revents != 0)
                vsock_server_take(listeners[i].fd);
    }
}
