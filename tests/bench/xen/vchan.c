/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vchan.c - what IDC is compared with between two domains of a Xen host: raw libxenvchan, and
 * vchan-socket-proxy.
 *
 * Raw libxenvchan is the limit of any design on such rings: two programs, one channel for each
 * connection, blocking calls. A channel has a name in Xenstore, so connection number k of this
 * program is at data/NAME/k of the server's domain. Both sides count. So each client needs a server
 * that was started for it. The server offers the next channel as soon as the client has taken the
 * latest. The client waits for a channel with a watch, over one connection to xenstored that it
 * keeps.
 *
 * Events are counted where they are sent (--wrap=xenevtchn_notify, programs.mk) and where they are
 * taken.
 *
 * Whoever measures runs vchan-socket-proxy. Here is only the pause that it needs between connecting
 * and the first byte. If the first byte comes too early, its server takes that event for the
 * connection's, and then waits for ever.
 */
#include <errno.h>
#include <libxenvchan.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <xenevtchn.h>
#include <xenstore.h>

#include "tests/bench/transports.h"

static const struct transport transport_vchan, transport_vchan_64k, transport_proxy;

#define PROXY_PAUSE_NS 500000000

struct vchans {
    unsigned domid; /* of the other side */
    char name[64];
    unsigned next; /* connection */
    struct xs_handle *store;
};

static uint64_t notifications_sent, notifications_received; /* atomic */

int __real_xenevtchn_notify(xenevtchn_handle *handle, evtchn_port_t port);
int __wrap_xenevtchn_notify(xenevtchn_handle *handle, evtchn_port_t port);
xenevtchn_port_or_error_t __real_xenevtchn_pending(xenevtchn_handle *handle);
xenevtchn_port_or_error_t __wrap_xenevtchn_pending(xenevtchn_handle *handle);

int __wrap_xenevtchn_notify(xenevtchn_handle *handle, evtchn_port_t port)
{
    __atomic_add_fetch(&notifications_sent, 1, __ATOMIC_RELAXED);
    return __real_xenevtchn_notify(handle, port);
}

xenevtchn_port_or_error_t __wrap_xenevtchn_pending(xenevtchn_handle *handle)
{
    __atomic_add_fetch(&notifications_received, 1, __ATOMIC_RELAXED);
    return __real_xenevtchn_pending(handle);
}

/* ---- connections ---- */

/* NULL after an error. */
static struct vchans *vchans_of(struct place *place)
{
    struct vchans *vchans = place->own;
    int end = 0;
    if (vchans)
        return vchans;
    vchans = calloc(1, sizeof(*vchans));
    if (vchans == NULL) {
        measure_fail("out of memory");
        return NULL;
    }
    if (place->address == NULL ||
        sscanf(place->address, "%5u:%63[a-zA-Z0-9_-]%n", &vchans->domid, vchans->name, &end) != 2 ||
        place->address[end] != '\0') {
        measure_fail("the address is DOMID:NAME, of letters, digits, - and _");
        free(vchans);
        return NULL;
    }
    place->own = vchans;
    return vchans;
}

static size_t ring_size(const struct place *place)
{
    return (place->transport == &transport_vchan_64k ? 64u : 256u) * 1024;
}

static int vchan_listen(struct place *place)
{
    return vchans_of(place) ? 0 : -1;
}

static int vchan_accept(struct place *place, struct stream *stream)
{
    struct vchans *vchans = place->own;
    char path[128];
    snprintf(path, sizeof(path), "data/%s/%u", vchans->name, vchans->next++);
    struct libxenvchan *vchan =
        libxenvchan_server_init(NULL, (int)vchans->domid, path, ring_size(place), ring_size(place));
    if (vchan == NULL)
        return measure_fail("not available: libxenvchan cannot offer a channel: %s",
                            strerror(errno));
    vchan->blocking = 1;
    while (libxenvchan_is_open(vchan) == 2)
        if (libxenvchan_wait(vchan) < 0)
            return measure_fail("waiting for a client: %s", strerror(errno));
    stream->own = vchan;
    return 0;
}

