/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the kernel tells of socket pairs, of both network namespaces when link_mgr has one of its
 * own. Each case is a process of its own (suite.h), and changes its namespace. */
#include "link_mgr/base/unix_diag.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/netlink.h>

#include "tests/unit/suite.h"

#define FIRST_GIVEN 3 /* as systemd has it */
#define SENT 3000

static struct unix_diag diag;
static int before[2], after[2]; /* pairs made before and after the namespace changed */
static int given;

static void make_pair(int pair[2])
{
    static const char bytes[SENT];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    ck_assert_int_eq(send(pair[1], bytes, sizeof(bytes), 0), SENT);
}

/* As systemd passes descriptors: this is the last one, and those before it are of other kinds. */
static void give_socket(int fd, pid_t pid)
{
    char text[32];
    given = fd;
    ck_assert_int_ge(fd, FIRST_GIVEN);
    snprintf(text, sizeof(text), "%d", (int)pid);
    setenv("LISTEN_PID", text, 1);
    snprintf(text, sizeof(text), "%d", fd - FIRST_GIVEN + 1);
    setenv("LISTEN_FDS", text, 1);
}

static int open_question(void)
{
    int fd = socket(AF_NETLINK, SOCK_DGRAM, NETLINK_SOCK_DIAG);
    ck_assert_int_ge(fd, 0);
    return fd;
}

/* Root needs no user namespace. False: this machine allows neither. */
static bool enter_namespace(void)
{
    return unshare(CLONE_NEWNET) == 0 || unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0;
}

/* 0 if the kernel tells of the program's end of a pair, else a negative errno. */
static int64_t learn_of(const int pair[2])
{
    struct unix_diag_memory memory;
    struct stat status;
    int64_t inode = unix_diag_peer(&diag, pair[0]);
    if (inode < 0)
        return inode;
    ck_assert_int_eq(fstat(pair[1], &status), 0);
    ck_assert_int_eq(inode, (int64_t)(uint32_t)status.st_ino);
    int error = unix_diag_memory(&diag, (uint32_t)inode, &memory);
    ck_assert(error || (memory.charged >= SENT && memory.send_buffer > 0));
    return error;
}

/* An old kernel, or one without the module, tells nothing. */
static bool kernel_tells(void)
{
    int pair[2];
    make_pair(pair);
    unix_diag_open(&diag);
    bool tells = learn_of(pair) == 0;
    unix_diag_close(&diag);
    return tells;
}

START_TEST(of_its_own_namespace_only)
{
    if (!kernel_tells() || !enter_namespace())
        return;
    unix_diag_inherit();
    unix_diag_open(&diag);
    make_pair(after);
    ck_assert_int_eq(learn_of(after), 0);
    ck_assert_int_eq(learn_of(before), -ENOENT);
}
END_TEST

START_TEST(of_both_with_a_socket_from_the_other_one)
{
    give_socket(open_question(), getpid());
    if (!kernel_tells() || !enter_namespace())
        return;
    unix_diag_inherit();
    ck_assert_int_eq(fcntl(given, F_GETFD), FD_CLOEXEC);
    unix_diag_open(&diag);
    make_pair(after);
    ck_assert_int_eq(learn_of(after), 0);
    ck_assert_int_eq(learn_of(before), 0);
    unix_diag_close(&diag);
    ck_assert_int_eq(fcntl(given, F_GETFD), FD_CLOEXEC);
    ck_assert_int_eq(learn_of(after), -EBADF);
}
END_TEST

/* What was meant for another process, or is something else, is left alone. */
START_TEST(nothing_else_is_taken)
{
    if (_i == 0)
        give_socket(open_question(), getpid() + 1);
    else
        give_socket(_i == 1 ? before[0] : socket(AF_NETLINK, SOCK_DGRAM, NETLINK_ROUTE), getpid());
    unix_diag_inherit();
    ck_assert_int_eq(fcntl(given, F_GETFD), 0);
    unix_diag_open(&diag);
    ck_assert_int_eq(diag.given, -1);
}
END_TEST

START_TEST(nobody_to_ask)
{
    diag = (struct unix_diag){.own = -1, .given = -1};
    ck_assert_int_eq(learn_of(before), -EBADF);
}
END_TEST

static void begin_pairs(void)
{
    make_pair(before);
}

int main(void)
{
    Suite *suite = suite_create("unix_diag");
    TCase *all = tcase_create("all");
    tcase_add_checked_fixture(all, begin_pairs, NULL);
    tcase_add_test(all, of_its_own_namespace_only);
    tcase_add_test(all, of_both_with_a_socket_from_the_other_one);
    tcase_add_loop_test(all, nothing_else_is_taken, 0, 3);
    tcase_add_test(all, nobody_to_ask);
    suite_add_tcase(suite, all);
    return run_suite(suite);
}
