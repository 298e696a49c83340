/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vsock_process.c - sockets under many numbers, in several processes and threads; and descriptors
 * that are none of vsock's. */
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "tests/programs/vsock.h"

#define THREADS 8
#define EACH 10
#define ROUNDS 200

static void request_echo(int fd)
{
    send_all(fd, "echo\0\0\0\0\0\0\0\0\0\0\0", REQUEST_SIZE);
    check_echo(fd);
}

static void test_dup(const struct other *other)
{
    int fd = new_socket(SOCK_STREAM), one = dup(fd), two = dup2(fd, 50),
        three = dup3(fd, 51, O_CLOEXEC);
    int four = fcntl(fd, F_DUPFD, 60), five = fcntl(fd, F_DUPFD_CLOEXEC, 70);
    CHECK(one >= 0 && two == 50 && three == 51 && four >= 60 && five >= 70);
    CHECK(bind_to(one, VMADDR_CID_ANY, 7100) == 0); /* what is done to one is done to all */
    CHECK(own_address(two).svm_port == 7100 && own_address(five).svm_port == 7100);
    CHECK(close(fd) == 0 && close(one) == 0);
    CHECK(connect_to(three, other->cid, other->port) == 0);
    CHECK_ERRNO(connect_to(four, other->cid, other->port), EISCONN);
    CHECK(own_address(two).svm_port == 7100 && peer_address(four).svm_port == other->port);
    request_echo(five);
    CHECK(dup2(STDERR_FILENO, two) == two); /* no vsock socket any more */
    struct sockaddr_vm address;
    socklen_t len = sizeof(address);
    CHECK_ERRNO(getsockname(two, (struct sockaddr *)&address, &len), ENOTSOCK);
    check_echo(four);
}

static void test_fork(const struct other *other)
{
    int fd = new_socket(SOCK_STREAM), listener = new_socket(SOCK_STREAM);
    CHECK(bind_to(fd, VMADDR_CID_ANY, 7200) == 0);
    CHECK(bind_to(listener, VMADDR_CID_ANY, VMADDR_PORT_ANY) == 0 && listen(listener, 5) == 0);
    pid_t child = fork();
    if (child == 0) {
        CHECK(connect_to(fd, other->cid, other->port) == 0); /* for both */
        int taken = accept(listener, NULL, NULL);
        CHECK(taken >= 0);
        send_all(taken, "hello", 5);
        _exit(0);
    }
    int client = new_socket(SOCK_STREAM);
    char text[5];
    CHECK(connect_to(client, VMADDR_CID_LOCAL, own_address(listener).svm_port) == 0);
    receive_all(client, text, sizeof(text));
    CHECK(wait_for(child) == 0 && own_address(fd).svm_port == 7200);
    request_echo(fd);
}

/* The other half of test_exec: what it inherits has the numbers 20 (fresh, bound to 7300), 21
 * (connected), 22 (listening). */
static void test_inherited(const struct other *other)
{
    CHECK(own_address(20).svm_port == 7300 && connect_to(20, other->cid, other->port) == 0);
    request_echo(20);
    CHECK(peer_address(21).svm_port == other->port &&
          int_option(21, SOL_SOCKET, SO_DOMAIN) == AF_VSOCK);
    check_echo(21);
    CHECK(int_option(22, SOL_SOCKET, SO_ACCEPTCONN) == 1 &&
          own_address(22).svm_cid == VMADDR_CID_LOCAL);
    int client = new_socket(SOCK_STREAM);
    CHECK(connect_to(client, VMADDR_CID_LOCAL, own_address(22).svm_port) == 0);
    CHECK(accept(22, NULL, NULL) >= 0);
}

static void put_at(int fd, int number)
{
    CHECK(dup2(fd, number) == number && close(fd) == 0);
}

static void test_exec(const struct other *other)
{
    char cid[16], port[16], own[16];
    int fresh = new_socket(SOCK_STREAM), listener = new_socket(SOCK_STREAM);
    CHECK(bind_to(fresh, VMADDR_CID_ANY, 7300) == 0);
    CHECK(bind_to(listener, VMADDR_CID_LOCAL, VMADDR_PORT_ANY) == 0 && listen(listener, 5) == 0);
    put_at(ask(other, SOCK_STREAM, "echo"), 21);
    put_at(fresh, 20);
    put_at(listener, 22);
    snprintf(cid, sizeof(cid), "%u", other->cid);
    snprintf(port, sizeof(port), "%u", other->port);
    snprintf(own, sizeof(own), "%u", other->own_cid);
    execl("/proc/self/exe", other->program, "one", "inherited", cid, port, own, NULL);
    CHECK(!"exec");
}

