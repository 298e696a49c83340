/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_endpoint_message.c - a program's messages. Each is pulled whole, in parts of any size, by
 * memfd if it is long. The last one is held. What the daemon lacks makes them wait and loses
 * nothing.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/front.h"
#include "link_mgr/core/conn.h"
#include "link_mgr/core/peer.h"
#include "link_mgr/program/endpoint.h"
#include "tests/unit/count.h"
#include "tests/unit/suite.h"

#define LATE_MS 1000
#define LONG_MESSAGE (HANDOVER_INLINE_MAX + 5)

static struct event_base *base;
static struct endpoints all;
static struct conn conn;
static struct endpoint *ep;
static int program;
static uint8_t bytes[IDC_MESSAGE_MAX], got[IDC_MESSAGE_MAX];

static void on_end(void *arg, struct conn *of, enum reason reason)
{
    (void)arg, (void)of, (void)reason;
}

static void message_setup(void)
{
    struct handover_name name = {.serial = (uint64_t)getpid(),
                                 .local = {.domid = 1, .port = 1, .type = IDC_SEQPACKET},
                                 .peer = {.domid = 2, .port = 2, .type = IDC_SEQPACKET}};
    struct endpoint_config config = {
        .all = &all, .conn = &conn, .name = &name, .far_end = -1, .ended = on_end};
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 7 + (i >> 9));
    base = event_base_new();
    endpoints_init(&all, base);
    conn = (struct conn){.phase = CONN_OPEN, .type = IDC_SEQPACKET};
    ck_assert_int_eq(endpoint_new(&config, &ep, &program), 0);
}

static void message_teardown(void)
{
    if (ep)
        endpoint_close(ep, REASON_OK);
    endpoints_end(&all);
    event_base_free(base);
    if (program >= 0)
        close(program);
}

/* ---- what the core does ---- */

static void take_events(void)
{
    conn.readable = false;
    event_base_loop(base, EVLOOP_NONBLOCK);
}

static void message_wait(const bool *flag)
{
    for (int i = 0; i < LATE_MS && !*flag; i++) {
        usleep(1000);
        take_events();
    }
    ck_assert(*flag);
}

/* In parts of that size. */
static void pull_parts(size_t len, size_t part)
{
    for (size_t at = 0; at < len; at += part) {
        size_t n = len - at < part ? len - at : part;
        struct iovec spans[2] = {{got + at, n / 2}, {got + at + n / 2, n - n / 2}};
        ck_assert_int_eq(endpoint_pull(ep, spans, 2), (ssize_t)n);
    }
    if (len == 0)
        ck_assert_int_eq(endpoint_pull(ep, &(struct iovec){got, 0}, 1), 0);
    ck_assert(memcmp(got, bytes, len) == 0);
}

static void program_sends(size_t len)
{
    ck_assert_int_eq(handover_send_message(program, bytes, len, MSG_DONTWAIT), (ssize_t)len);
}

static void assert_resets(void)
{
    char byte;
    endpoint_close(ep, REASON_LINK_LOST);
    ep = NULL;
    ck_assert_int_eq(recv(program, &byte, 1, 0), -1);
    ck_assert_int_eq(errno, ECONNRESET);
}

/* ---- what Linux does ---- */

static int ends_to_claim;

/* It may say that there is nothing more though a message came just before the end. */
ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
    if (ends_to_claim == 0)
        return syscall(SYS_recvmsg, fd, message, flags);
    ends_to_claim--;
    message->msg_controllen = 0;
    message->msg_flags = 0;
    return 0;
}

static void limit_descriptors(bool none)
{
    struct rlimit limit;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = none ? 3 : limit.rlim_max;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

/* ---- messages ---- */

START_TEST(messages_of_all_sizes)
{
    static const size_t sizes[] = {1, 0, 16, 3000, 0, 0, 60000, LONG_MESSAGE, 5, IDC_MESSAGE_MAX};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        for (int parts = 1; parts < 4; parts++) {
            program_sends(sizes[i]);
            ck_assert_int_eq(endpoint_message(ep), (ssize_t)sizes[i]);
            ck_assert_int_eq(endpoint_message(ep), (ssize_t)sizes[i]);
            pull_parts(sizes[i], sizes[i] / (size_t)parts + 1);
            ck_assert_int_eq(endpoint_message(ep), -EAGAIN);
        }
    }
    assert_resets();
}
END_TEST

