/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vsock_cases.c - making sockets, binding, listening, accepting, connecting; addresses and options.
 */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>

#include "tests/programs/vsock.h"

#define LOCAL_PORT 7000u /* from here on cases use ports of their own domain */
#define NOBODYS_PORT 9999u
#define ATTEMPTS 1200 /* of test_asked_all_the_time */

static void test_socket(const struct other *other)
{
    (void)other;
    int fd = socket(AF_VSOCK, SOCK_STREAM, 0);
    CHECK(fd == 3 && !(fcntl(fd, F_GETFD) & FD_CLOEXEC) && !(fcntl(fd, F_GETFL) & O_NONBLOCK));
    CHECK(int_option(fd, SOL_SOCKET, SO_DOMAIN) == AF_VSOCK &&
          int_option(fd, SOL_SOCKET, SO_TYPE) == SOCK_STREAM);
    CHECK(int_option(fd, SOL_SOCKET, SO_PROTOCOL) == 0 &&
          int_option(fd, SOL_SOCKET, SO_ERROR) == 0);
    int other_fd = socket(AF_VSOCK, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    CHECK(other_fd == 4 && (fcntl(other_fd, F_GETFD) & FD_CLOEXEC) &&
          (fcntl(other_fd, F_GETFL) & O_NONBLOCK));
    CHECK(int_option(other_fd, SOL_SOCKET, SO_TYPE) == SOCK_SEQPACKET);
    CHECK_ERRNO(socket(AF_VSOCK, SOCK_DGRAM, 0), ENODEV);
    CHECK_ERRNO(socket(AF_VSOCK, SOCK_RAW, 0), ESOCKTNOSUPPORT);
    CHECK_ERRNO(socket(AF_VSOCK, SOCK_STREAM, 6), EPROTONOSUPPORT);
    CHECK(polled(fd, POLLOUT, 0) == POLLOUT);
}

static void test_unconnected(const struct other *other)
{
    struct sockaddr_vm address;
    socklen_t len = sizeof(address);
    int fd = new_socket(SOCK_STREAM), bytes = -1;
    (void)other;
    address = own_address(fd);
    CHECK(address.svm_cid == VMADDR_CID_ANY && address.svm_port == VMADDR_PORT_ANY);
    CHECK_ERRNO(getpeername(fd, (struct sockaddr *)&address, &len), ENOTCONN);
    CHECK_ERRNO(shutdown(fd, SHUT_RDWR), ENOTCONN);
    CHECK_ERRNO(listen(fd, 1), EINVAL);
    CHECK_ERRNO(accept(fd, NULL, NULL), EINVAL);
    CHECK(ioctl(fd, FIONREAD, &bytes) == 0 && bytes == 0);
    CHECK(int_option(fd, SOL_SOCKET, SO_ACCEPTCONN) == 0);
}

static void test_bind(const struct other *other)
{
    int one = new_socket(SOCK_STREAM), two = new_socket(SOCK_STREAM),
        three = new_socket(SOCK_SEQPACKET);
    struct sockaddr_vm address = address_of(VMADDR_CID_ANY, LOCAL_PORT);
    CHECK_ERRNO(bind(one, (struct sockaddr *)&address, sizeof(address) - 1), EINVAL);
    address.svm_family = AF_INET;
    CHECK_ERRNO(bind(one, (struct sockaddr *)&address, sizeof(address)), EINVAL);
    CHECK_ERRNO(bind_to(one, 12345, LOCAL_PORT), EADDRNOTAVAIL);
    CHECK(bind_to(one, VMADDR_CID_ANY, LOCAL_PORT) == 0);
    address = own_address(one);
    CHECK(address.svm_cid == VMADDR_CID_ANY && address.svm_port == LOCAL_PORT);
    CHECK_ERRNO(bind_to(one, VMADDR_CID_ANY, LOCAL_PORT + 1), EINVAL);
    CHECK_ERRNO(bind_to(two, VMADDR_CID_ANY, LOCAL_PORT), EADDRINUSE);
    /* bound, not listening */
    CHECK_ERRNO(connect_to(two, VMADDR_CID_LOCAL, LOCAL_PORT), ECONNRESET);
    CHECK(close(two) == 0 && close(one) == 0);
    two = new_socket(SOCK_STREAM);
    CHECK(bind_to(two, other->own_cid, LOCAL_PORT) == 0);
    CHECK(own_address(two).svm_cid == other->own_cid);
    CHECK(bind_to(three, VMADDR_CID_ANY, VMADDR_PORT_ANY) == 0);
    CHECK(own_address(three).svm_port > 1023 && own_address(three).svm_port != VMADDR_PORT_ANY);
}

/* Takes the numbers that are left, up to the lowest 64. Returns how many it took. */
static int take_numbers(int *taken)
{
    int count = 0;
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = 64;
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    while ((taken[count] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0)
        count++;
    CHECK(errno == EMFILE);
    return count;
}

/* Whatever a call lacks, it says EMFILE. It succeeds later, when there is enough. */
static void test_without_descriptors(const struct other *other)
{
    int taken[64], fd = new_socket(SOCK_STREAM), count = take_numbers(taken);
    (void)other;
    while (bind_to(fd, VMADDR_CID_ANY, LOCAL_PORT) < 0) {
        CHECK(errno == EMFILE && count > 0);
        close(taken[--count]);
    }
    count += take_numbers(taken + count);
    while (listen(fd, 5) < 0) {
        CHECK(errno == EMFILE && count > 0);
        close(taken[--count]);
    }
    int client = new_socket(SOCK_STREAM);
    count += take_numbers(taken + count);
    while (connect_to(client, VMADDR_CID_LOCAL, LOCAL_PORT) < 0) {
        CHECK(errno == EMFILE && count > 0);
        close(taken[--count]);
    }
}

/* A listener that is bound to CID 1 is there for its own domain only. */
static void test_bound_to_local(const struct other *other)
{
    bool within = other->cid == VMADDR_CID_LOCAL || other->cid == other->own_cid;
    int fd = new_socket(SOCK_STREAM), later = new_socket(SOCK_STREAM | SOCK_NONBLOCK),
        own = new_socket(SOCK_STREAM);
    if (within)
        CHECK(connect_to(fd, other->cid, other->port + 2) == 0);
    else
        CHECK_ERRNO(connect_to(fd, other->cid, other->port + 2), ECONNRESET);
    CHECK_ERRNO(connect_to(later, other->cid, other->port + 2), EINPROGRESS);
    await_writable(later);
    CHECK(int_option(later, SOL_SOCKET, SO_ERROR) == (within ? 0 : ECONNRESET));
    CHECK(bind_to(own, VMADDR_CID_LOCAL, VMADDR_PORT_ANY) == 0 &&
          own_address(own).svm_cid == VMADDR_CID_LOCAL);
    CHECK(listen(own, 5) == 0 && own_address(own).svm_cid == VMADDR_CID_LOCAL);
    uint32_t port = own_address(own).svm_port;
    CHECK(connect_to(new_socket(SOCK_STREAM), other->own_cid, port) == 0);
    CHECK(connect_to(new_socket(SOCK_STREAM), VMADDR_CID_LOCAL, port) == 0);
}

static void test_privileged(const struct other *other)
{
    int fd = new_socket(SOCK_STREAM);
    (void)other;
    if (geteuid() == 0)
        CHECK(bind_to(fd, VMADDR_CID_ANY, 1023) == 0);
    else
        CHECK_ERRNO(bind_to(fd, VMADDR_CID_ANY, 1023), EACCES);
}

static void test_listen(const struct other *other)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLET};
    int fd = new_socket(SOCK_STREAM), epoll = epoll_create1(0);
    struct sockaddr_vm from = {0};
    socklen_t len = 4; /* too little: cut */
    CHECK(fcntl(fd, F_SETFL, O_NONBLOCK) == 0 && bind_to(fd, VMADDR_CID_ANY, VMADDR_PORT_ANY) == 0);
    CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0);
    CHECK(listen(fd, 5) == 0 && listen(fd, 6) == 0);
    CHECK(int_option(fd, SOL_SOCKET, SO_ACCEPTCONN) == 1 &&
          int_option(fd, SOL_SOCKET, SO_TYPE) == SOCK_STREAM);
    CHECK_ERRNO(accept(fd, NULL, NULL), EAGAIN);
    CHECK_ERRNO(accept(fd, (struct sockaddr *)&from, NULL), EFAULT);
    CHECK_ERRNO(connect_to(fd, other->cid, other->port), EINVAL);
    CHECK_ERRNO(shutdown(fd, SHUT_RD), ENOTCONN);
    int client = new_socket(SOCK_STREAM);
    CHECK(connect_to(client, other->own_cid, own_address(fd).svm_port) == 0);
    /* registered before it listened */
    CHECK(epoll_wait(epoll, &event, 1, WAIT_MS) == 1 && (event.events & EPOLLIN));
    int taken = accept(fd, (struct sockaddr *)&from, &len);
    CHECK(taken >= 0 && len == sizeof(from) && from.svm_family == AF_VSOCK);
    CHECK(!(fcntl(taken, F_GETFD) & FD_CLOEXEC) && !(fcntl(taken, F_GETFL) & O_NONBLOCK));
    CHECK(own_address(taken).svm_port == own_address(fd).svm_port &&
          own_address(taken).svm_cid == other->own_cid);
    CHECK(peer_address(taken).svm_port == own_address(client).svm_port);
    CHECK(connect_to(new_socket(SOCK_STREAM), VMADDR_CID_LOCAL, own_address(fd).svm_port) == 0);
    CHECK(polled(fd, POLLIN, WAIT_MS) == POLLIN);
    taken = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    CHECK(taken >= 0 && (fcntl(taken, F_GETFD) & FD_CLOEXEC) &&
          (fcntl(taken, F_GETFL) & O_NONBLOCK));
    CHECK_ERRNO(connect_to(new_socket(SOCK_SEQPACKET), VMADDR_CID_LOCAL, own_address(fd).svm_port),
                ECONNRESET);
}