/* A child of vfork has our memory and descriptors of its own. */
static void test_spawn(const struct other *other)
{
    char name[] = "true", *arguments[] = {name, NULL};
    int fd = ask(other, SOCK_STREAM, "echo"), fresh = new_socket(SOCK_STREAM),
        second = new_socket(SOCK_STREAM), ends[2];
    int device = open("/dev/vsock", O_RDONLY);
    pid_t child;
    /* known to be none of vsock's */
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0 && device >= 0);
    posix_spawn_file_actions_t actions;
    child = vfork();
    if (child == 0) {
        dup2(ends[0], fresh); /* NOLINT(clang-analyzer-unix.Vfork): what programs do, and may */
        dup2(device, second);
        execvp("true", arguments);
        _exit(1);
    }
    CHECK(wait_for(child) == 0);
    CHECK(int_option(fresh, SOL_SOCKET, SO_DOMAIN) == AF_VSOCK &&
          int_option(second, SOL_SOCKET, SO_DOMAIN) == AF_VSOCK);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addclose(&actions, fd);
    posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, fresh);
    CHECK(posix_spawnp(&child, "true", &actions, NULL, arguments, environ) == 0 &&
          wait_for(child) == 0);
    child = vfork();
    if (child == 0) {
        close(fd); /* NOLINT(clang-analyzer-unix.Vfork): what programs do, and may */
        dup2(STDERR_FILENO, fresh);
        close_range(3, ~0U, 0);
        execvp("true", arguments);
        _exit(1);
    }
    CHECK(wait_for(child) == 0);
    check_echo(fd);
    CHECK(peer_address(fd).svm_port == other->port);
    CHECK(connect_to(fresh, other->cid, other->port) == 0);
    request_echo(fresh);
    CHECK(connect_to(second, other->cid, other->port) == 0);
    request_echo(second);
}

/* A listener comes by SCM_RIGHTS. */
static int receive_listener(int from, bool several)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control;
    char byte;
    int fd;
    struct iovec span = {&byte, 1};
    struct mmsghdr message = {.msg_hdr = {.msg_iov = &span,
                                          .msg_iovlen = 1,
                                          .msg_control = &control,
                                          .msg_controllen = sizeof(control)}};
    if (several)
        CHECK(recvmmsg(from, &message, 1, 0, NULL) == 1);
    else
        CHECK(recvmsg(from, &message.msg_hdr, 0) == 1);
    CHECK(CMSG_FIRSTHDR(&message.msg_hdr) != NULL);
    memcpy(&fd, CMSG_DATA(&control.header), sizeof(fd));
    return fd;
}

static void send_descriptor(int to, int fd)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {.header = {.cmsg_level = SOL_SOCKET,
                            .cmsg_type = SCM_RIGHTS,
                            .cmsg_len = CMSG_LEN(sizeof(int))}};
    char byte = 0;
    struct iovec span = {&byte, 1};
    struct msghdr message = {.msg_iov = &span,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};
    memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
    CHECK(sendmsg(to, &message, 0) == 1);
}

/* It comes under a number that another socket had, which was closed by a way that the library does
 * not see. */
static void test_received(const struct other *other)
{
    int ends[2], listener = new_socket(SOCK_STREAM);
    CHECK(bind_to(listener, VMADDR_CID_LOCAL, VMADDR_PORT_ANY) == 0 && listen(listener, 5) == 0);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    (void)other;
    for (int several = 0; several < 2; several++) {
        int number = socket(AF_UNIX, SOCK_STREAM, 0);
        CHECK(int_option(number, SOL_SOCKET, SO_DOMAIN) == AF_UNIX &&
              fclose(fdopen(number, "r+")) == 0);
        send_descriptor(ends[0], listener);
        CHECK(receive_listener(ends[1], several) == number);
        CHECK(own_address(number).svm_cid == VMADDR_CID_LOCAL &&
              own_address(number).svm_port == own_address(listener).svm_port);
        CHECK(connect_to(new_socket(SOCK_STREAM), VMADDR_CID_LOCAL,
                         own_address(listener).svm_port) == 0);
        CHECK(accept(number, NULL, NULL) >= 0);
    }
}

