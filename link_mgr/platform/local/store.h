/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * store.h - the directory that stands for Xenstore on the local platform (docs/xenstore.md, last
 * section).
 *
 * Every node is one file, its permissions are the first line. Access is synchronous: these are
 * short files in one directory. Reading and writing obey what Xenstore would allow the domid for
 * which the store was opened; the toolstack (STORE_TOOLSTACK) may do everything, domain 0 may read
 * everything but writes, like any domain, only below /local/domain/0/data: its link_mgr has no
 * business elsewhere.
 *
 * Files that are not nodes (their name is no path, they are no regular files, their first line is
 * no list of permissions, their value is too long or has a NUL byte) don't exist for
 * local_store_walk and give -EBADMSG to local_store_read.
 *
 * All paths are checked: -EINVAL for one that is not a Xenstore path. No call blocks on a file that
 * is a FIFO or follows a symbolic link. Errors are negative errno values.
 */
#ifndef IDC_LOCAL_STORE_H
#define IDC_LOCAL_STORE_H

#include <stdbool.h>
#include <stddef.h>

#include "link_mgr/core/platform.h"

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

bool local_store_valid_path(const char *path);
/* Is path equal to prefix or below it? */
bool local_store_is_below(const char *path, const char *prefix);
/* Path of the node whose file has this name. False: the file is not a node's. */
bool local_store_path_of_name(const char *name, char path[PLATFORM_PATH_MAX + 1]);

/* Length of the value, which is NUL-terminated; -ENOENT, -EACCES (exists, but may not be read),
 * -EBADMSG. */
int local_store_read(const struct store_local *store, const char *path,
                     char value[PLATFORM_VALUE_MAX + 1]);
/* Writes all or nothing. The owner is the writer (domain 0 for the toolstack); reader is a domid,
 * or -1 for none. */
int local_store_write(const struct store_local *store, const char *path, const char *value,
                      int reader);
/* Removes one node; none there is no error. */
int local_store_remove_node(const struct store_local *store, const char *path);
/* Removes the node, if there is one, and all below it. */
int local_store_remove(const struct store_local *store, const char *path);

/* Calls visit with each node at or below prefix, readable or not, in no order. Stops when it
 * returns other than 0, which is then the result. visit may remove the node. */
typedef int local_store_visit(void *arg, const char *path);
int local_store_walk(const struct store_local *store, const char *prefix, local_store_visit *visit,
                     void *arg);

/* Removes what writers that were killed in the middle of a write left behind a minute ago or
 * longer. */
void local_store_sweep(const struct store_local *store);

#endif
