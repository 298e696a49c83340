/* SPDX-License-Identifier: GPL-2.0-or-later */
/* store.c - see store.h. Functions named do_... are jobs. They run on the worker's thread, and so
 * do the functions that they call.
 */
#include "link_mgr/platform/xen/store_private.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "common/text_cut.h"

#define TRANSACTION_ATTEMPTS 100

void xen_store_complain(struct store *store, const char *format, ...)
{
    char text[PLATFORM_PATH_MAX + 128];
    va_list arguments;
    va_start(arguments, format);
    text_mark_cut(text, sizeof(text), vsnprintf(text, sizeof(text), format, arguments));
    va_end(arguments);
    if (store->log)
        store->log(LOG_WARNING, text);
}

/* Asked after a failed call: has the connection to xenstored gone? */
bool xen_store_is_lost(struct store *store)
{
    if (errno != EBADF && errno != EPIPE && errno != EIO && errno != ECONNRESET)
        return false;
    pthread_mutex_lock(&store->mutex);
    store->lost = true;
    pthread_mutex_unlock(&store->mutex);
    xen_worker_tell(store->worker);
    return true;
}

int xen_store_domid(struct store *store)
{
    pthread_mutex_lock(&store->mutex);
    int domid = store->domid;
    pthread_mutex_unlock(&store->mutex);
    return domid;
}

static void free_job(struct worker_job *job)
{
    free(job);
}

struct store_job *xen_store_new_job(struct store *store, void (*run)(struct worker_job *),
                                    int count)
{
    struct store_job *job = calloc(1, sizeof(*job) + (size_t)count * sizeof(job->nodes[0]));
    if (!job)
        return NULL;
    job->job.run = run;
    job->job.done = free_job;
    job->store = store;
    job->count = count;
    return job;
}

bool xen_store_valid_path(const char *path)
{
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-/_@";
    size_t length = strlen(path);
    return path[0] == '/' && length <= PLATFORM_PATH_MAX && path[length - 1] != '/' &&
           strspn(path, allowed) == length && !strstr(path, "//");
}

/* ---- publishing ---- */

static bool set_readable(struct store *store, xs_transaction_t transaction, const char *path,
                         int reader)
{
    struct xs_permissions permissions[2] = {
        {.id = (unsigned)xen_store_domid(store), .perms = XS_PERM_NONE},
        {.id = (unsigned)reader, .perms = XS_PERM_READ},
    };
    return xs_set_permissions(store->xs, transaction, path, permissions, reader < 0 ? 1 : 2);
}

static bool set_directory_readable(struct store *store, xs_transaction_t transaction,
                                   const char *path, int reader)
{
    char directory[PLATFORM_PATH_MAX + 1];
    size_t length = (size_t)(strrchr(path, '/') - path);
    memcpy(directory, path, length);
    directory[length] = '\0';
    return reader < 0 || set_readable(store, transaction, directory, reader);
}

static bool write_nodes(const struct store_job *job, xs_transaction_t transaction)
{
    for (int i = 0; i < job->count; i++) {
        const struct store_node *node = &job->nodes[i];
        if (!xs_write(job->store->xs, transaction, node->path, node->value,
                      (unsigned)strlen(node->value)) ||
            !set_readable(job->store, transaction, node->path, job->reader))
            return false;
    }
    return set_directory_readable(job->store, transaction, job->nodes[0].path, job->reader);
}

static bool try_publish(const struct store_job *job)
{
    struct xs_handle *xs = job->store->xs;
    xs_transaction_t transaction = xs_transaction_start(xs);
    if (transaction == XBT_NULL)
        return false;
    if (write_nodes(job, transaction))
        return xs_transaction_end(xs, transaction, false);
    int error = errno;
    xs_transaction_end(xs, transaction, true);
    errno = error;
    return false;
}

static void do_publish(struct worker_job *worker_job)
{
    struct store_job *job = (struct store_job *)worker_job;
    for (int i = 0; i < TRANSACTION_ATTEMPTS; i++) {
        if (try_publish(job))
            return;
        if (errno != EAGAIN)
            break;
    }
    if (!xen_store_is_lost(job->store))
        xen_store_complain(job->store, "cannot write %s in Xenstore: %s", job->nodes[0].path,
                           strerror(errno));
}

static struct published *find_published(struct store *store, const char *path)
{
    struct published *published;
    LIST_FOREACH (published, &store->published, all)
        if (strcmp(published->path, path) == 0)
            return published;
    return NULL;
}

static int note_published(struct store *store, const char *path)
{
    if (find_published(store, path))
        return 0;
    struct published *published = calloc(1, sizeof(*published));
    if (!published)
        return -ENOMEM;
    strcpy(published->path, path);
    LIST_INSERT_HEAD(&store->published, published, all);
    return 0;
}

int xen_store_publish(struct store *store, const struct store_node *nodes, int count, int reader)
{
    struct store_job *job = xen_store_new_job(store, do_publish, count);
    if (!job)
        return -ENOMEM;
    job->reader = reader;
    memcpy(job->nodes, nodes, (size_t)count * sizeof(nodes[0]));
    for (int i = 0; i < count; i++) {
        int error =
            xen_store_valid_path(nodes[i].path) ? note_published(store, nodes[i].path) : -EINVAL;
        if (error) {
            free(job);
            return error;
        }
    }
    xen_worker_post(store->worker, &job->job);
    return 0;
}

