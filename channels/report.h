/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * report.h - tells whoever connects to a Unix socket how the channels are.
 *
 * Theory of operation
 *
 * A connection gets one report, and is closed. Nothing that comes is read. The report is a line
 * "idc-channels 1", a line for each channel (channel_set.h), and a line "end N" with the number of
 * channels, by which a reader knows that it is whole. It is made at once, and sent as the reader
 * reads. A few are served at a time, for ten seconds each at most. Others wait until one is done.
 *
 * The socket belongs to one process at a time. That of a process that was killed is replaced, and
 * nothing else that may be at its path (common/socket_file.h).
 */
#ifndef IDC_CHANNELS_REPORT_H
#define IDC_CHANNELS_REPORT_H

#include <stdbool.h>
#include <stddef.h>

#define REPORT_FIRST_LINE "idc-channels 1"
#define REPORT_PATH_MAX 108
#define REPORT_WHY_MAX 256

struct event_base;
struct channel_set;
struct report;

/* Where the socket is if nobody says otherwise. False: there is no such place for this user. For a
 * reader it is the one that exists. */
bool report_default_path(bool reader, char path[REPORT_PATH_MAX]);

/* NULL: why says what is wrong. base and set must outlive it. Nothing is answered before the loop
 * runs. */
struct report *report_new(struct event_base *base, const char *path, const struct channel_set *set,
                          char why[REPORT_WHY_MAX]);
void report_free(struct report *report);

#endif
