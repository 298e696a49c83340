/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A domain that writes its nodes of Xenstore without a pause. What this domain writes is written
 * all the same, what others write is seen, and little is looked at again and again.
 *
 * The functions of libxenstore are those below: nodes are as in `store_value`, and events are those
 * that the test has made. The descriptor for events is readable as long as there are any.
 */
#include <check.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <xenstore.h>

#include "link_mgr/platform/xen/store.h"
#include "tests/unit/suite.h"

#define WAIT_MS 20000 /* never used up when all is well */
#define FLOODER "/local/domain/7/data/idc/5"
#define OTHER "/local/domain/8/data/idc/5"
#define OWN "/local/domain/5/data/idc/8/alive"
#define FLOOD 200000
#define NODES 1000 /* of each domain */
#define READ 16    /* of those, at most */

static struct worker worker;
static struct store store;
static struct store_event event;

static struct {
    pthread_mutex_t mutex;
    int fd;             /* readable while there are events */
    long flood;         /* events about the flooder that are left; -1: without end */
    bool other;         /* then comes one about the other */
    char tokens[2][16]; /* of the watches on the two */
    long looks;         /* nodes of the flooder that were read */
    int during;         /* so often something changes while one is read */
    char written[PLATFORM_PATH_MAX + 1];
    unsigned value;     /* of all nodes: a new one for each read */
    int error;          /* of reading the other's node "alive"; 0: none */
    bool error_of_list; /* instead: of reading the names in its directory */
    long errors;        /* so often it was returned */
    bool held;          /* who reads the other's node after "alive" waits until this ends */
} xs = {.mutex = PTHREAD_MUTEX_INITIALIZER};

/* With the mutex held: events about the flooder, and then perhaps one about the other. */
static void add_events(long count, bool other)
{
    const uint64_t one = 1;
    xs.flood = count;
    xs.other = other;
    ck_assert_int_eq(write(xs.fd, &one, sizeof(one)), sizeof(one));
}

/* ---- libxenstore ---- */

struct xs_handle *xs_open(unsigned long flags)
{
    (void)flags;
    return (struct xs_handle *)&xs;
}

void xs_close(struct xs_handle *xsh)
{
    (void)xsh;
}

int xs_fileno(struct xs_handle *handle)
{
    (void)handle;
    return xs.fd;
}

bool xs_watch(struct xs_handle *handle, const char *path, const char *token)
{
    (void)handle;
    pthread_mutex_lock(&xs.mutex);
    if (strcmp(path, FLOODER) == 0 || strcmp(path, OTHER) == 0)
        snprintf(xs.tokens[strcmp(path, OTHER) == 0], sizeof(xs.tokens[0]), "%s", token);
    pthread_mutex_unlock(&xs.mutex);
    return true;
}

bool xs_unwatch(struct xs_handle *handle, const char *path, const char *token)
{
    (void)handle, (void)path, (void)token;
    return true;
}

/* As libxenstore does it: one piece of memory with both texts in it. */
static char **make_event(const char *path, const char *token)
{
    char **made = malloc(2 * sizeof(char *) + strlen(path) + strlen(token) + 2);
    ck_assert_ptr_nonnull(made);
    made[XS_WATCH_PATH] = (char *)&made[2];
    made[XS_WATCH_TOKEN] = made[XS_WATCH_PATH] + strlen(path) + 1;
    strcpy(made[XS_WATCH_PATH], path);
    strcpy(made[XS_WATCH_TOKEN], token);
    return made;
}

char **xs_check_watch(struct xs_handle *handle)
{
    char **made = NULL, path[PLATFORM_PATH_MAX + 1];
    uint64_t ignored;
    (void)handle;
    pthread_mutex_lock(&xs.mutex);
    if (xs.flood != 0) {
        xs.flood -= xs.flood > 0;
        snprintf(path, sizeof(path), FLOODER "/x%ld", xs.flood & 1023);
        made = make_event(path, xs.tokens[0]);
    } else if (xs.other) {
        xs.other = false;
        made = make_event(xs.error_of_list ? OTHER : OTHER "/alive", xs.tokens[1]);
    }
    if (xs.flood == 0 && !xs.other)
        (void)!read(xs.fd, &ignored, sizeof(ignored));
    pthread_mutex_unlock(&xs.mutex);
    return made;
}

static void wait_moment(void)
{
    poll(NULL, 0, 1);
}

static bool is_held(void)
{
    pthread_mutex_lock(&xs.mutex);
    bool held = xs.held;
    pthread_mutex_unlock(&xs.mutex);
    return held;
}