/* Also those that the library has of its own. */
static void test_close_range(const struct other *other)
{
    int ends[2];
    struct sockaddr_un name = {0};
    socklen_t len = sizeof(name);
    for (int round = 0; round < 2; round++) {
        int fd = ask(other, SOCK_STREAM, "echo");
        check_echo(fd);
        if (round == 0)
            CHECK(close_range(3, ~0U, 0) == 0);
        else
            closefrom(3);
        CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
        for (int more = ends[1]; more < 1023; more++)
            CHECK(dup(ends[0]) >= 0); /* the numbers of all that was closed */
        CHECK(getsockname(ends[0], (struct sockaddr *)&name, &len) == 0 &&
              name.sun_family == AF_UNIX);
        CHECK(close_range(100, 200, 0) == 0);
        fd = ask(other, SOCK_STREAM, "echo");
        check_echo(fd);
        /* nobody wrote to them */
        CHECK(recv(ends[1], &name, 1, MSG_DONTWAIT) == -1 && errno == EAGAIN);
        CHECK(close_range(3, ~0U, CLOSE_RANGE_CLOEXEC) == 0);
        check_echo(fd);
        CHECK(close_range(3, ~0U, 0) == 0);
    }
}

static void test_high_numbers(const struct other *other)
{
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = limit.rlim_max < 20000 ? limit.rlim_max : 20000;
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    int high = (int)limit.rlim_cur - 10;
    CHECK(high > 1024);
    int fd = fcntl(new_socket(SOCK_STREAM), F_DUPFD, high);
    CHECK(fd >= high && bind_to(fd, VMADDR_CID_ANY, VMADDR_PORT_ANY) == 0 &&
          connect_to(fd, other->cid, other->port) == 0);
    request_echo(fd);
    CHECK(polled(fd, POLLOUT, 0) == POLLOUT && int_option(fd, SOL_SOCKET, SO_DOMAIN) == AF_VSOCK);
}

static void *connect_often(void *arg)
{
    for (int i = 0; i < EACH; i++) {
        int fd = ask(arg, i % 2 ? SOCK_STREAM : SOCK_SEQPACKET, "echo");
        check_echo(fd);
        close(fd);
    }
    return NULL;
}

struct race {
    const struct other *other;
    int fd;
    int error;
};

static void *connect_one(void *arg)
{
    struct race *race = arg;
    race->error = connect_to(race->fd, race->other->cid, race->other->port) == 0 ? 0 : errno;
    return NULL;
}

static void test_threads(const struct other *other)
{
    pthread_t threads[THREADS];
    struct race races[THREADS];
    int fd = new_socket(SOCK_STREAM), connected = 0;
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, connect_often, (void *)(uintptr_t)other) == 0);
    /* forks meanwhile, with children that make calls of their own */
    for (int i = 0; i < 20; i++) {
        pid_t child = fork();
        if (child == 0) {
            check_echo(ask(other, SOCK_STREAM, "echo"));
            _exit(0);
        }
        CHECK(wait_for(child) == 0);
    }
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    for (int i = 0; i < THREADS; i++) {
        races[i] = (struct race){.other = other, .fd = fd};
        CHECK(pthread_create(&threads[i], NULL, connect_one, &races[i]) == 0);
    }
    for (int i = 0; i < THREADS; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
        CHECK(races[i].error == 0 || races[i].error == EISCONN);
        connected += races[i].error == 0;
    }
    CHECK(connected >= 1);
    request_echo(fd);
}

static void *bind_one(void *arg)
{
    struct race *race = arg;
    race->error = bind_to(race->fd, VMADDR_CID_ANY, VMADDR_PORT_ANY) == 0 ? 0 : errno;
    return NULL;
}

/* One of them binds the socket, and the others leave it as it is then. */
static void test_bind_by_threads(const struct other *other)
{
    pthread_t threads[THREADS];
    struct race races[THREADS];
    for (int round = 0; round < ROUNDS; round++) {
        int fd = new_socket(SOCK_STREAM), bound = 0;
        for (int i = 0; i < THREADS; i++) {
            races[i] = (struct race){.other = other, .fd = fd};
            CHECK(pthread_create(&threads[i], NULL, bind_one, &races[i]) == 0);
        }
        for (int i = 0; i < THREADS; i++) {
            CHECK(pthread_join(threads[i], NULL) == 0);
            CHECK(races[i].error == 0 || races[i].error == EINVAL);
            bound += races[i].error == 0;
        }
        CHECK(bound == 1 && own_address(fd).svm_port != VMADDR_PORT_ANY);
        CHECK(listen(fd, 1) == 0 && close(fd) == 0);
    }
}

/* ---- none of vsock's ---- */

