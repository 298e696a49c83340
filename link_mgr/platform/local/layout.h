/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * layout.h - which file of the store's directory holds which node (docs/xenstore.md, last section).
 *
 * Theory of operation
 *
 * A daemon watches two kinds of subtrees: its own policy, and what one other domain has published
 * for it. Each of these is a *room*, a directory of its own. So a daemon is woken only by what it
 * has subscribed to, and a subscription reads only one directory. In one common directory the work
 * would grow with the third power of the number of domains.
 *
 *   /local/domain/D/idc/policy/REST   domain:D/policy/REST
 *   /local/domain/D/data/idc/P/REST   domain:D/data:P/REST
 *   /local/domain/D/name              domain:D/name, and the same for uuid
 *   any other path                    its file lies directly in the store's directory
 *
 * In a file's name each `/` of the rest is a `.`, which no path has; a room's own node is the file
 * `=`. No path contains `:` or `=`, so nothing else can have these names.
 */
#ifndef IDC_LOCAL_LAYOUT_H
#define IDC_LOCAL_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>

#include "link_mgr/core/platform.h"

#define LAYOUT_ROOM_MAX 32 /* bytes of "domain:32751/data:32751", with the final NUL */

/* A directory in which nodes lie. */
struct local_room {
    char name[LAYOUT_ROOM_MAX];       /* relative to the store's directory; "." for itself */
    char path[PLATFORM_PATH_MAX + 1]; /* of the room's own node; "" for the store's directory */
};

bool local_layout_valid_path(const char *path);
/* Is path equal to prefix or below it? */
bool local_layout_is_below(const char *path, const char *prefix);

/* The room that a path lies in. False: it is no Xenstore path. */
bool local_layout_room(const char *path, struct local_room *room);
/* The file of a path, relative to the store's directory. False: it is no Xenstore path. */
bool local_layout_file(const char *path, char file[LAYOUT_ROOM_MAX + PLATFORM_PATH_MAX + 1]);
/* The path of the node whose file has this name in a room. False: the file is not a node's. */
bool local_layout_path(const struct local_room *room, const char *name,
                       char path[PLATFORM_PATH_MAX + 1]);
/* Can there be rooms below the path, or is it in no room? */
bool local_layout_is_above_rooms(const char *path);

/* Is this the name of a domain's directory (domid is set), or of a room in it (room is set)? */
bool local_layout_is_domain(const char *name, int *domid);
bool local_layout_is_room(int domid, const char *name, struct local_room *room);
/* The directory of a domain, as the room in which its name and its UUID lie. */
void local_layout_domain_room(int domid, struct local_room *room);

#endif
