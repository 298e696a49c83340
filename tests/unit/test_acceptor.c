/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_acceptor.c - the queue between a listener and its programs (link_mgr/program/acceptor.h).
 * The test is the program: it takes, answers, is killed before it answers, and lies.
 */
#include <check.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/handover.h"
#include "link_mgr/core/conn.h"
#include "link_mgr/program/acceptor.h"
#include "tests/unit/old_kernel.h"
#include "tests/unit/suite.h"

#define CONNS 200

static struct event_base *base;
static struct acceptors all;
static struct quota users;
static struct user_limits limits;
static struct core core;
static struct listener *listener;
static struct acceptor *acceptor;
static int program;
static uint64_t serial;
static uint32_t offered;
static struct conn conns[CONNS];
static void *tickets[CONNS];

/* ---- calls that fail ---- */

static int sendmsg_error, epoll_error;

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    if (sendmsg_error != 0) {
        errno = sendmsg_error;
        return -1;
    }
    return syscall(SYS_sendmsg, fd, message, flags);
}

int epoll_ctl(int epfd, int op, int fd, struct epoll_event *event)
{
    if (epoll_error != 0 && op == EPOLL_CTL_MOD) {
        errno = epoll_error;
        return -1;
    }
    return (int)syscall(SYS_epoll_ctl, epfd, op, fd, event);
}

/* ---- a listener and its program ---- */

static struct acceptor *make_listener(uint32_t port, int backlog, int *end)
{
    struct acceptor *made;
    struct listener *entered, *clash;
    ck_assert_int_eq(listener_add(&core.listeners, port, "", &entered, &clash), 0);
    entered->backlog = backlog;
    entered->type = IDC_STREAM;
    ck_assert_int_eq(acceptor_new(&all, &core, entered, ++serial, &made, end), 0);
    return made;
}

static void on_unlistened(struct host *host, const struct listener *gone)
{
    (void)host, (void)gone;
}

static void acceptor_begin(void)
{
    static struct host host = {.unlistened = on_unlistened};
    base = event_base_new();
    core = (struct core){.domid = 1, .host = &host};
    TAILQ_INIT(&core.peers);
    listener_table_init(&core.listeners, 0);
    /* other tests may run at the same time */
    serial = (uint64_t)getpid() << 16;
    offered = 0;
    users_usual(&limits);
    users_init(&users, &limits);
    ck_assert_int_eq(acceptors_init(&all, base, &users), 0);
    acceptor = make_listener(80, CONNS, &program);
    listener = listener_by_port(&core.listeners, 80);
}

static void acceptor_end(void)
{
    sendmsg_error = epoll_error = 0;
    for (int i = 0; i < LISTENER_BUCKETS; i++)
        while (!LIST_EMPTY(&core.listeners.ports[i]))
            acceptor_free(LIST_FIRST(&core.listeners.ports[i])->owner);
    if (program >= 0)
        close(program);
    acceptors_end(&all);
    quota_end(&users);
    event_base_free(base);
}

static int offer_one(void)
{
    int pair[2];
    const struct idc_addr peer = {.domid = 2, .port = 9, .type = IDC_STREAM};
    struct conn *conn = &conns[offered];
    *conn = (struct conn){.listener = listener};
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    int error = acceptor_offer(acceptor, conn, pair[0], &peer, &tickets[offered]);
    if (error)
        close(pair[0]);
    else
        offered++;
    close(pair[1]);
    return error;
}

static void offer_several(int count)
{
    for (int i = 0; i < count; i++)
        ck_assert_int_eq(offer_one(), 0);
}

/* Takes a message, and does not answer. Returns its number; 0: there is none. */
static uint32_t take_silently(void)
{
    uint8_t message[HANDOVER_WAITING_SIZE];
    ssize_t got = recv(program, message, sizeof(message), MSG_DONTWAIT);
    return got > 0 ? handover_waiting_number(message, (size_t)got) : 0;
}

static void send_answer(uint32_t number)
{
    ck_assert_int_eq(handover_tell_taken(program, number), 0);
}

static void take_and_answer(int count)
{
    for (int i = 0; i < count; i++) {
        uint32_t number = take_silently();
        ck_assert_uint_ne(number, 0);
        send_answer(number);
    }
}

static void run_loop(void)
{
    event_base_loop(base, EVLOOP_NONBLOCK);
}

static bool is_taken(int conn)
{
    return conns[conn].listener == NULL;
}

static bool has_ended(void)
{
    return listener_by_port(&core.listeners, 80) == NULL;
}

static void expect_counts(int waiting, uint64_t accepted)
{
    acceptor_look(acceptor);
    ck_assert_int_eq(listener->waiting, waiting);
    ck_assert_uint_eq(listener->accepted, accepted);
}

