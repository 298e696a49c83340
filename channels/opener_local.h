/* SPDX-License-Identifier: GPL-2.0-or-later */
/* opener_local.h - the part of opener.h that is about ends within this system: a pty, a file, a
 * command, and descriptors that the process has from the beginning. */
#ifndef IDC_CHANNELS_OPENER_LOCAL_H
#define IDC_CHANNELS_OPENER_LOCAL_H

#include "channels/end.h"
#include "channels/side.h"
#include "channels/terminal.h"

struct opener_settings;

/* What lasts as long as the channel. */
struct opener_local {
    struct side side;
    int slave;       /* pty: kept open, so that it does not hang up when programs close it */
    char target[64]; /* pty: the link's target, once there is the link */
    struct terminal terminal; /* its settings */
};
#define OPENER_LOCAL_NONE \
    ((struct opener_local){.side = SIDE_NONE, .slave = -1, .terminal = {.name = ""}})

int opener_local_prepare(struct opener_local *local, const struct end *end, char *why);
void opener_local_release(struct opener_local *local, const struct end *end);
/* file: another descriptor takes the place of the one that is written to, under the same number. */
int opener_local_reopen(struct opener_local *local, const struct end *end, char *why);
/* Runs a shell command in a process group of its own, with a socket as its standard input and
 * output. */
int opener_local_exec(const char *command, const struct opener_settings *settings,
                      struct side *side, char *why);

#endif
