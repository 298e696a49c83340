/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * An echo server and its client on libuv over AF_VSOCK, to see that its own handles (uv_tcp_t,
 * uv_poll_t) work with it.
 *
 *     vsock_uv serve PORT                      echoes until it is ended; uv_tcp_open, uv_listen,
 *                                              uv_accept
 *     vsock_uv connect CID PORT COUNT BYTES    COUNT connections at once, BYTES each; exit status 0
 *     when all came back
 *
 * libuv knows nothing of AF_VSOCK: the sockets are made here, and handed to it. The client connects
 * without waiting and has uv_poll tell when that is done. */
#include <errno.h>
#include <linux/vm_sockets.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <uv.h>

static _Noreturn void vsock_uv_fail(const char *what, int error)
{
    fprintf(stderr, "vsock_uv: %s: %s\n", what, uv_strerror(error));
    exit(1);
}

static void vsock_uv_check(const char *what, int result)
{
    if (result < 0)
        vsock_uv_fail(what, result);
}

static int vsock_socket(void)
{
    int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        vsock_uv_fail("socket", -errno);
    return fd;
}

static void vsock_uv_allocate(uv_handle_t *handle, size_t size, uv_buf_t *buffer)
{
    (void)handle;
    *buffer = uv_buf_init(malloc(size), (unsigned)size);
}

static void vsock_uv_release(uv_handle_t *handle)
{
    free(handle);
}

/* ---- server ---- */

static void vsock_uv_echoed(uv_write_t *request, int status)
{
    free(request->data);
    free(request);
    if (status < 0)
        fprintf(stderr, "vsock_uv: write: %s\n", uv_strerror(status));
}

static void vsock_uv_answered(uv_shutdown_t *request, int status)
{
    (void)status;
    uv_close((uv_handle_t *)request->handle, vsock_uv_release);
    free(request);
}

static void serve_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buffer)
{
    if (count > 0) {
        uv_write_t *request = malloc(sizeof(*request));
        uv_buf_t data = uv_buf_init(buffer->base, (unsigned)count);
        request->data = buffer->base;
        vsock_uv_check("uv_write", uv_write(request, stream, &data, 1, vsock_uv_echoed));
        return;
    }
    free(buffer->base);
    if (count == UV_EOF) {
        vsock_uv_check("uv_shutdown",
                       uv_shutdown(malloc(sizeof(uv_shutdown_t)), stream, vsock_uv_answered));
    } else if (count < 0) {
        fprintf(stderr, "vsock_uv: read: %s\n", uv_strerror((int)count));
        uv_close((uv_handle_t *)stream, vsock_uv_release);
    }
}

static void vsock_uv_connection(uv_stream_t *listener, int status)
{
    uv_tcp_t *accepted = malloc(sizeof(*accepted));
    vsock_uv_check("connection", status);
    vsock_uv_check("uv_tcp_init", uv_tcp_init(listener->loop, accepted));
    vsock_uv_check("uv_accept", uv_accept(listener, (uv_stream_t *)accepted));
    vsock_uv_check("uv_read_start",
                   uv_read_start((uv_stream_t *)accepted, vsock_uv_allocate, serve_read));
}

static void vsock_uv_serve(uv_loop_t *loop, unsigned port)
{
    struct sockaddr_vm address = {
        .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = port};
    uv_tcp_t *listener = malloc(sizeof(*listener));
    int fd = vsock_socket();

    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        vsock_uv_fail("bind", -errno);
    vsock_uv_check("uv_tcp_init", uv_tcp_init(loop, listener));
    vsock_uv_check("uv_tcp_open", uv_tcp_open(listener, fd));
    vsock_uv_check("uv_listen", uv_listen((uv_stream_t *)listener, 128, vsock_uv_connection));
    uv_run(loop, UV_RUN_DEFAULT);
}

/* ---- client ---- */

struct client {
    uv_poll_t poll;
    uv_tcp_t tcp;
    uv_write_t write;
    uv_shutdown_t shutdown;
    int fd;
    size_t received;
};

static size_t bytes;
static char *pattern;
static unsigned complete;

