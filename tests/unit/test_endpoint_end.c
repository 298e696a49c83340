/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_endpoint_end.c - how a connection ends for its program: as a reset, or, with reset_is_end,
 * as the end that AF_VSOCK knows. It also tests bytes that a program sends before it resets. Each
 * test runs for a stream and for messages.
 */
#include <check.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "link_mgr/core/conn.h"
#include "link_mgr/program/endpoint.h"
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
    struct handover_name name = {.serial = 1,
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
    char bytes[16];
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

int main(void)
{
    Suite *suite = suite_create("endpoint_end");
    TCase *tcase = tcase_create("ends");
    tcase_set_timeout(tcase, 20);
    tcase_add_checked_fixture(tcase, end_setup, end_teardown);
    tcase_add_loop_test(tcase, a_reset_is_an_end, 0, 2 * TYPES);
    tcase_add_loop_test(tcase, a_reset_is_a_reset, 0, TYPES);
    tcase_add_loop_test(tcase, a_lost_link_is_no_end, 0, TYPES);
    tcase_add_test(tcase, messages_before_a_reset_are_not_lost);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
