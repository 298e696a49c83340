/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_handover.c - names, descriptors and long messages between daemon and libidc, with friendly
 * and hostile bytes. Every test ends with the count of open descriptors that it began with.
 */
#include "common/handover.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/connecting.h"
#include "common/front.h"
#include "common/service_name.h"
#include "tests/unit/count.h"
#include "tests/unit/suite.h"

static int pair[2];
static int baseline;

static int open_fds(void)
{
    int count = 0;
    DIR *dir = opendir("/proc/self/fd");
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count;
}

static void open_pair(int type)
{
    ck_assert_int_eq(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair), 0);
}

static void close_pair(void)
{
    close(pair[0]);
    close(pair[1]);
}

static void handover_setup(void)
{
    baseline = open_fds();
}

static void handover_teardown(void)
{
    ck_assert_int_eq(open_fds(), baseline);
}

/* ---- names ---- */

static struct handover_name sample_name(void)
{
    struct handover_name name = {
        .serial = 0xABCDEF012345,
        .local = {.domid = 0x7FEF, .port = 0xFFFFFFFF, .uid = UINT32_MAX, .type = IDC_SEQPACKET},
        .peer = {.domid = 3, .port = 80, .uid = 1000, .type = IDC_SEQPACKET},
    };
    return name;
}

static void check_same_address(const struct idc_addr *a, const struct idc_addr *b)
{
    ck_assert_uint_eq(a->domid, b->domid);
    ck_assert_uint_eq(a->port, b->port);
    ck_assert_uint_eq(a->uid, b->uid);
    ck_assert_uint_eq(a->type, b->type);
    ck_assert_str_eq(a->service, b->service);
}

static void check_round_trip(const struct handover_name *name)
{
    struct handover_name got;
    open_pair(SOCK_STREAM);
    ck_assert_int_eq(handover_bind(pair[0], name), 0);
    ck_assert_int_eq(handover_name(pair[1], &got), 0);
    ck_assert_uint_eq(got.serial, name->serial);
    ck_assert_int_eq(got.listener, name->listener);
    ck_assert_int_eq(got.local_only, name->local_only);
    check_same_address(&got.local, &name->local);
    check_same_address(&got.peer, &name->peer);
    close_pair();
}

START_TEST(name_round_trip)
{
    struct handover_name name = sample_name();
    check_round_trip(&name);
    name.listener = true;
    check_round_trip(&name);
    name.local_only = true;
    check_round_trip(&name);
    memset(name.local.service, 's', IDC_SERVICE_MAX);
    check_round_trip(&name);
    memset(name.local.service, 0, sizeof(name.local.service));
    strcpy(name.peer.service, "org.example.clipboard");
    check_round_trip(&name);
    strcpy(name.local.service, "org.example.clipboard");
    check_round_trip(&name);
}
END_TEST

START_TEST(name_survives_the_daemon_and_dup)
{
    struct handover_name name = sample_name(), got;
    open_pair(SOCK_STREAM);
    ck_assert_int_eq(handover_bind(pair[0], &name), 0);
    close(pair[0]);
    pair[0] = dup(pair[1]);
    ck_assert_int_eq(handover_name(pair[0], &got), 0);
    ck_assert_uint_eq(got.serial, name.serial);
    close_pair();
}
END_TEST

START_TEST(name_of_other_descriptors)
{
    struct handover_name got;
    open_pair(SOCK_STREAM);
    ck_assert_int_eq(handover_name(pair[0], &got), -EINVAL);
    close_pair();
    int file = open("/dev/null", O_RDONLY | O_CLOEXEC);
    ck_assert_int_eq(handover_name(file, &got), -ENOTSOCK);
    close(file);
    ck_assert_int_eq(handover_name(-1, &got), -EBADF);
    int lone = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(handover_name(lone, &got), -EINVAL);
    close(lone);
}
END_TEST

/* What a stranger bound: cut at every length, and with each byte changed, it is refused or it
 * decodes to sane values. */
static int name_of_bytes(const uint8_t *bytes, size_t len, struct handover_name *got)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path + 1, bytes, len);
    open_pair(SOCK_STREAM);
    ck_assert_int_eq(
        bind(pair[0], (struct sockaddr *)&address, (socklen_t)(sizeof(sa_family_t) + 1 + len)), 0);
    int result = handover_name(pair[1], got);
    close_pair();
    return result;
}

START_TEST(name_hostile_bytes)
{
    struct handover_name name = sample_name(), got;
    struct sockaddr_un address;
    socklen_t len = sizeof(address);
    strcpy(name.peer.service, "abc");
    open_pair(SOCK_STREAM);
    ck_assert_int_eq(handover_bind(pair[0], &name), 0);
    ck_assert_int_eq(getsockname(pair[0], (struct sockaddr *)&address, &len), 0);
    close_pair();
    uint8_t good[64];
    size_t size = len - sizeof(sa_family_t) - 1;
    memcpy(good, address.sun_path + 1, size);

    ck_assert_int_eq(name_of_bytes(good, size, &got), 0);
    for (size_t cut = 0; cut <= size - 3; cut++)
        ck_assert_int_eq(name_of_bytes(good, cut, &got), -EINVAL);
    for (size_t at = 0; at < size; at++) {
        uint8_t bad[64];
        memcpy(bad, good, size);
        bad[at] ^= 0xFF;
        int result = name_of_bytes(bad, size, &got);
        ck_assert(result == -EINVAL || (at >= 4 && at < 26 && got.local.domid < IDC_DOMID_SELF));
    }
}
END_TEST

/* ---- descriptors ---- */

START_TEST(fds_round_trip)
{
    char buf[8];
    int fds[HANDOVER_FDS_MAX], count = HANDOVER_FDS_MAX;
    open_pair(SOCK_STREAM);
    int send_fds[3] = {pair[0], pair[1], pair[0]};
    ck_assert_int_eq(handover_send(pair[0], "hello", 5, send_fds, 3, 0), 5);
    ck_assert_int_eq(handover_recv(pair[1], buf, sizeof(buf), fds, &count, 0), 5);
    ck_assert_int_eq(count, 3);
    for (int i = 0; i < count; i++) {
        ck_assert_int_eq(fcntl(fds[i], F_GETFD), FD_CLOEXEC);
        close(fds[i]);
    }
    close_pair();
}
END_TEST

START_TEST(fds_beyond_room_are_closed)
{
    char buf[8];
    open_pair(SOCK_STREAM);
    int send_fds[HANDOVER_FDS_MAX] = {pair[0], pair[0], pair[0], pair[0]};
    for (int room = 0; room < HANDOVER_FDS_MAX; room++) {
        int fds[HANDOVER_FDS_MAX], count = room;
        ck_assert_int_eq(handover_send(pair[0], "x", 1, send_fds, HANDOVER_FDS_MAX, 0), 1);
        ck_assert_int_eq(handover_recv(pair[1], buf, sizeof(buf), fds, &count, 0), 1);
        ck_assert_int_eq(count, room);
        for (int i = 0; i < count; i++)
            close(fds[i]);
    }
    close_pair();
}
END_TEST

