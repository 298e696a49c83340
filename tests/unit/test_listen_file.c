/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which file of rules is believed, and the groups of whoever asks. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "link_mgr/base/groups.h"
#include "link_mgr/hub/listen_file.h"
#include "tests/unit/suite.h"

static char directory[64], path[96], why[LISTEN_WHY_MAX];
static struct listen_rules *rules;
static bool is_public;

static void listen_file_setup(void)
{
    strcpy(directory, "/tmp/idc-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(directory));
    ck_assert_int_eq(chmod(directory, 0755), 0);
    snprintf(path, sizeof(path), "%s/listen", directory);
}

static void listen_file_teardown(void)
{
    unlink(path);
    rmdir(directory);
}

static void put_text(const char *text, size_t length, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, length), (ssize_t)length);
    ck_assert_int_eq(fchmod(fd, mode), 0);
    close(fd);
}

/* What reading it ends with; the rules are freed. */
static int read_once(bool must_exist)
{
    why[0] = '\0';
    rules = NULL;
    int error = listen_file_read(&(struct listen_file){path, must_exist}, &rules, &is_public, why);
    ck_assert_int_eq(error != 0, why[0] != '\0');
    if (error)
        ck_assert_ptr_null(rules);
    listen_rules_free(rules);
    return error;
}

#define SAYS(text) ck_assert_msg(strstr(why, text) != NULL, "%s", why)

START_TEST(a_file)
{
    put_text("allow root,@root *\n", 19, 0644);
    ck_assert_int_eq(read_once(true), 0);
    ck_assert_ptr_nonnull(rules);
    ck_assert(is_public);
    put_text("allow root,@root *\n", 19, 0640);
    ck_assert_int_eq(read_once(false), 0);
    ck_assert_ptr_nonnull(rules);
    ck_assert(!is_public);
    ck_assert_int_eq(chmod(path, 0644), 0);
    ck_assert_int_eq(chmod(directory, 0750), 0);
    ck_assert_int_eq(read_once(false), 0);
    ck_assert(!is_public);
}
END_TEST

START_TEST(none)
{
    ck_assert_int_eq(read_once(false), 0);
    ck_assert_ptr_null(rules);
    ck_assert_int_eq(read_once(true), -ENOENT);
    SAYS(path);
    SAYS("No such file");
    strcat(path, "/below");
    ck_assert_int_eq(read_once(false), 0);
    path[strlen(path) - strlen("/below")] = '\0';
    put_text("", 0, 0644);
    strcat(path, "/below");
    ck_assert_int_eq(read_once(false), 0);
    path[strlen(path) - strlen("/below")] = '\0';
}
END_TEST

/* A last line without its newline may be half of one. */
START_TEST(cut)
{
    const char text[] = "allow 0 8080\nallow 34 8080\n";
    char expected[256];
    put_text(text, 27, 0644);
    ck_assert_int_eq(read_once(false), 0);
    for (size_t length = 0; length < 27; length++) {
        put_text(text, length, 0644);
        if (length == 13)
            continue; /* whole, as far as one can see */
        ck_assert_int_eq(read_once(false), -EINVAL);
    }
    put_text(text, 24, 0644);
    ck_assert_int_eq(read_once(false), -EINVAL);
    snprintf(expected, sizeof(expected),
             "%s:2:12: the last line has no newline: is the file still being written?", path);
    ck_assert_str_eq(why, expected);
    put_text("allow 0 1\n# end", 15, 0644);
    ck_assert_int_eq(read_once(false), -EINVAL);
}
END_TEST

START_TEST(without_a_rule)
{
    static const char *const texts[] = {"", "\n", "# nothing\n", " \n\n"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        put_text(texts[i], strlen(texts[i]), 0644);
        ck_assert_int_eq(read_once(i % 2), -EINVAL);
        SAYS("/listen: there is no rule in it");
    }
}
END_TEST

/* Somebody writes it while it is being read, so many times. */
static int writes;

ssize_t pread(int fd, void *buf, size_t nbytes, off_t offset)
{
    ssize_t got = lseek(fd, offset, SEEK_SET) < 0 ? -1 : read(fd, buf, nbytes);
    if (got == 0 && writes > 0) {
        writes--;
        put_text("allow 0 1\nallow 0 2\nallow 0 3\n", writes % 2 ? 20 : 30, 0644);
    }
    return got;
}

START_TEST(written_meanwhile)
{
    put_text("allow 0 1\n", 10, 0644);
    writes = 2;
    ck_assert_int_eq(listen_file_read(&(struct listen_file){path, true}, &rules, &is_public, why),
                     0);
    ck_assert_uint_eq(listen_rules_count(rules), 3);
    listen_rules_free(rules);
    writes = 1000;
    ck_assert_int_eq(read_once(true), -EAGAIN);
    SAYS("is being written");
    writes = 0;
    ck_assert_int_eq(read_once(true), 0);
}
END_TEST

