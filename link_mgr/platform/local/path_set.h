/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * path_set.h - a sorted set of store paths. It owns copies of them.
 */
#ifndef IDC_LOCAL_PATH_SET_H
#define IDC_LOCAL_PATH_SET_H

#include <stdbool.h>
#include <stddef.h>

struct path_set {
    char **paths;
    size_t count, room;
};

/* 0, even if the path is there already, or -ENOMEM. */
int local_path_set_add(struct path_set *set, const char *path);
bool local_path_set_has(const struct path_set *set, const char *path);
/* Was it there? */
bool local_path_set_remove(struct path_set *set, const char *path);
/* Removes those for which keep returns false. */
void local_path_set_filter(struct path_set *set, bool (*keep)(void *arg, const char *path),
                           void *arg);
void local_path_set_clear(struct path_set *set);

#endif