static void client_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buffer)
{
    struct client *client = stream->data;
    if (count > 0) {
        if (client->received + (size_t)count > bytes ||
            memcmp(buffer->base, pattern + client->received, (size_t)count) != 0)
            vsock_uv_fail("what came back isn't what was sent", UV_EIO);
        client->received += (size_t)count;
    } else if (count < 0) {
        if (count != UV_EOF)
            vsock_uv_fail("read", (int)count);
        complete += client->received == bytes;
        uv_close((uv_handle_t *)stream, NULL);
    }
    free(buffer->base);
}

static void client_shut(uv_shutdown_t *request, int status)
{
    (void)request;
    vsock_uv_check("uv_shutdown", status);
}

static void client_written(uv_write_t *request, int status)
{
    struct client *client = request->handle->data;
    vsock_uv_check("uv_write", status);
    vsock_uv_check("uv_shutdown", uv_shutdown(&client->shutdown, request->handle, client_shut));
}

static void client_connected(uv_handle_t *poll)
{
    struct client *client = poll->data;
    uv_buf_t data = uv_buf_init(pattern, (unsigned)bytes);

    vsock_uv_check("uv_tcp_init", uv_tcp_init(poll->loop, &client->tcp));
    vsock_uv_check("uv_tcp_open", uv_tcp_open(&client->tcp, client->fd));
    client->tcp.data = client;
    vsock_uv_check("uv_read_start",
                   uv_read_start((uv_stream_t *)&client->tcp, vsock_uv_allocate, client_read));
    vsock_uv_check("uv_write",
                   uv_write(&client->write, (uv_stream_t *)&client->tcp, &data, 1, client_written));
}

static void client_writable(uv_poll_t *poll, int status, int events)
{
    struct client *client = poll->data;
    int error = 0;
    socklen_t length = sizeof(error);

    (void)events;
    vsock_uv_check("uv_poll", status);
    if (getsockopt(client->fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0)
        vsock_uv_fail("getsockopt", -errno);
    vsock_uv_check("connect", -error);
    uv_poll_stop(poll);
    uv_close((uv_handle_t *)poll, client_connected);
}

static void connect_one(uv_loop_t *loop, struct client *client, const struct sockaddr_vm *address)
{
    client->fd = vsock_socket();
    if (connect(client->fd, (const struct sockaddr *)address, sizeof(*address)) < 0 &&
        errno != EINPROGRESS)
        vsock_uv_fail("connect", -errno);
    vsock_uv_check("uv_poll_init", uv_poll_init(loop, &client->poll, client->fd));
    client->poll.data = client;
    vsock_uv_check("uv_poll_start", uv_poll_start(&client->poll, UV_WRITABLE, client_writable));
}

static void connect_all(uv_loop_t *loop, unsigned cid, unsigned port, unsigned count)
{
    struct sockaddr_vm address = {.svm_family = AF_VSOCK, .svm_cid = cid, .svm_port = port};
    struct client *clients = calloc(count, sizeof(*clients));

    pattern = malloc(bytes);
    for (size_t i = 0; i < bytes; i++)
        pattern[i] = (char)(i * 2654435761U >> 13);
    for (unsigned i = 0; i < count; i++)
        connect_one(loop, &clients[i], &address);
    uv_run(loop, UV_RUN_DEFAULT);
    free(clients);
    free(pattern);
    if (complete != count)
        vsock_uv_fail("some answers were too short", UV_EIO);
    printf("%u connections, %zu bytes each way\n", count, count * bytes);
}

static unsigned vsock_uv_number(const char *text)
{
    return (unsigned)strtoul(text, NULL, 0);
}

int main(int argc, char **argv)
{
    uv_loop_t *loop = uv_default_loop();
    if (argc == 3 && strcmp(argv[1], "serve") == 0) {
        vsock_uv_serve(loop, vsock_uv_number(argv[2]));
    } else if (argc == 6 && strcmp(argv[1], "connect") == 0) {
        bytes = vsock_uv_number(argv[5]);
        connect_all(loop, vsock_uv_number(argv[2]), vsock_uv_number(argv[3]),
                    vsock_uv_number(argv[4]));
    } else {
        fprintf(stderr, "usage: vsock_uv serve PORT | vsock_uv connect CID PORT COUNT BYTES\n");
        return 2;
    }
    return 0;
}
