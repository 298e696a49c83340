/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A domain that writes its nodes of Xenstore without a pause. What this domain writes is written
 * all the same, what others write is seen, and little is looked at again and again.
 *
 * The functions of libxenstore are those below: nodes are as in `store_value`, and events are those
 * that the test has made. The descriptor for events is readable as long as there are any.
 */
#include <check.h>
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
    unsigned value; /* of all nodes: a new one for each read */
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
        made = make_event(OTHER "/alive", xs.tokens[1]);
    }
    if (xs.flood == 0 && !xs.other)
        (void)!read(xs.fd, &ignored, sizeof(ignored));
    pthread_mutex_unlock(&xs.mutex);
    return made;
}

void *xs_read(struct xs_handle *handle, xs_transaction_t transaction, const char *path,
              unsigned *length)
{
    char text[16] = "5"; /* the own domid */
    (void)handle, (void)transaction;
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
    pthread_mutex_unlock(&xs.mutex);
    if (length)
        *length = (unsigned)strlen(text);
    return strdup(text);
}

char **xs_directory(struct xs_handle *h, xs_transaction_t t, const char *path, unsigned *num)
{
    char **names = malloc(NODES * (sizeof(char *) + 8));
    (void)h, (void)t, (void)path;
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

static void wait_moment(void)
{
    poll(NULL, 0, 1);
}

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
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
