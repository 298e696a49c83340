/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How much of the kernel's memory the data take that programs have not read: the peer's room for
 * sockets, and a little for each connection. */
#include <check.h>
#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/handover.h"
#include "link_mgr/core/peer.h"
#include "link_mgr/program/endpoint_private.h"
#include "tests/unit/suite.h"

#define MANY 300
#define MEMORY (8u << 20)
#define SMALLEST 4608 /* of buffers, as the kernel counts it */

/* What endpoint.c asks of the core is conn_writable: this is a connection that has nothing for its
 * program, and whose link is gone. */
static struct peer peer;
static struct event_base *base;
static struct endpoints all;
static struct conn conns[MANY];
static struct endpoint *eps[MANY];
static int programs[MANY], count;

static void on_end(void *arg, struct conn *of, enum reason reason)
{
    (void)arg, (void)of, (void)reason;
}

static void sockets_begin(enum idc_type type, int number)
{
    base = event_base_new();
    endpoints_init(&all, base);
    budget_init(&peer.budget, MEMORY);
    for (count = 0; count < number; count++) {
        struct handover_name name = {.serial = (uint64_t)getpid() << 16 | (uint64_t)count,
                                     .local = {.domid = 1, .port = 1, .type = type},
                                     .peer = {.domid = 2, .port = 2, .type = type}};
        conns[count] = (struct conn){.peer = &peer, .phase = CONN_OPEN, .type = type};
        const struct endpoint_config config = {.all = &all,
                                               .conn = &conns[count],
                                               .name = &name,
                                               .far_end = -1,
                                               .budget = &peer.budget,
                                               .ended = on_end};
        ck_assert_int_eq(endpoint_new(&config, &eps[count], &programs[count]), 0);
    }
}

/* Looks at all that was left unread. */
static void look_back(void)
{
    for (int i = 0; i < MANY; i++) {
        all.looked_ms = 0;
        endpoint_buffer_look_back(&all, &peer.budget);
    }
}

static void sockets_end(void)
{
    for (int i = 0; i < count; i++) {
        if (eps[i])
            endpoint_close(eps[i], REASON_PROGRAM_RESET);
        close(programs[i]);
    }
    look_back();
    ck_assert_uint_eq(peer.budget.rooms, 0);
    ck_assert(TAILQ_EMPTY(&peer.budget.unread));
    endpoints_end(&all);
    event_base_free(base);
}

static uint8_t bytes[HANDOVER_PLAIN_MAX];

static ssize_t push_to(int i, size_t len)
{
    struct iovec span = {bytes, len};
    return endpoint_push(eps[i], &span, 1);
}

/* Pushes until nothing more goes in. */
static void fill_socket(int i, size_t len)
{
    ssize_t n = 1;
    for (int pushes = 0; n > 0 && n != PUSH_LENT; pushes++) {
        n = push_to(i, len);
        ck_assert_int_lt(pushes, 1000000);
    }
    ck_assert(n == -EAGAIN || n == PUSH_LENT);
}

static uint64_t held_by(int i)
{
    int held = -1;
    ck_assert_int_eq(ioctl(eps[i]->fd, SIOCOUTQ, &held), 0);
    return (uint64_t)held;
}

static uint64_t held_by_all(void)
{
    uint64_t held = 0;
    for (int i = 0; i < count; i++)
        held += held_by(i);
    return held;
}

static void drain_socket(int i)
{
    static uint8_t sink[HANDOVER_PLAIN_MAX + 1];
    while (recv(programs[i], sink, sizeof(sink), MSG_DONTWAIT) > 0)
        ;
    ck_assert_uint_eq(held_by(i), 0);
}

static const size_t sizes[] = {1, 100, 1000, 2300, 4096, 10000, 65536, HANDOVER_PLAIN_MAX};
#define SIZES ((int)(sizeof(sizes) / sizeof(sizes[0])))

/* A program that leaves a byte unread keeps a small buffer's writer from being woken. So it is
 * tried again, ever more rarely, until something goes in. */
