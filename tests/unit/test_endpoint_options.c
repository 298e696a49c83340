/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_endpoint_options.c - a program may set any option of its end of a connection, and of the
 * daemon's end, too, if it has made the socket pair itself. No option makes the daemon wait, or
 * leaves a descriptor in it. Where an option does not change what the program itself gets, messages
 * of all lengths still pass.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "link_mgr/core/conn.h"
#include "link_mgr/program/endpoint_private.h"
#include "tests/unit/count.h"
#include "tests/unit/suite.h"

#ifndef SO_PASSPIDFD
#define SO_PASSPIDFD 76
#endif
#define OPTION_PASSRIGHTS 83 /* SO_PASSRIGHTS, since Linux 6.16 */
#define LONG_MESSAGE (HANDOVER_PLAIN_MAX + 1)

struct option {
    int name, value;
    bool breaks; /* set at the daemon's end, it changes what the daemon reads or may send */
};

static const struct option options[] = {
    {SO_PASSCRED, 1, false},  {SO_PASSCRED, 0, true}, /* an empty message is an end */
    {SO_PASSPIDFD, 1, false}, {SO_PASSSEC, 1, false},        {OPTION_PASSRIGHTS, 0, true},
    {SO_TIMESTAMP, 1, false}, {SO_TIMESTAMPNS, 1, false},    {SO_TIMESTAMPING, 0x7F, false},
    {SO_RCVBUF, 1, false},    {SO_SNDBUF, 1, false},         {SO_PEEK_OFF, 7, true},
    {SO_PEEK_OFF, -1, true},  {SO_RCVLOWAT, 1 << 20, false}, {SO_BUSY_POLL, 1000, false},
    {SO_OOBINLINE, 0, false}, {SO_PRIORITY, 6, false},       {SO_KEEPALIVE, 1, false},
    {SO_RXQ_OVFL, 1, false},  {SO_WIFI_STATUS, 1, false},    {SO_SELECT_ERR_QUEUE, 1, false},
    {SO_ZEROCOPY, 1, false},  {SO_INCOMING_CPU, 0, false},   {SO_MARK, 1, false},
    {SO_DEBUG, 1, false},
};
#define OPTIONS ((int)(sizeof(options) / sizeof(options[0])))
static const enum idc_type types[] = {IDC_STREAM, IDC_SEQPACKET};

static struct event_base *base;
static struct endpoints all;
static struct conn conn;
static struct endpoint *ep;
static int ends[2]; /* the program's, and its copy of the daemon's */
static uint8_t bytes[LONG_MESSAGE], got[LONG_MESSAGE];

static void on_end(void *arg, struct conn *of, enum reason reason)
{
    (void)arg, (void)of, (void)reason;
}

/* The program has a copy of the daemon's end, as after a connect with a pair of its own. */
static void options_begin(enum idc_type type)
{
    static uint64_t serial;
    serial++;
    struct handover_name name = {.serial = ((uint64_t)getpid() << 16) + serial,
                                 .local = {.domid = 1, .port = 1, .type = type},
                                 .peer = {.domid = 2, .port = 2, .type = type}};
    struct endpoint_config config = {
        .all = &all, .conn = &conn, .name = &name, .far_end = -1, .ended = on_end};
    conn = (struct conn){.phase = CONN_OPEN, .type = type};
    ck_assert_int_eq(endpoint_new(&config, &ep, &ends[0]), 0);
    ends[1] = dup(ep->fd);
}

static void options_end(void)
{
    endpoint_close(ep, REASON_PROGRAM_RESET);
    close(ends[0]);
    close(ends[1]);
}