/* More than handover_send would ever send: 100 descriptors in one message. */
START_TEST(fds_a_hundred)
{
    char buf[8] = "x", control[CMSG_SPACE(100 * sizeof(int))] = {0};
    struct iovec bytes = {buf, 1};
    struct msghdr message = {.msg_iov = &bytes,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = sizeof(control)};
    int fds[HANDOVER_FDS_MAX], count = HANDOVER_FDS_MAX;
    open_pair(SOCK_STREAM);
    struct cmsghdr *c = CMSG_FIRSTHDR(&message);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(100 * sizeof(int));
    for (size_t i = 0; i < 100; i++)
        memcpy(CMSG_DATA(c) + i * sizeof(int), &pair[0], sizeof(int));
    ck_assert_int_eq(sendmsg(pair[0], &message, 0), 1);
    ck_assert_int_eq(handover_recv(pair[1], buf, sizeof(buf), fds, &count, 0), 1);
    ck_assert_int_eq(count, HANDOVER_FDS_MAX);
    for (int i = 0; i < count; i++)
        close(fds[i]);
    close_pair();
}
END_TEST

START_TEST(fds_with_a_full_table)
{
    const char *preload = getenv("LD_PRELOAD");
    if (preload != NULL && strstr(preload, "vgpreload") != NULL)
        return; /* valgrind keeps the limit to itself */
    char buf[8];
    int fds[2], count = 2;
    struct rlimit old, low;
    open_pair(SOCK_STREAM);
    ck_assert_int_eq(handover_send(pair[0], "x", 1, pair, 2, 0), 1);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
    int next = dup(0);
    close(next);
    low = (struct rlimit){(rlim_t)next + 1, old.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
    ck_assert_int_eq(handover_recv(pair[1], buf, sizeof(buf), fds, &count, 0), -EMFILE);
    ck_assert_int_eq(count, 0);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
    close_pair();
}
END_TEST

/* ---- the message on a listener ---- */

START_TEST(waiting_round_trip)
{
    struct handover_waiting given = {
        .peer = {.domid = 7, .port = 0x80000001, .uid = 33, .type = IDC_STREAM},
        .number = 0xFEDCBA98};
    struct handover_waiting got = {.marked = true};
    uint8_t bytes[HANDOVER_WAITING_SIZE];
    handover_encode_waiting(bytes, &given);
    ck_assert_int_eq(handover_decode_waiting(bytes, sizeof(bytes), &got), 0);
    check_same_address(&got.peer, &given.peer);
    ck_assert(!got.marked);
    ck_assert_uint_eq(got.number, given.number);
    memset(given.peer.service, 'x', IDC_SERVICE_MAX);
    given.marked = true;
    handover_encode_waiting(bytes, &given);
    ck_assert_int_eq(handover_decode_waiting(bytes, sizeof(bytes), &got), 0);
    check_same_address(&got.peer, &given.peer);
    ck_assert(got.marked);
}
END_TEST

START_TEST(waiting_hostile)
{
    struct handover_waiting given = {
        .peer = {.domid = 0x7FEF, .port = 9, .uid = 33, .type = IDC_STREAM},
        .marked = true,
        .number = 1};
    struct handover_waiting got;
    uint8_t good[HANDOVER_WAITING_SIZE], bad[HANDOVER_WAITING_SIZE];
    handover_encode_waiting(good, &given);
    ck_assert_int_eq(handover_decode_waiting(good, sizeof(good), &got), 0);
    ck_assert_int_eq(handover_decode_waiting(good, sizeof(good) - 1, &got), -EINVAL);
    ck_assert_int_eq(handover_decode_waiting(good, 0, &got), -EINVAL);
    static const struct {
        int at;
        uint8_t value;
    } changes[] = {{0, 0xF0}, {1, 0x80}, {3, 1},  {4, 0},  {12, 0},   {12, 3},   {13, 1},
                   {14, 2},   {15, 1},   {16, 0}, {20, 1}, {20, '1'}, {20, ' '}, {99, 'a'}};
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        memcpy(bad, good, sizeof(bad));
        bad[changes[i].at] = changes[i].value;
        if (changes[i].at == 0)
            bad[1] = 0x7F;
        ck_assert_int_eq(handover_decode_waiting(bad, sizeof(bad), &got), -EINVAL);
    }
}
END_TEST

START_TEST(answer_hostile)
{
    uint8_t bytes[HANDOVER_TAKEN_SIZE + 1] = {0};
    open_pair(SOCK_SEQPACKET);
    ck_assert_int_eq(handover_tell_taken(pair[1], 0x80000001), 0);
    ck_assert_int_eq(recv(pair[0], bytes, sizeof(bytes), 0), HANDOVER_TAKEN_SIZE);
    ck_assert_uint_eq(handover_taken_number(bytes, HANDOVER_TAKEN_SIZE), 0x80000001);
    for (size_t len = 0; len <= sizeof(bytes); len++)
        if (len != HANDOVER_TAKEN_SIZE)
            ck_assert_uint_eq(handover_taken_number(bytes, len), 0);
    bytes[0]++;
    ck_assert_uint_eq(handover_taken_number(bytes, HANDOVER_TAKEN_SIZE), 0);
    close_pair();
}
END_TEST

/* ---- taking a connection ---- */

static int types[] = {SOCK_STREAM, SOCK_SEQPACKET};

/* Our end has the name of a listener, which differs from those of other tests that run. */
static uint64_t listener_serial;
static uint32_t offered;

static void open_listener(void)
{
    struct handover_name name = {.listener = true, .local = {.domid = 1, .port = 9}};
    name.serial = listener_serial = (uint64_t)getpid();
    open_pair(SOCK_SEQPACKET);
    ck_assert_int_eq(handover_bind(pair[0], &name), 0);
}

static void handover_offer(int fd, bool marked)
{
    const struct handover_waiting waiting = {
        .peer = {.domid = 7, .port = 9, .uid = 33, .type = IDC_STREAM},
        .marked = marked,
        .number = ++offered};
    uint8_t bytes[HANDOVER_WAITING_SIZE];
    handover_encode_waiting(bytes, &waiting);
    ck_assert_int_eq(handover_send(pair[0], bytes, sizeof(bytes), &fd, 1, 0), sizeof(bytes));
}

START_TEST(accept_takes_and_tells)
{
    struct idc_addr peer;
    uint8_t answer[HANDOVER_TAKEN_SIZE + 1];
    open_listener();
    ck_assert_int_eq(handover_accept(pair[1], listener_serial, &peer, MSG_DONTWAIT), -EAGAIN);
    handover_offer(pair[0], false);
    int fd = handover_accept(pair[1], listener_serial, &peer, 0);
    ck_assert_int_ge(fd, 0);
    ck_assert_uint_eq(peer.uid, 33);
    ck_assert_int_eq(recv(pair[0], answer, sizeof(answer), 0), HANDOVER_TAKEN_SIZE);
    ck_assert_uint_eq(handover_taken_number(answer, HANDOVER_TAKEN_SIZE), offered);
    close(fd);
    handover_offer(pair[0], false);
    close(pair[0]);
    fd = handover_accept(pair[1], listener_serial, &peer,
                         0); /* what was offered before the end is still good */
    ck_assert_int_ge(fd, 0);
    close(fd);
    ck_assert_int_eq(handover_accept(pair[1], listener_serial, &peer, 0), -ECONNABORTED);
    close(pair[1]);
}
END_TEST

/* The mark is never read by the program; without one the connection is not what the message says.
 */
