/* SPDX-License-Identifier: GPL-2.0-or-later */
/* xen.h - what the files of the xen platform share. */
#ifndef IDC_XEN_H
#define IDC_XEN_H

#include <sys/queue.h>

#include "link_mgr/core/platform.h"
#include "link_mgr/platform/lent.h"
#include "link_mgr/platform/xen/store.h"
#include "link_mgr/platform/xen/worker.h"

struct platform {
    struct worker worker;
    struct store store;
    void (*log)(int priority, const char *text);
    LIST_HEAD(, channel) channels;
    struct lender lender;
};

/* Writes to the log. */
void xen_log(struct platform *platform, int priority, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The channel operations of platform.h. */
int xen_offer(struct platform *platform, int peer, const char *path, size_t ring_size,
              struct channel **channel);
int xen_attach(struct platform *platform, int peer, const char *path, struct channel **channel);
int xen_channel_fd(struct channel *channel);
enum channel_state xen_channel_poll(struct channel *channel);
void xen_channel_rings(struct channel *channel, struct ring_pair *rings);
void xen_channel_notify(struct channel *channel);
void xen_channel_close(struct channel *channel);
/* The domain was restored: no earlier channel works any more. */
void xen_channels_lost(struct platform *platform);

#endif