static void test_accept_timeout(const struct other *other)
{
    struct timeval time = {.tv_usec = 50000};
    int fd = new_socket(SOCK_STREAM);
    (void)other;
    CHECK(bind_to(fd, VMADDR_CID_ANY, VMADDR_PORT_ANY) == 0 && listen(fd, 5) == 0);
    CHECK(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof(time)) == 0);
    CHECK_ERRNO(accept(fd, NULL, NULL), EAGAIN);
}

static void test_connect(const struct other *other)
{
    struct sockaddr_vm names[3], address = address_of(other->cid, other->port);
    int fd = new_socket(SOCK_STREAM);
    CHECK_ERRNO(connect(fd, (struct sockaddr *)&address, sizeof(address) - 1), EINVAL);
    CHECK(connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
    CHECK_ERRNO(connect_to(fd, other->cid, other->port), EISCONN);
    CHECK(peer_address(fd).svm_port == other->port);
    if (other->cid != VMADDR_CID_LOCAL)
        CHECK(peer_address(fd).svm_cid == other->cid);
    send_all(fd, "names\0\0\0\0\0\0\0\0\0\0", REQUEST_SIZE);
    receive_all(fd, (char *)names, sizeof(names));
    CHECK(memcmp(&names[0], &names[1], sizeof(names[0])) == 0); /* accept and getpeername */
    CHECK(names[0].svm_cid == other->own_cid && names[0].svm_port == own_address(fd).svm_port);
    CHECK(names[2].svm_cid == peer_address(fd).svm_cid && names[2].svm_port == other->port);
}

static void test_connect_bound(const struct other *other)
{
    struct sockaddr_vm names[3];
    int fd = new_socket(SOCK_STREAM);
    CHECK(bind_to(fd, VMADDR_CID_ANY, LOCAL_PORT) == 0 &&
          connect_to(fd, other->cid, other->port) == 0);
    CHECK(own_address(fd).svm_port == LOCAL_PORT);
    send_all(fd, "names\0\0\0\0\0\0\0\0\0\0", REQUEST_SIZE);
    receive_all(fd, (char *)names, sizeof(names));
    CHECK(names[0].svm_cid == other->own_cid && names[0].svm_port == LOCAL_PORT);
}

static void test_nonblocking(const struct other *other)
{
    struct epoll_event event = {.events = EPOLLOUT | EPOLLIN | EPOLLRDHUP};
    int fd = new_socket(SOCK_STREAM | SOCK_NONBLOCK), epoll = epoll_create1(0);
    CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0); /* before connect */
    CHECK_ERRNO(connect_to(fd, other->cid, other->port), EINPROGRESS);
    CHECK(epoll_wait(epoll, &event, 1, WAIT_MS) == 1 && event.events == EPOLLOUT);
    CHECK(int_option(fd, SOL_SOCKET, SO_ERROR) == 0);
    CHECK_ERRNO(connect_to(fd, other->cid, other->port), EISCONN);
    CHECK(fcntl(fd, F_SETFL, 0) == 0);
    send_all(fd, "echo\0\0\0\0\0\0\0\0\0\0\0", REQUEST_SIZE);
    check_echo(fd);
}

