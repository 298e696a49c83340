/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * leaves.h - what is known of a part of Xenstore, and what of it has changed and was not told yet.
 *
 * Theory of operation
 *
 * A watch tells only that something changed at a path, perhaps that the node is gone, and with it
 * everything below, or that a directory above is. So after an event everything at and below the
 * path is read anew: xen_leaves_begin marks what is known there, xen_leaves_found takes each leaf
 * that is read, xen_leaves_end declares absent what was not found. What differs from before is
 * queued, once for each path with its latest value: a peer that changes a node over and over costs
 * no memory, and a change that was undone before it was told may be told as no change.
 *
 * A node without a value is taken for a directory: when all below it is gone, it is no leaf. (IDC
 * has no empty values.)
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
/* 0, or -ENOMEM, -EMSGSIZE, -E2BIG: it is not kept then. */
int xen_leaves_found(struct leaves *leaves, const char *path, const char *value);
void xen_leaves_end(struct leaves *leaves, const char *path);
/* If nothing is known and nothing waits to be told, path is told to be absent. 0 or -ENOMEM. */
int xen_leaves_tell_none(struct leaves *leaves, const char *path);

/* Takes the next change. False: there is none. */
bool xen_leaves_next(struct leaves *leaves, struct store_event *event);

/* Is path the same as, or below, above? */
bool xen_leaves_is_below(const char *path, const char *above);

#endif
