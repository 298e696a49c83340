/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rules in the directory of the local platform. There are no transactions. Changes are made one
 * after the other, and if one fails, those before it are undone, the latest first. A lock on the
 * directory, which the kernel releases with the process, keeps two idc-setup apart.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "idc-setup/setup_store.h"
#include "link_mgr/platform/local/store.h"

struct local_store {
    struct setup_store base;
    struct store_local directory;
};

static struct local_store *local_of(struct setup_store *store)
{
    return (struct local_store *)store;
}

static int local_open(struct setup_store **opened, const char *directory, bool make,
                      char why[SETUP_WHY_MAX])
{
    struct local_store *store = calloc(1, sizeof(*store));
    if (store == NULL) {
        snprintf(why, SETUP_WHY_MAX, "out of memory");
        return -ENOMEM;
    }
    if (make && mkdir(directory, 0700) != 0 && errno != EEXIST) {
        int error = errno;
        snprintf(why, SETUP_WHY_MAX,
                 "cannot make the store directory %s: %s; make its parent, or choose another",
                 directory, strerror(error));
        free(store);
        return -error;
    }
    store->base.ops = &setup_store_local;
    int result =
        local_store_open(&store->directory, directory, STORE_TOOLSTACK, make, why, SETUP_WHY_MAX);
    if (result != 0) {
        free(store);
        return result;
    }
    *opened = &store->base;
    return 0;
}

static void local_close(struct setup_store *store)
{
    local_store_close(&local_of(store)->directory);
    free(store);
}

static int local_read(struct setup_store *store, int domid, int peer,
                      char value[SETUP_VALUE_MAX + 1])
{
    char path[SETUP_PATH_MAX];
    setup_path(domid, peer, path);
    return local_store_read(&local_of(store)->directory, path, value);
}

/* ---- changing ---- */

static int make_change(struct local_store *store, int domid, int peer, const char *value)
{
    char path[SETUP_PATH_MAX];
    setup_path(domid, peer, path);
    return value == NULL ? local_store_remove_node(&store->directory, path)
                         : local_store_write(&store->directory, path, value, domid);
}

/* The present values, for undoing. A value that can't be read allows nothing, so it counts as
 * missing. */
static char **store_local_remember(struct local_store *store, const struct setup_change *changes,
                                   size_t count)
{
    char value[SETUP_VALUE_MAX + 1];
    char **values = calloc(count + 1, sizeof(*values));
    for (size_t i = 0; values != NULL && i < count; i++) {
        if (local_read(&store->base, changes[i].domid, changes[i].peer, value) < 0)
            continue;
        values[i] = strdup(value);
        if (values[i] == NULL) {
            while (i > 0)
                free(values[--i]);
            free(values);
            return NULL;
        }
    }
    return values;
}

/* The change with the number `failed` could not be made. */
static void store_local_undo(struct local_store *store, const struct setup_change *changes,
                             size_t failed, char **values, char why[SETUP_WHY_MAX])
{
    const struct setup_change *first = NULL;
    size_t left = 0;
    for (size_t i = failed; i > 0; i--) {
        if (make_change(store, changes[i - 1].domid, changes[i - 1].peer, values[i - 1]) == 0)
            continue;
        first = &changes[i - 1];
        left++;
    }
    size_t length = strlen(why);
    if (left == 0)
        snprintf(why + length, SETUP_WHY_MAX - length, "; nothing has changed");
    else
        snprintf(why + length, SETUP_WHY_MAX - length,
                 "; %zu changed rules could not be put back, the first that of domain %d for %d; "
                 "make room and run "
                 "idc-setup again",
                 left, first->domid, first->peer);
}

static int apply_all(struct local_store *store, const struct setup_change *changes, size_t count,
                     char **values, char why[SETUP_WHY_MAX])
{
    for (size_t i = 0; i < count; i++) {
        int result = make_change(store, changes[i].domid, changes[i].peer, changes[i].value);
        if (result == 0)
            continue;
        snprintf(why, SETUP_WHY_MAX, "cannot write the rule of domain %d for %d: %s",
                 changes[i].domid, changes[i].peer, strerror(-result));
        store_local_undo(store, changes, i, values, why);
        return result;
    }
    return 0;
}

static int apply_locked(struct local_store *store, const struct setup_work *work,
                        char why[SETUP_WHY_MAX])
{
    int result = work->plan != NULL ? work->plan(&store->base, work->arg, why) : 0;
    if (result != 0)
        return result;
    char **values = store_local_remember(store, work->changes, work->count);
    if (values == NULL) {
        snprintf(why, SETUP_WHY_MAX, "out of memory");
        return -ENOMEM;
    }
    result = apply_all(store, work->changes, work->count, values, why);
    for (size_t i = 0; i < work->count; i++)
        free(values[i]);
    free(values);
    return result;
}

static int local_apply(struct setup_store *base, const struct setup_work *work,
                       char why[SETUP_WHY_MAX])
{
    struct local_store *store = local_of(base);
    while (flock(store->directory.dir, LOCK_EX) < 0)
        if (errno != EINTR) {
            int error = errno;
            snprintf(why, SETUP_WHY_MAX, "cannot lock the store: %s", strerror(error));
            return -error;
        }
    int result = apply_locked(store, work, why);
    flock(store->directory.dir, LOCK_UN);
    return result;
}

/* ---- walking ---- */

struct walk {
    setup_visit *visit;
    void *arg;
};

/* A node is a rule only if its path is exactly a rule's path. */
static int visit_node(void *arg, const char *path)
{
    const struct walk *walk = arg;
    char expected[SETUP_PATH_MAX], first[6], second[6];
    if (sscanf(path, "/local/domain/%5[0-9]/idc/policy/%5[0-9]", first, second) != 2)
        return 0;
    int domid = setup_parse_domid(first), peer = setup_parse_domid(second);
    if (domid < 0 || peer < 0)
        return 0;
    setup_path(domid, peer, expected);
    return strcmp(path, expected) == 0 ? walk->visit(walk->arg, domid, peer) : 0;
}

static int local_walk(struct setup_store *store, setup_visit *visit, void *arg)
{
    struct walk walk = {.visit = visit, .arg = arg};
    return local_store_walk(&local_of(store)->directory, "/local/domain", visit_node, &walk);
}

const struct setup_store_ops setup_store_local = {
    .name = "local",
    .open = local_open,
    .close = local_close,
    .read = local_read,
    .apply = local_apply,
    .walk = local_walk,
};
