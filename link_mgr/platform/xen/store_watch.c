/* SPDX-License-Identifier: GPL-2.0-or-later */
/* store_watch.c - the subscriptions of store.h. The loop calls everything here that is not a job or
 * called by one. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "link_mgr/platform/xen/store_private.h"

#define DEPTH_MAX 4

static void keep_leaf(struct store *store, struct subscription *subscription, const char *path,
                      const char *value)
{
    pthread_mutex_lock(&store->mutex);
    int error = xen_leaves_found(&subscription->leaves, path, value);
    pthread_mutex_unlock(&store->mutex);
    if (error)
        xen_store_complain(store, "%s in Xenstore is not looked at: %s", path, strerror(-error));
}

/* Reads path and what is below it. */
static void store_watch_walk(struct store *store, struct subscription *subscription,
                             const char *path, int depth)
{
    char below[PLATFORM_PATH_MAX + 1];
    unsigned length = 0, count = 0;
    char *value = xs_read(store->xs, XBT_NULL, path, &length);
    if (!value) {
        xen_store_is_lost(store);
        return;
    }
    if (length)
        keep_leaf(store, subscription, path, value);
    free(value);
    if (length || depth == DEPTH_MAX)
        return;
    char **names = xs_directory(store->xs, XBT_NULL, path, &count);
    for (unsigned i = 0; names && i < count; i++)
        if (snprintf(below, sizeof(below), "%s/%s", path, names[i]) < (int)sizeof(below))
            store_watch_walk(store, subscription, below, depth + 1);
    free(names);
}

static void look_again(struct store *store, struct subscription *subscription, const char *path)
{
    pthread_mutex_lock(&store->mutex);
    xen_leaves_begin(&subscription->leaves, path);
    pthread_mutex_unlock(&store->mutex);
    store_watch_walk(store, subscription, path, 0);
    pthread_mutex_lock(&store->mutex);
    xen_leaves_end(&subscription->leaves, path);
    xen_leaves_tell_none(&subscription->leaves, subscription->path);
    pthread_mutex_unlock(&store->mutex);
    xen_worker_tell(store->worker);
}

/* The own domid; negative errno. */
static int read_domid(struct store *store)
{
    char *end, *value = xs_read(store->xs, XBT_NULL, "domid", NULL);
    if (!value)
        return errno ? -errno : -EIO;
    long domid = strtol(value, &end, 10);
    bool good = *value && !*end && domid >= 0 && domid < 0x7FF0;
    free(value);
    return good ? (int)domid : -EINVAL;
}

/* dom0 is never restored. */
static void store_watch_renamed(struct store *store, int domid)
{
    pthread_mutex_lock(&store->mutex);
    store->renamed = domid != 0;
    store->domid = domid;
    pthread_mutex_unlock(&store->mutex);
    xen_worker_tell(store->worker);
}

static void make_domid_token(const struct store *store, char token[16])
{
    snprintf(token, 16, "domid%u", store->domid_watches);
}

/* See the theory of operation. */
static void domid_fired(struct store *store, const char *token)
{
    char present[16];
    make_domid_token(store, present);
    if (strcmp(token, present) != 0)
        return;
    int domid = read_domid(store);
    if (domid >= 0 && store->domid_told && !store->domid_noticed)
        store_watch_renamed(store, domid);
    store->domid_told = true;
    store->domid_noticed = false;
}

/* Makes the watch on domid the latest. */
static bool watch_domid(struct store *store)
{
    char token[16];
    make_domid_token(store, token);
    if (store->domid_watches)
        xs_unwatch(store->xs, "domid", token);
    store->domid_watches++;
    store->domid_told = store->domid_noticed = false;
    make_domid_token(store, token);
    return xs_watch(store->xs, "domid", token);
}

/* This is checked before any other event is believed. */
static void check_domid(struct store *store)
{
    int domid = read_domid(store);
    if (domid < 0 || domid == xen_store_domid(store))
        return;
    store->domid_noticed = true;
    store_watch_renamed(store, domid);
}

/* Only the worker frees subscriptions, so what is found stays. */
static struct subscription *find_by_id(struct store *store, unsigned id)
{
    struct subscription *subscription;
    pthread_mutex_lock(&store->mutex);
    LIST_FOREACH (subscription, &store->subscriptions, all)
        if (subscription->id == id && !subscription->ended)
            break;
    pthread_mutex_unlock(&store->mutex);
    return subscription;
}

