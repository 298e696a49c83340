/* SPDX-License-Identifier: GPL-2.0-or-later */
/* setup_platform.c - see setup_platform.h. */
#include "idc-setup/setup_platform.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "idc-setup/fail.h"
#include "link_mgr/core/platform.h"

static int platform_choose_xen(struct setup_platform *platform)
{
#ifdef IDC_WITH_XEN
    platform->ops = &setup_store_xen;
    return 0;
#else
    (void)platform;
    return setup_fail(
        SETUP_STATUS_FAILED,
        "this idc-setup was built without Xen; build it where libxenstore is, or use --store");
#endif
}

static int platform_choose(struct setup_platform *platform, bool must)
{
    const char *environment = getenv("IDC_STORE");
    bool automatic = strcmp(platform->name, "auto") == 0;
    if (!platform->directory_given && environment != NULL && environment[0] != '\0')
        platform->directory = environment;
    if (platform->directory_given && platform->directory[0] == '\0')
        return setup_fail(SETUP_STATUS_USAGE, "--store needs a directory");
    if (strcmp(platform->name, "xen") == 0)
        return platform->directory_given
                   ? setup_fail(SETUP_STATUS_USAGE, "--store is for the local platform")
                   : platform_choose_xen(platform);
    if (!automatic && strcmp(platform->name, "local") != 0)
        return setup_fail(SETUP_STATUS_USAGE, "--platform takes auto, xen or local, not \"%s\"",
                          platform->name);
    if (automatic && platform->directory == NULL && platform_xen_is_here())
        return platform_choose_xen(platform);
    if (platform->directory == NULL && !must && automatic)
        return 0;
    if (platform->directory == NULL)
        return setup_fail(SETUP_STATUS_USAGE,
                          "%sgive a store directory with --store, or set IDC_STORE",
                          automatic ? "this is not a Xen domain; " : "");
    platform->ops = &setup_store_local;
    /* who has tried the local platform may have forgotten what the shell still exports */
    if (automatic && !platform->directory_given && platform_xen_is_here())
        fprintf(stderr,
                "idc-setup: note: this uses the store directory %s (IDC_STORE), and not Xenstore\n",
                platform->directory);
    return 0;
}

int setup_platform_choose(struct setup_platform *platform)
{
    return platform_choose(platform, true);
}

int setup_platform_choose_any(struct setup_platform *platform)
{
    return platform_choose(platform, false);
}
