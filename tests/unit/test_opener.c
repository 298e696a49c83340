/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is said of an end that can't be opened (channels/opener.h). The kernel's AF_VSOCK is played,
 * so that this machine's is left alone. */
#include "channels/opener.h"

#include <errno.h>
#include <linux/vm_sockets.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/unit/suite.h"

static int socket_error, connect_error;
static struct sockaddr_vm called;

/* In place of the C library's. */
int socket(int domain, int type, int protocol)
{
    if (domain != AF_VSOCK)
        return (int)syscall(SYS_socket, domain, type, protocol);
    errno = socket_error;
    return socket_error != 0 ? -1 : (int)syscall(SYS_socket, AF_UNIX, type, 0);
}

int connect(int fd, const struct sockaddr *addr, socklen_t len)
{
    if (addr->sa_family != AF_VSOCK)
        return (int)syscall(SYS_connect, fd, addr, len);
    ck_assert_uint_eq(len, sizeof(called));
    memcpy(&called, addr, sizeof(called));
    errno = connect_error;
    return connect_error != 0 ? -1 : 0;
}

static struct opener *open_end(const char *text)
{
    const struct opener_settings settings = {.link_mgr = NULL};
    struct end end;
    size_t at;
    char why[OPENER_WHY_MAX];
    ck_assert(end_parse(text, &end, &at, why));
    struct opener *opener = opener_new(&end, &settings, why);
    ck_assert_msg(opener != NULL, "%s", why);
    return opener;
}

static const struct {
    int at_socket, at_connect;
    const char *why;
} refusals[] = {
    {EAFNOSUPPORT, 0,
     "Address family not supported by protocol: this kernel has no AF_VSOCK; under \"idc run\" it "
     "is IDC's"},
    {EMFILE, 0, "Too many open files"},
    {0, ENODEV,
     "No such device: no machine has that CID, or this one has no vsock that leads there"},
    {0, ECONNRESET, "Connection reset by peer: nobody listens on that port, or its queue is full"},
    {0, ETIMEDOUT, "Connection timed out"},
    {0, EACCES, "Permission denied"},
};

START_TEST(a_vsock_end_that_is_refused)
{
    struct opener *opener = open_end("vsock:7:5000");
    struct side side;
    char why[OPENER_WHY_MAX] = "";
    socket_error = refusals[_i].at_socket;
    connect_error = refusals[_i].at_connect;
    int error = opener_open(opener, 0, 0, &side, why);
    ck_assert_int_eq(error, -(socket_error != 0 ? socket_error : connect_error));
    ck_assert_str_eq(why, refusals[_i].why);
    ck_assert_int_eq(side.in, -1);
    opener_free(opener);
}
END_TEST

START_TEST(a_vsock_end_that_is_reached)
{
    struct opener *named = open_end("vsock:7:5000"), *any = open_end("vsock:2:*");
    struct side side;
    char why[OPENER_WHY_MAX];
    ck_assert_int_eq(opener_open(named, 9, 0, &side, why), 0);
    ck_assert_uint_eq(called.svm_cid, 7);
    ck_assert_uint_eq(called.svm_port, 5000);
    side_close(&side, 0);
    connect_error = EINPROGRESS;
    ck_assert_int_eq(opener_open(any, 9, 0, &side, why), -EINPROGRESS);
    ck_assert_uint_eq(called.svm_cid, 2);
    ck_assert_uint_eq(called.svm_port, 9);
    ck_assert_int_eq(opener_finish(any, 0, &side, why), 0);
    side_close(&side, 0);
    opener_free(named);
    opener_free(any);
}
END_TEST

/* What ECONNRESET and ENODEV mean to AF_VSOCK they don't mean to others. */
START_TEST(another_end_that_is_refused)
{
    struct opener *opener = open_end("unix:/nonexistent/socket");
    struct side side;
    char why[OPENER_WHY_MAX];
    ck_assert_int_eq(opener_open(opener, 0, 0, &side, why), -ENOENT);
    ck_assert_str_eq(why, "No such file or directory");
    opener_free(opener);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("opener");
    tcase_add_loop_test(tests, a_vsock_end_that_is_refused, 0,
                        sizeof(refusals) / sizeof(refusals[0]));
    tcase_add_test(tests, a_vsock_end_that_is_reached);
    tcase_add_test(tests, another_end_that_is_refused);
    Suite *suite = suite_create("opener");
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
