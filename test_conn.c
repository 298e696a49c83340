/* SPDX-License-Identifier: 0BSD */
/*
 * test_conn DOMAIN [PORT] - connects to test_accept in a domain, which is given by its name or its
 * domid (port 80 if not given), says hello, prints the answer and checks it. Exits with 0 if all
 * went well.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

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
static int is_number(const char *text, unsigned long long max, unsigned long long *number)
{
    char *end;
    *number = strtoull(text, &end, 10);
    return *text >= '0' && *text <= '9' && *end == '\0' && *number <= max;
}

/* Descriptors 0, 1 and 2 may be closed. The connection must not get such a number, and all that is
 * printed to it. Printing is an error then, because this is open for reading only. */
static void conn_begin(void)
{
    int fd;
    do
        fd = open("/dev/null", O_RDONLY);
    while (fd >= 0 && fd <= STDERR_FILENO);
    close(fd);
}

/* What was printed is written, or the program fails: a full disk shows only now. */
static int conn_end(int status)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    fprintf(stderr, "test_conn: cannot write the output: %s\n", strerror(errno));
    return 1;
}

int main(int argc, char **argv)
{
    static const char hello[] = "hello from test_conn\n",
                      expected[] = "you said: hello from test_conn\n";
    struct idc_options options = IDC_OPTIONS_INIT;
    char answer[1000];

    conn_begin();
    if (argc > 2 && strcmp(argv[1], "--socket") == 0) {
        /* of another link_mgr than the usual one; see also IDC_SOCKET */
        options.socket = argv[2];
        argv += 2, argc -= 2;
    }
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        printf("test_conn %s\n", idc_version());
        return conn_end(0);
    }
    int help = argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0);
    unsigned long long port = 80;
    const char *domain = argc > 1 ? argv[1] : "", *service = argc > 2 ? argv[2] : "80";
    if (help || argc < 2 || argc > 3 || !is_number(service, UINT32_MAX, &port) || port == 0) {
        fprintf(help ? stdout : stderr, "usage: test_conn [--socket PATH] DOMAIN [PORT]\n");
        return conn_end(help ? 0 : 2);
    }

    int fd = idc_connect_to(domain, service, &options);
    if (fd < 0) {
        int usage = errno == EINVAL; /* what was given is no domain */
        fprintf(stderr, "test_conn: cannot connect to domain %s port %llu: %s\n", domain, port,
                idc_last_error());
        return usage ? 2 : 1;
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
    return conn_end(0);
}
