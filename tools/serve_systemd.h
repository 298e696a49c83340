/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * serve_systemd.h - idc serve --systemd: the program is a service of systemd that is started by its
 * socket.
 *
 * Theory of operation
 *
 * A listener of IDC is no socket that listens, so no program could call accept(2) on it. What such
 * a program gets by LISTEN_FDS is the Unix socket of its own socket unit. We look that up, and join
 * each connection of IDC to one to that socket. So systemd starts the program with the first one,
 * and everything that a socket unit can say counts. The program needs to know nothing, whether it
 * accepts by itself (Accept=no) or gets one connection at a time (Accept=yes).
 */
#ifndef IDC_TOOLS_SERVE_SYSTEMD_H
#define IDC_TOOLS_SERVE_SYSTEMD_H

#include <stdbool.h>
#include <stdint.h>

#include "tools/command.h"

struct serve_systemd {
    const struct command *command;
    const char *unit; /* NAME, NAME.socket or NAME.service */
    const char *name; /* the service; NULL: it has only a port */
    uint32_t port, max;
    bool patient;
};

/* Serves until SIGTERM. Returns the exit status. */
int serve_systemd_run(const struct serve_systemd *serve);

#endif
