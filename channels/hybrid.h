/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hybrid.h - the two lines with which a connection to a Unix socket for many ports begins.
 *
 *     CONNECT 1024\n     says the client
 *     OK 1024\n          says the server; hypervisors have a number of their own here
 *
 * A line is read byte by byte, since what follows it is for somebody else. Its newline is only
 * looked at, and stays in the socket as the side's held byte (side.h). So from then on the other
 * end can be told of a reset. The same is done with the last byte of a line that is too long.
 */
#ifndef IDC_CHANNELS_HYBRID_H
#define IDC_CHANNELS_HYBRID_H

#include <stdint.h>

#include "channels/side.h"

/* "CONNECT 4294967295\n", and something */
#define HYBRID_LINE_MAX 32

/* A line of which some bytes have come. It begins as zeros. */
struct hybrid_line {
    size_t len;
    char text[HYBRID_LINE_MAX];
};

/* 0, or a negative errno. The lines are short, and the first thing that is written. */
int hybrid_say_connect(const struct side *side, uint32_t port);
int hybrid_say_ok(const struct side *side, uint32_t port);

/* 0 when the line is complete; -EAGAIN: more has to come; -EPROTO: it is another line; -EPIPE: the
 * other end has closed; or another negative errno. The port is 1 or more. */
int hybrid_read_connect(struct hybrid_line *line, struct side *side, uint32_t *port);
/* What stands behind OK is not looked at, but for being a number. */
int hybrid_read_ok(struct hybrid_line *line, struct side *side);
/* The line as far as it came, for a message (common/shown.h). */
#define HYBRID_SHOWN_MAX (4 * HYBRID_LINE_MAX + 1)
const char *hybrid_shown(const struct hybrid_line *line, char shown[HYBRID_SHOWN_MAX]);

#endif