static void test_refused(const struct other *other)
{
    int fd = new_socket(SOCK_STREAM);
    CHECK_ERRNO(connect_to(fd, other->cid, NOBODYS_PORT), ECONNRESET);
    CHECK_ERRNO(connect_to(fd, other->cid, NOBODYS_PORT), ECONNRESET);
    CHECK(int_option(fd, SOL_SOCKET, SO_ERROR) == 0);
    CHECK(connect_to(fd, other->cid, other->port) == 0); /* the same socket */
    send_all(fd, "echo\0\0\0\0\0\0\0\0\0\0\0", REQUEST_SIZE);
    check_echo(fd);
    /* the other type */
    CHECK_ERRNO(connect_to(new_socket(SOCK_SEQPACKET), other->cid, other->port), ECONNRESET);
    CHECK_ERRNO(connect_to(new_socket(SOCK_STREAM), VMADDR_CID_HYPERVISOR, 80), ENODEV);
    CHECK_ERRNO(connect_to(new_socket(SOCK_STREAM), VMADDR_CID_ANY, 80), ENODEV);
    CHECK_ERRNO(connect_to(new_socket(SOCK_STREAM), 40000, 80), ENODEV);
}

static void test_refused_later(const struct other *other)
{
    int fd = new_socket(SOCK_STREAM | SOCK_NONBLOCK);
    CHECK_ERRNO(connect_to(fd, other->cid, NOBODYS_PORT), EINPROGRESS);
    await_writable(fd);
    CHECK(int_option(fd, SOL_SOCKET, SO_ERROR) == ECONNRESET);
    CHECK(int_option(fd, SOL_SOCKET, SO_ERROR) == 0);
    fd = new_socket(SOCK_STREAM | SOCK_NONBLOCK);
    CHECK_ERRNO(connect_to(fd, other->cid, NOBODYS_PORT), EINPROGRESS);
    await_writable(fd);
    /* asked by a second connect */
    CHECK_ERRNO(connect_to(fd, other->cid, NOBODYS_PORT), ECONNRESET);
}