/* Until the server has offered the channel. */
static int wait_for_offer(struct xs_handle *store, const char *path)
{
    char node[160], *value;
    unsigned count;
    snprintf(node, sizeof(node), "%s/event-channel", path);
    if (!xs_watch(store, node, "offer"))
        return measure_fail("watching %s: %s", node, strerror(errno));
    while ((value = xs_read(store, XBT_NULL, node, &count)) == NULL) {
        char **event = xs_read_watch(store, &count);
        if (event == NULL)
            return measure_fail("Xenstore: %s", strerror(errno));
        free(event);
    }
    free(value);
    xs_unwatch(store, node, "offer");
    return 0;
}

static int vchan_connect(struct place *place, struct stream *stream)
{
    struct vchans *vchans = vchans_of(place);
    char path[128];
    if (vchans == NULL)
        return -1;
    if (vchans->store == NULL && (vchans->store = xs_open(0)) == NULL)
        return measure_fail("not available: Xenstore: %s", strerror(errno));
    snprintf(path, sizeof(path), "/local/domain/%u/data/%s/%u", vchans->domid, vchans->name,
             vchans->next++);
    if (wait_for_offer(vchans->store, path) < 0)
        return -1;
    struct libxenvchan *vchan = libxenvchan_client_init(NULL, (int)vchans->domid, path);
    if (vchan == NULL)
        return measure_fail("libxenvchan cannot connect to %s: %s", path, strerror(errno));
    vchan->blocking = 1;
    stream->own = vchan;
    return 0;
}

/* ---- bytes ---- */

static ssize_t vchan_read(struct stream *stream, void *buf, size_t len)
{
    int n = libxenvchan_read(stream->own, buf, len);
    if (n < 0 && !libxenvchan_is_open(stream->own))
        return 0;
    errno = n < 0 ? EIO : 0;
    return n;
}

static ssize_t vchan_write(struct stream *stream, const void *buf, size_t len)
{
    int n = libxenvchan_write(stream->own, buf, len);
    errno = n < 0 ? EPIPE : 0;
    return n;
}

static void vchan_close(struct stream *stream)
{
    libxenvchan_close(stream->own);
}

static int vchan_counters(struct place *place, uint64_t *values, const char **names)
{
    (void)place;
    values[0] = __atomic_load_n(&notifications_sent, __ATOMIC_RELAXED);
    names[0] = "notifications_sent";
    values[1] = __atomic_load_n(&notifications_received, __ATOMIC_RELAXED);
    names[1] = "notifications_received";
    return 2;
}

/* ---- vchan-socket-proxy ---- */

static int proxy_connect(struct place *place, struct stream *stream)
{
    struct timespec pause = {.tv_nsec = PROXY_PAUSE_NS};
    if (transport_unix.connect(place, stream) < 0)
        return -1;
    while (nanosleep(&pause, &pause) < 0)
        continue;
    return 0;
}

static int proxy_listen(struct place *place)
{
    return transport_unix.listen(place);
}

static int proxy_accept(struct place *place, struct stream *stream)
{
    return transport_unix.accept(place, stream);
}

static const struct transport transport_vchan = {
    .name = "vchan",
    .address = "DOMID:NAME (libxenvchan with rings of 256 KiB; a server for each run)",
    .listen = vchan_listen,
    .accept = vchan_accept,
    .connect = vchan_connect,
    .read = vchan_read,
    .write = vchan_write,
    .close = vchan_close,
    .counters = vchan_counters,
};
static const struct transport transport_vchan_64k = {
    .name = "vchan-64k",
    .address = "DOMID:NAME (the same with rings of 64 KiB)",
    .listen = vchan_listen,
    .accept = vchan_accept,
    .connect = vchan_connect,
    .read = vchan_read,
    .write = vchan_write,
    .close = vchan_close,
    .counters = vchan_counters,
};
static const struct transport transport_proxy = {
    .name = "proxy",
    .address = "PATH (a Unix socket, of a vchan-socket-proxy or to be served to one)",
    .listen = proxy_listen,
    .accept = proxy_accept,
    .connect = proxy_connect,
};

const struct transport *const more_transports[] = {&transport_vchan, &transport_vchan_64k,
                                                   &transport_proxy, NULL};
