/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_endpoint_end.c - how a connection ends for its program: as a reset, or, with reset_is_end,
 * as the end that AF_VSOCK knows. It also tests bytes that a program sends before it resets. Each
 * test runs for a stream and for messages.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "link_mgr/core/conn.h"
#include "link_mgr/program/endpoint.h"
#include "tests/unit/count.h"
#include "tests/unit/old_kernel.h"
#include "tests/unit/suite.h"

static const enum idc_type types[] = {IDC_STREAM, IDC_SEQPACKET};
#define TYPES 2

static struct event_base *base;
static struct endpoints all;
static struct conn conn;
static struct endpoint *ep;
static int program;
static enum reason told;

static void on_end(void *arg, struct conn *of, enum reason reason)
{
    (void)arg, (void)of;
    told = reason;
}

static void end_setup(void)
{
    base = event_base_new();
    endpoints_init(&all, base);
}

static void end_teardown(void)
{
    endpoints_end(&all);
    event_base_free(base);
}

static void end_begin(enum idc_type type, bool reset_is_end)
{
    struct handover_name name = {.serial = (uint64_t)getpid(),
                                 .local = {.domid = 1, .port = 1, .type = type},
                                 .peer = {.domid = 2, .port = 2, .type = type}};
    struct endpoint_config config = {.all = &all,
                                     .conn = &conn,
                                     .name = &name,
                                     .far_end = -1,
                                     .reset_is_end = reset_is_end,
                                     .ended = on_end};
    conn = (struct conn){.phase = CONN_OPEN, .type = type};
    told = REASON_OK;
    ck_assert_int_eq(endpoint_new(&config, &ep, &program), 0);
}

/* The program has written what nobody takes, and has something to read, when it ends. */
static void end_with_data(enum idc_type type, bool reset_is_end, enum reason reason)
{
    char bytes[] = "abc";
    struct iovec span = {bytes, 3};
    end_begin(type, reset_is_end);
    ck_assert_int_eq(endpoint_push(ep, &span, 1), 3);
    for (int i = 0; i < 100; i++)
        ck_assert_int_eq(send(program, "not taken", 9, 0), 9);
    ck_assert_int_eq(send(program, "", 0, 0), 0);
    endpoint_close(ep, reason);
    ck_assert_int_eq(told, reason);
}

START_TEST(a_reset_is_an_end)
{
    static const enum reason reasons[] = {REASON_PROGRAM_RESET, REASON_LISTENER_CLOSED};
    char bytes[16];
    end_with_data(types[_i / 2], true, reasons[_i % 2]);
    ck_assert_int_eq(recv(program, bytes, sizeof(bytes), 0), 3);
    ck_assert_int_eq(recv(program, bytes, sizeof(bytes), 0), 0);
    ck_assert_int_eq(send(program, "x", 1, MSG_NOSIGNAL), -1);
    ck_assert_int_eq(errno, EPIPE);
    close(program);
}
END_TEST

/* A program that has not asked for that, or has lost the link, gets the error once. It comes behind
 * the data of a stream and before messages, as the kernel has it. */
static void assert_reset(enum idc_type type)
{
    char bytes[16];
    if (type == IDC_STREAM)
        ck_assert_int_eq(recv(program, bytes, sizeof(bytes), 0), 3);
    ck_assert_int_eq(recv(program, bytes, sizeof(bytes), 0), -1);
    ck_assert_int_eq(errno, ECONNRESET);
    close(program);
}

START_TEST(a_reset_is_a_reset)
{
    end_with_data(types[_i], false, REASON_PROGRAM_RESET);
    assert_reset(types[_i]);
}
END_TEST

START_TEST(a_lost_link_is_no_end)
{
    end_with_data(types[_i], true, REASON_LINK_LOST);
    assert_reset(types[_i]);
}
END_TEST