/* ---- friendly programs ---- */

START_TEST(offered_and_taken)
{
    struct idc_addr peer;
    offer_several(2);
    expect_counts(2, 0);
    ck_assert_ptr_nonnull(tickets[0]);
    int fd = handover_accept(program, serial, &peer, MSG_DONTWAIT);
    ck_assert_int_ge(fd, 0);
    close(fd);
    ck_assert_uint_eq(peer.domid, 2);
    expect_counts(1, 1);
    ck_assert(is_taken(0) && !is_taken(1));
    ck_assert_ptr_null(tickets[0]);
    acceptor_conn_ended(tickets[1]); /* it counts until it is taken */
    expect_counts(1, 1);
    take_and_answer(1);
    expect_counts(0, 2);
}
END_TEST

/* No more than ACCEPTOR_UNDERWAY are in the socket. The answers bring the next ones. */
START_TEST(few_are_under_way)
{
    offer_several(ACCEPTOR_UNDERWAY + 5);
    ck_assert(!acceptor_offers_at_once(acceptor));
    take_and_answer(ACCEPTOR_UNDERWAY);
    ck_assert_uint_eq(take_silently(), 0);
    run_loop();
    take_and_answer(5);
    expect_counts(0, ACCEPTOR_UNDERWAY + 5);
}
END_TEST

START_TEST(withdrawn_when_shut_down)
{
    offer_several(1);
    shutdown(program, SHUT_RD);
    ck_assert_int_eq(offer_one(), -EPIPE);
    ck_assert_int_eq(listener->waiting, 1);
    run_loop();
    ck_assert(has_ended());
    ck_assert(!is_taken(0));
}
END_TEST

