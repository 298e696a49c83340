/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lines.h - the answers of a domain's connection manager (port 1), line by line, until a deadline.
 *
 * The other side may send a byte now and then for ever. So the limit is for all lines together: it
 * is the end of a time, and does not begin again with each piece that comes.
 */
#ifndef IDC_LINES_H
#define IDC_LINES_H

#include <stddef.h>

struct lines {
    int fd;
    double end_ms; /* as command_now_ms tells it */
    size_t have, done;
    char buf[4096];
};

/*
 * Copies the next line, with its newline, as a string. A line of size bytes or more comes in
 * pieces. Returns its length, 0 at the end of the connection, or -1 with errno: ETIMEDOUT, EINTR,
 * or an error of idc_recv.
 */
int lines_next(struct lines *lines, char *line, int size);

#endif
