/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * channel_line.h - one line of /etc/idc/channels.
 *
 *     NAME: FROM -> TO [OPTION=VALUE]...
 *     [NAME:] connection=socket,path=PATH,name=SERVICE[,domain=DOMAIN]
 *     [NAME:] connection=pty,name=SERVICE[,domain=DOMAIN]
 *
 * FROM and TO are ends (end.h). Parts in double quotes may have blanks in them; within the quotes,
 * \" and \\ stand for " and \. A # at the beginning of a word begins a comment.
 *
 * The second form is the one of xl's channels. The service is in this domain, and what is named is
 * reached by it. With domain=, the service is in that domain, and reached by what is named. The
 * channel is called like the service, unless a NAME says otherwise.
 *
 * Reading is all that happens here, as with end.h.
 */
#ifndef IDC_CHANNELS_CHANNEL_LINE_H
#define IDC_CHANNELS_CHANNEL_LINE_H

#include <sys/types.h>

#include "channels/end.h"

#define CHANNEL_NAME_MAX IDC_SERVICE_MAX
#define CHANNEL_LINE_MAX 4096 /* bytes */
#define CHANNEL_LINE_WHY_MAX 320
#define CHANNEL_CONNECTIONS_MAX 1000000u

struct channel_line {
    char name[CHANNEL_NAME_MAX + 1]; /* "": it could not be read */
    struct end from, to;
    unsigned max; /* 0: the usual */
    mode_t mode;  /* 0: as umask says */
};

enum channel_line_result { CHANNEL_LINE_EMPTY, CHANNEL_LINE_GOOD, CHANNEL_LINE_WRONG };

struct channel_problem {
    size_t at; /* the offset in the line */
    char why[CHANNEL_LINE_WHY_MAX];
};

/* text has no newline. terminals is the directory for the links of connection=pty. A wrong line
 * still has its name, if that could be read. */
enum channel_line_result channel_line_parse(const char *text, const char *terminals,
                                            struct channel_line *line,
                                            struct channel_problem *problem);
/* Is it the same channel, so that it can go on? */
bool channel_line_is_same(const struct channel_line *one, const struct channel_line *other);
/* Do both need something that only one can have: a service, a path, an address? */
bool channel_line_collides(const struct channel_line *one, const struct channel_line *other);

/* An octal mode of 001 to 777. */
bool channel_read_mode(const char *text, mode_t *mode);

#endif