/* A reservation becomes a listener: its program's end is another one from then on. */
START_TEST(moved)
{
    int pair[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    ck_assert(acceptor_has_end(acceptor, program));
    ck_assert_int_eq(acceptor_move(acceptor, pair[0], ++serial), 0);
    ck_assert(!acceptor_has_end(acceptor, program));
    close(program);
    program = pair[1];
    ck_assert(acceptor_has_end(acceptor, program));
    run_loop();
    ck_assert(!has_ended());
    offer_several(1);
    take_and_answer(1);
    expect_counts(0, 1);
    close(program);
    program = -1;
    run_loop();
    ck_assert(has_ended());
}
END_TEST

/* A listener of libidc-vsock is a stream: its answers have no boundaries. */
START_TEST(answers_of_a_stream)
{
    int pair[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    ck_assert_int_eq(acceptor_move(acceptor, pair[0], ++serial), 0);
    close(program);
    program = pair[1];
    offer_several(3);
    take_and_answer(2);
    expect_counts(1, 2);
    take_and_answer(1);
    expect_counts(0, 3);
    run_loop();
    ck_assert(!has_ended());
    offer_several(2);
    take_and_answer(2);
    close(program);
    program = -1;
    run_loop();
    ck_assert(has_ended());
    ck_assert(is_taken(3) && is_taken(4));
}
END_TEST

/* What failed for lack of something is tried again, without anybody's doing. */
START_TEST(tried_again)
{
    static const int errors[] = {ENOBUFS, ENOMEM, EMFILE, ETOOMANYREFS};
    sendmsg_error = errors[_i];
    offer_several(2);
    sendmsg_error = 0;
    ck_assert_uint_eq(take_silently(), 0);
    event_base_loop(base, EVLOOP_ONCE);
    take_and_answer(2);
    expect_counts(0, 2);
}
END_TEST

/* A full socket has room again when the program has taken something. */
START_TEST(tried_again_after_an_answer)
{
    offer_several(1);
    sendmsg_error = EAGAIN;
    offer_several(1);
    sendmsg_error = 0;
    take_and_answer(1);
    ck_assert_uint_eq(take_silently(), 0);
    run_loop();
    take_and_answer(1);
    expect_counts(0, 2);
}
END_TEST

/* The answers could not be watched for: that is tried again too. (Where descriptors can't be
 * refused they are watched for from the start, and nothing fails.) */
START_TEST(watched_again)
{
    if (!kernel_refuses_descriptors())
        return;
    epoll_error = ENOMEM;
    offer_several(ACCEPTOR_UNDERWAY + 1);
    epoll_error = 0;
    event_base_loop(base, EVLOOP_ONCE);
    take_and_answer(ACCEPTOR_UNDERWAY);
    run_loop();
    take_and_answer(1);
    expect_counts(0, ACCEPTOR_UNDERWAY + 1);
}
END_TEST

/* The last close comes with answers that nobody has read. */
START_TEST(closed_with_unread_answers)
{
    offer_several(3);
    take_and_answer(2);
    close(program);
    program = -1;
    run_loop();
    ck_assert(has_ended());
    ck_assert(is_taken(0) && is_taken(1) && !is_taken(2));
}
END_TEST

/* ---- several programs, some of which are killed ---- */

/* One program took a connection and was killed before it answered. The others go on: their answers
 * are for their own connections. */
START_TEST(killed_before_it_answered)
{
    offer_several(3);
    take_silently();
    take_and_answer(1);
    expect_counts(1, 2);
    ck_assert(is_taken(0) && is_taken(1) && !is_taken(2));
    close(program);
    program = -1;
    run_loop();
    ck_assert(has_ended());
    ck_assert(!is_taken(2));
}
END_TEST

/* The last answers are unread at the last close. */
START_TEST(killed_and_closed)
{
    offer_several(2);
    take_silently();
    take_and_answer(1);
    close(program);
    program = -1;
    run_loop();
    ck_assert(has_ended());
    ck_assert(is_taken(1));
}
END_TEST

/* No later answer can come, since the backlog is full. Its place is given back all the same, but
 * only when the message has left the socket. */
START_TEST(killed_with_a_full_backlog)
{
    listener->backlog = 1;
    offer_several(1);
    expect_counts(1, 0);
    take_silently();
    expect_counts(0, 1);
    offer_several(1);
    take_and_answer(1);
    expect_counts(0, 2);
}
END_TEST

/* A listener that was closed has an empty socket too, but nothing was taken. */
START_TEST(closed_is_not_taken)
{
    offer_several(2);
    close(program);
    program = -1;
    expect_counts(2, 0);
    run_loop();
    ck_assert(has_ended());
    ck_assert(!is_taken(0) && !is_taken(1));
}
END_TEST

/* Answers come in any order, before the socket is empty and after that. */
START_TEST(answers_in_any_order)
{
    offer_several(4);
    uint32_t first = take_silently(), second = take_silently();
    send_answer(second);
    expect_counts(2, 2);
    send_answer(first);
    expect_counts(2, 2);
    take_silently();
    uint32_t last = take_silently();
    expect_counts(0, 4); /* the socket is empty */
    send_answer(last);
    offer_several(1);
    take_and_answer(1);
    expect_counts(0, 5);
    run_loop();
    ck_assert(!has_ended());
}
END_TEST

/* Takes `count` and answers the last one only, as a process of its own. Returns its pid. */
static int take_as_another(int count)
{
    int status = -1;
    pid_t child = fork();
    if (child == 0) {
        uint32_t number = 0;
        for (int i = 0; i < count; i++)
            number = take_silently();
        _exit(number != 0 && handover_tell_taken(program, number) == 0 ? 0 : 1);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    return child;
}

/* Each connection has the pid of the process that answered for it, and of no other. */
static void expect_takers(void)
{
    offer_several(4);
    int first = take_as_another(1), second = take_as_another(2);
    take_and_answer(1);
    expect_counts(0, 4);
    ck_assert_int_eq(conns[0].pid, first);
    ck_assert_int_eq(conns[1].pid, 0); /* whoever took it did not answer */
    ck_assert_int_eq(conns[2].pid, second);
    ck_assert_int_eq(conns[3].pid, 0); /* we are link_mgr itself */
}

/* _i: the program has link_mgr's pair, or has brought one, as libidc-vsock does. */
START_TEST(pid_of_who_took_it)
{
    int pair[2];
    if (_i > 0) {
        int type = _i == 1 ? SOCK_STREAM : SOCK_SEQPACKET;
        ck_assert_int_eq(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair), 0);
        ck_assert_int_eq(acceptor_move(acceptor, pair[0], ++serial), 0);
        close(program);
        program = pair[1];
    }
    expect_takers();
}
END_TEST

/* ---- programs that lie ---- */

static const struct {
    const char *bytes;
    size_t len;
} lies[] = {
    {"a", 1},                 /* as a libidc answers that knows no numbers */
    {"a\1\0\0\0\0", 6},       /* one byte more */
    {"a\1\0\0", 4},           /* one less */
    {"b\1\0\0\0", 5},         /* another letter */
    {"a\0\0\0\0", 5},         /* no number */
    {"a\3\0\0\0", 5},         /* was not sent yet */
    {"a\377\377\377\377", 5}, /* nor was this */
    {"a\1\0\0\0", 5},         /* repeated, see below */
    {"", 0},
};
#define LIES ((int)(sizeof(lies) / sizeof(lies[0])))

/* Two are offered, and the first is taken and answered. Then comes something that is no answer to
 * anything. It is seen in passing, or by an event, since the backlog is full. */
START_TEST(a_lie_ends_the_listener)
{
    bool in_passing = _i % 2 == 1;
    size_t len = lies[_i / 2].len;
    if (!in_passing)
        listener->backlog = 2;
    offer_several(2);
    take_and_answer(1);
    expect_counts(1, 1);
    ck_assert_int_eq(send(program, lies[_i / 2].bytes, len, 0), (ssize_t)len);
    if (in_passing) {
        acceptor_look(acceptor);
        ck_assert(acceptor_is_gone(acceptor));
        ck_assert_int_eq(offer_one(), -EPIPE);
    }
    run_loop();
    ck_assert(has_ended());
    ck_assert(!is_taken(1));
}
END_TEST

/* Two are offered and taken. The first answer is honest, the second one has descriptors with it.
 * Where the kernel refuses those, the program is told. */
START_TEST(an_answer_with_descriptors)
{
    int fds[3] = {program, STDERR_FILENO, STDERR_FILENO};
    uint8_t answer[HANDOVER_TAKEN_SIZE] = {HANDOVER_TAKEN};
    acceptor_free(acceptor);
    close(program);
    old_kernel = _i % 2 || !kernel_refuses_descriptors();
    acceptor = make_listener(80, 2, &program);
    listener = listener_by_port(&core.listeners, 80);
    offer_several(2);
    take_and_answer(1);
    answer[1] = (uint8_t)take_silently();
    ssize_t sent = handover_send(program, answer, sizeof(answer), fds, 1 + _i / 2 * 2, 0);
    ck_assert_int_eq(sent, old_kernel ? (ssize_t)sizeof(answer) : -EPERM);
    run_loop();
    ck_assert(has_ended() == old_kernel);
    ck_assert(is_taken(0) && !is_taken(1));
}
END_TEST

/* As many answers as the socket holds. They cost one turn, in which others are served too. */
START_TEST(a_flood_of_answers)
{
    int other, count = 0;
    struct acceptor *second = make_listener(81, 1, &other);
    offer_several(1);
    uint32_t number = take_silently();
    while (handover_tell_taken(program, number) == 0)
        count++;
    ck_assert_int_gt(count, ACCEPTOR_UNDERWAY + 1);
    listener->backlog = 1;
    close(other);
    ck_assert(acceptor_is_gone(second));
    shutdown(program, SHUT_WR);
    run_loop();
    ck_assert(has_ended());
    ck_assert_ptr_null(listener_by_port(&core.listeners, 81));
}
END_TEST

/* Honest answers beyond what is read at once make another event. */
START_TEST(many_late_answers)
{
    uint32_t numbers[CONNS];
    listener->backlog = CONNS;
    for (int i = 0; i < CONNS; i++) {
        offer_several(1);
        numbers[i] = take_silently();
        expect_counts(0, (uint64_t)i + 1);
    }
    for (int i = 0; i < CONNS; i++)
        send_answer(numbers[i]);
    shutdown(program, SHUT_WR);
    for (int i = 0; i < CONNS / ACCEPTOR_UNDERWAY + 1 && !has_ended(); i++)
        run_loop();
    ck_assert(has_ended());
}
END_TEST

static Suite *acceptor_suite(void)
{
    Suite *suite = suite_create("acceptor");
    TCase *tests = tcase_create("all");
    tcase_add_checked_fixture(tests, acceptor_begin, acceptor_end);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, offered_and_taken);
    tcase_add_test(tests, few_are_under_way);
    tcase_add_test(tests, withdrawn_when_shut_down);
    tcase_add_test(tests, moved);
    tcase_add_test(tests, answers_of_a_stream);
    tcase_add_loop_test(tests, tried_again, 0, 4);
    tcase_add_test(tests, tried_again_after_an_answer);
    tcase_add_test(tests, watched_again);
    tcase_add_test(tests, closed_with_unread_answers);
    tcase_add_test(tests, killed_before_it_answered);
    tcase_add_test(tests, killed_and_closed);
    tcase_add_test(tests, killed_with_a_full_backlog);
    tcase_add_test(tests, closed_is_not_taken);
    tcase_add_test(tests, answers_in_any_order);
    tcase_add_loop_test(tests, pid_of_who_took_it, 0, 3);
    tcase_add_loop_test(tests, a_lie_ends_the_listener, 0, 2 * LIES);
    tcase_add_loop_test(tests, an_answer_with_descriptors, 0, 4);
    tcase_add_test(tests, a_flood_of_answers);
    tcase_add_test(tests, many_late_answers);
    suite_add_tcase(suite, tests);
    return suite;
}

int main(void)
{
    return run_suite(acceptor_suite());
}
