/* SPDX-License-Identifier: GPL-2.0-or-later */
/* options.h - link_mgr's command line. */
#ifndef IDC_OPTIONS_H
#define IDC_OPTIONS_H

#include "link_mgr/base/confine.h"
#include "link_mgr/base/users.h"
#include "link_mgr/core/core.h"

struct options {
    const struct platform_ops *ops;
    const char *store;
    int domid;               /* -1: not given */
    const char *name, *uuid; /* local platform: of this domain; NULL: not given */
    const char *socket;
    int ready_fd; /* gets a newline when programs are served; -1: none */
    int verbose;
    const char *user; /* NULL: as who it was started */
    enum confine confine;
    struct core_config core;
    struct user_limits users;
    const char *listen_rules; /* NULL: the platform's file */
    const char *check_listen; /* only look at this file of rules; NULL: no */
};

/* Returns -1 to go on, or the exit status. It is 0 after --help and --version, 2 after a usage
 * error, and 1 if this link_mgr was built without the platform. It has explained the last two. */
int options_parse(int argc, char **argv, struct options *options);

#endif
