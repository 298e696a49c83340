/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * platform.h - the parts of a link: a store (Xenstore, or a directory that stands for it) and
 * channels (two shared-memory rings with an event).
 *
 * Theory of operation
 *
 * Everything above this line (core and daemon) is the same on every platform; everything below
 * knows one of them. An implementation fills in struct platform_ops. All calls come from the one
 * thread of the event loop and return at once. If an implementation's own primitives may block (a
 * hung xenstored), it runs them on a thread of its own and reports through the event descriptor. So
 * nobody waits for the result of an operation:
 *
 *   - publish, retract and subscribe only enqueue. Events tell what the store contains: first what
 *     is there already, later each change;
 *   - offer and attach return a channel in state CHANNEL_PENDING that becomes CHANNEL_OPEN or
 *     CHANNEL_DEAD later.
 *
 * The event loop polls the descriptor of the platform, and of each channel, for reading
 * (level-triggered).
 *
 * Store paths are Xenstore paths (docs/xenstore.md), characters A-Z a-z 0-9 - / _ @ only, at most
 * 255 bytes. Errors are negative errno values.
 */
#ifndef IDC_PLATFORM_H
#define IDC_PLATFORM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ring_pair; /* common/ring.h */
struct platform;
struct channel;

#define PLATFORM_PATH_MAX 255
#define PLATFORM_VALUE_MAX 4095

enum channel_state {
    CHANNEL_PENDING, /* being made, or the other side has not attached yet */
    CHANNEL_OPEN,    /* both sides are there: rings and events work */
    /* the other side closed it or died, or it could not be made. This state is final */
    CHANNEL_DEAD,
};

struct platform_config {
    const char *store; /* local: the store's directory; xen: ignored */
    /* local: the own domid; xen: -1 (read from Xenstore), or what must be found there */
    int domid;
    /* local: what the domain is called, and its UUID, which link_mgr writes in the toolstack's
     * place. NULL: neither is written */
    const char *name, *uuid;
    /* syslog priorities; may be called from any thread */
    void (*log)(int priority, const char *text);
};

/* A change in the store, or an existing node right after subscribe. */
struct store_event {
    char path[PLATFORM_PATH_MAX + 1];
    char value[PLATFORM_VALUE_MAX + 1]; /* NUL-terminated; may contain any other byte */
    /* false: the node is gone, or there never was one. The latter answers subscribe when nothing is
     * below the path; path is then the subscribed one */
    bool present;
};

/* What a platform knows about the link_mgr of another domain, apart from the store. */
enum platform_presence {
    PLATFORM_UNKNOWN, /* nothing */
    PLATFORM_RUNS,    /* it runs, however long it takes to answer */
    PLATFORM_GONE,    /* none runs: what it left in the store is stale */
};

/* Memory that this domain has shared with another for links, in pages of 4096 bytes. */
struct platform_lent {
    uint32_t shared; /* all that the kernel can't use otherwise */
    uint32_t kept;   /* of it, without a link: for the next one */
    uint32_t held;   /* of it, what the other domain may still have mapped after a link's end */
    /* of it, what no link will use: it goes back when the other domain has let go, or is gone */
    uint32_t unwanted;
};

#define PLATFORM_LENT_ALL (-1)

struct platform_ops {
    const char *name;

    /* Opens the platform. On failure it returns a negative errno, and why says in one line what to
     * do. */
    int (*open)(const struct platform_config *config, struct platform **platform, char *why,
                size_t why_size);
    /* Closes what is open, channels included. It retracts what was published, and takes at most
     * five seconds. */
    void (*close)(struct platform *platform);
    /* The own domid. It is constant, except on xen when the domain is restored. Then next_event
     * reports the change with path "domid". */
    int (*domid)(struct platform *platform);

    /* Store. A node is readable by its owner (this domain), by the toolstack, and by reader (a
     * domid, or -1). */
    int (*publish)(struct platform *platform, const char *path, const char *value, int reader);
    /* Removes the node and everything below it. */
    int (*retract)(struct platform *platform, const char *path);
    /* Asks for events for path and everything below it. It is one watch, however many nodes there
     * are. All nodes that are there are told before next_event returns 0. When the path is
     * subscribed already, all are told again, and the watch stays. */
    int (*subscribe)(struct platform *platform, const char *path);
    int (*unsubscribe)(struct platform *platform, const char *path);
    /* Readable when next_event has something. */
    int (*event_fd)(struct platform *platform);
    /* 1: event filled in; 0: nothing now; negative: the store is lost (the daemon ends). */
    int (*next_event)(struct platform *platform, struct store_event *event);

    enum platform_presence (*presence)(struct platform *platform, int domid);

    /* Channels. path is the base path of the rendezvous nodes. For offer it is below the own
     * domain; the implementation writes the nodes, readable by peer, and removes them at close. For
     * attach it is below the peer's domain. ring_size is in bytes for each direction, a power of
     * two of at least 4096; the offering side decides for both. offer fails with -EDQUOT while the
     * peer holds the memory of too many links that have ended. */
    int (*offer)(struct platform *platform, int peer, const char *path, size_t ring_size,
                 struct channel **channel);
    int (*attach)(struct platform *platform, int peer, const char *path, struct channel **channel);
    /* Descriptor that becomes readable when the other side notified, attached, closed or died, or
     * when the state changed. It may be -1 while CHANNEL_PENDING, but only if the platform's
     * event_fd reports instead (next_event returns 0 then). */
    int (*channel_fd)(struct channel *channel);
    /* Takes the pending notification off the descriptor (so that it polls readable only for a later
     * one) and returns the state. Called before the rings are looked at. */
    enum channel_state (*channel_poll)(struct channel *channel);
    /* The rings, as this side sees them; only in CHANNEL_OPEN. They are ordinary memory that the
     * peer may write at any time. */
    void (*channel_rings)(struct channel *channel, struct ring_pair *rings);
    /* Sends an event to the other side. Never blocks. */
    void (*channel_notify)(struct channel *channel);
    /* Ends and frees it; the other side sees CHANNEL_DEAD. Never waits for the peer. */
    void (*channel_close)(struct channel *channel);
    /* Gives back what was shared with a domain that is gone, and counts what is shared. With
     * PLATFORM_LENT_ALL it counts what is shared with all. Whoever is asked about, it gives back
     * what is unwanted, as far as that may be. */
    void (*lent)(struct platform *platform, int peer, struct platform_lent *lent);
    /* No link will be offered to peer: what is kept for it is unwanted. The next offer changes
     * that. Ask `lent` now and then as long as something is unwanted. */
    void (*part)(struct platform *platform, int peer);
};

/* Does this system run on Xen? `--platform auto` goes by this, in link_mgr and in idc-setup, unless
 * a store directory is named. */
bool platform_xen_is_here(void);

extern const struct platform_ops platform_local;
#ifdef IDC_WITH_XEN
extern const struct platform_ops platform_xen;
#endif

#endif
