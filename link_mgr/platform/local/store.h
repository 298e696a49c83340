/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * store.h - the directory that stands for Xenstore on the local platform (docs/xenstore.md, last
 * section).
 *
 * Every node is one file (layout.h says which); its first line has the permissions. Access is
 * synchronous, since these are short files in few directories. Reading and writing obey what
 * Xenstore would allow the domid for which the store was opened. The toolstack (STORE_TOOLSTACK)
 * may do everything. Domain 0 may read everything, but writes, like any domain, only below
 * /local/domain/0/data: its link_mgr has no business elsewhere.
 *
 * A node is a regular file whose name is a path and whose first line is a list of permissions. Its
 * value is not too long and has no NUL byte. Other files are not nodes: local_store_walk skips such
 * files, and local_store_read returns -EBADMSG for them.
 *
 * All paths are checked: -EINVAL for one that is not a Xenstore path. No call blocks on a FIFO, and
 * none follows a symbolic link. Errors are negative errno values.
 */
#ifndef IDC_LOCAL_STORE_H
#define IDC_LOCAL_STORE_H

#include <stdbool.h>
#include <stddef.h>

#include "link_mgr/core/platform.h"
#include "link_mgr/platform/local/layout.h"

#define STORE_TOOLSTACK (-1)
#define STORE_DOMID_MAX 32751 /* 0x7FEF: the last domid before Xen's special ones */

struct store_local {
    int dir;   /* the directory's descriptor */
    int domid; /* or STORE_TOOLSTACK */
};

/* Opens an existing directory; with writing it must be writable. Failure: negative errno and one
 * line in why. */
int local_store_open(struct store_local *store, const char *directory, int domid, bool writing,
                     char *why, size_t why_size);
void local_store_close(struct store_local *store);

/* Makes the directory of a room, if it is missing. */
int local_store_make_room(const struct store_local *store, const struct local_room *room);

/* Length of the value, which is NUL-terminated; -ENOENT, -EACCES (exists, but may not be read),
 * -EBADMSG. */
int local_store_read(const struct store_local *store, const char *path,
                     char value[PLATFORM_VALUE_MAX + 1]);
/* Writes all or nothing. The owner is the writer (domain 0 for the toolstack); reader is a domid,
 * or -1 for none. */
int local_store_write(const struct store_local *store, const char *path, const char *value,
                      int reader);
/* Removes one node. It is no error if there is none. */
int local_store_remove_node(const struct store_local *store, const char *path);
/* Removes the node, if there is one, and all below it. */
int local_store_remove(const struct store_local *store, const char *path);

/* Calls visit with each node at or below prefix, readable or not, in no order. Stops when it
 * returns other than 0, which is then the result. visit may remove the node. */
typedef int local_store_visit(void *arg, const char *path);
int local_store_walk(const struct store_local *store, const char *prefix, local_store_visit *visit,
                     void *arg);

/* Removes files that writers left behind when they were killed in the middle of a write, at least a
 * minute ago. It looks in the store's directory and in the rooms of the own domain. */
void local_store_sweep(const struct store_local *store);

#endif
