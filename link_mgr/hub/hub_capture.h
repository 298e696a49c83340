/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hub_capture.h - frames for those who capture.
 *
 * Theory of operation
 *
 * A capture is a descriptor, one end of a socket pair. What passes on the links is copied, as
 * records (common/capture.h), into a buffer of CAPTURE_BUFFER bytes. After the core's turn the
 * buffer is written to the other end, as far as there is room. link_mgr never waits for the reader.
 * A record for which the buffer has no room is dropped and counted, and each later record has the
 * count. Room for the last record is kept free.
 *
 * The reader ends a capture by shutdown(SHUT_WR) or by anything that it sends. It then gets what
 * is in the buffer, the last record, and the end. If it closes, the capture ends at once.
 *
 * While there is no capture, the core's host->frame is NULL. So nothing of this runs.
 */
#ifndef IDC_HUB_CAPTURE_H
#define IDC_HUB_CAPTURE_H

#include <event2/event_struct.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#define CAPTURES_MAX 4
#define CAPTURE_BUFFER (1024u * 1024)

struct capture_frame;
struct hub_capture;
LIST_HEAD(hub_capture_list, hub_capture);

struct hub_captures {
    struct hub_capture_list list;
    int count;
};

/* The host's `frame`. */
struct host;
void hub_capture_frame(struct host *host, const struct capture_frame *shown);
struct hub;
/* Writes what the turn has brought. */
void hub_captures_write(struct hub *hub);
/* link_mgr ends: so do the captures, which get the last frames. */
void hub_captures_end(struct hub *hub);

#endif
