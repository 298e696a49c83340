/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * moments: how soon rules are known, and how soon connections end, measured where it happens.
 *
 *     moments start NAME DOMID PORT PROGRAM [ARGUMENT...]
 *         Starts PROGRAM, which is link_mgr, and asks it again and again: for the own domain's
 *         NAME, which only rules tell, and for a connection. Prints the milliseconds from the start
 *         of PROGRAM until it is ready, knows the rules, and has connected. Ends PROGRAM when
 *         standard input ends.
 *     moments serve KEPT ENDED
 *         Listens on both ports, for the other side. Prints "ready".
 *     moments end DOMID KEPT ENDED PROGRAM [ARGUMENT...]
 *         Connects to both ports of `moments serve`, and runs PROGRAM, which takes away the rule of
 *         ENDED. Prints the milliseconds from the start of PROGRAM until it ended, and until the
 *         connection ended here and there, each with the errno there.
 *
 * Two domains have two clocks. `end` asks for the other one over KEPT, CLOCK_ASKED times, and
 * believes the answer that took least. It is wrong by half that time at most, which is printed.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "idc.h"

#define CLOCK_ASKED 50
#define PAUSE_NS 1000000 /* between two questions to link_mgr: it shares the processor with us */

/* What `moments serve` says: its clock, or when its connection ended, and why. */
struct moment {
    int64_t at;
    int64_t error;
};

static int64_t now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static double as_ms(int64_t ns)
{
    return (double)ns / 1000000;
}

static void moments_fail(const char *what)
{
    fprintf(stderr, "moments: %s: %s\n", what, idc_last_error());
    exit(1);
}

/* Runs a program. *until is readable when it has ended, or has written to descriptor `told`. */
static pid_t run_program(char **argv, int *until, const char *told)
{
    char number[16];
    int ends[2];
    size_t count = 0;
    while (argv[count] != NULL)
        count++;
    char **full = calloc(count + 3, sizeof(*full));
    if (full == NULL || pipe(ends) < 0)
        moments_fail("pipe");
    memcpy(full, argv, count * sizeof(*full));
    snprintf(number, sizeof(number), "%d", ends[1]);
    if (told != NULL) {
        full[count] = (char *)told;
        full[count + 1] = number;
    }
    pid_t pid = fork();
    if (pid == 0) {
        close(ends[0]);
        dup2(STDERR_FILENO, STDOUT_FILENO); /* which is for what we measure */
        execvp(full[0], full);
        perror(full[0]);
        _exit(127);
    }
    close(ends[1]);
    free(full);
    *until = ends[0];
    return pid;
}