/* What the core does. Returns whether len bytes came and are right. */
static bool daemon_takes(size_t len)
{
    size_t at = 0;
    for (int turn = 0; turn < 100 && at < len; turn++) {
        event_base_loop(base, EVLOOP_NONBLOCK);
        if (conn.type == IDC_SEQPACKET && at == 0 && endpoint_message(ep) != (ssize_t)len)
            return false;
        struct iovec span = {got + at, len - at};
        ssize_t n = endpoint_pull(ep, &span, 1);
        if (n < 0 && n != -EAGAIN)
            return false;
        at += n > 0 ? (size_t)n : 0;
    }
    return at == len && memcmp(got, bytes, len) == 0;
}

static bool daemon_gives(size_t len)
{
    size_t at = 0, length = 0;
    ssize_t n = 0;
    struct iovec span = {bytes, len};
    memset(got, 0, len);
    if (conn.type == IDC_SEQPACKET) {
        n = endpoint_push(ep, &span, 1);
        return (n == (ssize_t)len || n == PUSH_LENT) &&
               handover_recv_message(ends[0], got, len, MSG_DONTWAIT, &length) == (ssize_t)len &&
               memcmp(got, bytes, len) == 0;
    }
    for (; at < len && n >= 0; at += n > 0 ? (size_t)n : 0) {
        span = (struct iovec){bytes + at, len - at};
        n = endpoint_push(ep, &span, 1);
        n = n < 0 ? n : recv(ends[0], got + at, (size_t)n, MSG_DONTWAIT);
    }
    return at == len && memcmp(got, bytes, len) == 0;
}

static bool all_passes(void)
{
    static const size_t lengths[] = {1, 5000, LONG_MESSAGE};
    bool good = true;
    for (size_t i = 0; i < (conn.type == IDC_SEQPACKET ? 3 : 2); i++) {
        size_t len = lengths[i];
        ssize_t sent = conn.type == IDC_SEQPACKET
                           ? handover_send_message(ends[0], bytes, len, MSG_DONTWAIT)
                           : send(ends[0], bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
        good = sent > 0 && daemon_takes((size_t)sent) && daemon_gives(len) && good;
    }
    return good;
}

static void option_at(enum idc_type type, int end, const struct option *option)
{
    int before = count_descriptors();
    options_begin(type);
    if (setsockopt(ends[end], SOL_SOCKET, option->name, &option->value, sizeof(int)) == 0) {
        bool good = all_passes();
        ck_assert_msg(good || option->breaks, "option %d at end %d", option->name, end);
    }
    options_end();
    ck_assert_msg(count_descriptors() == before, "option %d at end %d leaves %d descriptors",
                  option->name, end, count_descriptors() - before);
}

START_TEST(options_of_the_program_and_of_the_daemon)
{
    option_at(types[_i % 2], 0, &options[_i / 2]);
    option_at(types[_i % 2], 1, &options[_i / 2]);
}
END_TEST

/* The limit in time is far beyond that of the test. */
START_TEST(limits_of_time)
{
    const struct timeval limit = {.tv_sec = 10000};
    for (int end = 0; end < 2; end++) {
        options_begin(types[_i % 2]);
        ck_assert_int_eq(setsockopt(ends[end], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), 0);
        ck_assert_int_eq(setsockopt(ends[end], SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)), 0);
        ck_assert_int_eq(fcntl(ends[end], F_SETFL, O_NONBLOCK | O_ASYNC), 0);
        ck_assert_int_eq(fcntl(ends[end], F_SETFL, 0), 0);
        ck_assert(all_passes());
        options_end();
    }
}
END_TEST

static void options_setup(void)
{
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 7 + (i >> 9));
    base = event_base_new();
    endpoints_init(&all, base);
}

static void options_teardown(void)
{
    endpoints_end(&all);
    event_base_free(base);
}

int main(void)
{
    Suite *suite = suite_create("endpoint options");
    TCase *tcase = tcase_create("options");
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, options_setup, options_teardown);
    tcase_add_loop_test(tcase, options_of_the_program_and_of_the_daemon, 0, 2 * OPTIONS);
    tcase_add_loop_test(tcase, limits_of_time, 0, 2);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