/* One of the ways to ask for the outcome without waiting: 0 when connected, an errno. */
static int connect_asked(const struct other *other, int fd, int way)
{
    struct sockaddr_vm address;
    socklen_t len = sizeof(address);
    if (way == 0)
        return connect_to(fd, other->cid, other->port) < 0 && errno != EISCONN ? errno : 0;
    int error = int_option(fd, SOL_SOCKET, SO_ERROR);
    if (error != 0)
        return error;
    return getpeername(fd, (struct sockaddr *)&address, &len) == 0 ? 0 : EALREADY;
}

/* Takes and closes at once what comes, in a process of its own. */
static pid_t fork_closer(uint32_t port)
{
    int listener = new_socket(SOCK_STREAM);
    /* There is room for all, should it not come to run for a while. */
    CHECK(bind_to(listener, VMADDR_CID_ANY, port) == 0 && listen(listener, ATTEMPTS) == 0);
    pid_t child = fork();
    if (child == 0)
        prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (int fd; child == 0 && (fd = accept(listener, NULL, NULL)) >= 0; close(fd))
        ;
    if (child == 0)
        _exit(0);
    close(listener);
    return child;
}

/* Whatever moment it is, the outcome is that of the attempt: also if the other end is closed at
 * once. */
static void test_asked_all_the_time(const struct other *other)
{
    struct other closer = {.cid = VMADDR_CID_LOCAL, .port = LOCAL_PORT + 3};
    pid_t child = fork_closer(closer.port);
    for (int i = 0; i < ATTEMPTS; i++) {
        struct other to = i % 8 < 6 ? closer : *other;
        bool refused = i % 8 == 6;
        int fd = new_socket(SOCK_STREAM | SOCK_NONBLOCK), error, ended;
        to.port = refused ? NOBODYS_PORT : to.port;
        CHECK_ERRNO(connect_to(fd, to.cid, to.port), EINPROGRESS);
        do {
            ended = polled(fd, POLLOUT, 0);
            error = connect_asked(&to, fd, i % 2);
        } while (error == EALREADY && !ended);
        CHECK(error == (refused ? ECONNRESET : 0));
        close(fd);
    }
    kill(child, SIGKILL);
    CHECK(waitpid(child, NULL, 0) == child);
}

static void fail_to_connect(int fd, const struct other *other)
{
    if (!(fcntl(fd, F_GETFL) & O_NONBLOCK)) {
        CHECK_ERRNO(connect_to(fd, other->cid, NOBODYS_PORT), ECONNRESET);
        return;
    }
    CHECK_ERRNO(connect_to(fd, other->cid, NOBODYS_PORT), EINPROGRESS);
    await_writable(fd);
    CHECK(int_option(fd, SOL_SOCKET, SO_ERROR) == ECONNRESET);
}

/* It keeps the port, and is seen to connect from it in the end. Meanwhile it can't be bound to
 * another one. */
