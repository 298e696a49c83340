/* SPDX-License-Identifier: 0BSD */
/*
 * test_accept PORT - accepts connections from other domains on PORT, prints who calls and what they
 * say, and answers. SIGINT (Ctrl-C) or SIGTERM ends it. The other side: test_conn.
 *
 * This is all that a service needs: listen, accept, and from there on an ordinary socket.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "idc.h"

/* Answers line by line until the other side has no more to say. */
static void accept_serve(int fd, const struct idc_addr *peer)
{
    FILE *in = fdopen(fd, "r"); /* any function that works on a socket will do */
    char line[1000];

    printf("domain %u port %u (uid %u): connected\n", peer->domid, peer->port, peer->uid);
    while (fgets(line, sizeof(line), in)) {
        printf("domain %u port %u: %s%s", peer->domid, peer->port, line,
               strchr(line, '\n') ? "" : "\n");
        if (dprintf(fd, "you said: %s", line) < 0)
            break;
    }
    printf("domain %u port %u: %s\n", peer->domid, peer->port,
           ferror(in) ? "connection lost" : "closed");
    fclose(in); /* closes fd: what was sent is delivered first */
}

/* Descriptors 0, 1 and 2 may be closed. The listener must not get such a number, and all that is
 * printed to it. Printing is an error then, because this is open for reading only. */
static void accept_begin(void)
{
    int fd;
    do
        fd = open("/dev/null", O_RDONLY);
    while (fd >= 0 && fd <= STDERR_FILENO);
    close(fd);
}

/* What was printed is written, or the program fails: a full disk shows only now. */
static int accept_end(int status)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    fprintf(stderr, "test_accept: cannot write the output: %s\n", strerror(errno));
    return 1;
}

int main(int argc, char **argv)
{
    struct idc_options options = IDC_OPTIONS_INIT;
    struct idc_addr peer;

    options.keep = 1; /* goes on after a restart of link_mgr */
    accept_begin();
    if (argc == 4 && strcmp(argv[1], "--socket") == 0) {
        /* of another link_mgr than the usual one; see also IDC_SOCKET */
        options.socket = argv[2];
        argv += 2, argc -= 2;
    }
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        printf("test_accept %s\n", idc_version());
        return accept_end(0);
    }
    int help = argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0);
    char *end = NULL;
    unsigned long long port = argc == 2 ? strtoull(argv[1], &end, 10) : 0;
    if (!end || *end || port < 1 || port > UINT32_MAX) {
        fprintf(help ? stdout : stderr, "usage: test_accept [--socket PATH] PORT\n");
        return accept_end(help ? 0 : 2);
    }
    signal(SIGPIPE, SIG_IGN); /* writing to a client that has gone is an error like any other */
    signal(SIGCHLD, SIG_IGN); /* no zombies */
    setvbuf(stdout, NULL, _IOLBF, 0);

    int listener = idc_listen_with((uint32_t)port, NULL, 16, &options);
    if (listener < 0) {
        fprintf(stderr, "test_accept: cannot listen on port %llu: %s\n", port, idc_last_error());
        return 1;
    }
    printf("listening on port %llu\n", port);
    if (accept_end(0) != 0)
        return 1;
    for (;;) {
        int fd = idc_accept(listener, &peer);
        if (fd < 0) {
            fprintf(stderr, "test_accept: cannot accept: %s\n", idc_last_error());
            return 1;
        }
        if (fork() == 0) { /* so that a slow client keeps nobody waiting */
            accept_serve(fd, &peer);
            return 0;
        }
        close(fd);
    }
}
