/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * rpcpipe: plain XML-RPC where there is neither Python nor curl. Carries documents between standard
 * input and output and one HTTP connection to link_mgr. In both directions a line with the length
 * comes first, then the document. The connection stays open until standard input ends, and with it
 * the handles that were made over it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static FILE *server_in, *server_out;

static void rpcpipe_fail(const char *what)
{
    perror(what);
    exit(1);
}

static void connect_server(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *path = getenv("IDC_SOCKET");
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s",
             path && path[0] ? path : "/run/idc/rpc.sock");
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        rpcpipe_fail("rpcpipe: connect");
    server_in = fdopen(fd, "r");
    server_out = fdopen(dup(fd), "w");
    if (!server_in || !server_out)
        rpcpipe_fail("rpcpipe: fdopen");
}

/* Reads the head of the answer; the length of its body. */
static size_t read_head(void)
{
    char line[1024];
    size_t length = 0;
    do {
        if (!fgets(line, sizeof(line), server_in))
            rpcpipe_fail("rpcpipe: no answer");
        if (strncasecmp(line, "Content-Length:", 15) == 0)
            length = strtoul(line + 15, NULL, 10);
    } while (line[0] != '\r' && line[0] != '\n');
    return length;
}

static void rpcpipe_carry(FILE *from, FILE *to, size_t length)
{
    char *body = malloc(length + 1);
    if (!body || fread(body, 1, length, from) != length)
        rpcpipe_fail("rpcpipe: read");
    fwrite(body, 1, length, to);
    if (fflush(to) != 0)
        rpcpipe_fail("rpcpipe: write");
    free(body);
}

int main(void)
{
    char line[64];
    connect_server();
    while (fgets(line, sizeof(line), stdin)) {
        size_t length = strtoul(line, NULL, 10);
        fprintf(
            server_out,
            "POST / HTTP/1.1\r\nHost: idc\r\nContent-Type: text/xml\r\nContent-Length: %zu\r\n\r\n",
            length);
        rpcpipe_carry(stdin, server_out, length);
        length = read_head();
        printf("%zu\n", length);
        rpcpipe_carry(server_in, stdout, length);
    }
    return 0;
}
