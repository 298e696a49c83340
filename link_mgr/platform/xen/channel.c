/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * channel.c - the channels of the xen platform: a vchan (vchan.h), and its rendezvous in Xenstore.
 *
 * Theory of operation
 *
 * An offered channel has its memory and its event channel at once; a job writes the two nodes by
 * which the peer finds them. An attached channel has only an event descriptor at first, on which
 * nothing happens. A job reads the peer's nodes, and with the answer the loop binds and maps. Xen
 * makes the port pending when it is bound, so the descriptor becomes readable then. When attaching
 * fails, this domain sends itself an event on that descriptor.
 *
 * When the peer's process ends, its kernel tells us. When the whole domain ends, no kernel is left
 * to do that. Then the toolstack removes the domain's part of Xenstore, and whoever watches that
 * closes the channel.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "link_mgr/platform/xen/vchan.h"
#include "link_mgr/platform/xen/xen.h"

struct attach_query {
    struct store_query query;
    struct channel *channel; /* NULL: it was closed meanwhile */
};

struct channel {
    LIST_ENTRY(channel) all;
    struct platform *platform;
    enum channel_state state;
    bool suspended; /* the event channel's number may belong to another one by now */
    struct vchan vchan;
    struct attach_query *query; /* attaching, and not answered yet */
    char path[PLATFORM_PATH_MAX + 1];
};

static struct channel *new_channel(struct platform *platform, const char *path)
{
    struct channel *channel = calloc(1, sizeof(*channel));
    if (!channel)
        return NULL;
    channel->platform = platform;
    channel->state = CHANNEL_PENDING;
    strcpy(channel->path, path);
    LIST_INSERT_HEAD(&platform->channels, channel, all);
    return channel;
}

static void free_channel(struct channel *channel)
{
    if (!channel->suspended && !channel->vchan.mapped.lost)
        xen_vchan_close(&channel->vchan);
    else if (xen_vchan_retire(&channel->vchan, xen_store_domid(&channel->platform->store)) < 0)
        xen_log(channel->platform, LOG_WARNING,
                "the event channel of a link from before this domain was restored is kept open");
    LIST_REMOVE(channel, all);
    free(channel);
}

static void xen_channel_explain(struct channel *channel, const char *what, int error)
{
    const char *hint = "";
    if (error == -EDQUOT) /* link_mgr says more */
        return;
    if (error == -ENOSPC)
        hint = "; the kernel's limit of shared pages is reached: raise the parameter `limit` of "
               "xen_gntalloc";
    else if (error == -ENOBUFS)
        hint = "; this domain shares as many pages as it may";
    else if (error == -ENOENT)
        hint = "; are the modules xen_gntdev, xen_gntalloc and xen_evtchn loaded?";
    else if (error == -EACCES)
        hint = "; may this user open /dev/xen/gntdev, gntalloc and evtchn?";
    xen_log(channel->platform, LOG_ERR, "domain %d: cannot %s: %s%s", channel->vchan.peer, what,
            strerror(-error), hint);
}

/* ---- offering ---- */

static int publish_rendezvous(struct channel *channel)
{
    struct store_node nodes[2];
    const char *path = channel->path;
    if (snprintf(nodes[0].path, sizeof(nodes[0].path), "%s/ring-ref", path) >=
            (int)sizeof(nodes[0].path) ||
        snprintf(nodes[1].path, sizeof(nodes[1].path), "%s/event-channel", path) >=
            (int)sizeof(nodes[1].path))
        return -ENAMETOOLONG;
    snprintf(nodes[0].value, sizeof(nodes[0].value), "%" PRIu32, channel->vchan.page_reference);
    snprintf(nodes[1].value, sizeof(nodes[1].value), "%" PRIu32, channel->vchan.port);
    return xen_store_publish(&channel->platform->store, nodes, 2, channel->vchan.peer);
}

int xen_offer(struct platform *platform, int peer, const char *path, size_t ring_size,
              struct channel **channel)
{
    struct channel *new = strlen(path) <= PLATFORM_PATH_MAX ? new_channel(platform, path) : NULL;
    if (!new)
        return -ENOMEM;
    int error = xen_vchan_open(&new->vchan, true, peer);
    if (!error)
        error = ring_size <= VCHAN_RING_MAX
                    ? xen_vchan_offer(&new->vchan, &platform->lender, (uint32_t)ring_size)
                    : -EINVAL;
    if (!error)
        error = publish_rendezvous(new);
    if (error) {
        xen_channel_explain(new, "share memory", error);
        free_channel(new);
        return error;
    }
    *channel = new;
    return 0;
}

