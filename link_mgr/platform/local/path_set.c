/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A sorted array of strings. The sets are small (some nodes for each peer), so moving pointers is
 * cheap.
 */
#include "link_mgr/platform/local/path_set.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The place where path is, or would be; *found says which. */
static size_t path_set_position(const struct path_set *set, const char *path, bool *found)
{
    size_t low = 0, high = set->count;
    *found = false;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(set->paths[middle], path);
        if (order == 0) {
            *found = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int make_room(struct path_set *set)
{
    if (set->count < set->room)
        return 0;
    size_t room = set->room == 0 ? 16 : set->room * 2;
    char **paths = reallocarray(set->paths, room, sizeof(*paths));
    if (paths == NULL)
        return -ENOMEM;
    set->paths = paths;
    set->room = room;
    return 0;
}

int local_path_set_add(struct path_set *set, const char *path)
{
    bool found;
    size_t at = path_set_position(set, path, &found);
    if (found)
        return 0;
    char *copy = strdup(path);
    if (copy == NULL || make_room(set) != 0) {
        free(copy);
        return -ENOMEM;
    }
    memmove(set->paths + at + 1, set->paths + at, (set->count - at) * sizeof(*set->paths));
    set->paths[at] = copy;
    set->count++;
    return 0;
}

bool local_path_set_has(const struct path_set *set, const char *path)
{
    bool found;
    path_set_position(set, path, &found);
    return found;
}

bool local_path_set_remove(struct path_set *set, const char *path)
{
    bool found;
    size_t at = path_set_position(set, path, &found);
    if (!found)
        return false;
    free(set->paths[at]);
    set->count--;
    memmove(set->paths + at, set->paths + at + 1, (set->count - at) * sizeof(*set->paths));
    return true;
}

void local_path_set_filter(struct path_set *set, bool (*keep)(void *arg, const char *path),
                           void *arg)
{
    size_t kept = 0;
    for (size_t i = 0; i < set->count; i++) {
        if (keep(arg, set->paths[i]))
            set->paths[kept++] = set->paths[i];
        else
            free(set->paths[i]);
    }
    set->count = kept;
}

void local_path_set_clear(struct path_set *set)
{
    for (size_t i = 0; i < set->count; i++)
        free(set->paths[i]);
    free(set->paths);
    *set = (struct path_set){0};
}
