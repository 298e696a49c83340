/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * watch.h - changes of the directory store, told as Xenstore's watches tell them.
 *
 * Theory of operation
 *
 * Each subscription watches, by inotify, the one directory in which its nodes lie (layout.h). The
 * store's own directory is always watched. inotify tells which file changed; the value is read when
 * the event is taken, so it is always the latest. Each change is told in the order in which it was
 * made, since a peer's nodes mean something in their order; a value that changed twice may be told
 * twice.
 *
 * Nodes that are present and may be read are kept in a set, so that one that was removed, or may no
 * more be read, is told as gone once, and one that could never be read is not told at all (on
 * Xenstore it would not be seen either). A file without permissions, or with too much in it, which
 * a Xenstore can't have, is reported besides.
 *
 * What subscribe finds, and what is looked at again after inotify lost events (IN_Q_OVERFLOW), goes
 * through a second set, of paths to look at, in the order of their names.
 *
 * The store is lost when its directory, or one that a subscription watches, is removed, renamed or
 * unmounted. Of the removal of the store's directory inotify says nothing while the process has it
 * open, but whoever removes it must first remove the guard, a file of ours in it.
 */
#ifndef IDC_LOCAL_WATCH_H
#define IDC_LOCAL_WATCH_H

#include "link_mgr/platform/local/path_set.h"
#include "link_mgr/platform/local/store.h"

#define WATCH_BUFFER 4096

/* A directory that is watched. */
struct watched_room {
    int wd;         /* inotify's number of it */
    unsigned users; /* subscriptions; the store's directory has one more */
    struct local_room room;
};

struct watch {
    const struct store_local *store;
    int fd; /* inotify's */
    bool lost;
    char guard[32];             /* name of the file whose removal means that the store is lost */
    struct watched_room *rooms; /* in the order of wd */
    size_t room_count, room_space;
    struct path_set subscribed, present, visit;
    struct path_set empty; /* subscriptions to be answered with "nothing there" */
    size_t length, at;     /* of the events in buffer */
    /* told of a file that is no node; NULL: nobody */
    void (*malformed)(const struct watch *watch, const char *path);
    char buffer[WATCH_BUFFER] __attribute__((aligned(8)));
};

/* The store must outlive the watch. */
int local_watch_open(struct watch *watch, const struct store_local *store, const char *guard);
void local_watch_close(struct watch *watch);

/* Tells of a node and of all below it. -EINVAL: that is no path, or one that has whole directories
 * of domains below it, which is not supported. */
int local_watch_subscribe(struct watch *watch, const char *path);
int local_watch_unsubscribe(struct watch *watch, const char *path);

/* Takes events from inotify, when its descriptor is readable. */
void local_watch_fill(struct watch *watch);
/* Is there anything for local_watch_next without local_watch_fill? */
bool local_watch_pending(const struct watch *watch);
/* As next_event of platform.h; -ENODEV: the store is lost. Returns 0 with something still pending
 * when a node could not be looked at for lack of descriptors or memory; it will be tried again. */
int local_watch_next(struct watch *watch, struct store_event *event);

#endif