static void watch_fired(struct store *store, const char *path, const char *token)
{
    if (strncmp(token, "domid", 5) == 0) {
        domid_fired(store, token);
        return;
    }
    check_domid(store);
    struct subscription *subscription = find_by_id(store, (unsigned)strtoul(token, NULL, 10));
    if (subscription && xen_leaves_is_below(path, subscription->path))
        look_again(store, subscription, path);
}

/* The worker's source. */
static void watches_ready(void *context)
{
    struct store *store = context;
    char **event;
    while ((event = xs_check_watch(store->xs))) {
        watch_fired(store, event[XS_WATCH_PATH], event[XS_WATCH_TOKEN]);
        free(event);
    }
}

static void do_subscribe(struct worker_job *worker_job)
{
    struct store_job *job = (struct store_job *)worker_job;
    struct subscription *subscription = job->subscription;
    char token[16];
    snprintf(token, sizeof(token), "%u", subscription->id);
    /* The watch fires at once. */
    if (xs_watch(job->store->xs, subscription->path, token)) {
        watch_domid(job->store);
        return;
    }
    if (!xen_store_is_lost(job->store))
        xen_store_complain(job->store, "cannot watch %s in Xenstore: %s", subscription->path,
                           strerror(errno));
    look_again(job->store, subscription, subscription->path);
}

int xen_store_subscribe(struct store *store, const char *path)
{
    if (!xen_store_valid_path(path))
        return -EINVAL;
    struct store_job *job = xen_store_new_job(store, do_subscribe, 0);
    struct subscription *subscription = calloc(1, sizeof(*subscription));
    if (!job || !subscription) {
        free(job);
        free(subscription);
        return -ENOMEM;
    }
    subscription->id = ++store->next_id;
    strcpy(subscription->path, path);
    xen_leaves_init(&subscription->leaves);
    job->subscription = subscription;
    pthread_mutex_lock(&store->mutex);
    LIST_INSERT_HEAD(&store->subscriptions, subscription, all);
    pthread_mutex_unlock(&store->mutex);
    xen_worker_post(store->worker, &job->job);
    return 0;
}

static void do_unsubscribe(struct worker_job *worker_job)
{
    struct store_job *job = (struct store_job *)worker_job;
    struct subscription *subscription = job->subscription;
    char token[16];
    snprintf(token, sizeof(token), "%u", subscription->id);
    if (!xs_unwatch(job->store->xs, subscription->path, token))
        xen_store_is_lost(job->store);
    pthread_mutex_lock(&job->store->mutex);
    LIST_REMOVE(subscription, all);
    pthread_mutex_unlock(&job->store->mutex);
    xen_leaves_clear(&subscription->leaves);
    free(subscription);
}

int xen_store_unsubscribe(struct store *store, const char *path)
{
    struct subscription *subscription;
    struct store_job *job = xen_store_new_job(store, do_unsubscribe, 0);
    if (!job)
        return -ENOMEM;
    pthread_mutex_lock(&store->mutex);
    LIST_FOREACH (subscription, &store->subscriptions, all)
        if (!subscription->ended && strcmp(subscription->path, path) == 0)
            break;
    if (subscription)
        subscription->ended = true;
    pthread_mutex_unlock(&store->mutex);
    if (!subscription) {
        free(job);
        return -ENOENT;
    }
    job->subscription = subscription;
    xen_worker_post(store->worker, &job->job);
    return 0;
}

int xen_store_watch_domid(struct store *store)
{
    int domid = read_domid(store);
    if (domid < 0)
        return domid;
    if (!watch_domid(store))
        return errno ? -errno : -EIO;
    xen_worker_wait_for(store->worker, xs_fileno(store->xs), watches_ready, store);
    return domid;
}

void xen_store_free_subscriptions(struct store *store)
{
    struct subscription *subscription;
    while ((subscription = LIST_FIRST(&store->subscriptions))) {
        LIST_REMOVE(subscription, all);
        xen_leaves_clear(&subscription->leaves);
        free(subscription);
    }
}