START_TEST(the_end_behind_messages)
{
    program_sends(3);
    program_sends(0);
    shutdown(program, SHUT_WR);
    ck_assert_int_eq(endpoint_message(ep), 3);
    pull_parts(3, 3);
    ck_assert_int_eq(endpoint_message(ep), 0);
    pull_parts(0, 1);
    ck_assert_int_eq(endpoint_message(ep), -ENODATA);
    endpoint_close(ep, REASON_OK);
    ep = NULL;
    ck_assert_int_eq(recv(program, got, 1, 0), 0);
}
END_TEST

START_TEST(an_end_is_looked_at_twice)
{
    program_sends(3);
    shutdown(program, SHUT_WR);
    ends_to_claim = 1;
    ck_assert_int_eq(endpoint_message(ep), 3);
    pull_parts(3, 3);
    ck_assert_int_eq(endpoint_message(ep), -ENODATA);
}
END_TEST

static void send_beside(int fd, int copies)
{
    int fds[HANDOVER_FDS_MAX] = {fd, fd, fd, fd};
    ck_assert_int_eq(handover_send(program, bytes, FRONT_SHORT, fds, copies, 0), FRONT_SHORT);
}

/* An ordinary message with a descriptor, even if link_mgr has no number left for it. */
START_TEST(message_with_a_descriptor)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    ck_assert_int_eq(handover_send(program, bytes, (size_t)_i / 2, &fd, 1, 0), _i / 2);
    close(fd);
    limit_descriptors(_i % 2);
    ck_assert_int_eq(endpoint_message(ep), -EPERM);
    limit_descriptors(false);
    assert_resets();
}
END_TEST

/* A front's bytes with files that are none of a long message: unsealed, too short, too long, of
 * other bytes; with several; with none. Descriptors that are not those of a long message end the
 * connection; without any it is a message like any other. */
static const off_t front_sizes[] = {5000, 100, FRONT_SHORT, (off_t)16 << 40, 5000, 5000, 5000};
#define FALSE_FRONTS ((int)(sizeof(front_sizes) / sizeof(front_sizes[0])))

START_TEST(false_fronts)
{
    const int none = FALSE_FRONTS - 1, several = none - 1, other = several - 1;
    int before = count_descriptors(), fd = memfd_create("hostile", MFD_ALLOW_SEALING | MFD_CLOEXEC);
    ck_assert_int_eq(write(fd, _i == other ? "other" : (char *)bytes, 5), 5);
    ck_assert_int_eq(pwrite(fd, bytes + 5, 1000, 5), 1000);
    ck_assert_int_eq(ftruncate(fd, front_sizes[_i]), 0);
    if (_i > 0)
        ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_WRITE), 0);
    send_beside(fd, _i == none ? 0 : _i == several ? HANDOVER_FDS_MAX : 1);
    close(fd);
    if (_i == none) {
        ck_assert_int_eq(endpoint_message(ep), FRONT_SHORT);
        pull_parts(FRONT_SHORT, 50);
        ck_assert_int_eq(endpoint_message(ep), -EAGAIN);
    } else {
        ck_assert_int_eq(endpoint_message(ep), -EPERM);
    }
    ck_assert_int_eq(count_descriptors(), before);
    assert_resets();
}
END_TEST

/* ---- lack ---- */

START_TEST(long_message_without_a_descriptor)
{
    if (on_valgrind())
        return;
    program_sends(1);
    ck_assert_int_eq(endpoint_message(ep), 1);
    pull_parts(1, 1);
    program_sends(LONG_MESSAGE);
    limit_descriptors(true);
    for (int i = 0; i < 3; i++) {
        conn.readable = false;
        ck_assert_int_eq(endpoint_message(ep), -EAGAIN);
        message_wait(&conn.readable); /* it is told to look again */
    }
    limit_descriptors(false);
    ck_assert_int_eq(endpoint_message(ep), LONG_MESSAGE);
    pull_parts(LONG_MESSAGE, 1000);
    assert_resets();
}
END_TEST

START_TEST(long_message_to_the_program_without_a_descriptor)
{
    struct iovec span = {bytes, HANDOVER_PLAIN_MAX + 1};
    size_t length;
    limit_descriptors(true);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(endpoint_push(ep, &span, 1), -EAGAIN);
    limit_descriptors(false);
    ck_assert_int_eq(endpoint_push(ep, &span, 1), PUSH_LENT);
    ck_assert_int_eq(handover_recv_message(program, got, sizeof(got), 0, &length),
                     (ssize_t)span.iov_len);
    ck_assert(memcmp(got, bytes, span.iov_len) == 0);
}
END_TEST