static int exit_status(pid_t pid)
{
    int status = 0;
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void pause_a_little(void)
{
    nanosleep(&(struct timespec){.tv_nsec = PAUSE_NS}, NULL);
}

/* One of the domains may not know its rules yet. */
static int connect_to(const char *domid, const char *port, unsigned *refused)
{
    int fd;
    *refused = 0;
    while ((fd = idc_connect((uint32_t)atoi(domid), (uint32_t)atoi(port))) < 0) {
        if (errno != EACCES && errno != EHOSTUNREACH)
            moments_fail("connect");
        ++*refused;
        pause_a_little();
    }
    return fd;
}

/* ---- start ---- */

static int moments_start(char **argv)
{
    char byte;
    int until;
    uint32_t domid;
    unsigned refused;
    const int64_t begin = now_ns();
    const pid_t pid = run_program(argv + 3, &until, "--ready-fd");
    if (read(until, &byte, 1) != 1)
        return exit_status(pid);
    const int64_t ready = now_ns();
    while (idc_resolve(argv[0], &domid) < 0)
        pause_a_little();
    const int64_t rules = now_ns();
    const int fd = connect_to(argv[1], argv[2], &refused);
    printf("start ready=%.1f rules=%.1f connected=%.1f refused=%u\n", as_ms(ready - begin),
           as_ms(rules - begin), as_ms(now_ns() - begin), refused);
    fflush(stdout);
    idc_disconnect(fd);
    while (read(STDIN_FILENO, &byte, 1) > 0)
        continue;
    kill(pid, SIGTERM);
    return exit_status(pid);
}

/* ---- both sides of an end ---- */

/* The connection's end, which must have come. */
static struct moment see_end(int fd)
{
    char byte;
    struct moment end = {.at = now_ns()};
    end.error = idc_recv(fd, &byte, 1) < 0 ? errno : 0;
    return end;
}

static int listen_on(const char *port)
{
    int listener = idc_listen((uint32_t)atoi(port), 1);
    if (listener < 0)
        moments_fail("listen");
    return listener;
}

static int moments_serve(char **argv)
{
    const int listeners[2] = {listen_on(argv[0]), listen_on(argv[1])};
    struct moment end = {.at = 0};
    char asked;
    puts("ready");
    fflush(stdout);
    struct pollfd fds[2] = {{.events = POLLIN}, {.events = POLLIN}};
    for (int i = 0; i < 2; i++)
        if ((fds[i].fd = idc_accept(listeners[i], NULL)) < 0)
            moments_fail("accept");
    while (poll(fds, 2, -1) > 0) {
        if (fds[1].revents) {
            end = see_end(fds[1].fd);
            fds[1].fd = -1;
        }
        if (!fds[0].revents)
            continue;
        if (idc_recv(fds[0].fd, &asked, 1) != 1)
            return 0;
        const struct moment clock = {.at = now_ns()};
        if (idc_send(fds[0].fd, asked == 'c' ? &clock : &end, sizeof(end)) < 0)
            moments_fail("send");
    }
    return 1;
}

static struct moment ask_other(int fd, char what)
{
    struct moment moment;
    size_t have = 0;
    ssize_t got = idc_send(fd, &what, 1);
    while (got > 0 && have < sizeof(moment)) {
        got = idc_recv(fd, (char *)&moment + have, sizeof(moment) - have);
        have += got > 0 ? (size_t)got : 0;
    }
    if (have < sizeof(moment))
        moments_fail("the connection that is kept");
    return moment;
}

/* What is to be added to our clock for the other one, and how wrong that may be. */
static int64_t compare_clocks(int fd, int64_t *error)
{
    int64_t difference = 0;
    *error = INT64_MAX;
    for (int i = 0; i < CLOCK_ASKED; i++) {
        const int64_t before = now_ns();
        const struct moment other = ask_other(fd, 'c');
        const int64_t took = now_ns() - before;
        if (took / 2 >= *error)
            continue;
        *error = took / 2;
        difference = other.at - before - took / 2;
    }
    return difference;
}

static int moments_end(char **argv)
{
    int64_t error, done = 0;
    struct moment here = {.at = 0}, there;
    struct pollfd fds[2] = {{.events = POLLIN}, {.events = POLLIN}};
    unsigned refused;
    const int kept = connect_to(argv[0], argv[1], &refused);
    fds[0].fd = connect_to(argv[0], argv[2], &refused);
    const int64_t difference = compare_clocks(kept, &error);
    const int64_t begin = now_ns();
    const pid_t pid = run_program(argv + 3, &fds[1].fd, NULL);
    while (here.at == 0 || done == 0) {
        if (poll(fds, 2, -1) < 0)
            moments_fail("poll");
        if (fds[0].revents) {
            here = see_end(fds[0].fd);
            fds[0].fd = -1;
        }
        if (fds[1].revents) {
            done = now_ns();
            fds[1].fd = -1;
        }
    }
    while ((there = ask_other(kept, 'e')).at == 0)
        pause_a_little();
    printf("end program=%.1f here=%.1f there=%.1f wrong=%.1f errno_here=%lld errno_there=%lld\n",
           as_ms(done - begin), as_ms(here.at - begin), as_ms(there.at - difference - begin),
           as_ms(error), (long long)here.error, (long long)there.error);
    return exit_status(pid);
}

int main(int argc, char **argv)
{
    if (argc >= 6 && strcmp(argv[1], "start") == 0)
        return moments_start(argv + 2);
    if (argc == 4 && strcmp(argv[1], "serve") == 0)
        return moments_serve(argv + 2);
    if (argc >= 6 && strcmp(argv[1], "end") == 0)
        return moments_end(argv + 2);
    fprintf(stderr, "usage: moments start NAME DOMID PORT PROGRAM [ARGUMENT...]\n"
                    "       moments serve KEPT ENDED\n"
                    "       moments end DOMID KEPT ENDED PROGRAM [ARGUMENT...]\n");
    return 2;
}
