/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * local.h - the local platform as its own files see it: struct platform, and the descriptors in its
 * epoll set.
 */
#ifndef IDC_LOCAL_H
#define IDC_LOCAL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <time.h>

#include "link_mgr/platform/local/path_set.h"
#include "link_mgr/platform/local/store.h"
#include "link_mgr/platform/local/watch.h"
#include "link_mgr/core/platform.h"
#include "link_mgr/platform/lent.h"

/* The object to which a descriptor in the epoll set belongs; epoll hands back the pointer. Channels
 * and callers embed one. */
struct source {
    enum source_kind {
        SOURCE_WATCH,
        SOURCE_KICK,
        SOURCE_AGAIN,
        SOURCE_LISTENER,
        SOURCE_CALLER,
        SOURCE_CHANNEL
    } kind;
};

#define CALLERS_MAX 16

/* A peer that connected to our socket and has not yet said what it wants. */
struct caller {
    struct source source;
    int fd; /* -1: free */
    unsigned number;
};

/* rendezvous.h */
struct rendezvous {
    struct source source;
    int listener;
    int spare; /* given up for one accept when the process has no descriptor left */
    unsigned next_number;
    struct caller callers[CALLERS_MAX];
};

TAILQ_HEAD(channel_list, channel);

struct platform {
    int domid;
    int epoll; /* event_fd */
    /* an eventfd, readable while next_event has something that no other descriptor shows */
    int kick;
    bool kicked;
    int again; /* a timerfd, set while a node could not be looked at */
    bool resting;
    int lock; /* a socket whose abstract name says that this domid is taken */
    struct store_local store;
    struct watch watch;
    struct path_set published;
    bool wrote_name, wrote_uuid; /* which are removed at the end */
    struct rendezvous rendezvous;
    struct channel_list channels;
    struct lender lender;
    struct source watch_source, kick_source, again_source;
    void (*log)(int priority, const char *text);
    time_t log_second;  /* of the latest lines that a peer could trigger, */
    unsigned log_count; /* and how many there were in it */
};

/* Puts fd into the epoll set (readable) or takes it out. */
int platform_poll(struct platform *platform, int fd, struct source *source);
void platform_poll_end(struct platform *platform, int fd);

/* One line that a peer can trigger. At most 10 in a second pass; the rest is dropped. */
void platform_log_limited(struct platform *platform, int priority, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
