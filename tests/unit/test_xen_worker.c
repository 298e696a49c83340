/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The thread of the xen platform that does what may block. */
#include <check.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "link_mgr/platform/xen/worker.h"
#include "tests/unit/suite.h"

#define WAIT_MS 20000 /* never used up when all is well */

struct test_job {
    struct worker_job job;
    int number;
    int wait_for; /* descriptor to read from, or -1 */
};

static struct worker worker;
static int ran[100], run_count, done[100], done_count;
static pthread_t run_by;

static void xen_worker_run(struct worker_job *job)
{
    struct test_job *test = (struct test_job *)job;
    char byte;
    if (test->wait_for >= 0)
        ck_assert_int_eq(read(test->wait_for, &byte, 1), 1);
    run_by = pthread_self();
    ran[run_count++] = test->number;
}

static void xen_worker_finish(struct worker_job *job)
{
    done[done_count++] = ((struct test_job *)job)->number;
    free(job);
}

static void post_job(int number, int wait_for)
{
    struct test_job *test = malloc(sizeof(*test));
    *test = (struct test_job){.job = {.run = xen_worker_run, .done = xen_worker_finish},
                              .number = number,
                              .wait_for = wait_for};
    xen_worker_post(&worker, &test->job);
}

static bool is_ready(int timeout_ms)
{
    struct pollfd fd = {.fd = worker.ready, .events = POLLIN};
    return poll(&fd, 1, timeout_ms) == 1;
}

static void xen_worker_setup(void)
{
    run_count = done_count = 0;
    ck_assert_int_eq(xen_worker_start(&worker), 0);
}

START_TEST(in_order)
{
    for (int i = 0; i < 50; i++)
        post_job(i, -1);
    while (done_count < 50) {
        ck_assert(is_ready(WAIT_MS));
        xen_worker_collect(&worker);
    }
    for (int i = 0; i < 50; i++) {
        ck_assert_int_eq(ran[i], i);
        ck_assert_int_eq(done[i], i);
    }
    ck_assert(!pthread_equal(run_by, pthread_self()));
    /* The last job may have been collected before the worker came to tell of it, however late: once
     * more, and no more. */
    int more = 0;
    for (int i = 0; i < 3; i++)
        if (is_ready(100)) {
            more++;
            xen_worker_collect(&worker);
        }
    ck_assert_int_le(more, 1);
    ck_assert(xen_worker_stop(&worker, WAIT_MS));
}
END_TEST

START_TEST(told)
{
    ck_assert(!is_ready(0));
    xen_worker_tell(&worker);
    xen_worker_tell(&worker);
    ck_assert(is_ready(0));
    xen_worker_collect(&worker);
    ck_assert(!is_ready(0));
    ck_assert(xen_worker_stop(&worker, WAIT_MS));
}
END_TEST

START_TEST(stop_does_what_waits)
{
    int gate[2];
    ck_assert_int_eq(pipe(gate), 0);
    post_job(0, gate[0]);
    for (int i = 1; i < 10; i++)
        post_job(i, -1);
    ck_assert_int_eq(write(gate[1], "x", 1), 1);
    ck_assert(xen_worker_stop(&worker, WAIT_MS));
    ck_assert_int_eq(done_count, 10);
    close(gate[0]);
    close(gate[1]);
}
END_TEST

START_TEST(stop_does_not_wait_for_ever)
{
    struct timespec before, after;
    int gate[2];
    ck_assert_int_eq(pipe(gate), 0);
    post_job(0, gate[0]);
    clock_gettime(CLOCK_MONOTONIC, &before);
    ck_assert(!xen_worker_stop(&worker, 200)); /* or this test takes too long */
    clock_gettime(CLOCK_MONOTONIC, &after);
    double seconds =
        (double)(after.tv_sec - before.tv_sec) + (double)(after.tv_nsec - before.tv_nsec) / 1e9;
    ck_assert_double_ge(seconds, 0.19);
    ck_assert_int_eq(done_count, 0);
}
END_TEST

static int sources_seen;

static void source_ready(void *context)
{
    char byte;
    ck_assert_int_eq(read(*(int *)context, &byte, 1), 1);
    sources_seen++;
    xen_worker_tell(&worker);
}

static int source[2];

static void wait_for_source(struct worker_job *job)
{
    (void)job;
    xen_worker_wait_for(&worker, source[0], source_ready, &source[0]);
}

START_TEST(a_source)
{
    struct test_job *job = malloc(sizeof(*job));
    ck_assert_int_eq(pipe(source), 0);
    *job = (struct test_job){.job = {.run = wait_for_source, .done = xen_worker_finish},
                             .wait_for = -1};
    xen_worker_post(&worker, &job->job);
    ck_assert(is_ready(WAIT_MS));
    xen_worker_collect(&worker);
    for (int i = 1; i <= 3; i++) {
        ck_assert_int_eq(write(source[1], "x", 1), 1);
        ck_assert(is_ready(WAIT_MS));
        xen_worker_collect(&worker);
        ck_assert_int_eq(sources_seen, i);
        post_job(i, -1); /* jobs still run */
        ck_assert(is_ready(WAIT_MS));
        xen_worker_collect(&worker);
    }
    ck_assert(xen_worker_stop(&worker, WAIT_MS));
    close(source[0]);
    close(source[1]);
}
END_TEST

static sigset_t thread_mask;

static void note_mask(struct worker_job *job)
{
    (void)job;
    pthread_sigmask(SIG_SETMASK, NULL, &thread_mask);
}

START_TEST(signals_are_blocked)
{
    struct test_job *job = malloc(sizeof(*job));
    *job = (struct test_job){.job = {.run = note_mask, .done = xen_worker_finish}};
    xen_worker_post(&worker, &job->job);
    ck_assert(xen_worker_stop(&worker, WAIT_MS));
    ck_assert(sigismember(&thread_mask, SIGTERM));
    ck_assert(sigismember(&thread_mask, SIGCHLD));
    pthread_sigmask(SIG_SETMASK, NULL, &thread_mask);
    ck_assert(!sigismember(&thread_mask, SIGTERM));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("xen_worker");
    TCase *tests = tcase_create("worker");
    tcase_add_checked_fixture(tests, xen_worker_setup, NULL);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, in_order);
    tcase_add_test(tests, told);
    tcase_add_test(tests, stop_does_what_waits);
    tcase_add_test(tests, stop_does_not_wait_for_ever);
    tcase_add_test(tests, a_source);
    tcase_add_test(tests, signals_are_blocked);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