START_TEST(accept_takes_the_mark)
{
    struct idc_addr peer;
    char got[10];
    int ends[2];
    open_listener();
    ck_assert_int_eq(socketpair(AF_UNIX, types[_i], 0, ends), 0);
    ck_assert_int_eq(send(ends[1], "", 1, 0), 1);
    ck_assert_int_eq(send(ends[1], "data", 4, 0), 4);
    handover_offer(ends[0], true);
    int fd = handover_accept(pair[1], listener_serial, &peer, 0);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(recv(fd, got, sizeof(got), 0), 4);
    ck_assert_int_eq(memcmp(got, "data", 4), 0);
    close(fd);
    close(ends[0]);
    close(ends[1]);
    close_pair();
}
END_TEST

static void offer_spoilt(int type, bool with_descriptor)
{
    int ends[2];
    ck_assert_int_eq(socketpair(AF_UNIX, type, 0, ends), 0);
    if (with_descriptor)
        ck_assert_int_eq(handover_send(ends[1], "", 1, &(int){STDERR_FILENO}, 1, 0), 1);
    handover_offer(ends[0], true);
    close(ends[0]);
    close(ends[1]);
}

/* A client has taken the mark out, or has put a descriptor beside it. */
START_TEST(accept_without_its_mark)
{
    struct idc_addr peer;
    const struct timeval limit = {.tv_usec = 20000};
    int ends[2], before = count_descriptors();
    open_listener();
    for (int i = 0; i < 2; i++) {
        offer_spoilt(types[_i], i == 1);
        ck_assert_int_eq(handover_accept(pair[1], listener_serial, &peer, MSG_DONTWAIT), -EAGAIN);
    }
    ck_assert_int_eq(setsockopt(pair[1], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), 0);
    offer_spoilt(types[_i], false);
    ck_assert_int_eq(handover_accept(pair[1], listener_serial, &peer, 0), -EAGAIN);
    /* the next one is taken, with or without a limit */
    for (int i = 0; i < 2; i++) {
        const struct timeval wait = {.tv_sec = i * 600};
        ck_assert_int_eq(setsockopt(pair[1], SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)), 0);
        ck_assert_int_eq(socketpair(AF_UNIX, types[_i], 0, ends), 0);
        ck_assert_int_eq(send(ends[1], "", 1, 0), 1);
        offer_spoilt(types[_i], false);
        offer_spoilt(types[_i], true);
        handover_offer(ends[0], true);
        int fd = handover_accept(pair[1], listener_serial, &peer, 0);
        ck_assert_int_ge(fd, 0);
        close(fd);
        close(ends[0]);
        close(ends[1]);
    }
    close_pair();
    ck_assert_int_eq(count_descriptors(), before);
}
END_TEST

/* No descriptor may come with the filler: the last byte of it stays. */
START_TEST(filler_with_descriptors)
{
    for (int at = 0; at < 3; at++) {
        open_pair(types[_i]);
        for (int i = 0; i < 3; i++)
            ck_assert_int_eq(
                handover_send(pair[0], i < 2 ? "\0" : "\1", 1, &(int){STDERR_FILENO}, i == at, 0),
                1);
        ck_assert_int_eq(connecting_drain(pair[1]), -EPERM);
        close_pair();
    }
}
END_TEST

START_TEST(accept_of_nonsense)
{
    struct idc_addr peer;
    open_listener();
    ck_assert_int_eq(handover_send(pair[0], "nonsense", 8, &pair[0], 1, 0), 8);
    ck_assert_int_eq(handover_accept(pair[1], listener_serial, &peer, 0), -EPROTO);
    uint8_t bytes[HANDOVER_WAITING_SIZE] = {0};
    ck_assert_int_eq(handover_send(pair[0], bytes, sizeof(bytes), NULL, 0, 0), sizeof(bytes));
    ck_assert_int_eq(handover_accept(pair[1], listener_serial, &peer, 0), -EPROTO);
    close_pair();
}
END_TEST

/* The program has made its buffer as small as can be, and nobody reads the answers. */
START_TEST(accept_with_a_small_buffer)
{
    struct idc_addr peer;
    uint8_t answer[HANDOVER_TAKEN_SIZE + 1];
    open_listener();
    for (int i = 0; i < 64; i++) {
        ck_assert_int_eq(setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &(int){1}, sizeof(int)), 0);
        handover_offer(STDERR_FILENO, false);
        int fd = handover_accept(pair[1], listener_serial, &peer, 0);
        ck_assert_int_ge(fd, 0);
        close(fd);
    }
    for (int i = 0; i < 64; i++)
        ck_assert_int_eq(recv(pair[0], answer, sizeof(answer), MSG_DONTWAIT), HANDOVER_TAKEN_SIZE);
    close_pair();
}
END_TEST

/* The thread that waits in handover_accept, or in handover_recv_message. */
struct accepting {
    pthread_t thread;
    atomic_int tid;
    int result;
    ssize_t length;
};

static void *accept_in_thread(void *arg)
{
    struct accepting *accepting = arg;
    struct idc_addr peer;
    atomic_store(&accepting->tid, (int)syscall(SYS_gettid));
    accepting->result = handover_accept(pair[1], listener_serial, &peer, 0);
    return NULL;
}

static void *receive_in_thread(void *arg)
{
    struct accepting *accepting = arg;
    char bytes[100];
    size_t length;
    atomic_store(&accepting->tid, (int)syscall(SYS_gettid));
    accepting->length = handover_recv_message(pair[1], bytes, sizeof(bytes), 0, &length);
    return NULL;
}

/* On i386 the C library has one system call for all that is done with sockets. */
static bool is_call(long number, long call)
{
#ifdef SYS_socketcall
    if (number == SYS_socketcall)
        return true;
#endif
    return number == call;
}

/* The kernel says in which system call a thread sleeps. */
static void await_sleep_in(const struct accepting *accepting, long call)
{
    char path[64], line[64] = "";
    while (!is_call(strtol(line, NULL, 10), call)) {
        snprintf(path, sizeof(path), "/proc/self/task/%d/syscall", atomic_load(&accepting->tid));
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t got = fd >= 0 ? read(fd, line, sizeof(line) - 1) : 0;
        line[got > 0 ? got : 0] = '\0';
        if (fd >= 0)
            close(fd);
        sched_yield();
    }
}

/* Another thread closes the listener, whose number becomes that of a connection. Then a connection
 * or the end comes to whoever waits: no byte goes into the other connection, and none is taken. */
START_TEST(accept_of_a_number_that_became_another)
{
    struct accepting accepting = {.tid = 0};
    char byte;
    int other[2];
    open_listener();
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, other), 0);
    ck_assert_int_eq(send(other[0], "data", 4, 0), 4);
    ck_assert_int_eq(pthread_create(&accepting.thread, NULL, accept_in_thread, &accepting), 0);
    await_sleep_in(&accepting, SYS_recvmsg);
    ck_assert_int_eq(dup2(other[1], pair[1]), pair[1]);
    if (_i == 0)
        handover_offer(other[0], false);
    else
        shutdown(pair[0], SHUT_RDWR);
    ck_assert_int_eq(pthread_join(accepting.thread, NULL), 0);
    ck_assert_int_eq(accepting.result, -EBADF);
    ck_assert_int_eq(recv(other[0], &byte, 1, MSG_DONTWAIT), -1);
    ck_assert_int_eq(errno, EAGAIN);
    ck_assert_int_eq(recv(other[1], &byte, 1, MSG_DONTWAIT | MSG_TRUNC), 4);
    close(other[0]);
    close(other[1]);
    close_pair();
}
END_TEST

