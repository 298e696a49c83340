/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * store.h - Xenstore for the event loop.
 *
 * Theory of operation
 *
 * The worker's thread makes all calls of libxenstore. Each request of the loop becomes a job, and
 * jobs run in order. The same thread receives watches, and reads what has changed into the
 * subscription's leaves (leaves.h). The loop takes the changes from there, under the mutex, with
 * xen_store_next.
 *
 * A published node is written and gets its permissions in one transaction. So a watch never fires
 * for a node that the reader can't read yet, or that others can read. The node's directory gets the
 * same permissions. For a watch reports a node's removal to a domain only when that domain may read
 * the directory. And it reports that the toolstack removed everything only when the domain may read
 * the directory that it watches.
 *
 * A guest that was restored from a file finds itself in another store, with another domid. Its
 * channels must not be used or closed as if nothing had happened (vchan.h). So the loop has to
 * learn of the restore before anything else that the store reports then. After a restore Linux
 * registers all watches again, the latest first, and they fire. So a watch on `domid` shows a
 * restore: it fires once when it is made, and after that only at a restore. It is made again after
 * each subscription, so that it is the latest. In addition, the domid is read before any other
 * event is believed.
 *
 * Whoever may write a node that is watched can make events faster than they can be looked into,
 * since that takes several requests. libxenstore would keep them all in memory, and what others
 * write would be seen ever later. So all events are taken at once, which needs no request, and only
 * noted: one path for each subscription. Then each subscription that has one is looked at once, and
 * jobs have their turn. A look reads few nodes of another domain, however many there are. So what
 * a domain writes delays others by no more than one look at it.
 *
 * The loop learns nothing of a subscription before all of it was read once, so it never takes half
 * of a directory for the whole. A node is absent if xenstored says that there is none, or none for
 * us (ENOENT, EACCES). After any other error nothing is known. What was known stays, and the same
 * is looked at again, at the latest after STORE_AGAIN_MS.
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
#define STORE_AGAIN_MS 1000

struct store_node {
    char path[PLATFORM_PATH_MAX + 1];
    char value[PLATFORM_VALUE_MAX + 1];
};

struct subscription {
    LIST_ENTRY(subscription) all;
    unsigned id; /* the watch's token */
    char path[PLATFORM_PATH_MAX + 1];
    struct leaves leaves;
    bool ended;  /* its watch is being removed */
    bool looked; /* all was read once; before that, nothing of it is told */
    /* The worker's. */
    TAILQ_ENTRY(subscription) looks;
    char look[PLATFORM_PATH_MAX + 1]; /* something has changed there; "": nowhere */
    bool failed;                      /* the last look could not be finished */
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
    bool domid_noticed; /* a new domid was seen by other means, and the watch has not fired yet */
    TAILQ_HEAD(, subscription) looks; /* those where something has changed */
    /* Both threads', under mutex. */
    pthread_mutex_t mutex;
    LIST_HEAD(, subscription) subscriptions;
    int domid;    /* negative: not known; an error of opening */
    bool renamed; /* the new domid was not reported yet */
    bool lost;
};

/* Opens Xenstore and reads the own domid, waiting at most limit_ms. 0, or a negative errno;
 * -ETIMEDOUT: the store hangs, and *store must stay where it is. worker runs already, and has no
 * other jobs yet. */
int xen_store_open(struct store *store, struct worker *worker, void (*log)(int, const char *),
                   unsigned limit_ms);
/* Removes what was published. Stop the worker next, and if that succeeded, call xen_store_free. */
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

/* Reads two nodes, and later calls answer on the loop's thread with their values ("" for a node
 * that can't be read). */
struct store_query {
    struct worker_job job;
    struct store *store;
    char paths[2][PLATFORM_PATH_MAX + 1];
    char values[2][16];
    void (*answer)(struct store_query *query); /* frees it */
};
void xen_store_ask(struct store *store, struct store_query *query);

#endif