/* ---- attaching ---- */

/* Reads a decimal number of 32 bits that the peer wrote; 0: it is not one. */
static bool parse_number(const char *text, uint32_t *number)
{
    char *end;
    if (text[0] < '1' || text[0] > '9')
        return false;
    unsigned long long value = strtoull(text, &end, 10);
    *number = (uint32_t)value;
    return !*end && value <= UINT32_MAX;
}

static int xen_channel_map(struct channel *channel, const struct store_query *query)
{
    uint32_t reference, port;
    if (!query->values[0][0] || !query->values[1][0])
        return -ECONNREFUSED; /* the offer was withdrawn */
    if (!parse_number(query->values[0], &reference) || !parse_number(query->values[1], &port))
        return -EPROTO;
    return xen_vchan_attach(&channel->vchan, reference, port);
}

static void xen_channel_answered(struct store_query *store_query)
{
    struct attach_query *query = (struct attach_query *)store_query;
    struct channel *channel = query->channel;
    if (channel) {
        channel->query = NULL;
        int error =
            channel->state == CHANNEL_DEAD ? -ECONNRESET : xen_channel_map(channel, store_query);
        if (error) {
            xen_channel_explain(channel, "attach to the memory that it shares", error);
            channel->state = CHANNEL_DEAD;
            xen_vchan_wake_self(&channel->vchan, xen_store_domid(&channel->platform->store));
        } else {
            channel->state = CHANNEL_OPEN;
        }
    }
    free(query);
}

static int xen_channel_ask(struct channel *channel, struct attach_query *query)
{
    char(*paths)[PLATFORM_PATH_MAX + 1] = query->query.paths;
    if (snprintf(paths[0], sizeof(paths[0]), "%s/ring-ref", channel->path) >=
            (int)sizeof(paths[0]) ||
        snprintf(paths[1], sizeof(paths[1]), "%s/event-channel", channel->path) >=
            (int)sizeof(paths[1]))
        return -ENAMETOOLONG;
    query->channel = channel;
    query->query.answer = xen_channel_answered;
    channel->query = query;
    xen_store_ask(&channel->platform->store, &query->query);
    return 0;
}

int xen_attach(struct platform *platform, int peer, const char *path, struct channel **channel)
{
    struct channel *new = strlen(path) <= PLATFORM_PATH_MAX ? new_channel(platform, path) : NULL;
    struct attach_query *query = calloc(1, sizeof(*query));
    int error = new &&query ? xen_vchan_open(&new->vchan, false, peer) : -ENOMEM;
    if (!error)
        error = xen_channel_ask(new, query);
    if (error) {
        if (new)
            xen_channel_explain(new, "open an event channel", error);
        if (new)
            free_channel(new);
        free(query);
        return error;
    }
    *channel = new;
    return 0;
}

/* ---- in use ---- */

int xen_channel_fd(struct channel *channel)
{
    return xen_vchan_fd(&channel->vchan);
}

/* This domain was restored. */
static void xen_channel_suspended(struct channel *channel)
{
    channel->state = CHANNEL_DEAD;
    channel->suspended = true;
}

enum channel_state xen_channel_poll(struct channel *channel)
{
    xen_vchan_drain(&channel->vchan);
    if (channel->vchan.mapped.lost)
        xen_channel_suspended(channel);
    if (channel->state == CHANNEL_DEAD || !channel->vchan.page)
        return channel->state;
    enum xen_vchan_peer peer = xen_vchan_peer(&channel->vchan);
    if (peer == VCHAN_PEER_GONE || (peer == VCHAN_PEER_AWAITED && channel->state == CHANNEL_OPEN))
        channel->state = CHANNEL_DEAD;
    else if (peer == VCHAN_PEER_THERE)
        channel->state = CHANNEL_OPEN;
    return channel->state;
}

void xen_channel_rings(struct channel *channel, struct ring_pair *rings)
{
    xen_vchan_rings(&channel->vchan, rings);
}

void xen_channel_notify(struct channel *channel)
{
    if (!channel->suspended)
        xen_vchan_notify(&channel->vchan);
}

void xen_channel_close(struct channel *channel)
{
    if (channel->query)
        channel->query->channel = NULL;
    if (channel->vchan.server)
        xen_store_retract(&channel->platform->store, channel->path);
    free_channel(channel);
}

void xen_channels_lost(struct platform *platform)
{
    struct channel *channel;
    LIST_FOREACH (channel, &platform->channels, all)
        xen_channel_suspended(channel);
    lender_end(&platform->lender); /* the grants are gone with the old domain */
}
