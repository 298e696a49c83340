/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * local_fixture.h - what the tests of the local platform have in common. They have a store
 * directory of their own, and count descriptors before and after. They wait by poll, with a
 * deadline, and never sleep.
 */
#ifndef IDC_TESTS_LOCAL_FIXTURE_H
#define IDC_TESTS_LOCAL_FIXTURE_H

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "link_mgr/platform/local/store.h"
#include "link_mgr/core/platform.h"
#include "tests/unit/count.h"
#include "tests/unit/suite.h"

static char store_dir[64];
static int descriptors_before;
static unsigned log_lines;
static char why[256];

static inline int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static const char *counted_prefix;
static int counted_files;

static inline int count_file(const char *path, const struct stat *status, int type,
                             struct FTW *place)
{
    (void)status;
    const char *name = path + place->base;
    counted_files += type != FTW_D && strncmp(name, counted_prefix, strlen(counted_prefix)) == 0;
    return 0;
}

/* Files in a directory and all below it whose name begins so. */
static inline int count_files(const char *directory, const char *prefix)
{
    counted_prefix = prefix;
    counted_files = 0;
    ck_assert_int_eq(nftw(directory, count_file, 8, FTW_PHYS), 0);
    return counted_files;
}

static inline void remove_store(void)
{
    char command[128];
    snprintf(command, sizeof(command), "rm -rf '%s'", store_dir);
    ck_assert_int_eq(system(command), 0);
}

static inline void make_store(void)
{
    strcpy(store_dir, "/tmp/idc-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(store_dir));
    log_lines = 0;
    descriptors_before = count_descriptors();
}

/* Every test ends with as many descriptors as it began with, and leaves no half-written file. */
static inline void check_and_remove_store(void)
{
    ck_assert_int_eq(count_descriptors(), descriptors_before);
    if (access(store_dir, F_OK) == 0)
        ck_assert_int_eq(count_files(store_dir, ".tmp-"), 0);
    remove_store();
}

static inline void count_log(int priority, const char *text)
{
    (void)priority;
    (void)text;
    log_lines++;
}

static inline int try_open(const char *directory, int domid, struct platform **platform)
{
    struct platform_config config = {.store = directory, .domid = domid, .log = count_log};
    why[0] = '\0';
    return platform_local.open(&config, platform, why, sizeof(why));
}

static inline struct platform *open_domain(int domid)
{
    struct platform *platform = NULL;
    int result = try_open(store_dir, domid, &platform);
    ck_assert_msg(result == 0, "open: %s", why);
    return platform;
}

/* A child that ends with the test, however that ends. */
static inline pid_t fork_child(void)
{
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0)
        prctl(PR_SET_PDEATHSIG, SIGKILL);
    return child;
}

static inline bool local_fixture_readable(int fd, int timeout_ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, timeout_ms) == 1;
}

/* Writes a file of the store as it stands. */
static inline void put_file(const char *name, const char *bytes, size_t length)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/%s", store_dir, name);
    for (char *c = strchr(path + strlen(store_dir) + 1, '/'); c; c = strchr(c + 1, '/')) {
        *c = '\0';
        ck_assert(mkdir(path, 0700) == 0 || errno == EEXIST);
        *c = '/';
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, bytes, length), (ssize_t)length);
    close(fd);
}

#endif
