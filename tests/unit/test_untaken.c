/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How much of the kernel's memory a connection takes that no program has accepted: a small
 * share. */
#include <check.h>
#include <errno.h>
#include <linux/sockios.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/handover.h"
#include "link_mgr/program/endpoint_private.h"
#include "tests/unit/suite.h"

/* The kernel's own share of each piece, and what it rounds up. */
#define KERNEL_MOST (2 * ENDPOINT_SHARE + ENDPOINT_SHARE_PIECES * 1024)

static struct event_base *base;
static struct endpoints all;
static struct conn conn;
static struct endpoint *ep;
static int program, asked;

static void on_end(void *arg, struct conn *of, enum reason reason)
{
    (void)arg, (void)of, (void)reason;
}

static void on_untaken(void *arg, struct conn *of)
{
    (void)arg;
    ck_assert_ptr_eq(of, &conn);
    asked++;
}

static void socket_begin(enum idc_type type)
{
    struct handover_name name = {.serial = (uint64_t)getpid(),
                                 .local = {.domid = 1, .port = 1, .type = type},
                                 .peer = {.domid = 2, .port = 2, .type = type}};
    const struct endpoint_config config = {.all = &all,
                                           .conn = &conn,
                                           .name = &name,
                                           .far_end = -1,
                                           .untaken = on_untaken,
                                           .ended = on_end};
    base = event_base_new();
    endpoints_init(&all, base);
    conn = (struct conn){.phase = CONN_OPEN, .type = type};
    asked = 0;
    ck_assert_int_eq(endpoint_new(&config, &ep, &program), 0);
}

static void socket_end(void)
{
    endpoint_close(ep, REASON_OK);
    endpoints_end(&all);
    event_base_free(base);
    close(program);
}

static ssize_t push_of(size_t len)
{
    static char bytes[64 * 1024];
    struct iovec span = {bytes, len};
    return endpoint_push(ep, &span, 1);
}

/* As the kernel counts what lies in the program's socket. */
static int kernel_memory(void)
{
    int bytes = -1;
    ck_assert_int_eq(ioctl(ep->fd, SIOCOUTQ, &bytes), 0);
    return bytes;
}

static const size_t sizes[] = {1, 100, 1000, 4096, ENDPOINT_SHARE};
#define SIZES ((int)(sizeof(sizes) / sizeof(sizes[0])))

START_TEST(the_kernel_holds_little)
{
    ssize_t n = 1;
    size_t pushed = 0;
    socket_begin(_i < SIZES ? IDC_STREAM : IDC_SEQPACKET);
    for (int i = 0; i < 100000 && n > 0; i++) {
        n = push_of(sizes[_i % SIZES]);
        pushed += n > 0 ? (size_t)n : 0;
    }
    ck_assert_int_eq(n, -EAGAIN);
    ck_assert_uint_gt(pushed, 0);
    ck_assert_int_le(kernel_memory(), KERNEL_MOST);
    ck_assert_int_gt(asked, 0);
    ck_assert(!event_pending(&ep->writable, EV_WRITE, NULL)); /* a socket has room all the time */
    endpoint_taken(ep);
    ck_assert(event_pending(&ep->writable, EV_WRITE, NULL)); /* conn_writable will be called */
    ck_assert_int_gt(push_of(sizes[_i % SIZES]), 0);
    socket_end();
}
END_TEST

/* What is longer than the share waits for the program altogether. */
START_TEST(a_long_message_waits)
{
    socket_begin(IDC_SEQPACKET);
    ck_assert_int_eq(push_of(ENDPOINT_SHARE + 1), -EAGAIN);
    ck_assert_int_eq(kernel_memory(), 0);
    ck_assert_int_gt(asked, 0);
    endpoint_taken(ep);
    ck_assert_int_eq(push_of(ENDPOINT_SHARE + 1), ENDPOINT_SHARE + 1);
    socket_end();
}
END_TEST

/* A short first request does not wake the acceptor. */
START_TEST(a_short_request_asks_for_nothing)
{
    socket_begin(IDC_STREAM);
    ck_assert_int_eq(push_of(ENDPOINT_SHARE_ASK - 1), ENDPOINT_SHARE_ASK - 1);
    ck_assert_int_eq(asked, 0);
    endpoint_taken(ep);
    ck_assert(!event_pending(&ep->writable, EV_WRITE, NULL));
    socket_end();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sockets that nobody has accepted");
    TCase *tcase = tcase_create("all");
    tcase_add_loop_test(tcase, the_kernel_holds_little, 0, 2 * SIZES);
    tcase_add_test(tcase, a_long_message_waits);
    tcase_add_test(tcase, a_short_request_asks_for_nothing);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
