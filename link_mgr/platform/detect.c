/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Is this a Xen domain? Every Xen domain has one of these files. The first is the device through
 * which a guest, or dom0, reaches Xenstore (a module of the kernel). The others come from the file
 * system `xenfs`, which a distribution mounts before that module is loaded.
 */
#include "link_mgr/core/platform.h"

#include <unistd.h>

bool platform_xen_is_here(void)
{
    static const char *const signs[] = {"/dev/xen/xenbus", "/proc/xen/xenbus",
                                        "/proc/xen/capabilities"};
    for (size_t i = 0; i < sizeof(signs) / sizeof(signs[0]); i++)
        if (access(signs[i], F_OK) == 0)
            return true;
    return false;
}
