/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * channel_set.h - many channels in one loop, as the lines of files say.
 *
 * Theory of operation
 *
 * A channel is known by its name. channel_set_sync compares the lines with what there is. A channel
 * whose line is the same goes on, with all of its connections. One whose line is gone ends, and one
 * whose line is another is made anew; their connections get a reset. All that is to end ends before
 * anything begins, so two lines may exchange a path. A wrong line changes nothing of its channel.
 *
 * A channel that can't begin is tried again, with pauses that are doubled up to five seconds. The
 * others don't notice. If it has the name of a host to look up, which may hold up the process, the
 * pauses are doubled up to a minute. A listener that can't be made, or ends, is the channel's own
 * affair (channel.h).
 */
#ifndef IDC_CHANNELS_CHANNEL_SET_H
#define IDC_CHANNELS_CHANNEL_SET_H

#include "channels/channel.h"
#include "channels/channel_files.h"

struct evbuffer;
struct channel_set;

struct channel_set_settings {
    const struct bridge_loop *loop;
    const char *link_mgr; /* as struct opener_settings */
    unsigned descriptors; /* that there may be, of which each channel has a share; 0: no bound */
    /* A line without its newline. */
    void (*say)(void *context, const char *line);
    void *context;
};

/* What a report has of each channel, in a line, with tabs between. */
enum channel_field {
    CHANNEL_FIELD_NAME,
    CHANNEL_FIELD_FROM,
    CHANNEL_FIELD_TO,
    CHANNEL_FIELD_STATE,  /* "waiting", "listening", "connected" or "failing" */
    CHANNEL_FIELD_OPEN,   /* connections now */
    CHANNEL_FIELD_JOINED, /* in total */
    CHANNEL_FIELD_FAILED,
    CHANNEL_FIELD_BYTES_FROM, /* that came from FROM */
    CHANNEL_FIELD_BYTES_TO,   /* that came from TO */
    CHANNEL_FIELD_WHY,        /* what went wrong latest, or nothing */
    CHANNEL_FIELDS,
};

/* NULL: there is no memory. settings->loop must outlive it. */
struct channel_set *channel_set_new(const struct channel_set_settings *settings);
/* All connections get a reset; links and sockets in the file system are taken away. */
void channel_set_free(struct channel_set *set);

/* 0, or -ENOMEM: some channels could not begin. */
int channel_set_sync(struct channel_set *set, const struct channel_list *list);
/* Adds a line for each channel. Returns how many, or -ENOMEM. */
int channel_set_report(const struct channel_set *set, struct evbuffer *out);

#endif
