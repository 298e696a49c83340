/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * privileges.h - link_mgr runs as an ordinary user.
 *
 * Theory of operation
 *
 * Nothing that link_mgr does needs a capability, nor uid 0. The devices of Xen, and through them
 * Xenstore, can be given to its user (docs/xen.md). So a link_mgr that is started as root and told
 * a user becomes that user before it opens anything, starts a thread, or reads a byte that somebody
 * else wrote. From then on the kernel holds it to what that user may do. No process of it stays
 * root. Opening the devices first would gain nothing, because each link opens them anew.
 *
 * One thing is done before: the usual directory of the socket is made, and given to the user.
 *
 * In each case, also when systemd has changed the user (User= in its unit), link_mgr can't gain
 * privileges any more: no_new_privs is set, and the bounding set is empty where that is allowed. An
 * ordinary user's link_mgr also gives up capabilities that it was started with. One that stays root
 * keeps its own: it has to open what belongs to others.
 *
 * The capabilities, no_new_privs and the bounding set belong to a thread, and new threads and
 * processes inherit them. So this comes before the first thread.
 */
#ifndef IDC_PRIVILEGES_H
#define IDC_PRIVILEGES_H

#include <stddef.h>

/* The directory of the usual socket. */
#define PRIVILEGES_DIRECTORY "/run/idc"

/* user: a name, or NULL to stay who we are. socket: the path where programs will reach link_mgr. 0,
 * or a negative errno and a line in why; the process must not go on then. */
int privileges_drop(const char *user, const char *socket, char *why, size_t why_size);

#endif