/* Another thread closes the connection, and its number becomes that of another one. What waits
 * there is not taken. In the last case no descriptor is left. */
START_TEST(message_of_a_number_that_became_another)
{
    struct accepting receiving = {.tid = 0};
    struct rlimit old, none;
    char byte;
    int other[2];
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, other), 0);
    ck_assert_int_eq(send(other[0], "data", 4, 0), 4);
    ck_assert_int_eq(pthread_create(&receiving.thread, NULL, receive_in_thread, &receiving), 0);
    await_sleep_in(&receiving, SYS_recvfrom);
    ck_assert_int_eq(dup2(other[1], pair[1]), pair[1]);
    none = (struct rlimit){.rlim_cur = _i == 2 ? 0 : old.rlim_cur, .rlim_max = old.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    if (_i == 0)
        shutdown(pair[0], SHUT_RDWR);
    else
        ck_assert_int_eq(send(pair[0], "abc", 3, 0), 3);
    ck_assert_int_eq(pthread_join(receiving.thread, NULL), 0);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
    ck_assert_int_eq(receiving.length, -EBADF);
    ck_assert_int_eq(recv(other[1], &byte, 1, MSG_DONTWAIT | MSG_TRUNC), 4);
    close(other[0]);
    close(other[1]);
    close_pair();
}
END_TEST

/* A message that was waited for comes, and nothing is left open. */
START_TEST(message_that_was_waited_for)
{
    struct accepting receiving = {.tid = 0};
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    int lowest = fcntl(pair[0], F_DUPFD_CLOEXEC, 0);
    close(lowest);
    ck_assert_int_eq(pthread_create(&receiving.thread, NULL, receive_in_thread, &receiving), 0);
    await_sleep_in(&receiving, SYS_recvfrom);
    ck_assert_int_eq(send(pair[0], "abc", 3, 0), 3);
    ck_assert_int_eq(pthread_join(receiving.thread, NULL), 0);
    ck_assert_int_eq(receiving.length, 3);
    int again = fcntl(pair[0], F_DUPFD_CLOEXEC, 0);
    ck_assert_int_eq(again, lowest);
    close(again);
    close_pair();
}
END_TEST

/* With room for one descriptor a connection is still taken and answered. */
START_TEST(accept_with_room_for_one)
{
    struct rlimit old, limit;
    struct idc_addr peer;
    char answer;
    open_listener();
    handover_offer(pair[0], false);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
    int lowest = fcntl(pair[0], F_DUPFD_CLOEXEC, 0);
    close(lowest);
    limit = (struct rlimit){.rlim_cur = (rlim_t)lowest + (rlim_t)_i, .rlim_max = old.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    int fd = handover_accept(pair[1], listener_serial, &peer, MSG_DONTWAIT);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
    ck_assert_int_eq(fd, _i == 0 ? -EMFILE : lowest);
    ck_assert_int_eq(recv(pair[0], &answer, 1, MSG_DONTWAIT), _i == 0 ? -1 : 1);
    if (fd >= 0)
        close(fd);
    close_pair();
}
END_TEST

/* ---- connects that do not wait ---- */

static int handover_writable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    return poll(&p, 1, 0) == 1 ? p.revents : 0;
}

START_TEST(filler)
{
    char why[CONNECTING_WHY_MAX], byte = 5;
    struct handover_name name = sample_name();
    open_pair(types[_i]);
    ck_assert_int_eq(connecting_fill(pair[0], pair[1]), 0);
    ck_assert_int_eq(handover_writable(pair[0]), 0);
    ck_assert_int_eq(send(pair[0], &byte, 1, MSG_DONTWAIT), -1);
    ck_assert_int_eq(connecting_outcome(pair[0], why), -EINPROGRESS);
    ck_assert_int_eq(handover_bind(pair[1], &name), 0);
    ck_assert_int_eq(connecting_drain(pair[1]), 0);
    ck_assert_int_eq(handover_writable(pair[0]), POLLOUT);
    ck_assert_int_eq(connecting_outcome(pair[0], why), 0);
    ck_assert_int_eq(send(pair[0], &byte, 1, MSG_DONTWAIT), 1);
    ck_assert_int_eq(connecting_drain(pair[1]), 0); /* once more, and nothing is lost */
    ck_assert_int_eq(handover_take_mark(pair[1]), 0);
    ck_assert_int_eq(recv(pair[1], why, 10, MSG_DONTWAIT), 1);
    ck_assert_int_eq(why[0], byte);
    close_pair();
}
END_TEST

/* Enough that it does not poll writable, whatever its buffer; what is sent meanwhile comes after
 * it. */
START_TEST(rough_filler)
{
    static const int buffers[] = {0, 2304, 10000, 100000, 212992};
    char why[CONNECTING_WHY_MAX], byte = 5;
    struct handover_name name = sample_name();
    for (size_t i = 0; i < sizeof(buffers) / sizeof(buffers[0]); i++) {
        open_pair(types[_i]);
        if (buffers[i] != 0)
            ck_assert_int_eq(setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &buffers[i], sizeof(int)),
                             0);
        ck_assert_int_eq(connecting_fill_roughly(pair[0]), 0);
        ck_assert_int_eq(handover_writable(pair[0]), 0);
        ck_assert_int_eq(connecting_outcome(pair[0], why), -EINPROGRESS);
        if (buffers[i] == 0)
            ck_assert_int_eq(send(pair[0], &byte, 1, MSG_DONTWAIT), 1);
        ck_assert_int_eq(handover_bind(pair[1], &name), 0);
        ck_assert_int_eq(connecting_drain(pair[1]), 0);
        ck_assert_int_eq(handover_writable(pair[0]), POLLOUT);
        ck_assert_int_eq(connecting_outcome(pair[0], why), 0);
        if (buffers[i] != 0)
            ck_assert_int_eq(send(pair[0], &byte, 1, MSG_DONTWAIT), 1);
        ck_assert_int_eq(handover_take_mark(pair[1]), 0);
        ck_assert_int_eq(recv(pair[1], why, 10, MSG_DONTWAIT), 1);
        ck_assert_int_eq(why[0], byte);
        close_pair();
    }
}
END_TEST

static int send_buffer(int fd)
{
    int size = 0;
    socklen_t len = sizeof(size);
    ck_assert_int_eq(getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, &len), 0);
    return size;
}

/* A few kilobytes do, where the buffer may be made small; widened, it is what it was. */
START_TEST(little_filler)
{
    static const int buffers[] = {0, 2304, 8100, 100000, HANDOVER_STREAM_BUFFER, 300000};
    char why[CONNECTING_WHY_MAX], byte = 5;
    struct handover_name name = sample_name();
    for (size_t i = 0; i < sizeof(buffers) / sizeof(buffers[0]); i++) {
        int size, before;
        open_pair(types[_i]);
        if (buffers[i] != 0)
            ck_assert_int_eq(setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &buffers[i], sizeof(int)),
                             0);
        before = send_buffer(pair[0]);
        ck_assert_int_eq(connecting_fill_little(pair[0], &size), 0);
        /* where net.core.wmem_max allows a larger one, it might not be given back */
        bool kept = i == 1 || i == 2 || before > 2 * HANDOVER_STREAM_BUFFER;
        ck_assert_int_eq(size, kept ? 0 : before);
        ck_assert_int_eq(handover_writable(pair[0]), 0);
        ck_assert_int_eq(connecting_outcome(pair[0], why), -EINPROGRESS);
        ck_assert_int_eq(handover_bind(pair[1], &name), 0);
        ck_assert_int_eq(connecting_drain(pair[1]), 0);
        ck_assert_int_eq(handover_writable(pair[0]), POLLOUT); /* also before it is widened */
        connecting_settle(pair[0], size);
        ck_assert_int_eq(send_buffer(pair[0]), before);
        ck_assert_int_eq(send(pair[0], &byte, 1, MSG_DONTWAIT), 1);
        ck_assert_int_eq(handover_take_mark(pair[1]), 0);
        ck_assert_int_eq(recv(pair[1], why, 10, MSG_DONTWAIT), 1);
        ck_assert_int_eq(why[0], byte);
        close_pair();
    }
}
END_TEST

