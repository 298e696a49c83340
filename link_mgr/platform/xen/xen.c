/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * xen.c - the `xen` platform: Xenstore, grants and event channels of the domain that this process
 * runs in.
 *
 * Theory of operation
 *
 * One thread (worker.h) makes all calls that may wait for xenstored (store.h). The event loop
 * itself calls only the grant and event-channel devices, which don't wait (vchan.h). The platform's
 * descriptor is the worker's. It is readable when a job has run or a watch has brought something.
 * The results of jobs take effect in next_event, on the loop's thread.
 *
 * Closing waits for xenstored for five seconds at most. If xenstored hangs, the thread is left
 * behind with the memory that it uses, because the process is about to end.
 */
#include "link_mgr/platform/xen/xen.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "common/text_cut.h"
#include "link_mgr/platform/xen/foreign.h"
#include "link_mgr/platform/xen/granted.h"

#define OPEN_LIMIT_MS 5000
#define CLOSE_LIMIT_MS 5000

void xen_log(struct platform *platform, int priority, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    text_mark_cut(text, sizeof(text), vsnprintf(text, sizeof(text), format, arguments));
    va_end(arguments);
    if (platform->log)
        platform->log(priority, text);
}

/* One line, for the person at the terminal. */
static const char *xen_explanation(int error)
{
    if (error == -ENODEV)
        return "this is not a Xen domain, or its Xenstore is not there (/dev/xen/xenbus, "
               "/run/xenstored/socket); "
               "use --platform local without Xen";
    if (error == -ETIMEDOUT)
        return "Xenstore does not answer; is xenstored running in dom0?";
    if (error == -EACCES || error == -EPERM)
        return "no permission to use Xenstore (/dev/xen/xenbus); run as root, or let this user "
               "open the devices in "
               "/dev/xen";
    return strerror(-error);
}

static int check_devices(char *why, size_t why_size)
{
    static const char *const devices[][2] = {
        {"/dev/xen/evtchn", "xen_evtchn"},
        {"/dev/xen/gntdev", "xen_gntdev"},
        {"/dev/xen/gntalloc", "xen_gntalloc"},
    };
    for (size_t i = 0; i < sizeof(devices) / sizeof(devices[0]); i++) {
        if (access(devices[i][0], R_OK | W_OK) == 0)
            continue;
        int error = errno;
        if (error == ENOENT)
            snprintf(why, why_size, "there is no %s; load it: modprobe %s", devices[i][0],
                     devices[i][1]);
        else
            snprintf(why, why_size, "cannot use %s: %s; run as root, or let this user open it",
                     devices[i][0], strerror(error));
        return -error;
    }
    return 0;
}

static void close_platform(struct platform *platform)
{
    struct channel *channel;
    while ((channel = LIST_FIRST(&platform->channels)))
        xen_channel_close(channel);
    lender_end(&platform->lender);
    xen_store_close(&platform->store);
    if (!xen_worker_stop(&platform->worker, CLOSE_LIMIT_MS)) {
        xen_log(platform, LOG_WARNING,
                "Xenstore does not answer; its nodes of this domain are left as they are");
        return;
    }
    xen_store_free(&platform->store);
    free(platform);
}

static int open_platform(const struct platform_config *config, struct platform **result, char *why,
                         size_t why_size)
{
    struct platform *platform = calloc(1, sizeof(*platform));
    int error = platform ? xen_worker_start(&platform->worker) : -ENOMEM;
    if (error) {
        snprintf(why, why_size, "%s", strerror(-error));
        free(platform);
        return error;
    }
    platform->log = config->log;
    LIST_INIT(&platform->channels);
    lender_init(&platform->lender, &xen_granted, platform);
    error = xen_store_open(&platform->store, &platform->worker, config->log, OPEN_LIMIT_MS);
    int domid = xen_store_domid(&platform->store);
    if (error)
        snprintf(why, why_size, "%s", xen_explanation(error));
    else
        error = check_devices(why, why_size);
    if (!error && config->domid >= 0 && config->domid != domid) {
        snprintf(why, why_size, "this is domain %d, not %d as --domid says", domid, config->domid);
        error = -EINVAL;
    }
    if (error) {
        close_platform(platform);
        return error;
    }
    xen_foreign_handle_faults();
    *result = platform;
    return 0;
}

static int xen_domid(struct platform *platform)
{
    return xen_store_domid(&platform->store);
}

static int xen_publish(struct platform *platform, const char *path, const char *value, int reader)
{
    struct store_node node;
    if (strlen(path) > PLATFORM_PATH_MAX || strlen(value) > PLATFORM_VALUE_MAX)
        return -EINVAL;
    strcpy(node.path, path);
    strcpy(node.value, value);
    return xen_store_publish(&platform->store, &node, 1, reader);
}

static int xen_retract(struct platform *platform, const char *path)
{
    return xen_store_retract(&platform->store, path);
}

static int xen_subscribe(struct platform *platform, const char *path)
{
    return xen_store_subscribe(&platform->store, path);
}

static int xen_unsubscribe(struct platform *platform, const char *path)
{
    return xen_store_unsubscribe(&platform->store, path);
}

static int event_fd(struct platform *platform)
{
    return platform->worker.ready;
}

static int next_event(struct platform *platform, struct store_event *event)
{
    int result = xen_store_next(&platform->store, event);
    if (result <= 0) {
        xen_worker_collect(&platform->worker);
        result = xen_store_next(&platform->store, event);
        /* There may be more; the descriptor was cleared. */
        if (result > 0)
            xen_worker_tell(&platform->worker);
    }
    if (result > 0 && strcmp(event->path, "domid") == 0)
        xen_channels_lost(platform);
    return result;
}

/* A process that was killed in another domain leaves no trace that this one may see. */
static enum platform_presence xen_presence(struct platform *platform, int domid)
{
    (void)platform, (void)domid;
    return PLATFORM_UNKNOWN;
}

static void xen_lent(struct platform *platform, int peer, struct platform_lent *lent)
{
    lender_review(&platform->lender, peer, lent);
}

static void xen_part(struct platform *platform, int peer)
{
    lender_part(&platform->lender, peer);
}

const struct platform_ops platform_xen = {
    .name = "xen",
    .open = open_platform,
    .close = close_platform,
    .domid = xen_domid,
    .publish = xen_publish,
    .retract = xen_retract,
    .subscribe = xen_subscribe,
    .unsubscribe = xen_unsubscribe,
    .event_fd = event_fd,
    .next_event = next_event,
    .presence = xen_presence,
    .offer = xen_offer,
    .attach = xen_attach,
    .channel_fd = xen_channel_fd,
    .channel_poll = xen_channel_poll,
    .channel_rings = xen_channel_rings,
    .channel_notify = xen_channel_notify,
    .channel_close = xen_channel_close,
    .lent = xen_lent,
    .part = xen_part,
};
