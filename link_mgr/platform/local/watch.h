/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * watch.h - changes of the directory store, reported as Xenstore's watches report them.
 *
 * Theory of operation
 *
 * Each subscription watches, by inotify, the one directory in which its nodes lie (layout.h). The
 * store's own directory is always watched. inotify tells which file changed; the value is read when
 * the event is taken, so it is always the latest. Changes are reported in the order in which they
 * were made, since the order of a peer's nodes has a meaning. A value that changed twice may be
 * reported twice.
 *
 * A set keeps the nodes that are present and may be read. So a node that was removed, or may no
 * longer be read, is reported as gone once. A node that could never be read is not reported at all
 * (on Xenstore it would not be seen either). A file without permissions, or with too much in it,
 * cannot exist in Xenstore; it is reported separately.
 *
 * A second set has paths to look at, in the order of their names. Into it go the paths that
 * subscribe finds, and those that are looked at again after inotify lost events (IN_Q_OVERFLOW).
 *
 * The store is lost when its directory, or one that a subscription watches, is removed, renamed or
 * unmounted. inotify does not report the removal of the store's directory while the process has it
 * open. But whoever removes it must first remove the guard, a file of ours in it.
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
    bool stuck;                 /* the last node could not be looked at, see local_watch_next */
    char guard[32];             /* name of the file whose removal means that the store is lost */
    struct watched_room *rooms; /* in the order of wd */
    size_t room_count, room_space;
    struct path_set subscribed, present, visit;
    struct path_set empty; /* subscriptions to be answered with "nothing there" */
    size_t length, at;     /* of the events in buffer */
    /* called for a file that is not a node; may be NULL */
    void (*malformed)(const struct watch *watch, const char *path);
    char buffer[WATCH_BUFFER] __attribute__((aligned(8)));
};

/* The store must outlive the watch. */
int local_watch_open(struct watch *watch, const struct store_local *store, const char *guard);
void local_watch_close(struct watch *watch);

/* Reports a node and all below it from now on. -EINVAL: it is not a path, or it has whole
 * directories of domains below it, which is not supported. */
int local_watch_subscribe(struct watch *watch, const char *path);
int local_watch_unsubscribe(struct watch *watch, const char *path);

/* Takes events from inotify, when its descriptor is readable. */
void local_watch_fill(struct watch *watch);
/* Is there anything for local_watch_next without local_watch_fill? */
bool local_watch_pending(const struct watch *watch);
/* As next_event of platform.h; -ENODEV: the store is lost. It returns 0, and the watch is stuck,
 * when it could not look at a node for lack of descriptors or memory; it will try again. */
int local_watch_next(struct watch *watch, struct store_event *event);

#endif