START_TEST(a_full_one_is_tried_again)
{
    static uint8_t sink[65536];
    sockets_begin(IDC_STREAM, MANY);
    const int last = count - 1;
    ck_assert_uint_eq(eps[last]->buffer, 0);
    eps[last]->config.budget = NULL; /* it can't grow */
    for (int round = 0; round < 3; round++) {
        struct pollfd writable = {.fd = eps[last]->fd, .events = POLLOUT};
        int unread = 0;
        fill_socket(last, 2000);
        ck_assert_ptr_eq(eps[last]->list, &all.lists[0]);
        for (unsigned i = 1; i < 6; i++) {
            ck_assert_int_eq(push_to(last, 2000), -EAGAIN);
            ck_assert_ptr_eq(eps[last]->list, &all.lists[0]);
        }
        endpoint_lag_end(eps[last]); /* as when its time has come */
        ck_assert_int_eq(push_to(last, 2000), -EAGAIN);
        ck_assert_ptr_eq(eps[last]->list, &all.lists[3]);
        ck_assert_int_eq(ioctl(programs[last], SIOCINQ, &unread), 0);
        ck_assert_int_eq(recv(programs[last], sink, (size_t)unread - 1, 0), unread - 1);
        ck_assert_int_eq(poll(&writable, 1, 0), 0);
        ck_assert_int_gt(push_to(last, 2000), 0);
        ck_assert_uint_eq(eps[last]->waits, 0);
    }
    eps[last]->config.budget = &peer.budget;
    sockets_end();
}
END_TEST

/* Nobody reads. */
START_TEST(the_kernel_holds_what_is_charged)
{
    enum idc_type type = _i < SIZES ? IDC_STREAM : IDC_SEQPACKET;
    uint64_t lent = 0;
    sockets_begin(type, MANY);
    for (int i = 0; i < count; i++)
        fill_socket(i, sizes[_i % SIZES]);
    for (int i = 0; i < count; i++) {
        /* one that has a message on loan is charged for it by its credit */
        bool loan = type == IDC_SEQPACKET && event_pending(&eps[i]->writable, EV_WRITE, NULL) &&
                    held_by(i) > sizes[_i % SIZES] &&
                    held_by(i) > eps[i]->buffer_cost + ENDPOINT_SMALL_MOST;
        lent += loan ? held_by(i) : 0;
        ck_assert_msg(loan || held_by(i) <= eps[i]->buffer_cost + ENDPOINT_SMALL_MOST,
                      "%llu bytes held, %llu charged", (unsigned long long)held_by(i),
                      (unsigned long long)eps[i]->buffer_cost);
    }
    ck_assert_uint_le(peer.budget.rooms, MEMORY / 2);
    ck_assert_uint_le(held_by_all() - lent, MEMORY / 2 + MANY * ENDPOINT_SMALL_MOST);
    if (type == IDC_STREAM)
        ck_assert_uint_eq(lent, 0);
    sockets_end();
}
END_TEST

/* The first ones have what they always had. */
START_TEST(one_reader_has_the_usual_buffer)
{
    int size = 0, pair[2];
    sockets_begin(_i ? IDC_SEQPACKET : IDC_STREAM, 1);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    getsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, &(socklen_t){sizeof(size)});
    fill_socket(0, 65536);
    if (_i == 0)
        ck_assert_uint_ge(held_by(0), (uint64_t)size);
    else
        ck_assert_uint_ge(held_by(0), 2 * 65536);
    close(pair[0]);
    close(pair[1]);
    sockets_end();
}
END_TEST

/* Others that were busy once give way to one that reads now. */
START_TEST(room_goes_to_who_reads)
{
    sockets_begin(_i ? IDC_SEQPACKET : IDC_STREAM, MANY);
    for (int i = 0; i < count; i++) {
        fill_socket(i, 1000);
        drain_socket(i);
    }
    uint64_t first = eps[count - 1]->buffer;
    for (int turn = 0; turn < 1000 && eps[count - 1]->buffer < 2; turn++) {
        fill_socket(count - 1, 1000);
        drain_socket(count - 1);
    }
    ck_assert_uint_lt(first, 2);
    ck_assert_uint_ge(eps[count - 1]->buffer, 2);
    ck_assert_uint_le(peer.budget.rooms, MEMORY / 2);
    sockets_end();
}
END_TEST