START_TEST(no_filler)
{
    open_pair(types[_i]);
    ck_assert_int_eq(connecting_drain(pair[1]), -EINVAL);
    ck_assert_int_eq(send(pair[0], "\0\0\0", 3, 0), 3);
    ck_assert_int_eq(connecting_drain(pair[1]), -EINVAL);
    ck_assert_int_eq(send(pair[0], "\2", 1, 0), 1);
    ck_assert_int_eq(connecting_drain(pair[1]), -EINVAL);
    close_pair();
}
END_TEST

START_TEST(failure_in_a_name)
{
    char why[CONNECTING_WHY_MAX], long_why[300];
    memset(long_why, 'w', sizeof(long_why) - 1);
    long_why[299] = '\0';
    for (int i = 0; i < 2; i++) {
        open_pair(types[_i]);
        ck_assert_int_eq(connecting_fill(pair[0], pair[1]), 0);
        ck_assert_int_eq(connecting_fail(pair[1], EHOSTUNREACH, i ? long_why : "why not"), 0);
        close(pair[1]);
        ck_assert_int_eq(handover_writable(pair[0]) & POLLHUP, POLLHUP);
        for (int again = 0; again < 2; again++) {
            ck_assert_int_eq(connecting_outcome(pair[0], why), -EHOSTUNREACH);
            ck_assert_uint_eq(strlen(why), i ? CONNECTING_WHY_MAX - 1 : 7);
        }
        ck_assert_int_eq(recv(pair[0], why, 1, 0), -1);
        ck_assert_int_eq(errno, ECONNRESET);
        close(pair[0]);
    }
}
END_TEST

/* Whatever it says, it is not taken for an attempt that goes on, or for a socket pair of the
 * program's own. */
START_TEST(errors_in_a_name)
{
    static const int errors[][2] = {{EINVAL, EINVAL},
                                    {0, ECONNRESET},
                                    {EINPROGRESS, ECONNRESET},
                                    {-CONNECTING_NONE, ECONNRESET}};
    char why[CONNECTING_WHY_MAX];
    for (int i = 0; i < 4; i++) {
        open_pair(types[_i]);
        ck_assert_int_eq(connecting_fail(pair[1], errors[i][0], "why not"), 0);
        close(pair[1]);
        ck_assert_int_eq(connecting_outcome(pair[0], why), -errors[i][1]);
        ck_assert_str_eq(why, "why not");
        close(pair[0]);
    }
}
END_TEST

START_TEST(end_without_a_name)
{
    char why[CONNECTING_WHY_MAX];
    open_pair(types[_i]);
    /* anybody's socket pair */
    ck_assert_int_eq(connecting_outcome(pair[0], why), CONNECTING_NONE);
    ck_assert_int_eq(connecting_fill(pair[0], pair[1]), 0);
    close(pair[1]);
    ck_assert_int_eq(connecting_outcome(pair[0], why), -ECONNRESET);
    close(pair[0]);
}
END_TEST

/* ---- messages ---- */

static uint8_t *handover_pattern(size_t len)
{
    uint8_t *bytes = malloc(len + 1);
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)(i * 31 + (i >> 8));
    return bytes;
}

static size_t length; /* of the message that was received */

static void check_whole(size_t len, size_t room)
{
    uint8_t *sent = handover_pattern(len), *got = malloc(room + 1);
    size_t expected = len < room ? len : room;
    got[room] = 0x5A;
    ck_assert_int_eq(handover_send_message(pair[0], sent, len, 0), (ssize_t)len);
    ck_assert_int_eq(handover_recv_message(pair[1], got, room, 0, &length), (ssize_t)expected);
    ck_assert_uint_eq(length, len);
    ck_assert(memcmp(got, sent, expected) == 0);
    ck_assert_uint_eq(got[room], 0x5A);
    free(sent);
    free(got);
}

/* Looks first, and at the size alone, as idc_recv_with may. */
static void check_looks(size_t len, const uint8_t *sent)
{
    uint8_t *got = malloc(len);
    ck_assert_int_eq(handover_recv_message(pair[1], NULL, 0, MSG_PEEK, &length), 0);
    ck_assert_uint_eq(length, len);
    ck_assert_int_eq(handover_recv_message(pair[1], got, len, MSG_PEEK, &length), (ssize_t)len);
    ck_assert(memcmp(got, sent, len) == 0);
    free(got);
}

static void check_message(size_t len, size_t room)
{
    uint8_t *sent = handover_pattern(len);
    check_whole(len, room);
    ck_assert_int_eq(handover_send_message(pair[0], sent, len, 0), (ssize_t)len);
    check_looks(len, sent);
    ck_assert_int_eq(recv(pair[1], NULL, 0, 0), 0); /* as RPC takes what it has answered with */
    free(sent);
}

/* The fronts' lengths, and those around them, are messages like any other. */
START_TEST(message_sizes)
{
    static const size_t sizes[] = {1,
                                   7,
                                   63,
                                   64,
                                   65,
                                   FRONT_SHORT - 1,
                                   FRONT_SHORT,
                                   FRONT_SHORT + 1,
                                   1000,
                                   HANDOVER_INLINE_MAX,
                                   HANDOVER_INLINE_MAX + 1,
                                   HANDOVER_PLAIN_MAX,
                                   HANDOVER_PLAIN_MAX + 1,
                                   1000000,
                                   IDC_MESSAGE_MAX};
    open_pair(SOCK_SEQPACKET);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        check_message(sizes[i], IDC_MESSAGE_MAX);
        check_message(sizes[i], sizes[i]);
        check_message(sizes[i], sizes[i] - 1);
        check_message(sizes[i], 3);
        check_message(sizes[i], 0);
    }
    close_pair();
}
END_TEST

/* What recv(2) and recvmsg(2) get of a long message: its first bytes, and that there was more. */
static void check_front(size_t len, size_t front)
{
    uint8_t *sent = handover_pattern(len), *got = malloc(len);
    struct iovec span = {got, len};
    struct msghdr message = {.msg_iov = &span, .msg_iovlen = 1};
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(handover_send_message(pair[0], sent, len, 0), (ssize_t)len);
        if (i == 0)
            ck_assert_int_eq(recv(pair[1], got, len, 0), (ssize_t)front);
        else
            ck_assert_int_eq(recvmsg(pair[1], &message, 0), (ssize_t)front);
        ck_assert_mem_eq(got, sent, front);
    }
    ck_assert(message.msg_flags & MSG_CTRUNC);
    free(sent);
    free(got);
}

