/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * setup_platform.h - which of the stores a run of idc-setup is about: --platform, --store,
 * IDC_STORE, or what this machine is.
 */
#ifndef IDC_SETUP_PLATFORM_H
#define IDC_SETUP_PLATFORM_H

#include "idc-setup/setup_store.h"

struct setup_platform {
    const char *name, *directory; /* as given; a name of "auto" is the default */
    bool directory_given;         /* by --store */
    const struct setup_store_ops *ops;
};

/* Sets ops, and the directory of the local platform. An exit status; what is wrong was told. */
int setup_platform_choose(struct setup_platform *platform);
/* The same, but where nothing says which it is, ops stays NULL, and nothing is told. */
int setup_platform_choose_any(struct setup_platform *platform);

#endif
