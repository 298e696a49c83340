/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Unix sockets at paths: what is replaced there, and what is not (common/socket_file.h). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/socket_file.h"
#include "tests/unit/suite.h"

#define STARTERS 4
#define ROUNDS 10

static char directory[] = "/tmp/idc-socket-file-XXXXXX";
static struct sockaddr_un address;
static char lock_path[128];
static struct socket_file file;

static void set_up(void)
{
    ck_assert_ptr_nonnull(mkdtemp(directory));
    address.sun_family = AF_UNIX;
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/s", directory);
    snprintf(lock_path, sizeof(lock_path), "%s/s.lock", directory);
}

/* Nothing is left but what is at the path. */
static void tear_down(void)
{
    unlink(address.sun_path);
    ck_assert_int_eq(rmdir(directory), 0);
}

static ino_t inode_there(void)
{
    struct stat there;
    return lstat(address.sun_path, &there) == 0 ? there.st_ino : 0;
}

/* A socket that is bound. Its descriptor, which does not listen. */
static int bind_other(int type)
{
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static void leave_over(void)
{
    close(bind_other(SOCK_STREAM));
}

static int try_it(void)
{
    return socket_file_listen(&address, 0600, 5, &file);
}

static void expect_works(int fd)
{
    struct stat there;
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(stat(address.sun_path, &there), 0);
    ck_assert_uint_eq(there.st_mode, S_IFSOCK | 0600);
    int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(connect(client, (struct sockaddr *)&address, sizeof(address)), 0);
    close(client);
    socket_file_remove(&address, &file);
    ck_assert_uint_eq(inode_there(), 0);
    close(fd);
}

START_TEST(nothing_there)
{
    expect_works(try_it());
}
END_TEST

START_TEST(left_over)
{
    leave_over();
    expect_works(try_it());
}
END_TEST

static void expect_stays(int error)
{
    ino_t before = inode_there();
    ck_assert_uint_ne(before, 0);
    ck_assert_int_eq(try_it(), -error);
    socket_file_remove(&address, &file);
    ck_assert_uint_eq(inode_there(), before);
}

START_TEST(no_socket)
{
    int fd = open(address.sun_path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    close(fd);
    expect_stays(EEXIST);
    unlink(address.sun_path);
    ck_assert_int_eq(mkfifo(address.sun_path, 0600), 0);
    expect_stays(EEXIST);
    unlink(address.sun_path);
    ck_assert_int_eq(mkdir(address.sun_path, 0700), 0);
    expect_stays(EEXIST);
    rmdir(address.sun_path);
}
END_TEST

/* Also one to a socket that is left over. */
START_TEST(symbolic_links)
{
    char beside[128];
    snprintf(beside, sizeof(beside), "%s/beside", directory);
    ck_assert_int_eq(symlink(beside, address.sun_path), 0);
    expect_stays(EEXIST);
    unlink(address.sun_path);
    leave_over();
    ck_assert_int_eq(rename(address.sun_path, beside), 0);
    ck_assert_int_eq(symlink(beside, address.sun_path), 0);
    expect_stays(EEXIST);
    ck_assert_int_eq(unlink(beside), 0);
}
END_TEST

START_TEST(sockets_of_others)
{
    int datagrams = bind_other(SOCK_DGRAM);
    expect_stays(EADDRINUSE);
    close(datagrams);
    unlink(address.sun_path);
    int stream = bind_other(SOCK_STREAM);
    expect_stays(EADDRINUSE); /* it is about to listen */
    ck_assert_int_eq(listen(stream, 1), 0);
    expect_stays(EADDRINUSE);
    ck_assert_int_eq(fcntl(stream, F_SETFL, O_NONBLOCK), 0);
    ck_assert_int_eq(accept(stream, NULL, NULL), -1); /* and nobody has called him */
    close(stream);
}
END_TEST

START_TEST(another_one_replaces_it)
{
    leave_over();
    int lock = open(lock_path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    ck_assert_int_ge(lock, 0);
    ck_assert_int_eq(flock(lock, LOCK_EX), 0);
    expect_stays(EADDRINUSE);
    close(lock);
    expect_works(try_it()); /* the lock's file of a killed one is in nobody's way */
    ck_assert_int_ne(access(lock_path, F_OK), 0);
}
END_TEST

enum { BEGIN, RESULTS, END, PIPES };

/* Tries when all are there, tells how it went, and stays until all have tried. */
static void starter_run(int pipes[PIPES][2])
{
    char byte;
    close(pipes[BEGIN][1]);
    close(pipes[END][1]);
    ssize_t got = read(pipes[BEGIN][0], &byte, 1);
    int fd = try_it();
    byte = fd >= 0 ? 'y' : fd == -EADDRINUSE ? 'n' : '?';
    got += write(pipes[RESULTS][1], &byte, 1);
    got += read(pipes[END][0], &byte, 1);
    _exit(got != 1);
}

/* How many of them listen. */
static int starters_run(void)
{
    int pipes[PIPES][2], listening = 0, status;
    for (int i = 0; i < PIPES; i++)
        ck_assert_int_eq(pipe(pipes[i]), 0);
    for (int i = 0; i < STARTERS; i++) {
        pid_t pid = fork();
        ck_assert_int_ge(pid, 0);
        if (pid == 0)
            starter_run(pipes);
    }
    close(pipes[BEGIN][1]);
    for (int i = 0; i < STARTERS; i++) {
        char byte;
        ck_assert_int_eq(read(pipes[RESULTS][0], &byte, 1), 1);
        ck_assert_int_ne(byte, '?');
        listening += byte == 'y';
    }
    close(pipes[END][1]);
    while (wait(&status) > 0)
        ck_assert_int_eq(status, 0);
    close(pipes[BEGIN][0]);
    close(pipes[RESULTS][0]);
    close(pipes[RESULTS][1]);
    close(pipes[END][0]);
    return listening;
}

START_TEST(several_at_once)
{
    for (int i = 0; i < ROUNDS; i++) {
        leave_over();
        ck_assert_int_eq(starters_run(), 1);
        unlink(address.sun_path);
    }
}
END_TEST

START_TEST(replaced_meanwhile)
{
    int fd = try_it();
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(unlink(address.sun_path), 0);
    int other = bind_other(SOCK_STREAM);
    ino_t before = inode_there();
    socket_file_remove(&address, &file);
    ck_assert_uint_eq(inode_there(), before);
    close(other);
    close(fd);
}
END_TEST

/* ---- locks of others ---- */

#define OWNER 64133
#define OTHER 64134

/* As another user makes it who wants to keep everybody out. */
static int make_foreign_lock(void)
{
    int fd = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(fchown(fd, OTHER, OTHER), 0);
    ck_assert_int_eq(fchmod(fd, 0666), 0);
    ck_assert_int_eq(flock(fd, LOCK_EX | LOCK_NB), 0);
    return fd;
}

START_TEST(lock_of_another_user)
{
    if (geteuid() != 0)
        return;
    leave_over();
    int lock = make_foreign_lock();
    int fd = try_it();
    ck_assert_int_ge(fd, 0);
    ck_assert(!file.lock_is_foreign);
    close(fd);
    close(lock);
}
END_TEST

/* In a sticky directory, as /tmp is. Whatever the other user makes there. */
START_TEST(lock_that_cannot_go)
{
    if (geteuid() != 0)
        return;
    leave_over();
    ck_assert_int_eq(chown(address.sun_path, OWNER, OWNER), 0);
    ck_assert_int_eq(chmod(directory, 01777), 0);
    for (int kind = 0; kind < 4; kind++) {
        int lock = kind < 2 ? make_foreign_lock() : -1;
        if (kind == 1) /* it can't even be opened */
            ck_assert_int_eq(chmod(lock_path, 0600), 0);
        if (kind == 2)
            ck_assert_int_eq(symlink("s", lock_path), 0);
        if (kind == 3)
            ck_assert_int_eq(mkdir(lock_path, 0700), 0);
        ck_assert_int_eq(lchown(lock_path, OTHER, OTHER), 0);
        ck_assert_int_eq(seteuid(OWNER), 0);
        int result = try_it();
        ck_assert_int_eq(seteuid(0), 0);
        ck_assert_int_eq(result, -EPERM);
        ck_assert(file.lock_is_foreign);
        ck_assert_uint_eq(file.lock_uid, OTHER);
        close(lock);
        ck_assert_int_eq(remove(lock_path), 0);
    }
    ck_assert_int_eq(chmod(directory, 0700), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("socket_file");
    TCase *tcase = tcase_create("socket_file");
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, nothing_there);
    tcase_add_test(tcase, left_over);
    tcase_add_test(tcase, no_socket);
    tcase_add_test(tcase, symbolic_links);
    tcase_add_test(tcase, sockets_of_others);
    tcase_add_test(tcase, another_one_replaces_it);
    tcase_add_test(tcase, several_at_once);
    tcase_add_test(tcase, replaced_meanwhile);
    tcase_add_test(tcase, lock_of_another_user);
    tcase_add_test(tcase, lock_that_cannot_go);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