static void do_retract(struct worker_job *worker_job)
{
    struct store_job *job = (struct store_job *)worker_job;
    const char *path = job->nodes[0].path;
    /* EACCES: the node belonged to a domid that is no longer ours. */
    if (!xs_rm(job->store->xs, XBT_NULL, path) && errno != ENOENT && errno != EACCES &&
        !xen_store_is_lost(job->store))
        xen_store_complain(job->store, "cannot remove %s from Xenstore: %s", path, strerror(errno));
}

int xen_store_retract(struct store *store, const char *path)
{
    struct published *published, *next;
    struct store_job *job =
        xen_store_valid_path(path) ? xen_store_new_job(store, do_retract, 1) : NULL;
    if (!job)
        return xen_store_valid_path(path) ? -ENOMEM : -EINVAL;
    strcpy(job->nodes[0].path, path);
    for (published = LIST_FIRST(&store->published); published; published = next) {
        next = LIST_NEXT(published, all);
        if (xen_leaves_is_below(published->path, path)) {
            LIST_REMOVE(published, all);
            free(published);
        }
    }
    xen_worker_post(store->worker, &job->job);
    return 0;
}

/* ---- what has changed ---- */

static bool tell_domid(struct store *store, struct store_event *event)
{
    if (!store->renamed)
        return false;
    store->renamed = false;
    strcpy(event->path, "domid");
    snprintf(event->value, sizeof(event->value), "%d", store->domid);
    event->present = true;
    return true;
}

static bool next_change(struct store *store, struct store_event *event)
{
    struct subscription *subscription;
    LIST_FOREACH (subscription, &store->subscriptions, all)
        if (!subscription->ended && subscription->looked &&
            xen_leaves_next(&subscription->leaves, event))
            return true;
    return false;
}

int xen_store_next(struct store *store, struct store_event *event)
{
    pthread_mutex_lock(&store->mutex);
    int result = tell_domid(store, event) || next_change(store, event);
    if (!result && store->lost)
        result = -EIO;
    pthread_mutex_unlock(&store->mutex);
    return result;
}

/* ---- asking ---- */

static void do_ask(struct worker_job *job)
{
    struct store_query *query = (struct store_query *)job;
    for (int i = 0; i < 2; i++) {
        unsigned length;
        char *value = xs_read(query->store->xs, XBT_NULL, query->paths[i], &length);
        if (!value)
            xen_store_is_lost(query->store);
        else if (length < sizeof(query->values[i]))
            strcpy(query->values[i], value);
        free(value);
    }
}

static void xen_store_asked(struct worker_job *job)
{
    struct store_query *query = (struct store_query *)job;
    query->answer(query);
}

void xen_store_ask(struct store *store, struct store_query *query)
{
    query->store = store;
    query->job.run = do_ask;
    query->job.done = xen_store_asked;
    xen_worker_post(store->worker, &query->job);
}

/* ---- opening and closing ---- */

static void do_open(struct worker_job *worker_job)
{
    struct store *store = ((struct store_job *)worker_job)->store;
    int domid = -ENODEV;
    errno = 0;
    store->xs = xs_open(0);
    if (store->xs)
        domid = xen_store_watch_domid(store);
    else if (errno && errno != ENOENT)
        domid = -errno;
    pthread_mutex_lock(&store->mutex);
    store->domid = domid;
    pthread_mutex_unlock(&store->mutex);
}

/* Waits for do_open, the only job. */
static int wait_for_domid(struct store *store, unsigned limit_ms)
{
    struct pollfd ready = {.fd = store->worker->ready, .events = POLLIN};
    if (poll(&ready, 1, (int)limit_ms) <= 0)
        return -ETIMEDOUT;
    xen_worker_collect(store->worker);
    int domid = xen_store_domid(store);
    return domid < 0 ? domid : 0;
}

int xen_store_open(struct store *store, struct worker *worker, void (*log)(int, const char *),
                   unsigned limit_ms)
{
    *store = (struct store){.worker = worker, .log = log, .domid = -ETIMEDOUT};
    LIST_INIT(&store->published);
    LIST_INIT(&store->subscriptions);
    TAILQ_INIT(&store->looks);
    pthread_mutex_init(&store->mutex, NULL);
    struct store_job *job = xen_store_new_job(store, do_open, 0);
    if (!job)
        return -ENOMEM;
    xen_worker_post(worker, &job->job);
    return wait_for_domid(store, limit_ms);
}

static void do_close(struct worker_job *worker_job)
{
    struct store *store = ((struct store_job *)worker_job)->store;
    xen_worker_wait_for(store->worker, -1, NULL, NULL);
    xs_close(store->xs);
    store->xs = NULL;
}

void xen_store_close(struct store *store)
{
    struct published *published;
    while ((published = LIST_FIRST(&store->published))) {
        char path[PLATFORM_PATH_MAX + 1];
        strcpy(path, published->path);
        if (xen_store_retract(store, path))
            break;
    }
    struct store_job *job = xen_store_new_job(store, do_close, 0);
    if (job)
        xen_worker_post(store->worker, &job->job);
}

void xen_store_free(struct store *store)
{
    struct published *published;
    while ((published = LIST_FIRST(&store->published))) {
        LIST_REMOVE(published, all);
        free(published);
    }
    xen_store_free_subscriptions(store);
    pthread_mutex_destroy(&store->mutex);
}
