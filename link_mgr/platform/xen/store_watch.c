/* SPDX-License-Identifier: GPL-2.0-or-later */
/* store_watch.c - the subscriptions of store.h. The loop calls everything here that is not a job or
 * called by one. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "link_mgr/platform/xen/store_private.h"

#define DEPTH_MAX 4
#define EVENTS_AT_ONCE 4096
#define FOREIGN_NODES 16 /* a link_mgr has 6 below what others watch */

/* False: there is no memory. */
static bool keep_leaf(struct store *store, struct subscription *subscription, const char *path,
                      const char *value)
{
    pthread_mutex_lock(&store->mutex);
    int error = xen_leaves_found(&subscription->leaves, path, value);
    pthread_mutex_unlock(&store->mutex);
    if (error && error != -ENOMEM)
        xen_store_complain(store, "%s in Xenstore is not looked at: %s", path, strerror(-error));
    return error != -ENOMEM;
}

/* How many nodes a look may read. What another domain writes must not cost it less than it costs
 * those who read it. */
static int nodes_to_read(struct store *store, const char *path)
{
    char own[32];
    int length = snprintf(own, sizeof(own), "/local/domain/%d/", xen_store_domid(store));
    return strncmp(path, own, (size_t)length) == 0 ? LEAVES_MAX : FOREIGN_NODES;
}

/* After a failed call of libxenstore: is the node absent? */
static bool store_watch_absent(struct store *store)
{
    const int error = errno;
    if (error == ENOENT || error == EACCES)
        return true;
    xen_store_is_lost(store);
    errno = error;
    return false;
}

static bool store_watch_walk(struct store *store, struct subscription *subscription,
                             const char *path, int depth, int *left);

static bool store_watch_walk_below(struct store *store, struct subscription *subscription,
                                   const char *path, int depth, int *left)
{
    char below[PLATFORM_PATH_MAX + 1];
    unsigned count = 0;
    char **names = xs_directory(store->xs, XBT_NULL, path, &count);
    bool good = names || store_watch_absent(store);
    for (unsigned i = 0; names && good && i<count && * left> 0; i++)
        if (snprintf(below, sizeof(below), "%s/%s", path, names[i]) < (int)sizeof(below))
            good = store_watch_walk(store, subscription, below, depth + 1, left);
    free(names);
    return good;
}

/* Reads path and what is below it. *left: so many nodes may still be read. False: it could not be
 * read, for the reason in errno. */
static bool store_watch_walk(struct store *store, struct subscription *subscription,
                             const char *path, int depth, int *left)
{
    unsigned length = 0;
    char *value = xs_read(store->xs, XBT_NULL, path, &length);
    if (!value)
        return store_watch_absent(store);
    bool good = !length || keep_leaf(store, subscription, path, value);
    free(value);
    (*left)--;
    if (length || depth == DEPTH_MAX) {
        errno = good ? errno : ENOMEM;
        return good;
    }
    return store_watch_walk_below(store, subscription, path, depth, left);
}

/* Notes that something changed at path. Of two paths, what they have in common is kept: the path of
 * the subscription. */
static void note_change(struct store *store, struct subscription *subscription, const char *path)
{
    if (!subscription->look[0]) {
        strcpy(subscription->look, path);
        TAILQ_INSERT_TAIL(&store->looks, subscription, looks);
    } else if (strcmp(subscription->look, path) != 0) {
        strcpy(subscription->look, subscription->path);
    }
}

static void look_begin(struct store *store, struct subscription *subscription, const char *path)
{
    pthread_mutex_lock(&store->mutex);
    xen_leaves_begin(&subscription->leaves, path);
    pthread_mutex_unlock(&store->mutex);
}

/* good: all of it was read. */
static void look_end(struct store *store, struct subscription *subscription, const char *path,
                     bool good)
{
    pthread_mutex_lock(&store->mutex);
    if (good) {
        xen_leaves_end(&subscription->leaves, path);
        xen_leaves_tell_none(&subscription->leaves, subscription->path);
    }
    subscription->looked |= good;
    pthread_mutex_unlock(&store->mutex);
    xen_worker_tell(store->worker);
}

static void look_again(struct store *store, struct subscription *subscription, const char *path)
{
    int left = nodes_to_read(store, path);
    look_begin(store, subscription, path);
    bool good = store_watch_walk(store, subscription, path, 0, &left);
    if (!good && !subscription->failed)
        xen_store_complain(store, "cannot read all of %s in Xenstore, and try it again: %s", path,
                           strerror(errno));
    if (!good)
        note_change(store, subscription, path);
    subscription->failed = !good;
    look_end(store, subscription, path, good);
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

static void forget_change(struct store *store, struct subscription *subscription)
{
    if (subscription->look[0])
        TAILQ_REMOVE(&store->looks, subscription, looks);
    subscription->look[0] = '\0';
}

static void watch_fired(struct store *store, const char *path, const char *token)
{
    if (strncmp(token, "domid", 5) == 0) {
        domid_fired(store, token);
        return;
    }
    struct subscription *subscription = find_by_id(store, (unsigned)strtoul(token, NULL, 10));
    if (subscription && strlen(path) <= PLATFORM_PATH_MAX &&
        xen_leaves_is_below(path, subscription->path))
        note_change(store, subscription, path);
}

/* Takes what libxenstore has received. */
static void take_events(struct store *store)
{
    char **event;
    for (int i = 0; i < EVENTS_AT_ONCE && (event = xs_check_watch(store->xs)); i++) {
        watch_fired(store, event[XS_WATCH_PATH], event[XS_WATCH_TOKEN]);
        free(event);
    }
}

/* Reads what has changed longest ago. */
static void look_at_next(struct store *store)
{
    char path[PLATFORM_PATH_MAX + 1];
    struct subscription *subscription = TAILQ_FIRST(&store->looks);
    if (!subscription)
        return;
    strcpy(path, subscription->look);
    forget_change(store, subscription);
    check_domid(store);
    look_again(store, subscription, path);
}

/* The worker's source. See the theory of operation of store.h. */
static void watches_ready(void *context)
{
    struct store *store = context;
    struct subscription *subscription;
    int looks = 0;
    take_events(store);
    TAILQ_FOREACH (subscription, &store->looks, looks)
        looks++;
    for (; looks > 0; looks--) {
        look_at_next(store);
        take_events(store);
    }
    /* What was noted since is no event of the descriptor any more. */
    TAILQ_FOREACH (subscription, &store->looks, looks)
        xen_worker_repeat(store->worker, subscription->failed ? STORE_AGAIN_MS : 0);
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
    if (subscription->failed)
        xen_worker_repeat(job->store->worker, STORE_AGAIN_MS);
}

/* False: it is not subscribed yet. */
static bool subscribe_again(struct store *store, const char *path)
{
    struct subscription *subscription;
    pthread_mutex_lock(&store->mutex);
    LIST_FOREACH (subscription, &store->subscriptions, all)
        if (!subscription->ended && strcmp(subscription->path, path) == 0)
            break;
    if (subscription) { /* if nothing was read yet, all will be told anyway */
        xen_leaves_tell_again(&subscription->leaves);
        if (subscription->looked)
            xen_leaves_tell_none(&subscription->leaves, path);
    }
    pthread_mutex_unlock(&store->mutex);
    if (subscription)
        xen_worker_tell(store->worker);
    return subscription;
}

int xen_store_subscribe(struct store *store, const char *path)
{
    if (!xen_store_valid_path(path))
        return -EINVAL;
    if (subscribe_again(store, path))
        return 0;
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
    forget_change(job->store, subscription);
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