static void test_bound_and_refused(const struct other *other)
{
    for (int flags = 0; flags <= SOCK_NONBLOCK; flags += SOCK_NONBLOCK) {
        struct sockaddr_vm names[3];
        int fd = new_socket(SOCK_STREAM | flags), taker = new_socket(SOCK_STREAM);
        uint32_t port = LOCAL_PORT + 1 + (flags != 0);
        CHECK(bind_to(fd, other->own_cid, port) == 0);
        for (int i = 0; i < 2; i++) {
            fail_to_connect(fd, other);
            CHECK(own_address(fd).svm_cid == other->own_cid && own_address(fd).svm_port == port);
            CHECK_ERRNO(bind_to(fd, VMADDR_CID_ANY, VMADDR_PORT_ANY), EINVAL);
        }
        CHECK(bind_to(taker, VMADDR_CID_ANY, port) == 0); /* it can be taken meanwhile */
        CHECK_ERRNO(connect_to(fd, other->cid, other->port), EADDRINUSE);
        CHECK(own_address(fd).svm_port == port && close(taker) == 0);
        if (flags != 0) {
            CHECK_ERRNO(connect_to(fd, other->cid, other->port), EINPROGRESS);
            CHECK(own_address(fd).svm_port == port && polled(fd, POLLOUT, WAIT_MS) == POLLOUT &&
                  fcntl(fd, F_SETFL, 0) == 0);
        } else {
            CHECK(connect_to(fd, other->cid, other->port) == 0);
        }
        send_all(fd, "names\0\0\0\0\0\0\0\0\0\0", REQUEST_SIZE);
        receive_all(fd, (char *)names, sizeof(names));
        CHECK(names[0].svm_port == port && own_address(fd).svm_port == port);
        close(fd);
    }
}

/* The usual loop: options once, and connect until it works. */
static void test_refused_with_options(const struct other *other)
{
    const struct timeval times[2] = {{.tv_usec = 40000}, {.tv_sec = 7}};
    const struct linger linger = {.l_onoff = 1, .l_linger = 3};
    struct timeval time;
    struct linger lingers;
    socklen_t len = sizeof(time), linger_len = sizeof(lingers);
    int fd = new_socket(SOCK_STREAM | SOCK_CLOEXEC), lowat = 5, size = 100000, one = 1;
    char byte;
    CHECK(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &times[0], len) == 0);
    CHECK(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &times[1], len) == 0);
    CHECK(setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &lowat, sizeof(lowat)) == 0);
    CHECK(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)) == 0);
    CHECK(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, linger_len) == 0);
    CHECK(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one)) == 0);
    int sent = int_option(fd, SOL_SOCKET, SO_SNDBUF),
        received = int_option(fd, SOL_SOCKET, SO_RCVBUF);
    for (int i = 0; i < 2; i++)
        fail_to_connect(fd, other);
    CHECK(connect_to(fd, other->cid, other->port) == 0);
    CHECK(getsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &time, &len) == 0 && time.tv_sec == 7 &&
          time.tv_usec == 0);
    CHECK(int_option(fd, SOL_SOCKET, SO_RCVLOWAT) == 5 &&
          int_option(fd, SOL_SOCKET, SO_KEEPALIVE) == 1);
    CHECK(int_option(fd, SOL_SOCKET, SO_SNDBUF) == sent &&
          int_option(fd, SOL_SOCKET, SO_RCVBUF) == received);
    CHECK(getsockopt(fd, SOL_SOCKET, SO_LINGER, &lingers, &linger_len) == 0 &&
          lingers.l_onoff == 1 && lingers.l_linger == 3);
    CHECK((fcntl(fd, F_GETFD) & FD_CLOEXEC) && !(fcntl(fd, F_GETFL) & O_NONBLOCK));
    CHECK_ERRNO(recv(fd, &byte, 1, 0), EAGAIN); /* in time */
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void on_alarm(int number)
{
    (void)number;
}

/* A signal ends the waiting, not the attempt, also with SA_RESTART. A second connect waits again.
 */
static void check_interrupted(const struct other *other)
{
    struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    /* Again and again, should the process not have come to its connect at the first. */
    struct itimerval soon = {.it_interval = {.tv_usec = 50000}, .it_value = {.tv_usec = 50000}},
                     never = {0};
    struct timeval time = {.tv_sec = 2};
    int fd = new_socket(SOCK_STREAM);
    CHECK(setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &time, sizeof(time)) == 0);
    CHECK(sigaction(SIGALRM, &action, NULL) == 0 && setitimer(ITIMER_REAL, &soon, NULL) == 0);
    CHECK_ERRNO(connect_to(fd, other->cid, other->port), EINTR);
    CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
    CHECK_ERRNO(connect_to(fd, other->cid, other->port), ETIMEDOUT);
}

