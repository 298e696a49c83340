/* SPDX-License-Identifier: GPL-2.0-or-later */
/* leaves.c - see leaves.h. Lists are searched from end to end, since they hold only a few nodes for
 * each peer.
 */
#include "link_mgr/platform/xen/leaves.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

bool xen_leaves_is_below(const char *path, const char *above)
{
    size_t length = strlen(above);
    return strncmp(path, above, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

void xen_leaves_init(struct leaves *leaves)
{
    TAILQ_INIT(&leaves->all);
    TAILQ_INIT(&leaves->changed);
    leaves->count = 0;
}

static void leaves_drop(struct leaves *leaves, struct leaf *leaf)
{
    if (leaf->is_changed)
        TAILQ_REMOVE(&leaves->changed, leaf, changed);
    TAILQ_REMOVE(&leaves->all, leaf, all);
    leaves->count--;
    free(leaf->path);
    free(leaf->value);
    free(leaf);
}

void xen_leaves_clear(struct leaves *leaves)
{
    struct leaf *leaf;
    while ((leaf = TAILQ_FIRST(&leaves->all)))
        leaves_drop(leaves, leaf);
}

static struct leaf *leaves_find(struct leaves *leaves, const char *path)
{
    struct leaf *leaf;
    TAILQ_FOREACH (leaf, &leaves->all, all)
        if (strcmp(leaf->path, path) == 0)
            return leaf;
    return NULL;
}

static struct leaf *leaves_add(struct leaves *leaves, const char *path)
{
    struct leaf *leaf = calloc(1, sizeof(*leaf));
    if (!leaf)
        return NULL;
    leaf->path = strdup(path);
    if (!leaf->path) {
        free(leaf);
        return NULL;
    }
    TAILQ_INSERT_TAIL(&leaves->all, leaf, all);
    leaves->count++;
    return leaf;
}

static void leaves_changed(struct leaves *leaves, struct leaf *leaf)
{
    if (leaf->is_changed)
        return;
    leaf->is_changed = true;
    TAILQ_INSERT_TAIL(&leaves->changed, leaf, changed);
}

void xen_leaves_begin(struct leaves *leaves, const char *path)
{
    struct leaf *leaf;
    TAILQ_FOREACH (leaf, &leaves->all, all)
        if (xen_leaves_is_below(leaf->path, path))
            leaf->seen = false;
}

int xen_leaves_found(struct leaves *leaves, const char *path, const char *value)
{
    struct leaf *leaf = leaves_find(leaves, path);
    if (strlen(path) > PLATFORM_PATH_MAX || strlen(value) > PLATFORM_VALUE_MAX)
        return -EMSGSIZE;
    if (!leaf && leaves->count >= LEAVES_MAX)
        return -E2BIG;
    if (!leaf)
        leaf = leaves_add(leaves, path);
    if (!leaf)
        return -ENOMEM;
    leaf->seen = true;
    if (leaf->value && strcmp(leaf->value, value) == 0)
        return 0;
    char *copy = strdup(value);
    if (!copy)
        return -ENOMEM;
    free(leaf->value);
    leaf->value = copy;
    leaves_changed(leaves, leaf);
    return 0;
}

void xen_leaves_end(struct leaves *leaves, const char *path)
{
    struct leaf *leaf;
    TAILQ_FOREACH (leaf, &leaves->all, all) {
        if (leaf->seen || !leaf->value || !xen_leaves_is_below(leaf->path, path))
            continue;
        free(leaf->value);
        leaf->value = NULL;
        leaves_changed(leaves, leaf);
    }
}

int xen_leaves_tell_none(struct leaves *leaves, const char *path)
{
    if (!TAILQ_EMPTY(&leaves->all))
        return 0;
    struct leaf *leaf = leaves_add(leaves, path);
    if (!leaf)
        return -ENOMEM;
    leaves_changed(leaves, leaf);
    return 0;
}

void xen_leaves_tell_again(struct leaves *leaves)
{
    struct leaf *leaf;
    TAILQ_FOREACH (leaf, &leaves->all, all)
        leaves_changed(leaves, leaf);
}

bool xen_leaves_next(struct leaves *leaves, struct store_event *event)
{
    struct leaf *leaf = TAILQ_FIRST(&leaves->changed);
    if (!leaf)
        return false;
    TAILQ_REMOVE(&leaves->changed, leaf, changed);
    leaf->is_changed = false;
    strcpy(event->path, leaf->path);
    strcpy(event->value, leaf->value ? leaf->value : "");
    event->present = leaf->value != NULL;
    if (!leaf->value)
        leaves_drop(leaves, leaf);
    return true;
}
