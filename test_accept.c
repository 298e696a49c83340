/* SPDX-License-Identifier: 0BSD */
/*
 * test_accept PORT - accepts connections from other domains on PORT, prints who calls and what they
 * say, and answers. SIGINT (Ctrl-C) or SIGTERM ends it. The other side: test_conn.
 *
 * This is all that a service needs: listen, accept, and from there on an ordinary socket.
 */
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

int main(int argc, char **argv)
{
    struct idc_options options = IDC_OPTIONS_INIT;
    struct idc_addr peer;

    if (argc == 4 && strcmp(argv[1], "--socket") == 0) {
        /* of another link_mgr than the usual one; see also IDC_SOCKET */
        options.socket = argv[2];
        argv += 2, argc -= 2;
    }
    int help = argc == 2 && strcmp(argv[1], "--help") == 0;
    char *end = NULL;
    unsigned long port = argc == 2 ? strtoul(argv[1], &end, 10) : 0;
    if (!end || *end || port < 1 || port > UINT32_MAX) {
        fprintf(help ? stdout : stderr, "usage: test_accept [--socket PATH] PORT\n");
        return help ? 0 : 2;
    }
    signal(SIGPIPE, SIG_IGN); /* writing to a client that has gone is an error like any other */
    signal(SIGCHLD, SIG_IGN); /* no zombies */
    setvbuf(stdout, NULL, _IOLBF, 0);

    int listener = idc_listen_with((uint32_t)port, NULL, 16, &options);
    if (listener < 0) {
        fprintf(stderr, "test_accept: cannot listen on port %lu: %s\n", port, idc_last_error());
        return 1;
    }
    printf("listening on port %lu\n", port);
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
