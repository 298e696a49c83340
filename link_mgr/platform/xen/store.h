/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * store.h - Xenstore for the event loop.
 *
 * Theory of operation
 *
 * All calls of libxenstore are made on the worker's thread. What the loop asks for becomes a job,
 * in order. Watches are received by the same thread, which reads what has changed into the
 * subscription's leaves (leaves.h); the loop takes the changes from there, under the mutex, with
 * xen_store_next.
 *
 * A published node is written and gets its permissions in one transaction, so a watch never fires
 * for a node that the reader can't read yet, or that others can. Its directory gets them too: a
 * watch tells a domain of a node's removal only when that domain may read the directory, and of the
 * removal of all by the toolstack only when it may read the directory that it watches.
 *
 * A guest that was restored from a file finds itself in another store, with another domid, and its
 * channels must not be used or closed as if nothing had happened (vchan.h); so that has to be known
 * before anything else that the store tells then. Linux registers all watches again, the latest
 * first, and they fire. So a watch on `domid` tells of it: it fires once when it is made, and again
 * only then; and it is made anew after each subscription, to be the latest. Also the domid is read
 * before any other event is believed.
 */
#ifndef IDC_XEN_STORE_H
#define IDC_XEN_STORE_H

#include <pthread.h>
#include <stdbool.h>
#include <sys/queue.h>

#include <xenstore.h>

#include "link_mgr/core/platform.h"
#include "link_mgr/platform/xen/leaves.h"
#include "link_mgr/platform/xen/worker.h"

#define STORE_NODES_MAX 2

struct store_node {
    char path[PLATFORM_PATH_MAX + 1];
    char value[PLATFORM_VALUE_MAX + 1];
};

struct subscription {
    LIST_ENTRY(subscription) all;
    unsigned id; /* the watch's token */
    char path[PLATFORM_PATH_MAX + 1];
    struct leaves leaves;
    bool ended; /* its watch is being removed */
};

struct published {
    LIST_ENTRY(published) all;
    char path[PLATFORM_PATH_MAX + 1];
};

struct store {
    struct worker *worker;
    void (*log)(int priority, const char *text);
    /* The loop's. */
    LIST_HEAD(, published) published;
    unsigned next_id;
    /* The worker's. */
    struct xs_handle *xs;
    unsigned domid_watches;
    bool domid_told;    /* the present watch on domid has fired */
    bool domid_noticed; /* a new domid was seen by other means, and the watch has yet to fire */
    /* Both threads', under mutex. */
    pthread_mutex_t mutex;
    LIST_HEAD(, subscription) subscriptions;
    int domid;    /* negative: not known; an error of opening */
    bool renamed; /* domid is to be told */
    bool lost;
};

/* Opens Xenstore and reads the own domid, waiting at most limit_ms. 0, or a negative errno;
 * -ETIMEDOUT: the store hangs, and *store must stay where it is. worker runs already, and is used
 * by nobody else's jobs yet. */
int xen_store_open(struct store *store, struct worker *worker, void (*log)(int, const char *),
                   unsigned limit_ms);
/* Removes what was published. Then the worker is to be stopped, and if that succeeded,
 * xen_store_free called. */
void xen_store_close(struct store *store);
void xen_store_free(struct store *store);

int xen_store_domid(struct store *store);
/* nodes: 1 to STORE_NODES_MAX, all in one directory. */
int xen_store_publish(struct store *store, const struct store_node *nodes, int count, int reader);
int xen_store_retract(struct store *store, const char *path);
int xen_store_subscribe(struct store *store, const char *path);
int xen_store_unsubscribe(struct store *store, const char *path);
/* 1: a change; 0: none now; negative: the store is lost. event->path is "domid" when the own domid
 * has changed. */
int xen_store_next(struct store *store, struct store_event *event);

/* Calls answer with the values of two nodes below path ("" for what can't be read), later, on the
 * loop's thread. */
struct store_query {
    struct worker_job job;
    struct store *store;
    char paths[2][PLATFORM_PATH_MAX + 1];
    char values[2][16];
    void (*answer)(struct store_query *query); /* frees it */
};
void xen_store_ask(struct store *store, struct store_query *query);

#endif