static void test_others(const struct other *other)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(in);
    int ends[2], listener = socket(AF_INET, SOCK_STREAM, 0), one = 1,
                 message_socket = new_socket(SOCK_SEQPACKET);
    (void)other;
    CHECK(message_socket >= 0); /* from now on the library looks at what is sent */
    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends) == 0);
    const struct iovec *volatile no_spans = (void *)8;
    char byte;
    CHECK_ERRNO(writev(ends[0], no_spans, 2), EFAULT);
    /* an empty message */
    CHECK(send(ends[0], "", 0, 0) == 0 && recv(ends[1], &byte, 1, 0) == 0);
    /* by a way that the library does not see */
    CHECK(syscall(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    CHECK(int_option(ends[0], SOL_SOCKET, SO_DOMAIN) == AF_UNIX);
    /* what lies in the other one looks like ours, and is not touched */
    CHECK(send(ends[0], "IDCvsock12345678", 16, 0) == 16);
    CHECK(int_option(ends[1], SOL_SOCKET, SO_DOMAIN) == AF_UNIX);
    struct sockaddr_un name = {0};
    socklen_t name_len = sizeof(name);
    CHECK(getsockname(ends[1], (struct sockaddr *)&name, &name_len) == 0 &&
          name.sun_family == AF_UNIX);
    CHECK(recv(ends[1], &name, sizeof(name), 0) == 16);
    struct ucred who;
    socklen_t who_len = sizeof(who);
    CHECK(getsockopt(ends[0], SOL_SOCKET, SO_PEERCRED, &who, &who_len) == 0 && who.pid == getpid());
    if (listener < 0 || bind(listener, (struct sockaddr *)&in, sizeof(in)) < 0)
        return; /* no network here */
    CHECK(setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == 0 &&
          listen(listener, 5) == 0);
    CHECK(getsockname(listener, (struct sockaddr *)&in, &len) == 0 && in.sin_family == AF_INET);
    int client = socket(AF_INET, SOCK_STREAM, 0);
    int connected = connect(client, (struct sockaddr *)&in, sizeof(in));
    if (connected < 0 && errno == ENETUNREACH)
        return; /* nor here */
    CHECK(connected == 0);
    int taken = accept(listener, (struct sockaddr *)&in, &len);
    CHECK(taken >= 0 && in.sin_family == AF_INET &&
          int_option(taken, SOL_SOCKET, SO_DOMAIN) == AF_INET);
    CHECK(shutdown(client, SHUT_WR) == 0 && recv(taken, ends, 1, 0) == 0);
}

/* Its link_mgr ends meanwhile: the test says when. */
static void test_accept_until_the_end(const struct other *other)
{
    int fd = new_socket(SOCK_STREAM);
    CHECK(bind_to(fd, VMADDR_CID_ANY, other->port) == 0 && listen(fd, 5) == 0);
    printf("listening\n");
    fflush(stdout);
    CHECK_ERRNO(accept(fd, NULL, NULL), EINVAL);
    printf("ended\n");
}

/* Its link_mgr is restarted, and does not know what was bound. The test says when. */
static void test_bound_before_the_end(const struct other *other)
{
    int fds[] = {new_socket(SOCK_STREAM), new_socket(SOCK_STREAM | SOCK_NONBLOCK)};
    for (int i = 0; i < 2; i++)
        CHECK(bind_to(fds[i], VMADDR_CID_ANY, other->port + (uint32_t)i) == 0);
    printf("bound\n");
    fflush(stdout);
    CHECK(getchar() == '\n');
    CHECK_ERRNO(listen(fds[0], 5), EINVAL);
    CHECK_ERRNO(connect_to(fds[0], VMADDR_CID_LOCAL, 99), ECONNRESET);
    CHECK(int_option(fds[0], SOL_SOCKET, SO_DOMAIN) == AF_VSOCK);
    CHECK_ERRNO(connect_to(fds[1], VMADDR_CID_LOCAL, 99), EINPROGRESS);
    await_writable(fds[1]);
    CHECK(int_option(fds[1], SOL_SOCKET, SO_ERROR) == ECONNRESET);
    printf("ended\n");
}

const struct vsock_case vsock_process_cases[] = {
    {.name = "dup", .run = test_dup},
    {.name = "fork", .run = test_fork},
    {.name = "exec", .run = test_exec},
    {.name = "inherited", .run = test_inherited, .by_name = true},
    {.name = "spawn", .run = test_spawn},
    {.name = "received", .run = test_received},
    {.name = "close_range", .run = test_close_range},
    {.name = "high_numbers", .run = test_high_numbers},
    {.name = "threads", .run = test_threads},
    {.name = "bind_by_threads", .run = test_bind_by_threads},
    {.name = "others", .run = test_others},
    {.name = "bound_before_the_end", .run = test_bound_before_the_end, .by_name = true},
    {.name = "accept_until_the_end", .run = test_accept_until_the_end, .by_name = true},
    {0},
};
