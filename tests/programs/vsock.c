/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vsock.c - see vsock.h: the command line, and what the cases share. */
#include "tests/programs/vsock.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <sys/wait.h>

#define CASE_SECONDS 120

void check_failed(const char *file, int line, const char *what)
{
    printf("%s:%d: not so: %s (errno: %s)\n", file, line, what, strerror(errno));
    fflush(stdout);
    _exit(1);
}

void check_errno_failed(const char *file, int line, const char *what, long result,
                        const char *expected)
{
    printf("%s:%d: %s: %ld, %s, and not %s\n", file, line, what, result, strerror(errno), expected);
    fflush(stdout);
    _exit(1);
}

struct sockaddr_vm address_of(uint32_t cid, uint32_t port)
{
    return (struct sockaddr_vm){.svm_family = AF_VSOCK, .svm_cid = cid, .svm_port = port};
}

int connect_to(int fd, uint32_t cid, uint32_t port)
{
    struct sockaddr_vm address = address_of(cid, port);
    return connect(fd, (struct sockaddr *)&address, sizeof(address));
}

int bind_to(int fd, uint32_t cid, uint32_t port)
{
    struct sockaddr_vm address = address_of(cid, port);
    return bind(fd, (struct sockaddr *)&address, sizeof(address));
}

struct sockaddr_vm own_address(int fd)
{
    struct sockaddr_vm address = {0};
    socklen_t len = sizeof(address);
    CHECK(getsockname(fd, (struct sockaddr *)&address, &len) == 0 && len == sizeof(address));
    CHECK(address.svm_family == AF_VSOCK);
    return address;
}

struct sockaddr_vm peer_address(int fd)
{
    struct sockaddr_vm address = {0};
    socklen_t len = sizeof(address);
    CHECK(getpeername(fd, (struct sockaddr *)&address, &len) == 0 && len == sizeof(address));
    CHECK(address.svm_family == AF_VSOCK);
    return address;
}

int new_socket(int type)
{
    struct timeval time = {.tv_sec = WAIT_MS / 1000}; /* the machine may be slow */
    int fd = socket(AF_VSOCK, type, 0);
    CHECK(fd >= 0);
    CHECK(setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &time, sizeof(time)) == 0);
    return fd;
}

int ask(const struct other *other, int type, const char *request)
{
    char padded[REQUEST_SIZE] = "";
    int fd = new_socket(type | SOCK_CLOEXEC);
    snprintf(padded, sizeof(padded), "%s", request);
    CHECK(connect_to(fd, other->cid, other->port + (type == SOCK_SEQPACKET)) == 0);
    send_all(fd, padded, sizeof(padded));
    return fd;
}

int int_option(int fd, int level, int name)
{
    int value = -1;
    socklen_t len = sizeof(value);
    CHECK(getsockopt(fd, level, name, &value, &len) == 0 && len == sizeof(value));
    return value;
}

void allow_messages(int fd, uint64_t size)
{
    static const int names[] = {SO_VM_SOCKETS_BUFFER_MAX_SIZE, SO_VM_SOCKETS_BUFFER_SIZE};
    for (int i = 0; i < 2; i++)
        CHECK(setsockopt(fd, AF_VSOCK, names[i], &size, sizeof(size)) == 0);
}

short polled(int fd, short events, int ms)
{
    struct pollfd p = {.fd = fd, .events = events};
    int ready = poll(&p, 1, ms);
    CHECK(ready >= 0);
    return ready == 0 ? 0 : p.revents;
}

void await_writable(int fd)
{
    short now = 0;
    for (int i = 0; i < WAIT_MS && !(now & POLLOUT); i++) {
        now = polled(fd, POLLOUT, WAIT_MS);
        CHECK(now != 0);
        if (!(now & POLLOUT))
            poll(NULL, 0, 1);
    }
    CHECK(now & POLLOUT);
}

void await_bytes(int fd, int count)
{
    int there = -1;
    for (int i = 0; i < WAIT_MS; i++) {
        CHECK(ioctl(fd, FIONREAD, &there) == 0);
        if (there >= count)
            return;
        poll(NULL, 0, 1);
    }
    printf("%d bytes, and not %d: ", there, count);
    CHECK(!"in time");
}

void send_all(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t sent = send(fd, bytes, len, MSG_NOSIGNAL);
        CHECK(sent > 0);
        bytes += sent;
        len -= (size_t)sent;
    }
}

void receive_all(int fd, char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t got = read(fd, bytes, len);
        CHECK(got > 0);
        bytes += got;
        len -= (size_t)got;
    }
}

void check_echo(int fd)
{
    char text[] = "over and back", back[sizeof(text)];
    send_all(fd, text, sizeof(text));
    receive_all(fd, back, sizeof(back));
    CHECK(memcmp(text, back, sizeof(text)) == 0);
}

int wait_for(pid_t child)
{
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* ---- command line ---- */

static const struct vsock_case *const tables[] = {vsock_cases, vsock_data_cases,
                                                  vsock_process_cases};
#define TABLES (sizeof(tables) / sizeof(tables[0]))

static bool is_named(const char *name, char **names, int count)
{
    for (int i = 0; i < count; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

static bool run_in_child(const struct vsock_case *c, const struct other *other)
{
    fflush(stdout);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        alarm(CASE_SECONDS);
        c->run(other);
        _exit(0);
    }
    int status = wait_for(child);
    if (status == 0)
        printf("ok %s\n", c->name);
    else
        printf("FAILED %s: status %d\n", c->name, status);
    return status == 0;
}

static int run_cases(const struct other *other, char **names, int count)
{
    int good = 0, bad = 0;
    for (size_t t = 0; t < TABLES; t++)
        for (const struct vsock_case *c = tables[t]; c->name != NULL; c++)
            if (count == 0 ? !c->by_name : is_named(c->name, names, count))
                run_in_child(c, other) ? good++ : bad++;
    printf("%d ok, %d failed\n", good, bad);
    return bad == 0 && good > 0 ? 0 : 1;
}

static int run_one(const char *name, const struct other *other)
{
    for (size_t t = 0; t < TABLES; t++)
        for (const struct vsock_case *c = tables[t]; c->name != NULL; c++)
            if (strcmp(c->name, name) == 0) {
                c->run(other);
                return 0;
            }
    fprintf(stderr, "vsock: no case %s\n", name);
    return 2;
}

static struct other other_of(char **words, const char *program)
{
    return (struct other){.cid = (uint32_t)strtoul(words[0], NULL, 0),
                          .port = (uint32_t)strtoul(words[1], NULL, 0),
                          .own_cid = (uint32_t)strtoul(words[2], NULL, 0),
                          .program = program};
}

int main(int argc, char **argv)
{
    struct other other;
    if (argc == 3 && strcmp(argv[1], "serve") == 0)
        serve((uint32_t)strtoul(argv[2], NULL, 0));
    if (argc >= 5 && strcmp(argv[1], "run") == 0) {
        other = other_of(argv + 2, argv[0]);
        return run_cases(&other, argv + 5, argc - 5);
    }
    if (argc == 6 && strcmp(argv[1], "one") == 0) {
        other = other_of(argv + 3, argv[0]);
        return run_one(argv[2], &other);
    }
    fprintf(
        stderr,
        "usage: vsock serve PORT | run CID PORT OWN_CID [CASE]... | one CASE CID PORT OWN_CID\n");
    return 2;
}
