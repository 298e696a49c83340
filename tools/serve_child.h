/* SPDX-License-Identifier: GPL-2.0-or-later */
/* serve_child.h - the process of one connection of `idc serve`. */
#ifndef IDC_TOOLS_SERVE_CHILD_H
#define IDC_TOOLS_SERVE_CHILD_H

#include <pwd.h>
#include <stdbool.h>
#include <sys/types.h>

#include "tools/command.h"

struct serve_child {
    const struct command *command;
    char **program;            /* and its arguments, ended by NULL */
    const struct passwd *user; /* NULL: stays who we are */
};

/* Can the program be run, as far as can be told without running it? 0 or an errno. Of another user
 * only that it is there. */
int serve_child_check(const struct serve_child *child);

/* Has the client of a connection that was accepted gone already, with nothing left that a program
 * could read? Yes only where that is certain: of messages within a domain, which have a mark, it
 * never is. type: of the connection; marked: as below. */
bool serve_child_is_unwanted(int fd, bool marked, int type);

/*
 * Runs the program in a process group of its own. Its standard input and output are fd, which stays
 * the caller's. marked: fd has the mark of libidc_accept_marked in it, which is taken out in the
 * new process. name: of the peer's domain, or "". Returns the process, or -1 with errno.
 */
pid_t serve_child_start(const struct serve_child *child, int fd, bool marked,
                        const struct idc_addr *peer, const char *name);

#endif