/* The kernel tells the reset of a seqpacket socket before what was sent before it. */
START_TEST(messages_before_a_reset_are_not_lost)
{
    static const char *const texts[] = {"one", "second"};
    char unread[] = "unread";
    struct iovec given = {unread, 6};
    char bytes[16] = "";
    end_begin(IDC_SEQPACKET, false);
    ck_assert_int_eq(endpoint_push(ep, &given, 1), 6);
    for (int i = 0; i < 2; i++)
        ck_assert_int_gt(send(program, texts[i], strlen(texts[i]), 0), 0);
    close(program);
    for (int i = 0; i < 2; i++) {
        ssize_t length = endpoint_message(ep);
        struct iovec span = {bytes, (size_t)length};
        ck_assert_int_eq(length, (ssize_t)strlen(texts[i]));
        ck_assert_int_eq(endpoint_pull(ep, &span, 1), length);
        ck_assert_int_eq(memcmp(bytes, texts[i], (size_t)length), 0);
    }
    ck_assert_int_eq(endpoint_message(ep), -ECONNRESET);
    endpoint_close(ep, REASON_PROGRAM_RESET);
}
END_TEST

/* ---- descriptors that come along ---- */

#ifndef SO_PASSPIDFD
#define SO_PASSPIDFD 76
#endif

/* The program sends descriptors with everything that it says, as many as a message may have here.
 */
static void say_with_descriptors(void)
{
    int fds[HANDOVER_FDS_MAX];
    for (int i = 0; i < HANDOVER_FDS_MAX; i++)
        ck_assert_int_ge(fds[i] = open("/dev/null", O_RDONLY | O_CLOEXEC), 0);
    for (int i = 0; i < 20; i++)
        ck_assert_int_eq(handover_send(program, "x", 1, fds, HANDOVER_FDS_MAX, 0), 1);
    for (int i = 0; i < HANDOVER_FDS_MAX; i++)
        close(fds[i]);
}

/* None of them stays in the daemon when what the program has said is discarded. */
START_TEST(discarded_descriptors_are_closed)
{
    int before = count_descriptors();
    old_kernel = true;
    end_begin(types[_i], true);
    say_with_descriptors();
    endpoint_close(ep, REASON_PROGRAM_RESET);
    close(program);
    ck_assert_int_eq(count_descriptors(), before);
}
END_TEST

/* Where the kernel can, it refuses them: a stream has no use for them. */
START_TEST(a_stream_refuses_descriptors)
{
    int fd = 0;
    end_begin(IDC_STREAM, true);
    if (kernel_refuses_descriptors())
        ck_assert_int_eq(handover_send(program, "x", 1, &fd, 1, 0), -EPERM);
    endpoint_close(ep, REASON_OK);
    close(program);
}
END_TEST

/* The daemon's end may have been the program's own, which keeps a copy of it. So the program can
 * ask there for a descriptor of the sender's process with each message. */
START_TEST(descriptors_of_processes_are_closed)
{
    const int one = 1;
    char bytes[16];
    struct iovec span = {bytes, sizeof(bytes)};
    int before = count_descriptors();
    end_begin(types[_i / 2], true);
    for (int fd = 0; fd < 1024; fd++)
        setsockopt(fd, SOL_SOCKET, SO_PASSPIDFD, &one, sizeof(one));
    ck_assert_int_eq(send(program, "x", 1, 0), 1);
    ck_assert_int_eq(send(program, "y", 1, 0), 1);
    if (_i % 2) {
        span.iov_len = 1;
        ck_assert(types[_i / 2] == IDC_STREAM || endpoint_message(ep) == 1);
        ck_assert_int_eq(endpoint_pull(ep, &span, 1), 1);
    }
    endpoint_close(ep, REASON_PROGRAM_RESET);
    close(program);
    ck_assert_int_eq(count_descriptors(), before);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("endpoint_end");
    TCase *tcase = tcase_create("ends");
    tcase_set_timeout(tcase, 20);
    tcase_add_checked_fixture(tcase, end_setup, end_teardown);
    tcase_add_loop_test(tcase, a_reset_is_an_end, 0, 2 * TYPES);
    tcase_add_loop_test(tcase, a_reset_is_a_reset, 0, TYPES);
    tcase_add_loop_test(tcase, a_lost_link_is_no_end, 0, TYPES);
    tcase_add_test(tcase, a_stream_refuses_descriptors);
    tcase_add_loop_test(tcase, discarded_descriptors_are_closed, 0, TYPES);
    tcase_add_loop_test(tcase, descriptors_of_processes_are_closed, 0, 2 * TYPES);
    tcase_add_test(tcase, messages_before_a_reset_are_not_lost);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