/* With the other domain's link_mgr stopped. */
static void test_timeout(const struct other *other)
{
    struct timeval time = {.tv_usec = 300000};
    int fd = new_socket(SOCK_STREAM), later = new_socket(SOCK_STREAM | SOCK_NONBLOCK);
    CHECK(setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &time, sizeof(time)) == 0);
    int64_t begin = now_ms();
    CHECK_ERRNO(connect_to(fd, other->cid, other->port), ETIMEDOUT);
    CHECK(now_ms() - begin >= 290); /* at least: a slow machine takes longer */
    time.tv_sec = 2;
    CHECK(setsockopt(later, AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &time, sizeof(time)) == 0);
    CHECK_ERRNO(connect_to(later, other->cid, other->port), EINPROGRESS);
    CHECK_ERRNO(connect_to(later, other->cid, other->port), EALREADY);
    CHECK(polled(later, POLLOUT | POLLIN, 100) == 0); /* not before it is connected */
    CHECK(int_option(later, SOL_SOCKET, SO_ERROR) == 0);
    await_writable(later);
    CHECK(int_option(later, SOL_SOCKET, SO_ERROR) == ETIMEDOUT);
    check_interrupted(other);
}

struct waiting {
    const struct other *other;
    int fd;
};

static void *wait_connected(void *arg)
{
    const struct waiting *waiting = arg;
    CHECK(connect_to(waiting->fd, waiting->other->cid, waiting->other->port) == 0);
    return NULL;
}

static int vsock_cases_interrupted(const struct other *other, int type)
{
    struct sigaction action = {.sa_handler = on_alarm};
    struct itimerval soon = {.it_value = {.tv_usec = 50000}}, never = {0};
    int fd = new_socket(type);
    CHECK(sigaction(SIGALRM, &action, NULL) == 0 && setitimer(ITIMER_REAL, &soon, NULL) == 0);
    CHECK_ERRNO(connect_to(fd, other->cid, other->port + (type == SOCK_SEQPACKET)), EINTR);
    CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
    return fd;
}

/* The other domain's link_mgr is stopped, and goes on when the test is told "waiting". A connect
 * that a signal interrupts goes on, and the socket is like any other afterwards, though nothing is
 * asked of it before there is something to send. Neither it nor one that another thread waits for
 * polls writable before it is connected. */
static void test_interrupted(const struct other *other)
{
    static const int types[] = {SOCK_STREAM, SOCK_SEQPACKET};
    static char bytes[30000];
    int fds[2], usual = int_option(new_socket(SOCK_STREAM), SOL_SOCKET, SO_SNDBUF);
    for (int i = 0; i < 2; i++)
        fds[i] = vsock_cases_interrupted(other, types[i]);
    struct waiting waiting = {.other = other, .fd = new_socket(SOCK_STREAM)};
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, wait_connected, &waiting) == 0);
    while (polled(waiting.fd, POLLOUT | POLLIN, 100) != 0) /* until it has begun */
        poll(NULL, 0, 1);
    for (int i = 0; i < 2; i++)
        CHECK(polled(fds[i], POLLOUT | POLLIN, 0) == 0);
    printf("waiting\n");
    fflush(stdout);
    for (int i = 0; i < 2; i++) {
        CHECK(polled(fds[i], POLLOUT, WAIT_MS) == POLLOUT);
        send_all(fds[i], "echo\0\0\0\0\0\0\0\0\0\0\0", REQUEST_SIZE);
        /* there is room for it */
        CHECK(send(fds[i], bytes, sizeof(bytes), MSG_DONTWAIT) == sizeof(bytes));
        if (types[i] == SOCK_STREAM)
            receive_all(fds[i], bytes, sizeof(bytes));
        else
            CHECK(recv(fds[i], bytes, sizeof(bytes), 0) == sizeof(bytes));
        check_echo(fds[i]);
    }
    CHECK_ERRNO(connect_to(fds[0], other->cid, other->port), EISCONN);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(int_option(waiting.fd, SOL_SOCKET, SO_SNDBUF) == usual &&
          int_option(fds[0], SOL_SOCKET, SO_SNDBUF) == usual);
}

static void test_denied(const struct other *other)
{
    CHECK_ERRNO(connect_to(new_socket(SOCK_STREAM), other->cid, other->port), EACCES);
}

/* Without a link_mgr. */
static void test_absent(const struct other *other)
{
    unsigned cid = 0;
    int fd = new_socket(SOCK_STREAM), device = open("/dev/vsock", O_RDONLY);
    CHECK_ERRNO(connect_to(fd, other->cid, other->port), ENODEV);
    CHECK_ERRNO(connect_to(fd, other->cid, other->port), ENODEV);
    CHECK(own_address(fd).svm_port == VMADDR_PORT_ANY);
    CHECK_ERRNO(bind_to(fd, VMADDR_CID_ANY, LOCAL_PORT), ENODEV);
    CHECK(device >= 0 && ioctl(device, IOCTL_VM_SOCKETS_GET_LOCAL_CID, &cid) == 0 &&
          cid == VMADDR_CID_ANY);
}