/* How often somebody has looked for the next user. */
static int users_read;

struct passwd *fgetpwent(FILE *stream)
{
    static struct passwd entry;
    static char buffer[4096];
    struct passwd *found;
    users_read++;
    return fgetpwent_r(stream, &entry, buffer, sizeof(buffer), &found) == 0 ? found : NULL;
}

/* For many names as for one. */
START_TEST(users_are_read_once)
{
    const char line[] = "allow root,root 1\n";
    char text[100 * sizeof(line)] = "";
    users_read = 0;
    put_text(line, strlen(line), 0644);
    ck_assert_int_eq(read_once(true), 0);
    int once = users_read;
    ck_assert_int_gt(once, 0);
    for (int i = 0; i < 100; i++)
        strcat(text, line);
    put_text(text, strlen(text), 0644);
    users_read = 0;
    ck_assert_int_eq(read_once(true), 0);
    ck_assert_int_eq(users_read, once);
    put_text("allow 0,1 1\n", 12, 0644);
    ck_assert_int_eq(read_once(true), 0);
    ck_assert_int_eq(users_read, once); /* no name, no need */
}
END_TEST

START_TEST(something_wrong_in_it)
{
    char expected[160];
    put_text("allow * *\n\nallow  no.such.user  80\n", 35, 0644);
    ck_assert_int_eq(read_once(false), -EINVAL);
    snprintf(expected, sizeof(expected), "%s:3:8: there is no user \"no.such.user\" in /etc/passwd",
             path);
    ck_assert_str_eq(why, expected);
}
END_TEST

/* Whoever can write it is asked for nothing else. */
START_TEST(what_others_can_write)
{
    const mode_t modes[] = {0664, 0646, 0622, 0602};
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        put_text("allow * *\n", 10, modes[i]);
        ck_assert_int_eq(read_once(false), -EPERM);
        SAYS("/listen: can be written by");
    }
    put_text("allow * *\n", 10, 0644);
    ck_assert_int_eq(chmod(directory, 0775), 0);
    ck_assert_int_eq(read_once(false), -EPERM);
    SAYS("can be written by its group");
    ck_assert_int_eq(chmod(directory, 0757), 0);
    ck_assert_int_eq(read_once(false), -EPERM);
    SAYS("can be written by everybody");
    ck_assert_int_eq(chmod(directory, 01777), 0);
    ck_assert_int_eq(read_once(false), 0);
}
END_TEST

START_TEST(what_belongs_to_others)
{
    if (geteuid() != 0)
        return; /* only root can give something away */
    put_text("allow * *\n", 10, 0644);
    ck_assert_int_eq(chown(path, 1000, 0), 0);
    ck_assert_int_eq(read_once(false), -EPERM);
    SAYS("/listen: belongs to another user than root");
    ck_assert_int_eq(chown(path, 0, 1000), 0);
    ck_assert_int_eq(read_once(false), 0);
    ck_assert_int_eq(chown(directory, 1000, 0), 0);
    ck_assert_int_eq(read_once(false), -EPERM);
    SAYS("belongs to another user than root");
    ck_assert_int_eq(chmod(directory, 01755), 0); /* its owner could rename the file all the same */
    ck_assert_int_eq(read_once(false), -EPERM);
}
END_TEST

START_TEST(no_file)
{
    ck_assert_int_eq(mkfifo(path, 0644), 0);
    ck_assert_int_eq(read_once(false), -EINVAL);
    SAYS("is not a file");
    unlink(path);
    ck_assert_int_eq(mkdir(path, 0755), 0);
    ck_assert_int_eq(read_once(false), -EINVAL);
    SAYS("is not a file");
    rmdir(path);
}
END_TEST

START_TEST(symbolic_links)
{
    static const char *const targets[] = {"/dev/zero", "/etc/passwd", "whole", "nowhere", "listen"};
    char whole[160];
    put_text("allow * *\n", 10, 0644);
    snprintf(whole, sizeof(whole), "%s/whole", directory);
    ck_assert_int_eq(rename(path, whole), 0);
    for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
        ck_assert_int_eq(symlink(targets[i], path), 0);
        ck_assert_int_eq(read_once(false), -ELOOP);
        SAYS("/listen: is a symbolic link");
        unlink(path);
    }
    unlink(whole);
}
END_TEST

