/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * prefork: a server of several processes that accept from one listener, as web servers do.
 *
 *     prefork PORT WORKERS [keep]      keep: the listener outlives its link_mgr
 *
 * The parent listens and makes the workers, which inherit the listener. A worker serves one
 * connection at a time: it says its process id in a line, and then sends back what it gets, up to
 * the end. So a test that leaves connections open knows which workers are busy. The parent says
 * the workers' ids in a line, and reads its standard input; at its end it kills the workers.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "idc.h"

#define WORKERS_MAX 64

static void echo_back(int connection)
{
    char bytes[4096];
    ssize_t n = snprintf(bytes, sizeof(bytes), "%d\n", (int)getpid());
    do {
        if (idc_send(connection, bytes, (size_t)n) < 0)
            return;
        n = idc_recv(connection, bytes, sizeof(bytes));
    } while (n > 0);
}

static int serve_all(int listener)
{
    for (;;) {
        int connection = idc_accept(listener, NULL);
        if (connection < 0) {
            fprintf(stderr, "prefork %d: %s\n", (int)getpid(), idc_last_error());
            return EXIT_FAILURE;
        }
        echo_back(connection);
        close(connection);
    }
}

static pid_t start_worker(int listener)
{
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        _exit(serve_all(listener));
    }
    return pid;
}

int main(int argc, char **argv)
{
    pid_t workers[WORKERS_MAX];
    struct idc_options options = IDC_OPTIONS_INIT;
    int count = argc == 3 || argc == 4 ? atoi(argv[2]) : 0;
    if (count < 1 || count > WORKERS_MAX) {
        fprintf(stderr, "usage: prefork PORT WORKERS [keep]\n");
        return 2;
    }
    options.keep = argc == 4;
    int listener = idc_listen_with((uint32_t)atoi(argv[1]), NULL, 64, &options);
    if (listener < 0) {
        fprintf(stderr, "prefork: %s\n", idc_last_error());
        return EXIT_FAILURE;
    }
    for (int i = 0; i < count; i++)
        workers[i] = start_worker(listener);
    for (int i = 0; i < count; i++)
        printf("%d%c", (int)workers[i], i == count - 1 ? '\n' : ' ');
    fflush(stdout);
    while (getchar() != EOF)
        ;
    for (int i = 0; i < count; i++)
        kill(workers[i], SIGKILL);
    return EXIT_SUCCESS;
}
