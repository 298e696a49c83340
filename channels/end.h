/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * end.h - one end of a channel as it is written: KIND, or KIND:WHERE. docs/channels.md has the
 * table of kinds, and says what each of them does.
 *
 * Reading the text is all that happens here. Nothing is opened, looked up or waited for. So a file
 * can be checked on a machine where none of its ends exist.
 */
#ifndef IDC_CHANNELS_END_H
#define IDC_CHANNELS_END_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "idc.h"

#define END_TEXT_MAX 512 /* with the final NUL */
#define END_WHY_MAX 160

enum end_kind {
    END_IDC,
    END_IDC_LISTEN,
    END_UNIX,
    END_UNIX_LISTEN,
    END_TCP,
    END_TCP_LISTEN,
    END_VSOCK,
    END_PTY,
    END_FILE,
    END_EXEC,
    END_STDIO,
    END_FD,
    END_KINDS,
};

struct end {
    enum end_kind kind;
    bool hybrid;              /* unix-listen: a client names a port first; unix: we name one */
    bool named_port;          /* idc, vsock, hybrid unix: "*" stands for a client's port */
    uint32_t number;          /* vsock: the CID; fd: the descriptor */
    uint32_t port;            /* tcp, vsock, hybrid unix; idc: 0 with a service name */
    char where[END_TEXT_MAX]; /* domain, path, host or address, command */
    char service[IDC_SERVICE_MAX + 1];
    char text[END_TEXT_MAX]; /* all of it, for messages */
};

/* Reads text. If it is wrong, why says so, and *at is the offset at which. */
bool end_parse(const char *text, struct end *end, size_t *at, char why[END_WHY_MAX]);

/* Many connections come from it, one after the other or at once. */
bool end_listens(const struct end *end);
/* There is one of it, which lasts as long as the channel does: a pty, standard input and output. */
bool end_is_single(const struct end *end);

/*
 * Do these two make a channel? One of them at most may listen, and if none does, *listening is
 * NULL. Else it is that one, and *other is opened for each of its connections.
 */
bool end_match(const struct end *from, const struct end *to, const struct end **listening,
               const struct end **other, char why[END_WHY_MAX]);

#endif