void *xs_read(struct xs_handle *handle, xs_transaction_t transaction, const char *path,
              unsigned *length)
{
    char text[16] = "5"; /* the own domid */
    (void)handle, (void)transaction;
    while (strcmp(path, OTHER "/n1") == 0 && is_held())
        wait_moment();
    pthread_mutex_lock(&xs.mutex);
    if (strncmp(path, FLOODER "/", strlen(FLOODER) + 1) == 0) {
        xs.looks++;
        if (xs.during > 0)
            add_events(1, false);
        xs.during -= xs.during > 0;
    }
    if (strcmp(path, FLOODER) == 0 || strcmp(path, OTHER) == 0)
        text[0] = '\0';
    else if (strcmp(path, "domid") != 0)
        snprintf(text, sizeof(text), "%u", ++xs.value);
    int error = !xs.error_of_list && strcmp(path, OTHER "/alive") == 0 ? xs.error : 0;
    xs.errors += error != 0;
    pthread_mutex_unlock(&xs.mutex);
    if (error) {
        errno = error;
        return NULL;
    }
    if (length)
        *length = (unsigned)strlen(text);
    return strdup(text);
}

char **xs_directory(struct xs_handle *h, xs_transaction_t t, const char *path, unsigned *num)
{
    char **names = malloc(NODES * (sizeof(char *) + 8));
    (void)h, (void)t;
    pthread_mutex_lock(&xs.mutex);
    int error = xs.error_of_list && strcmp(path, OTHER) == 0 ? xs.error : 0;
    xs.errors += error != 0;
    pthread_mutex_unlock(&xs.mutex);
    if (error) {
        free(names);
        errno = error;
        return NULL;
    }
    for (unsigned i = 0; i < NODES; i++) {
        names[i] = (char *)&names[NODES] + 8 * i;
        snprintf(names[i], 8, i == 0 ? "alive" : "n%u", i);
    }
    *num = NODES;
    return names;
}

xs_transaction_t xs_transaction_start(struct xs_handle *handle)
{
    (void)handle;
    return 1;
}

bool xs_transaction_end(struct xs_handle *handle, xs_transaction_t transaction, bool abort)
{
    (void)handle, (void)transaction, (void)abort;
    return true;
}

bool xs_write(struct xs_handle *handle, xs_transaction_t transaction, const char *path,
              const void *data, unsigned length)
{
    (void)handle, (void)transaction, (void)data, (void)length;
    pthread_mutex_lock(&xs.mutex);
    snprintf(xs.written, sizeof(xs.written), "%s", path);
    pthread_mutex_unlock(&xs.mutex);
    return true;
}

bool xs_set_permissions(struct xs_handle *handle, xs_transaction_t transaction, const char *path,
                        struct xs_permissions *permissions, unsigned count)
{
    (void)handle, (void)transaction, (void)path, (void)permissions, (void)count;
    return true;
}

bool xs_rm(struct xs_handle *handle, xs_transaction_t transaction, const char *path)
{
    (void)handle, (void)transaction, (void)path;
    return true;
}

/* ---- the tests ---- */

static bool is_watched(void)
{
    pthread_mutex_lock(&xs.mutex);
    bool watched = xs.tokens[0][0] && xs.tokens[1][0];
    pthread_mutex_unlock(&xs.mutex);
    return watched;
}

static bool is_written(void)
{
    pthread_mutex_lock(&xs.mutex);
    bool written = strcmp(xs.written, OWN) == 0;
    pthread_mutex_unlock(&xs.mutex);
    return written;
}

static long count_looks(void)
{
    pthread_mutex_lock(&xs.mutex);
    long looks = xs.looks;
    pthread_mutex_unlock(&xs.mutex);
    return looks;
}

static void begin_flood(long count)
{
    pthread_mutex_lock(&xs.mutex);
    add_events(count, true);
    pthread_mutex_unlock(&xs.mutex);
}

static void xen_watch_setup(void)
{
    xs.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    ck_assert_int_ge(xs.fd, 0);
    ck_assert_int_eq(xen_worker_start(&worker), 0);
    ck_assert_int_eq(xen_store_open(&store, &worker, NULL, WAIT_MS), 0);
    ck_assert_int_eq(xen_store_subscribe(&store, FLOODER), 0);
    ck_assert_int_eq(xen_store_subscribe(&store, OTHER), 0);
    for (int i = 0; i < WAIT_MS && !is_watched(); i++)
        wait_moment();
    ck_assert(is_watched());
}

static void xen_watch_teardown(void)
{
    xen_store_close(&store);
    ck_assert(xen_worker_stop(&worker, WAIT_MS));
    xen_store_free(&store);
    close(xs.fd);
}

START_TEST(own_nodes_are_written)
{
    struct store_node node = {.path = OWN, .value = "1"};
    begin_flood(-1);
    ck_assert_int_eq(xen_store_publish(&store, &node, 1, 8), 0);
    for (int i = 0; i < WAIT_MS && !is_written(); i++)
        wait_moment();
    ck_assert(is_written());
    begin_flood(0);
}
END_TEST

/* Behind very many events. Each look takes requests, so few may come before. Looks are counted by
 * nodes. */
START_TEST(others_are_seen)
{
    bool seen = false;
    long before = count_looks();
    begin_flood(FLOOD);
    for (int i = 0; i < WAIT_MS && !seen; i++) {
        while (!seen && xen_store_next(&store, &event) == 1)
            seen = strcmp(event.path, OTHER "/alive") == 0;
        if (!seen)
            wait_moment();
    }
    ck_assert(seen);
    ck_assert_int_lt(count_looks() - before, READ * FLOOD / 1000);
}
END_TEST

