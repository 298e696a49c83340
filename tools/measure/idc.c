/* SPDX-License-Identifier: GPL-2.0-or-later */
/* idc.c - IDC as a transport: streams and messages, through link_mgr. place->own is the path of its
 * socket, or NULL. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libidc/internal.h"
#include "tools/measure/ask.h"
#include "tools/measure/measure.h"

#define BACKLOG 4096

struct target {
    uint32_t domid, port;
    const char *service; /* NULL: by port */
};

/* DOMID:PORT, DOMID:NAME; for listening also without DOMID. */
static int idc_parse(const struct place *place, struct target *target)
{
    const char *address = place->address ? place->address : "", *colon = strchr(address, ':');
    char *end;
    *target = (struct target){0};
    if (colon) {
        target->domid = (uint32_t)strtoul(address, &end, 10);
        if (end != colon || end == address)
            return measure_fail("an address of IDC is DOMID:PORT or DOMID:NAME, not \"%s\"",
                                address);
        address = colon + 1;
    }
    target->port = (uint32_t)strtoul(address, &end, 10);
    if (end == address || *end != '\0') {
        target->port = 0;
        target->service = address;
    }
    return 0;
}

static struct idc_options options_of(const struct place *place)
{
    struct idc_options options = IDC_OPTIONS_INIT;
    options.type = place->transport->messages ? IDC_SEQPACKET : IDC_STREAM;
    options.socket = place->own;
    return options;
}

static int idc_place_listen(struct place *place)
{
    struct target target;
    struct idc_options options = options_of(place);
    if (idc_parse(place, &target) < 0)
        return -1;
    place->listener = idc_listen_with(target.port, target.service, BACKLOG, &options);
    return place->listener < 0 ? measure_fail("cannot listen: %s", idc_last_error()) : 0;
}

static int idc_place_accept(struct place *place, struct stream *stream)
{
    stream->fd = idc_accept(place->listener, NULL);
    return stream->fd < 0 ? measure_fail("accepting: %s", idc_last_error()) : 0;
}

static int idc_place_connect(struct place *place, struct stream *stream)
{
    struct target target;
    struct idc_options options = options_of(place);
    if (idc_parse(place, &target) < 0)
        return -1;
    stream->fd = target.service ? idc_connect_name_with(target.domid, target.service, &options)
                                : idc_connect_with(target.domid, target.port, &options);
    return stream->fd < 0 ? measure_fail("cannot connect: %s", idc_last_error()) : 0;
}

static ssize_t message_read(struct stream *stream, void *buf, size_t len)
{
    return idc_recv(stream->fd, buf, len);
}

static ssize_t message_write(struct stream *stream, const void *buf, size_t len)
{
    return idc_send(stream->fd, buf, len);
}

/* ---- what the own link_mgr has counted on the link to the peer ---- */

static const char *const counter_names[] = {"frames_sent", "frames_received", "notifications_sent",
                                            "notifications_received"};
#define COUNTERS ((int)(sizeof(counter_names) / sizeof(counter_names[0])))

static int link_counters(xmlrpc_value *status, int64_t domid, uint64_t *values, const char **names)
{
    xmlrpc_env env;
    xmlrpc_value *links = NULL;
    int found = 0;
    xmlrpc_env_init(&env);
    xmlrpc_struct_find_value(&env, status, "links", &links);
    int count = links && !env.fault_occurred ? xmlrpc_array_size(&env, links) : 0;
    for (int i = 0; i < count && found == 0; i++) {
        xmlrpc_value *link = NULL;
        xmlrpc_array_read_item(&env, links, (unsigned)i, &link);
        if (link && ask_int(link, "peer", -1) == domid)
            for (; found < COUNTERS; found++) {
                values[found] = (uint64_t)ask_int(link, counter_names[found], 0);
                names[found] = counter_names[found];
            }
        if (link)
            xmlrpc_DECREF(link);
    }
    if (links)
        xmlrpc_DECREF(links);
    xmlrpc_env_clean(&env);
    return found;
}

static int idc_place_counters(struct place *place, uint64_t *values, const char **names)
{
    struct target target;
    xmlrpc_value *status;
    if (idc_parse(place, &target) < 0)
        return 0;
    status = ask_status(libidc_socket_path(place->own), false, ASK_TIMEOUT_MS);
    if (status == NULL)
        return 0;
    int count = link_counters(status, target.domid, values, names);
    xmlrpc_DECREF(status);
    return count;
}

const struct transport transport_idc = {
    .name = "idc",
    .address = "DOMID:PORT or DOMID:NAME",
    .listen = idc_place_listen,
    .accept = idc_place_accept,
    .connect = idc_place_connect,
    .counters = idc_place_counters,
};

const struct transport transport_idc_seqpacket = {
    .name = "idc-seqpacket",
    .address = "DOMID:PORT or DOMID:NAME",
    .messages = true,
    .listen = idc_place_listen,
    .accept = idc_place_accept,
    .connect = idc_place_connect,
    .read = message_read,
    .write = message_write,
    .counters = idc_place_counters,
};
