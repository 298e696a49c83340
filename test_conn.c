/* SPDX-License-Identifier: 0BSD */
/*
 * test_conn DOMID [PORT] - connects to test_accept in domain DOMID (port 80 if not given), says
 * hello, prints the answer and checks it. Exits with 0 if all went well.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "idc.h"

/* Reads until the other side ends. Returns how many bytes, or -1. */
static ssize_t read_all(int fd, char *buf, size_t size)
{
    size_t have = 0;
    ssize_t got;
    while (have < size && (got = idc_recv(fd, buf + have, size - have)) != 0) {
        if (got < 0)
            return -1;
        have += (size_t)got;
    }
    return (ssize_t)have;
}

/* A whole number in text, all of it, of at most max? */
static int is_number(const char *text, unsigned long max, unsigned long *number)
{
    char *end;
    *number = strtoul(text, &end, 10);
    return *text >= '0' && *text <= '9' && *end == '\0' && *number <= max;
}

int main(int argc, char **argv)
{
    static const char hello[] = "hello from test_conn\n",
                      expected[] = "you said: hello from test_conn\n";
    struct idc_options options = IDC_OPTIONS_INIT;
    char answer[1000];

    if (argc > 2 && strcmp(argv[1], "--socket") == 0) {
        /* of another link_mgr than the usual one; see also IDC_SOCKET */
        options.socket = argv[2];
        argv += 2, argc -= 2;
    }
    int help = argc == 2 && strcmp(argv[1], "--help") == 0;
    unsigned long domid, port = 80;
    if (argc < 2 || argc > 3 || !is_number(argv[1], IDC_DOMID_SELF, &domid) ||
        (argc == 3 && !is_number(argv[2], UINT32_MAX, &port)) || port == 0) {
        fprintf(help ? stdout : stderr, "usage: test_conn [--socket PATH] DOMID [PORT]\n");
        return help ? 0 : 2;
    }

    int fd = idc_connect_with((uint32_t)domid, (uint32_t)port, &options);
    if (fd < 0) {
        fprintf(stderr, "test_conn: cannot connect to domain %lu port %lu: %s\n", domid, port,
                idc_last_error());
        return 1;
    }
    if (idc_send(fd, hello, strlen(hello)) != (ssize_t)strlen(hello) || shutdown(fd, SHUT_WR) < 0) {
        fprintf(stderr, "test_conn: cannot send: %s\n", idc_last_error());
        return 1;
    }
    /* we have ended, the other side may still answer */
    ssize_t len = read_all(fd, answer, sizeof(answer));
    if (len < 0) {
        fprintf(stderr, "test_conn: cannot receive: %s\n", idc_last_error());
        return 1;
    }
    idc_disconnect(fd);
    printf("%.*s", (int)len, answer);
    if ((size_t)len != strlen(expected) || memcmp(answer, expected, (size_t)len) != 0) {
        fprintf(stderr, "test_conn: that is not what test_accept answers\n");
        return 1;
    }
    return 0;
}