/* What changes while it is looked at is looked at once more. */
START_TEST(the_latest_is_seen)
{
    pthread_mutex_lock(&xs.mutex);
    xs.during = 3;
    pthread_mutex_unlock(&xs.mutex);
    begin_flood(1);
    for (int i = 0; i < WAIT_MS && count_looks() < 4; i++)
        wait_moment();
    ck_assert_int_ge(count_looks(), 4);
}
END_TEST

/* Two nodes that change do not make all others be read. */
START_TEST(few_nodes_are_read)
{
    bool seen = false;
    begin_flood(2);
    for (int i = 0; i < WAIT_MS && !seen; i++) {
        while (!seen && xen_store_next(&store, &event) == 1)
            seen = strcmp(event.path, OTHER "/alive") == 0;
        if (!seen)
            wait_moment();
    }
    ck_assert(seen);
    ck_assert_int_le(count_looks(), 2 * READ);
}
END_TEST

static void set_error(int error, bool of_list)
{
    pthread_mutex_lock(&xs.mutex);
    xs.error = error;
    xs.error_of_list = of_list;
    xs.errors = 0;
    add_events(0, true);
    pthread_mutex_unlock(&xs.mutex);
}

static long count_errors(void)
{
    pthread_mutex_lock(&xs.mutex);
    long errors = xs.errors;
    pthread_mutex_unlock(&xs.mutex);
    return errors;
}

/* What the other's node "alive" is told to be: 1 present, 0 absent; -1: nothing is told. */
static int told_alive(void)
{
    int told = -1;
    while (xen_store_next(&store, &event) == 1)
        if (strcmp(event.path, OTHER "/alive") == 0)
            told = event.present;
    return told;
}

static int wait_for_alive(void)
{
    int told = -1;
    for (int i = 0; i < WAIT_MS && (told = told_alive()) < 0; i++)
        wait_moment();
    return told;
}

/* A node is absent if the store says that there is none for us. After any other error what was
 * known stays, and it is read again without another event. */
START_TEST(an_error_is_no_absence)
{
    static const int errors[] = {ENOENT, EACCES, EAGAIN, ENOMEM, EBUSY, EINVAL};
    const bool of_list = _i & 1, absent = _i / 2 < 2;
    begin_flood(0);
    ck_assert_int_eq(wait_for_alive(), 1);
    set_error(errors[_i / 2], of_list);
    for (int i = 0; i < WAIT_MS && count_errors() == 0; i++)
        wait_moment();
    if (absent) {
        ck_assert_int_eq(wait_for_alive(), 0);
        return;
    }
    for (int i = 0; i < WAIT_MS && count_errors() == 1; i++)
        wait_moment();
    ck_assert_int_lt(count_errors(), 5); /* it is not asked without a pause */
    ck_assert_int_ne(told_alive(), 0);
    pthread_mutex_lock(&xs.mutex);
    xs.error = 0;
    pthread_mutex_unlock(&xs.mutex);
    ck_assert_int_eq(wait_for_alive(), 1);
}
END_TEST

static void hold_looks(bool held)
{
    pthread_mutex_lock(&xs.mutex);
    xs.held = held;
    pthread_mutex_unlock(&xs.mutex);
}

/* While the first look is at work, nothing is told: half of a policy is another policy. */
START_TEST(half_is_not_told)
{
    hold_looks(true);
    set_error(0, true);
    for (int i = 0; i < 50; i++) {
        ck_assert_int_eq(xen_store_next(&store, &event), 0);
        wait_moment();
    }
    hold_looks(false);
    ck_assert_int_eq(wait_for_alive(), 1);
}
END_TEST

/* What was told once is not held back by another look. */
START_TEST(a_look_keeps_nothing_back)
{
    set_error(0, true);
    ck_assert_int_eq(wait_for_alive(), 1);
    hold_looks(true);
    set_error(0, true);
    ck_assert_int_eq(xen_store_subscribe(&store, OTHER), 0);
    ck_assert_int_eq(wait_for_alive(), 1);
    hold_looks(false);
}
END_TEST

/* Without a gap in which a change could be missed. */
START_TEST(all_is_told_again)
{
    begin_flood(0);
    ck_assert_int_eq(wait_for_alive(), 1);
    while (xen_store_next(&store, &event) == 1)
        ;
    ck_assert_int_eq(xen_store_subscribe(&store, OTHER), 0);
    ck_assert_int_eq(wait_for_alive(), 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("xen_watch");
    TCase *tests = tcase_create("watch");
    tcase_add_checked_fixture(tests, xen_watch_setup, xen_watch_teardown);
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, own_nodes_are_written);
    tcase_add_test(tests, others_are_seen);
    tcase_add_test(tests, the_latest_is_seen);
    tcase_add_test(tests, few_nodes_are_read);
    tcase_add_loop_test(tests, an_error_is_no_absence, 0, 12);
    tcase_add_test(tests, half_is_not_told);
    tcase_add_test(tests, a_look_keeps_nothing_back);
    tcase_add_test(tests, all_is_told_again);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