/* A program without libidc gets its first bytes. */
START_TEST(long_message_to_a_plain_program)
{
    static const size_t sizes[] = {HANDOVER_PLAIN_MAX, HANDOVER_PLAIN_MAX + 1, IDC_MESSAGE_MAX};
    for (size_t i = 0; i < 3; i++) {
        struct iovec span = {bytes, sizes[i]};
        ssize_t taken = sizes[i] > HANDOVER_PLAIN_MAX ? PUSH_LENT : (ssize_t)sizes[i];
        ck_assert_int_eq(endpoint_push(ep, &span, 1), taken);
        ck_assert_int_eq(recv(program, got, sizeof(got), 0), HANDOVER_PLAIN_MAX);
        ck_assert(memcmp(got, bytes, HANDOVER_PLAIN_MAX) == 0);
    }
}
END_TEST

/* It counts as ours until the program has received it, and not when the program has received what
 * was before it. */
START_TEST(long_message_is_lent)
{
    struct iovec small = {bytes, 100}, span = {bytes, HANDOVER_PLAIN_MAX + 1};
    static struct peer peer;
    TAILQ_INIT(&peer.hungry);
    budget_init(&peer.budget, BUDGET_CEILING_MIN);
    conn.peer = &peer;
    conn.phase = CONN_ENDING; /* nothing is told to the other domain */
    conn.in = IN_OPEN;
    conn.ep = ep;
    ck_assert_int_eq(endpoint_push(ep, &small, 1), 100);
    ck_assert_int_eq(endpoint_push(ep, &span, 1), PUSH_LENT);
    conn.lent = conn.received = conn.in_limit = 1;
    ck_assert_int_eq(recv(program, got, sizeof(got), 0), 100);
    take_events();
    ck_assert_uint_eq(conn.lent, 1);
    ck_assert_int_eq(recv(program, got, sizeof(got), 0), HANDOVER_PLAIN_MAX);
    take_events();
    ck_assert_uint_eq(conn.lent, 0);
    ck_assert_uint_eq(conn.consumed, 1);
    conn.ep = NULL;
}
END_TEST

/* ---- room for the writer ---- */

static bool writer_has_room(int wait_ms)
{
    struct pollfd pollfd = {.fd = program, .events = POLLOUT};
    for (int i = 0; i < wait_ms && poll(&pollfd, 1, 1) == 0; i++)
        take_events();
    return poll(&pollfd, 1, 0) > 0;
}

static void pass_message(size_t len)
{
    program_sends(len);
    ck_assert_int_eq(endpoint_message(ep), (ssize_t)len);
    pull_parts(len, 10000);
    ck_assert_int_eq(endpoint_message(ep), -EAGAIN);
}

/* It is let go when it fills the buffer: first after a while, then at once. What comes next is held
 * again, also behind an empty one. */
START_TEST(a_message_that_fills_the_buffer_is_let_go)
{
    int size = 20000;
    ck_assert_int_eq(setsockopt(program, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
    pass_message(15000);
    ck_assert(!writer_has_room(0));
    ck_assert(writer_has_room(LATE_MS));
    pass_message(15000);
    ck_assert(writer_has_room(0));
    pass_message(0);
    pass_message(15000);
    ck_assert(writer_has_room(0));
    pass_message(10);
    assert_resets();
}
END_TEST

/* So it is where the kernel does not tell, but after a silence. */
START_TEST(a_message_that_fills_the_buffer_without_sock_diag)
{
    int size = 4608;
    unix_diag_close(&all.diag);
    ck_assert_int_eq(setsockopt(program, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
    for (int i = 0; i < 2; i++) {
        pass_message(2000);
        ck_assert(writer_has_room(10 * LATE_MS));
    }
    pass_message(10);
    assert_resets();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("endpoint message");
    TCase *tcase = tcase_create("messages");
    tcase_add_checked_fixture(tcase, message_setup, message_teardown);
    tcase_add_test(tcase, messages_of_all_sizes);
    tcase_add_test(tcase, the_end_behind_messages);
    tcase_add_test(tcase, an_end_is_looked_at_twice);
    tcase_add_loop_test(tcase, message_with_a_descriptor, 0, 6);
    tcase_add_loop_test(tcase, false_fronts, 0, FALSE_FRONTS);
    tcase_add_test(tcase, long_message_is_lent);
    tcase_add_test(tcase, long_message_without_a_descriptor);
    tcase_add_test(tcase, long_message_to_the_program_without_a_descriptor);
    tcase_add_test(tcase, long_message_to_a_plain_program);
    tcase_add_test(tcase, a_message_that_fills_the_buffer_is_let_go);
    tcase_add_test(tcase, a_message_that_fills_the_buffer_without_sock_diag);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