/* A message that has no room is lent, and comes as it is. */
START_TEST(a_message_without_room_is_lent)
{
    static uint8_t got[HANDOVER_PLAIN_MAX + 1];
    sockets_begin(IDC_SEQPACKET, MANY);
    for (int i = 0; i < count - 1; i++)
        fill_socket(i, 1000);
    memset(bytes, 'm', sizeof(bytes));
    ck_assert_int_eq(push_to(count - 1, sizeof(bytes)), PUSH_LENT);
    ck_assert(event_pending(&eps[count - 1]->writable, EV_WRITE, NULL));
    struct pollfd room = {eps[count - 1]->fd, POLLOUT, 0};
    ck_assert_int_eq(poll(&room, 1, 0), 0); /* until it is received */
    ck_assert_int_eq(recv(programs[count - 1], got, sizeof(got), 0), sizeof(bytes));
    ck_assert_mem_eq(got, bytes, sizeof(bytes));
    ck_assert_int_eq(poll(&room, 1, 0), 1);
    sockets_end();
}
END_TEST

/* The kernel tells nothing of it: nothing is charged. */
static bool kernel_tells(void)
{
    return unix_diag_peer(&all.diag, eps[0]->fd) > 0;
}

static uint64_t unread_by_program(int i)
{
    int unread = -1;
    ck_assert_int_eq(ioctl(programs[i], SIOCINQ, &unread), 0);
    return (uint64_t)unread;
}

/* Of messages, a reset is told before what has come. */
static void read_all_of(int i)
{
    ssize_t n;
    do
        n = recv(programs[i], bytes, sizeof(bytes), MSG_DONTWAIT);
    while (n > 0 || (n < 0 && errno == ECONNRESET));
}

/* Connections end, and their programs keep the sockets. Then half of them read. */
START_TEST(what_is_unread_at_the_end_stays_charged)
{
    enum reason reason = _i % 2 ? REASON_OK : REASON_PROGRAM_RESET;
    uint64_t unread = 0;
    sockets_begin(_i < 2 ? IDC_STREAM : IDC_SEQPACKET, MANY);
    if (!kernel_tells()) {
        sockets_end();
        return;
    }
    for (int i = 0; i < count; i++) {
        fill_socket(i, 4096);
        bool charged = eps[i]->buffer_cost > 0;
        endpoint_close(eps[i], reason);
        eps[i] = NULL;
        unread += charged ? unread_by_program(i) : 0;
    }
    ck_assert_uint_ge(peer.budget.rooms, unread); /* the kernel takes more than it counts */
    ck_assert_uint_le(peer.budget.rooms, MEMORY / 2);
    uint64_t before = peer.budget.rooms;
    look_back();
    ck_assert_uint_eq(peer.budget.rooms, before);
    for (int i = 0; i < count; i++)
        if (i % 2)
            read_all_of(i);
    look_back();
    ck_assert_uint_lt(peer.budget.rooms, before);
    ck_assert_uint_gt(peer.budget.rooms, 0);
    sockets_end();
}
END_TEST

/* Connections that come and end while programs read nothing get no more than the peer's room. */
START_TEST(new_connections_find_what_the_ended_have_left)
{
    const int usual = 106496; /* twice that is what sockets have */
    uint64_t held = 0;
    sockets_begin(IDC_STREAM, MANY);
    bool tells = kernel_tells();
    for (int i = 0; i < count; i++) {
        endpoint_buffer_end(eps[i]); /* as if none of them had come yet */
        ck_assert_int_eq(setsockopt(eps[i]->fd, SOL_SOCKET, SO_SNDBUF, &usual, sizeof(usual)), 0);
    }
    for (int i = 0; i < count && tells; i++) {
        endpoint_buffer_begin(eps[i]);
        fill_socket(i, 4096);
        held += held_by(i);
        endpoint_close(eps[i], REASON_PROGRAM_RESET);
        eps[i] = NULL;
    }
    ck_assert_uint_le(held, MEMORY / 2 + MANY * ENDPOINT_SMALL_MOST);
    sockets_end();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("kernel memory of data that programs do not read");
    TCase *tcase = tcase_create("all");
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, a_full_one_is_tried_again);
    tcase_add_loop_test(tcase, the_kernel_holds_what_is_charged, 0, 2 * SIZES);
    tcase_add_loop_test(tcase, one_reader_has_the_usual_buffer, 0, 2);
    tcase_add_loop_test(tcase, room_goes_to_who_reads, 0, 2);
    tcase_add_test(tcase, a_message_without_room_is_lent);
    tcase_add_loop_test(tcase, what_is_unread_at_the_end_stays_charged, 0, 4);
    tcase_add_test(tcase, new_connections_find_what_the_ended_have_left);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