static void test_device(const struct other *other)
{
    const int fds[] = {open("/dev/vsock", O_RDONLY | O_CLOEXEC),
                       openat(AT_FDCWD, "/dev/vsock", O_RDWR)};
    for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
        unsigned cid = 0;
        int copy = dup(fds[i]);
        CHECK(fds[i] >= 0 && ioctl(fds[i], IOCTL_VM_SOCKETS_GET_LOCAL_CID, &cid) == 0 &&
              cid == other->own_cid);
        cid = 0;
        CHECK(ioctl(copy, IOCTL_VM_SOCKETS_GET_LOCAL_CID, &cid) == 0 && cid == other->own_cid);
    }
    CHECK((fcntl(fds[0], F_GETFD) & FD_CLOEXEC) && !(fcntl(fds[1], F_GETFD) & FD_CLOEXEC));
}

/* A program may ask whether there is one before it opens it, or open it by stdio. */
static void test_device_is_there(const struct other *other)
{
    struct stat one, two;
    struct statx three;
    unsigned cid = 0;
    int opened = open("/dev/vsock", O_RDONLY);
    CHECK(fstat(opened, &two) == 0 && stat("/dev/vsock", &one) == 0 && two.st_rdev == one.st_rdev);
    CHECK(access("/dev/vsock", R_OK | W_OK) == 0 && eaccess("/dev/vsock", R_OK) == 0);
    CHECK(faccessat(AT_FDCWD, "/dev/vsock", F_OK, 0) == 0);
    CHECK(stat("/dev/vsock", &one) == 0 && S_ISCHR(one.st_mode));
    CHECK(lstat("/dev/vsock", &two) == 0 && two.st_rdev == one.st_rdev);
    CHECK(fstatat(AT_FDCWD, "/dev/vsock", &two, 0) == 0 && two.st_rdev == one.st_rdev);
    CHECK(statx(AT_FDCWD, "/dev/vsock", 0, STATX_BASIC_STATS, &three) == 0 &&
          S_ISCHR(three.stx_mode));
    FILE *file = fopen("/dev/vsock", "r");
    CHECK(file != NULL && ioctl(fileno(file), IOCTL_VM_SOCKETS_GET_LOCAL_CID, &cid) == 0 &&
          cid == other->own_cid);
    CHECK(fstat(fileno(file), &two) == 0 && two.st_rdev == one.st_rdev);
    fclose(file);
    CHECK_ERRNO(access("/dev/vsock-not", F_OK), ENOENT);
    CHECK_ERRNO(stat("/dev/vsock-not", &one), ENOENT);
}

/* The library asks the kernel by a socket of its own. A failure is told as one, not as a size. */
static void send_buffer_without_descriptors(int fd)
{
    struct rlimit before, none;
    int size = 4711;
    CHECK(getrlimit(RLIMIT_NOFILE, &before) == 0);
    none = before;
    none.rlim_cur = 3;
    CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
    CHECK_ERRNO(getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, &(socklen_t){sizeof(size)}), EMFILE);
    CHECK(setrlimit(RLIMIT_NOFILE, &before) == 0 && size == 4711);
}

/* The kernel's vsock tells it back, and makes nothing of it. */
static void test_send_buffer(const struct other *other)
{
    int fd = ask(other, SOCK_STREAM, "echo"), small = 1000, zero = 0,
        usual = new_socket(SOCK_STREAM);
    CHECK(int_option(fd, SOL_SOCKET, SO_SNDBUF) == int_option(usual, SOL_SOCKET, SO_SNDBUF));
    CHECK(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)) == 0);
    CHECK(int_option(fd, SOL_SOCKET, SO_SNDBUF) >= 2000 &&
          int_option(fd, SOL_SOCKET, SO_SNDBUF) < 10000);
    check_echo(fd);
    CHECK(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &zero, sizeof(zero)) == 0);
    check_echo(fd);
    CHECK_ERRNO(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, 2), EINVAL);
    send_buffer_without_descriptors(usual);
}

static uint64_t size_option(int fd, int name)
{
    uint64_t value = 0;
    socklen_t len = sizeof(value);
    CHECK(getsockopt(fd, AF_VSOCK, name, &value, &len) == 0 && len == sizeof(value));
    return value;
}

static void set_size(int fd, int name, uint64_t value)
{
    CHECK(setsockopt(fd, AF_VSOCK, name, &value, sizeof(value)) == 0);
}

