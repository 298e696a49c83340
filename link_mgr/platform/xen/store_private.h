/* SPDX-License-Identifier: GPL-2.0-or-later */
/* store_private.h - what store.c and store_watch.c share. */
#ifndef IDC_XEN_STORE_PRIVATE_H
#define IDC_XEN_STORE_PRIVATE_H

#include "link_mgr/platform/xen/store.h"

struct store_job {
    struct worker_job job;
    struct store *store;
    struct subscription *subscription;
    int reader;
    int count;
    struct store_node nodes[];
};

/* Makes a job without nodes filled in. It is freed when it has run. NULL: out of memory. */
struct store_job *xen_store_new_job(struct store *store, void (*run)(struct worker_job *),
                                    int count);
void xen_store_complain(struct store *store, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Asked after a failed call of libxenstore: has the connection to xenstored gone? */
bool xen_store_is_lost(struct store *store);
bool xen_store_valid_path(const char *path);

/* On the worker's thread: reads the own domid, and begins to receive watches. Negative errno. */
int xen_store_watch_domid(struct store *store);
void xen_store_free_subscriptions(struct store *store);

#endif