/* As long as the sender's buffer can carry. */
START_TEST(front_for_plain_receivers)
{
    static const struct {
        int buffer;
        size_t front;
    } senders[] = {{HANDOVER_PLAIN_BUFFER, HANDOVER_PLAIN_MAX},
                   {100000, HANDOVER_INLINE_MAX},
                   {60000, 65536 - FRONT_SLACK},
                   {1, 1280 - FRONT_SLACK}};
    for (size_t i = 0; i < sizeof(senders) / sizeof(senders[0]); i++) {
        const int *buffer = &senders[i].buffer;
        open_pair(SOCK_SEQPACKET);
        ck_assert_int_eq(setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, buffer, sizeof(*buffer)), 0);
        check_front(HANDOVER_PLAIN_MAX + 1, senders[i].front);
        check_front(IDC_MESSAGE_MAX, senders[i].front);
        check_whole(HANDOVER_PLAIN_MAX + 1, IDC_MESSAGE_MAX);
        check_whole(HANDOVER_INLINE_MAX + 1, IDC_MESSAGE_MAX);
        close_pair();
    }
}
END_TEST

/* To another domain it goes through link_mgr, which takes all of it, and holds the front. */
START_TEST(front_by_destination)
{
    for (int between = 0; between < 2; between++) {
        struct handover_name name = sample_name();
        name.local.domid = 5;
        name.peer.domid = 5 + (uint32_t)between;
        open_pair(SOCK_SEQPACKET);
        ck_assert_int_eq(handover_bind(pair[1], &name), 0);
        check_front(HANDOVER_PLAIN_MAX + 1, between ? 49152 - FRONT_SLACK : HANDOVER_INLINE_MAX);
        check_whole(HANDOVER_PLAIN_MAX + 1, IDC_MESSAGE_MAX);
        close_pair();
    }
}
END_TEST

/* A front that is not in one piece. It is a short one if the pieces are many. */
static void check_front_of_pieces(size_t pieces, size_t front)
{
    size_t len = 100000, room = len + 1, first = len - (pieces - 1);
    uint8_t *sent = handover_pattern(len), *got = malloc(room);
    struct iovec spans[40] = {{sent, 0}};
    for (size_t i = 1; i < pieces; i++)
        spans[i] = (struct iovec){sent + i - 1, 1};
    spans[pieces] = (struct iovec){sent + pieces - 1, first};
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(handover_send_by_memfd(pair[0], spans, pieces + 1, len, 0), (ssize_t)len);
        if (i == 0)
            ck_assert_int_eq(recv(pair[1], got, room, 0), (ssize_t)front);
        else
            ck_assert_int_eq(handover_recv_message(pair[1], got, room, 0, &length), (ssize_t)len);
        ck_assert_mem_eq(got, sent, i == 0 ? front : len);
    }
    free(sent);
    free(got);
}

START_TEST(front_from_several_places)
{
    open_pair(SOCK_SEQPACKET);
    check_front_of_pieces(3, 98304 - FRONT_SLACK);
    check_front_of_pieces(30, FRONT_SHORT);
    close_pair();
}
END_TEST

/* How many of these bytes go into the socket before one more would wait; and until it does not poll
 * writable. */
static int fronts_that_fit(int buffer, enum front_way way, size_t len, bool poll_first)
{
    static char bytes[8 << 20];
    size_t lengths[FRONT_TRIES];
    struct pollfd pollfd = {.events = POLLOUT};
    int size = 0, count = 0, tries;
    open_pair(SOCK_SEQPACKET);
    pollfd.fd = pair[0];
    ck_assert_int_eq(setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &buffer, sizeof(buffer)), 0);
    getsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, &(socklen_t){sizeof(size)});
    tries = front_lengths(way, (size_t)size, len, lengths);
    for (ssize_t sent = 0; sent >= 0 && (!poll_first || poll(&pollfd, 1, 0) > 0);) {
        for (int i = 0, again = 1; i < tries && again; i++) {
            ck_assert(lengths[i] < len && front_is_length(lengths[i]));
            sent = send(pair[0], bytes, lengths[i], MSG_DONTWAIT);
            again = sent < 0 && errno == EMSGSIZE;
        }
        count += sent >= 0;
        ck_assert(sent >= 0 || errno == EAGAIN);
    }
    close_pair();
    return count;
}

/* Where pages are larger, the kernel charges more than front.c reckons. */
START_TEST(few_fronts_fill_a_buffer)
{
    static const int buffers[] = {1,      2304,   5000,   20000,  60000,
                                  106496, 166200, 212992, 327680, 1 << 20};
    for (size_t i = 0; i < sizeof(buffers) / sizeof(buffers[0]); i++) {
        int to_link_mgr = fronts_that_fit(buffers[i], FRONT_TO_LINK_MGR, IDC_MESSAGE_MAX, false);
        ck_assert_int_le(to_link_mgr, buffers[i] >= 100000 && buffers[i] <= 327680 ? 5 : 8);
        ck_assert_int_eq(fronts_that_fit(buffers[i], FRONT_TO_LINK_MGR, IDC_MESSAGE_MAX, true), 2);
        for (int way = FRONT_TO_PROGRAM; way <= FRONT_WITHIN_DOMAIN; way++) {
            int fit = fronts_that_fit(buffers[i], (enum front_way)way, IDC_MESSAGE_MAX, false);
            ck_assert_int_ge(fit, 1);
            ck_assert_int_le(fit, 2);
            ck_assert_int_eq(
                fronts_that_fit(buffers[i], (enum front_way)way, IDC_MESSAGE_MAX, true), 1);
        }
    }
}
END_TEST

/* A user without privilege, of whom too many descriptors are under way in other sockets. */
static void stuff_descriptors(int stuffed[2])
{
    const int fds[HANDOVER_FDS_MAX] = {0, 0, 0, 0};
    struct rlimit limit = {40, 40};
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0 && on_valgrind())
        _exit(0);                              /* it lets nobody change that */
    uid_t nobody = 1u << 30 | (uid_t)getpid(); /* no other test has it */
    if (getuid() == 0)
        ck_assert_int_eq(setresuid(nobody, nobody, nobody), 0);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, stuffed), 0);
    while (handover_send(stuffed[0], "x", 1, fds, HANDOVER_FDS_MAX, MSG_DONTWAIT) == 1)
        ;
    ck_assert_int_eq(errno, ETOOMANYREFS);
}

static void *take_back_descriptors(void *arg)
{
    const int *stuffed = arg;
    close(stuffed[0]);
    close(stuffed[1]);
    return NULL;
}

