/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * capture.h - frames as they pass, for a host that shows them to somebody.
 *
 * A link asks for each frame whether the host wants it (host->frame), and does nothing more if not.
 * A frame that comes is shown when its header is right, before it is dealt with. One that is sent
 * is shown when it is in the ring. A frame whose header is wrong is not shown: the link ends, and
 * the log says why.
 */
#ifndef IDC_CAPTURE_H
#define IDC_CAPTURE_H

#include <stdbool.h>
#include <stdint.h>

#include "link_mgr/core/spans.h"
#include "link_mgr/core/wire.h"

struct conn;
struct link;

/* Between which ports it passes, as far as its connection knows. */
struct capture_ends {
    uint32_t local_port, peer_port;
    uint32_t type;    /* enum idc_type; 0: not known */
    const char *name; /* that was connected to; "": none */
};

struct capture_frame {
    int domid; /* of the peer */
    bool outgoing;
    const struct wire_frame *frame;
    struct capture_ends ends;
    uint64_t features;    /* of the link, for wire_get_connect_rsp */
    struct spans payload; /* in the ring: the peer may change the bytes at any time */
};

/* The ends of a connection, or of none (NULL). */
struct capture_ends capture_ends_of(const struct conn *conn);
/* Show a frame to the host, which wants it. */
void link_capture_sent(const struct link *link, const struct wire_frame *frame,
                       const struct capture_ends *ends);
void link_capture_received(const struct link *link, const struct wire_frame *frame);

#endif