/* path is below a directory of that mode: by a symbolic link to it, or not. */
static int read_below(mode_t mode, bool by_link)
{
    char above[96], below[160], link[96], usual[96];
    snprintf(above, sizeof(above), "%s/above", directory);
    snprintf(below, sizeof(below), "%s/below", above);
    snprintf(link, sizeof(link), "%s/link", directory);
    ck_assert_int_eq(mkdir(above, 0755), 0);
    ck_assert_int_eq(mkdir(below, 0755), 0);
    ck_assert_int_eq(symlink(below, link), 0);
    ck_assert_int_eq(chmod(above, mode), 0);
    strcpy(usual, path);
    snprintf(path, sizeof(path), "%s/%s/listen", directory, by_link ? "link" : "above/below");
    put_text("allow * *\n", 10, 0644);
    int error = read_once(true);
    unlink(path);
    unlink(link);
    rmdir(below);
    rmdir(above);
    strcpy(path, usual);
    return error;
}

START_TEST(directories_above)
{
    for (int by_link = 0; by_link < 2; by_link++) {
        ck_assert_int_eq(read_below(0755, by_link), 0);
        ck_assert(is_public);
        ck_assert_int_eq(read_below(0750, by_link), 0);
        ck_assert(!is_public);
        ck_assert_int_eq(read_below(01777, by_link), 0);
        ck_assert_int_eq(read_below(0775, by_link), -EPERM);
        SAYS("/above: can be written by its group");
        ck_assert_int_eq(read_below(0757, by_link), -EPERM);
        SAYS("/above: can be written by everybody");
    }
}
END_TEST

START_TEST(its_length)
{
    static char text[LISTEN_TEXT_MAX + 1];
    memset(text, '\n', sizeof(text));
    memcpy(text, "allow * *", 9);
    put_text(text, LISTEN_TEXT_MAX, 0644);
    ck_assert_int_eq(read_once(false), 0);
    put_text(text, LISTEN_TEXT_MAX + 1, 0644);
    ck_assert_int_eq(read_once(false), -EFBIG);
    SAYS("too large");
}
END_TEST

/* ---- groups ---- */

/* What is known of a program that was in `count` groups when it made the socket. */
static struct groups groups_of_program(int count)
{
    int fds[2];
    gid_t list[2 * GROUPS_MAX];
    struct groups groups;
    for (int i = 0; i < count; i++)
        list[i] = (gid_t)(5000 + i);
    ck_assert_int_eq(setgroups((size_t)count, list), 0);
    ck_assert_int_eq(setegid(4711), 0);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    ck_assert_int_eq(setegid(0), 0);
    ck_assert_int_eq(setgroups(0, list), 0); /* later changes do not count */
    groups = groups_of_peer(fds[0]);
    close(fds[0]);
    close(fds[1]);
    return groups;
}

START_TEST(groups_of_a_program)
{
    const char *emulator = getenv("EMULATOR");
    if (geteuid() != 0)
        return; /* it cannot choose */
    if (emulator && *emulator)
        return; /* QEMU's emulation of a user's program takes the list for one number */
    const int counts[] = {0, 1, 5, GROUPS_MAX - 1};
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        struct groups groups = groups_of_program(counts[i]), copy = groups_copy(&groups);
        groups_free(&groups);
        ck_assert(copy.known);
        ck_assert_uint_eq(copy.count, (unsigned)counts[i] + 1);
        ck_assert(groups_have(&copy, 4711, false));
        ck_assert(!groups_have(&copy, 4712, true));
        ck_assert(!groups_have(&copy, 0, true));
        ck_assert(counts[i] == 0 || groups_have(&copy, (uint32_t)(4999 + counts[i]), false));
        ck_assert(!groups_have(&copy, (uint32_t)(5000 + counts[i]), true));
        groups_free(&copy);
    }
    struct groups many = groups_of_program(GROUPS_MAX);
    ck_assert(!many.known);
    ck_assert(groups_have(&many, 1, true) && !groups_have(&many, 4711, false));
    groups_free(&many);
}
END_TEST

START_TEST(groups_of_nobody)
{
    struct groups groups = groups_of_peer(STDIN_FILENO);
    ck_assert(!groups.known && groups.count == 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("the file of who may listen");
    TCase *tests = tcase_create("all");
    tcase_add_checked_fixture(tests, listen_file_setup, listen_file_teardown);
    tcase_add_test(tests, a_file);
    tcase_add_test(tests, none);
    tcase_add_test(tests, cut);
    tcase_add_test(tests, without_a_rule);
    tcase_add_test(tests, written_meanwhile);
    tcase_add_test(tests, users_are_read_once);
    tcase_add_test(tests, something_wrong_in_it);
    tcase_add_test(tests, what_others_can_write);
    tcase_add_test(tests, what_belongs_to_others);
    tcase_add_test(tests, no_file);
    tcase_add_test(tests, symbolic_links);
    tcase_add_test(tests, directories_above);
    tcase_add_test(tests, its_length);
    tcase_add_test(tests, groups_of_a_program);
    tcase_add_test(tests, groups_of_nobody);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