START_TEST(too_many_descriptors_under_way)
{
    size_t len = HANDOVER_INLINE_MAX + 1;
    uint8_t *bytes = handover_pattern(len);
    const struct timeval limit = {.tv_usec = 20000}, none = {0};
    int stuffed[2], status;
    pthread_t thread;
    pid_t child = fork();
    if (child == 0) {
        stuff_descriptors(stuffed);
        open_pair(SOCK_SEQPACKET);
        ck_assert_int_eq(handover_send_message(pair[0], bytes, len, MSG_DONTWAIT), -ETOOMANYREFS);
        setsockopt(pair[0], SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
        ck_assert_int_eq(handover_send_message(pair[0], bytes, len, 0), -EAGAIN);
        setsockopt(pair[0], SOL_SOCKET, SO_SNDTIMEO, &none, sizeof(none));
        ck_assert_int_eq(pthread_create(&thread, NULL, take_back_descriptors, stuffed), 0);
        ck_assert_int_eq(handover_send_message(pair[0], bytes, len, 0), (ssize_t)len);
        pthread_join(thread, NULL);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    free(bytes);
}
END_TEST

START_TEST(message_too_long)
{
    open_pair(SOCK_SEQPACKET);
    ck_assert_int_eq(handover_send_message(pair[0], "", IDC_MESSAGE_MAX + 1, 0), -EMSGSIZE);
    close_pair();
}
END_TEST

START_TEST(message_end_and_error)
{
    char buf[100];
    open_pair(SOCK_SEQPACKET);
    ck_assert_int_eq(handover_recv_message(pair[1], buf, sizeof(buf), MSG_DONTWAIT, &length),
                     -EAGAIN);
    ck_assert_int_eq(handover_recv_message(pair[1], buf, 3, MSG_DONTWAIT, &length), -EAGAIN);
    shutdown(pair[0], SHUT_WR);
    ck_assert_int_eq(handover_recv_message(pair[1], buf, sizeof(buf), 0, &length), HANDOVER_END);
    ck_assert_int_eq(handover_recv_message(pair[1], buf, 3, 0, &length), HANDOVER_END);
    close(pair[1]);
    ck_assert_int_eq(handover_send_message(pair[0], "abc", 3, 0), -EPIPE);
    close(pair[0]);
}
END_TEST

/* Linux may say 0 though a message came just before the end. */
static bool lie_once;

ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
    if (!lie_once || (flags & MSG_PEEK))
        return syscall(SYS_recvmsg, fd, message, flags);
    lie_once = false;
    message->msg_namelen = 0;
    message->msg_controllen = 0;
    return 0;
}

START_TEST(an_end_is_looked_at_twice)
{
    uint8_t *bytes = handover_pattern(HANDOVER_INLINE_MAX + 1);
    char *buf = malloc(IDC_MESSAGE_MAX);
    static const size_t sizes[] = {1, HANDOVER_INLINE_MAX + 1};
    open_pair(SOCK_SEQPACKET);
    for (size_t i = 0; i < 2; i++) {
        ck_assert_int_eq(handover_send_message(pair[0], bytes, sizes[i], 0), (ssize_t)sizes[i]);
        lie_once = true;
        ck_assert_int_eq(handover_recv_message(pair[1], buf, IDC_MESSAGE_MAX, 0, &length),
                         (ssize_t)sizes[i]);
    }
    ck_assert_int_eq(send(pair[0], "x", 1, 0), 1);
    shutdown(pair[0], SHUT_WR);
    lie_once = true;
    int none = 0;
    ck_assert_int_eq(handover_recv(pair[1], buf, 10, NULL, &none, 0), 1);
    ck_assert_int_eq(handover_recv_message(pair[1], buf, 10, 0, &length), HANDOVER_END);
    free(bytes);
    free(buf);
    close_pair();
}
END_TEST

static int lowest_free(void)
{
    int fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    close(fd);
    return fd;
}

/* An empty message of an end without a name looks like the end, but for the descriptors that come
 * with it. They are handed out or closed like those of any other message. */
START_TEST(empty_message_with_descriptors)
{
    int fds[2] = {-1, -1}, count = _i, sent[2] = {STDERR_FILENO, STDERR_FILENO};
    char byte;
    open_pair(SOCK_SEQPACKET);
    int free_before = lowest_free();
    ck_assert_int_eq(handover_send(pair[0], "", 0, sent, 2, 0), 0);
    ck_assert_int_eq(handover_recv(pair[1], &byte, 1, fds, &count, MSG_DONTWAIT), 0);
    ck_assert_int_eq(count, _i);
    while (count > 0)
        ck_assert_int_eq(close(fds[--count]), 0);
    ck_assert_int_eq(lowest_free(), free_before);
    close_pair();
}
END_TEST

/* An empty message of a connection, whose ends have names, is not the end. */
START_TEST(empty_message)
{
    struct handover_name name = sample_name();
    char buf[10];
    open_pair(SOCK_SEQPACKET);
    ck_assert_int_eq(handover_bind(pair[0], &name), 0);
    ck_assert_int_eq(send(pair[0], "", 0, 0), 0);
    ck_assert_int_eq(send(pair[0], "abc", 3, 0), 3);
    shutdown(pair[0], SHUT_WR);
    ck_assert_int_eq(handover_recv_message(pair[1], buf, 10, 0, &length), 0);
    ck_assert_uint_eq(length, 0);
    ck_assert_int_eq(handover_recv_message(pair[1], buf, 10, MSG_PEEK, &length), 3);
    ck_assert_int_eq(handover_recv_message(pair[1], buf, 2, 0, &length), 2);
    ck_assert_uint_eq(length, 3);
    ck_assert_int_eq(handover_recv_message(pair[1], buf, 10, 0, &length), HANDOVER_END);
    close_pair();
}
END_TEST

static void limit_descriptors(bool none)
{
    struct rlimit limit;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = none ? 3 : limit.rlim_max;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

/* Without a descriptor a long message stays where it is. */
START_TEST(long_message_without_a_descriptor)
{
    size_t len = HANDOVER_INLINE_MAX + 1;
    if (on_valgrind())
        return;
    uint8_t *bytes = handover_pattern(len), *got = malloc(len);
    open_pair(SOCK_SEQPACKET);
    ck_assert_int_eq(handover_send_message(pair[0], bytes, len, 0), (ssize_t)len);
    limit_descriptors(true);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(handover_recv_message(pair[1], got, len, 0, &length), -EMFILE);
    limit_descriptors(false);
    ck_assert_int_eq(handover_recv_message(pair[1], got, len, 0, &length), (ssize_t)len);
    ck_assert_mem_eq(got, bytes, len);
    /* What needs none: ordinary messages, also with a descriptor beside them. */
    ck_assert_int_eq(handover_send(pair[0], bytes, HANDOVER_INLINE_MAX, NULL, 0, 0),
                     HANDOVER_INLINE_MAX);
    ck_assert_int_eq(handover_send(pair[0], "hello", 5, pair, 2, 0), 5);
    limit_descriptors(true);
    ck_assert_int_eq(handover_recv_message(pair[1], got, len, 0, &length), HANDOVER_INLINE_MAX);
    ck_assert_int_eq(handover_recv_message(pair[1], got, len, 0, &length), 5);
    limit_descriptors(false);
    free(bytes);
    free(got);
    close_pair();
}
END_TEST

START_TEST(message_to_a_full_socket)
{
    uint8_t *bytes = handover_pattern(HANDOVER_INLINE_MAX + 1);
    open_pair(SOCK_SEQPACKET);
    while (send(pair[0], "x", 1, MSG_DONTWAIT) == 1)
        ;
    ck_assert_int_eq(handover_send_message(pair[0], bytes, HANDOVER_INLINE_MAX + 1, MSG_DONTWAIT),
                     -EAGAIN);
    ck_assert_int_eq(fcntl(pair[0], F_SETFL, O_NONBLOCK), 0);
    ck_assert_int_eq(handover_send_message(pair[0], bytes, HANDOVER_INLINE_MAX + 1, 0), -EAGAIN);
    free(bytes);
    close_pair();
}
END_TEST

/* A descriptor beside an ordinary message is dropped, the message stays. */
START_TEST(message_with_stray_descriptor)
{
    char got[100];
    open_pair(SOCK_SEQPACKET);
    for (size_t room = 2; room < 50; room += 40) {
        ck_assert_int_eq(handover_send(pair[0], "hello", 5, pair, 2, 0), 5);
        ck_assert_int_eq(handover_recv_message(pair[1], got, room, 0, &length),
                         room < 5 ? (ssize_t)room : 5);
        ck_assert_mem_eq(got, "hello", room < 5 ? room : 5);
    }
    close_pair();
}
END_TEST

/* len bytes with fd beside them, once or several times, are no front: they arrive as they are, and
 * no descriptor stays. */
static void check_no_front(const uint8_t *bytes, size_t len, int fd, int copies)
{
    int fds[HANDOVER_FDS_MAX] = {fd, fd, fd, fd}, before = count_descriptors();
    uint8_t got[2000];
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(handover_send(pair[0], bytes, len, fds, copies, 0), (ssize_t)len);
        if (i == 0)
            ck_assert_int_eq(handover_recv_message(pair[1], NULL, 0, MSG_PEEK, &length), 0);
        ck_assert_int_eq(handover_recv_message(pair[1], got, sizeof(got), 0, &length),
                         (ssize_t)len);
        ck_assert_uint_eq(length, len);
        ck_assert_mem_eq(got, bytes, len);
    }
    ck_assert_int_eq(count_descriptors(), before);
}

/* With these bytes at its start, of that size. */
static int make_file(const uint8_t *bytes, off_t size, int seals)
{
    int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    ck_assert_int_eq(write(fd, bytes, 1000), 1000);
    ck_assert_int_eq(ftruncate(fd, size), 0);
    ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, seals), 0);
    return fd;
}

