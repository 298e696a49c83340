/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * leaves.h - the known contents of a part of Xenstore, and the changes in it that were not reported
 * yet.
 *
 * Theory of operation
 *
 * A watch tells only that something changed at a path. The node may be gone with everything below
 * it, or a directory above may be gone. So after an event everything at and below the path is read
 * again. xen_leaves_begin marks what is known there, xen_leaves_found takes each leaf that is read,
 * and xen_leaves_end declares absent what was not found. Differences are queued, once for each path
 * with its latest value. So a peer that changes a node over and over costs no memory. A change that
 * was undone before it was reported may be reported with the old value.
 *
 * A node without a value counts as a directory, and is not a leaf even when all below it is gone.
 * (IDC has no empty values.)
 */
#ifndef IDC_XEN_LEAVES_H
#define IDC_XEN_LEAVES_H

#include <stdbool.h>
#include <sys/queue.h>

#include "link_mgr/core/platform.h"

#define LEAVES_MAX 4096 /* more are not looked at: another domain decides how many it makes */

struct leaf {
    TAILQ_ENTRY(leaf) all;
    TAILQ_ENTRY(leaf) changed;
    char *path;
    char *value; /* NULL: absent, and forgotten once told */
    bool seen;   /* since xen_leaves_begin */
    bool is_changed;
};
TAILQ_HEAD(leaf_list, leaf);

struct leaves {
    struct leaf_list all, changed;
    unsigned count;
};

void xen_leaves_init(struct leaves *leaves);
void xen_leaves_clear(struct leaves *leaves);

void xen_leaves_begin(struct leaves *leaves, const char *path);
/* 0, or -ENOMEM, -EMSGSIZE, -E2BIG; the leaf is not kept then. */
int xen_leaves_found(struct leaves *leaves, const char *path, const char *value);
void xen_leaves_end(struct leaves *leaves, const char *path);
/* If nothing is known and no change waits, queues that path is absent. 0 or -ENOMEM. */
int xen_leaves_tell_none(struct leaves *leaves, const char *path);

/* Queues all that is known as if it had changed. */
void xen_leaves_tell_again(struct leaves *leaves);

/* Takes the next change. False: there is none. */
bool xen_leaves_next(struct leaves *leaves, struct store_event *event);

/* Is path equal to above, or below it? */
bool xen_leaves_is_below(const char *path, const char *above);

#endif
