/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_connecting.c - the outcome of a connect, asked for at every moment.
 *
 * Who asks makes a few system calls, and link_mgr names and closes its end meanwhile. Here the
 * calls are ours, and what link_mgr does comes before each of them in turn; and in another thread,
 * at whatever moment.
 */
#include <check.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/connecting.h"
#include "common/handover.h"
#include "tests/unit/suite.h"

static const int types[] = {SOCK_STREAM, SOCK_SEQPACKET};
static int pair[2]; /* near, far */

/* ---- what link_mgr does ---- */

enum act { CONNECTED, CONNECTED_AND_CLOSED, REFUSED, ACTS };

static const struct handover_name connected_name = {
    .serial = 1, .local = {1, 0x80000001, 0, IDC_STREAM, ""}, .peer = {2, 80, 0, IDC_STREAM, ""}};

static void act_now(enum act act)
{
    struct handover_name name = connected_name;
    static uint64_t serial;
    name.serial = (uint64_t)getpid() << 20 | ++serial;
    if (act == REFUSED) {
        ck_assert_int_eq(connecting_fail(pair[1], EACCES, "policy"), 0);
    } else {
        ck_assert_int_eq(handover_bind(pair[1], &name), 0);
        ck_assert_int_eq(connecting_drain(pair[1]), 0);
    }
    if (act != CONNECTED)
        close(pair[1]);
}

/* ---- the calls of who asks ---- */

static _Thread_local int calls_until = -1; /* the act comes before that call */
static _Thread_local int interruptions;    /* so many calls of poll end with EINTR first */
static enum act planned;

static void before_call(void)
{
    if (calls_until == 0)
        act_now(planned);
    if (calls_until >= 0)
        calls_until--;
}

/* The C library declares these with names that are reserved.
 * NOLINTBEGIN(readability-inconsistent-declaration-parameter-name) */
int poll(struct pollfd *fds, nfds_t count, int timeout)
{
    const struct timespec limit = {timeout / 1000, timeout % 1000 * 1000000};
    before_call();
    if (interruptions > 0) {
        interruptions--;
        errno = EINTR;
        return -1;
    }
    return (int)syscall(SYS_ppoll, fds, count, timeout < 0 ? NULL : &limit, NULL, 0);
}

int getpeername(int fd, struct sockaddr *address, socklen_t *len)
{
    before_call();
    return (int)syscall(SYS_getpeername, fd, address, len);
}
/* NOLINTEND(readability-inconsistent-declaration-parameter-name) */

static void open_filled(int type)
{
    ck_assert_int_eq(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair), 0);
    ck_assert_int_eq(connecting_fill(pair[0], pair[1]), 0);
}

static int outcome_of(enum act act)
{
    return act == REFUSED ? -EACCES : 0;
}

/* ---- tests ---- */

enum { CALLS = 8 }; /* more than are made */

START_TEST(asked_at_every_call)
{
    char why[CONNECTING_WHY_MAX];
    int before_the_end = 0;
    for (enum act act = CONNECTED; act < ACTS; act++)
        for (int moment = 0; moment < CALLS; moment++) {
            open_filled(types[_i]);
            planned = act;
            calls_until = moment;
            int outcome = connecting_outcome(pair[0], why);
            before_the_end += calls_until < 0;
            ck_assert_msg(outcome == outcome_of(act) || outcome == -EINPROGRESS,
                          "%d before call %d: %d, %s", act, moment, outcome, why);
            ck_assert(outcome != -EINPROGRESS || calls_until >= 0 || moment > 0);
            if (calls_until >= 0)
                act_now(act);
            calls_until = -1;
            ck_assert_int_eq(connecting_outcome(pair[0], why), outcome_of(act));
            ck_assert_str_eq(why, act == REFUSED ? "policy" : "");
            close(pair[0]);
            if (act == CONNECTED)
                close(pair[1]);
        }
    ck_assert_int_ge(before_the_end, 3 * ACTS);
}
END_TEST

/* A signal's handler that runs during the question does not mean that link_mgr has ended. */
START_TEST(asked_amid_signals)
{
    char why[CONNECTING_WHY_MAX];
    open_filled(types[_i]);
    interruptions = 3;
    ck_assert_int_eq(connecting_outcome(pair[0], why), -EINPROGRESS);
    ck_assert_int_eq(interruptions, 0);
    close(pair[0]);
    close(pair[1]);
}
END_TEST

/* Half filled would poll writable at once. */
START_TEST(filled_amid_signals)
{
    ck_assert_int_eq(socketpair(AF_UNIX, types[_i] | SOCK_CLOEXEC, 0, pair), 0);
    interruptions = 1;
    ck_assert_int_eq(connecting_fill_roughly(pair[0]), 0);
    struct pollfd p = {.fd = pair[0], .events = POLLOUT};
    ck_assert_int_eq(poll(&p, 1, 0), 0);
    close(pair[0]);
    close(pair[1]);
}
END_TEST

/* ---- another thread ---- */

enum { ROUNDS = 4000 };
static pthread_barrier_t begun, ended;

static void *act_often(void *arg)
{
    (void)arg;
    for (int i = 0; i < ROUNDS; i++) {
        pthread_barrier_wait(&begun);
        act_now((enum act)(i % ACTS));
        pthread_barrier_wait(&ended);
    }
    return NULL;
}

START_TEST(asked_all_the_time)
{
    char why[CONNECTING_WHY_MAX];
    pthread_t thread;
    pthread_barrier_init(&begun, NULL, 2);
    pthread_barrier_init(&ended, NULL, 2);
    ck_assert_int_eq(pthread_create(&thread, NULL, act_often, NULL), 0);
    for (int i = 0; i < ROUNDS; i++) {
        int outcome;
        open_filled(types[i % 2]);
        pthread_barrier_wait(&begun);
        do
            outcome = connecting_outcome(pair[0], why);
        while (outcome == -EINPROGRESS);
        ck_assert_msg(outcome == outcome_of((enum act)(i % ACTS)), "round %d: %d, %s", i, outcome,
                      why);
        pthread_barrier_wait(&ended);
        close(pair[0]);
        if (i % ACTS == CONNECTED)
            close(pair[1]);
    }
    pthread_join(thread, NULL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("connecting");
    TCase *tests = tcase_create("all");
    tcase_set_timeout(tests, 120);
    tcase_add_loop_test(tests, asked_at_every_call, 0, 2);
    tcase_add_loop_test(tests, asked_amid_signals, 0, 2);
    tcase_add_loop_test(tests, filled_amid_signals, 0, 2);
    tcase_add_test(tests, asked_all_the_time);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
