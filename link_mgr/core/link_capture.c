/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shows frames to a host that wants to see them; capture.h has the contract. */
#include "link_mgr/core/capture.h"
#include "link_mgr/core/link_private.h"

struct capture_ends capture_ends_of(const struct conn *conn)
{
    if (!conn)
        return (struct capture_ends){.name = ""};
    return (struct capture_ends){.local_port = conn->local_port,
                                 .peer_port = conn->peer_port,
                                 .type = conn->type,
                                 .name = conn->name};
}

static void link_capture_show(const struct link *link, struct capture_frame *shown)
{
    struct host *host = link->peer->core->host;
    shown->domid = link->peer->domid;
    shown->features = link_features(link);
    host->frame(host, shown);
}

void link_capture_sent(const struct link *link, const struct wire_frame *frame,
                       const struct capture_ends *ends)
{
    struct capture_frame shown = {.outgoing = true, .frame = frame, .ends = *ends};
    if (frame->length > 0)
        shown.payload.count =
            ring_space_spans(&link->rings.out, WIRE_HEADER, frame->length, shown.payload.at);
    link_capture_show(link, &shown);
}

/* Frames of a connection have its id here. A CONNECT_req has none yet. */
static const struct conn *link_capture_conn(const struct link *link, const struct wire_frame *frame)
{
    switch (frame->type) {
    case WIRE_TYPE_CONNECT_RSP:
    case WIRE_TYPE_DATA:
    case WIRE_TYPE_CREDIT:
    case WIRE_TYPE_DISCONNECT:
        return link_find(link, frame->connection);
    default:
        return NULL;
    }
}

void link_capture_received(const struct link *link, const struct wire_frame *frame)
{
    struct capture_frame shown = {.frame = frame,
                                  .ends = capture_ends_of(link_capture_conn(link, frame))};
    if (frame->length > 0)
        shown.payload.count =
            ring_ready_spans(&link->rings.in, WIRE_HEADER, frame->length, shown.payload.at);
    link_capture_show(link, &shown);
}