START_TEST(no_front)
{
    const int good = F_SEAL_SHRINK | F_SEAL_WRITE;
    const size_t front = FRONT_SHORT;
    static const struct {
        off_t size;
        int seals;
    } files[] = {{5000, 0}, /* it could shrink or change */
                 {5000, F_SEAL_SHRINK},
                 {5000, F_SEAL_WRITE},
                 {FRONT_SHORT, F_SEAL_SHRINK | F_SEAL_WRITE},
                 {10, F_SEAL_SHRINK | F_SEAL_WRITE},
                 {IDC_MESSAGE_MAX + 1, F_SEAL_SHRINK | F_SEAL_WRITE},
                 {(off_t)16 << 40, F_SEAL_SHRINK | F_SEAL_WRITE}};
    uint8_t *bytes = handover_pattern(1000);
    open_pair(SOCK_SEQPACKET);
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        int fd = make_file(bytes, files[i].size, files[i].seals);
        check_no_front(bytes, front, fd, 1);
        close(fd);
    }
    int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC), fd = make_file(bytes, 5000, good);
    check_no_front(bytes, front, pair[0], 1);
    check_no_front(bytes, front, zero, 1);
    check_no_front(bytes, front, fd, 0);
    check_no_front(bytes, front, fd, 2);
    check_no_front(bytes, front, fd, HANDOVER_FDS_MAX);
    check_no_front(bytes, front - 1, fd, 1);
    check_no_front(bytes, front + 1, fd, 1);
    bytes[front - 1] ^= 1; /* not as in the file, at its last byte and at its first */
    check_no_front(bytes, front, fd, 1);
    bytes[front - 1] ^= 1, bytes[0] ^= 1;
    check_no_front(bytes, front, fd, 1);
    bytes[0] ^= 1; /* and this is one */
    ck_assert_int_eq(handover_send(pair[0], bytes, front, &fd, 1, 0), (ssize_t)front);
    ck_assert_int_eq(handover_recv_message(pair[1], NULL, 0, 0, &length), 0);
    ck_assert_uint_eq(length, 5000);
    close(zero);
    close(fd);
    free(bytes);
    close_pair();
}
END_TEST

/* ---- service names ---- */

START_TEST(service_names)
{
    char longest[IDC_SERVICE_MAX + 2];
    memset(longest, 'a', sizeof(longest));
    ck_assert(service_name_valid("org.example_x-1", 15));
    ck_assert(service_name_valid("1a", 2));
    ck_assert(service_name_valid(longest, IDC_SERVICE_MAX));
    ck_assert(!service_name_valid(longest, IDC_SERVICE_MAX + 1));
    ck_assert(!service_name_valid("", 0));
    ck_assert(!service_name_valid("80", 2));
    ck_assert(!service_name_valid("a b", 3));
    ck_assert(!service_name_valid("a\0b", 3));
    ck_assert(!service_name_valid("a/b", 3));
    ck_assert(!service_name_valid("\xC3\xA9t\xC3\xA9", 5));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("handover");
    TCase *tests = tcase_create("all");
    tcase_add_checked_fixture(tests, handover_setup, handover_teardown);
    tcase_set_timeout(tests, 20);
    tcase_add_test(tests, name_round_trip);
    tcase_add_test(tests, name_survives_the_daemon_and_dup);
    tcase_add_test(tests, name_of_other_descriptors);
    tcase_add_test(tests, name_hostile_bytes);
    tcase_add_test(tests, fds_round_trip);
    tcase_add_test(tests, fds_beyond_room_are_closed);
    tcase_add_test(tests, fds_a_hundred);
    tcase_add_test(tests, fds_with_a_full_table);
    tcase_add_test(tests, waiting_round_trip);
    tcase_add_test(tests, waiting_hostile);
    tcase_add_test(tests, answer_hostile);
    tcase_add_test(tests, accept_takes_and_tells);
    tcase_add_loop_test(tests, accept_takes_the_mark, 0, 2);
    tcase_add_loop_test(tests, accept_without_its_mark, 0, 2);
    tcase_add_test(tests, accept_of_nonsense);
    tcase_add_test(tests, accept_with_a_small_buffer);
    tcase_add_loop_test(tests, accept_of_a_number_that_became_another, 0, 2);
    tcase_add_loop_test(tests, message_of_a_number_that_became_another, 0, 3);
    tcase_add_test(tests, message_that_was_waited_for);
    if (!on_valgrind())
        tcase_add_loop_test(tests, accept_with_room_for_one, 0, 2);
    tcase_add_loop_test(tests, filler, 0, 2);
    tcase_add_loop_test(tests, rough_filler, 0, 2);
    tcase_add_loop_test(tests, little_filler, 0, 2);
    tcase_add_loop_test(tests, no_filler, 0, 2);
    tcase_add_loop_test(tests, filler_with_descriptors, 0, 2);
    tcase_add_loop_test(tests, failure_in_a_name, 0, 2);
    tcase_add_loop_test(tests, errors_in_a_name, 0, 2);
    tcase_add_loop_test(tests, end_without_a_name, 0, 2);
    tcase_add_test(tests, message_sizes);
    tcase_add_test(tests, front_for_plain_receivers);
    tcase_add_test(tests, front_by_destination);
    tcase_add_test(tests, front_from_several_places);
    tcase_add_test(tests, few_fronts_fill_a_buffer);
    tcase_add_test(tests, too_many_descriptors_under_way);
    tcase_add_test(tests, message_too_long);
    tcase_add_test(tests, message_end_and_error);
    tcase_add_test(tests, an_end_is_looked_at_twice);
    tcase_add_test(tests, empty_message);
    tcase_add_loop_test(tests, empty_message_with_descriptors, 0, 3);
    tcase_add_test(tests, long_message_without_a_descriptor);
    tcase_add_test(tests, message_to_a_full_socket);
    tcase_add_test(tests, message_with_stray_descriptor);
    tcase_add_test(tests, no_front);
    tcase_add_test(tests, service_names);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
