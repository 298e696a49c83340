/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tools/lines.h"

#include <errno.h>
#include <poll.h>

#include "idc.h"
#include "tools/command.h"

/* As idc_recv, until the deadline. */
static ssize_t lines_fill(struct lines *lines)
{
    struct pollfd p = {.fd = lines->fd, .events = POLLIN};
    double left = lines->end_ms - command_now_ms();
    int ready = poll(&p, 1, left > 0 ? (int)left + 1 : 0);
    if (ready == 0)
        errno = ETIMEDOUT;
    if (ready <= 0)
        return -1;
    ssize_t got = idc_recv(lines->fd, lines->buf, sizeof(lines->buf));
    lines->done = 0;
    lines->have = got > 0 ? (size_t)got : 0;
    return got;
}

int lines_next(struct lines *lines, char *line, int size)
{
    int length = 0;
    while (length < size - 1 && (length == 0 || line[length - 1] != '\n')) {
        ssize_t got = 1;
        if (lines->done == lines->have)
            got = lines_fill(lines);
        if (got <= 0)
            return (int)got;
        line[length++] = lines->buf[lines->done++];
    }
    line[length] = '\0';
    return length;
}