static void test_vsock_options(const struct other *other)
{
    struct timeval time = {0};
    socklen_t len = sizeof(time);
    int fd = socket(AF_VSOCK, SOCK_STREAM, 0);
    CHECK(size_option(fd, SO_VM_SOCKETS_BUFFER_SIZE) == 262144 &&
          size_option(fd, SO_VM_SOCKETS_BUFFER_MAX_SIZE) == 262144);
    CHECK(size_option(fd, SO_VM_SOCKETS_BUFFER_MIN_SIZE) == 128);
    set_size(fd, SO_VM_SOCKETS_BUFFER_SIZE, 1000000);
    CHECK(size_option(fd, SO_VM_SOCKETS_BUFFER_SIZE) == 262144);
    set_size(fd, SO_VM_SOCKETS_BUFFER_MAX_SIZE, 2000000);
    set_size(fd, SO_VM_SOCKETS_BUFFER_SIZE, 1000000);
    CHECK(size_option(fd, SO_VM_SOCKETS_BUFFER_SIZE) == 1000000);
    set_size(fd, SO_VM_SOCKETS_BUFFER_MIN_SIZE, 1500000);
    CHECK(size_option(fd, SO_VM_SOCKETS_BUFFER_SIZE) == 1500000);
    set_size(fd, SO_VM_SOCKETS_BUFFER_MAX_SIZE, 1600000);
    CHECK(getsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &time, &len) == 0 &&
          time.tv_sec == 2 && time.tv_usec == 0);
    time = (struct timeval){.tv_sec = 5, .tv_usec = 250000};
    CHECK(setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &time, sizeof(time)) == 0);
    time = (struct timeval){.tv_sec = -1};
    CHECK_ERRNO(setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &time, sizeof(time)),
                ERANGE);
    CHECK(getsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &time, &len) == 0);
    CHECK(time.tv_sec == 5 && time.tv_usec == 250000);
    CHECK_ERRNO(setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_BUFFER_SIZE, &time, 4), EINVAL);
    CHECK_ERRNO(getsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_TRUSTED, &time, &len), ENOPROTOOPT);
    CHECK(connect_to(fd, other->cid, other->port) == 0);
    /* also afterwards, and of a duplicate */
    CHECK(size_option(fd, SO_VM_SOCKETS_BUFFER_SIZE) == 1500000);
    CHECK(size_option(dup(fd), SO_VM_SOCKETS_BUFFER_MAX_SIZE) == 1600000);
    CHECK(size_option(new_socket(SOCK_STREAM), SO_VM_SOCKETS_BUFFER_SIZE) == 262144);
}

static void test_socket_options(const struct other *other)
{
    struct ucred who = {0};
    socklen_t len = sizeof(who);
    int fd = ask(other, SOCK_STREAM, "echo"), value = 17;
    CHECK(getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) == 0 && who.pid == 0 &&
          who.uid == (uid_t)-1);
    CHECK(setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &value, sizeof(value)) == 0);
    CHECK(int_option(fd, SOL_SOCKET, SO_RCVLOWAT) == 17);
    CHECK(int_option(fd, SOL_SOCKET, SO_DOMAIN) == AF_VSOCK &&
          int_option(fd, SOL_SOCKET, SO_ERROR) == 0);
    CHECK_ERRNO(setsockopt(fd, 6, 1, &value, sizeof(value)), ENOPROTOOPT); /* TCP_NODELAY */
    CHECK_ERRNO(getsockopt(fd, SOL_SOCKET, SO_TYPE, &value, NULL), EFAULT);
}

const struct vsock_case vsock_cases[] = {
    {.name = "socket", .run = test_socket},
    {.name = "unconnected", .run = test_unconnected},
    {.name = "bind", .run = test_bind},
    {.name = "without_descriptors", .run = test_without_descriptors},
    {.name = "bound_to_local", .run = test_bound_to_local},
    {.name = "privileged", .run = test_privileged},
    {.name = "listen", .run = test_listen},
    {.name = "accept_timeout", .run = test_accept_timeout},
    {.name = "connect", .run = test_connect},
    {.name = "connect_bound", .run = test_connect_bound},
    {.name = "nonblocking", .run = test_nonblocking},
    {.name = "refused", .run = test_refused},
    {.name = "refused_later", .run = test_refused_later},
    {.name = "asked_all_the_time", .run = test_asked_all_the_time},
    {.name = "bound_and_refused", .run = test_bound_and_refused},
    {.name = "refused_with_options", .run = test_refused_with_options},
    {.name = "timeout", .run = test_timeout, .by_name = true},
    {.name = "interrupted", .run = test_interrupted, .by_name = true},
    {.name = "denied", .run = test_denied, .by_name = true},
    {.name = "absent", .run = test_absent, .by_name = true},
    {.name = "device", .run = test_device},
    {.name = "device_is_there", .run = test_device_is_there},
    {.name = "send_buffer", .run = test_send_buffer},
    {.name = "vsock_options", .run = test_vsock_options},
    {.name = "socket_options", .run = test_socket_options},
    {0},
};
