/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rules in the directory of the local platform. There are no transactions. Changes are made one
 * after the other, and if one fails, those before it are undone, the latest first. A lock on the
 * directory, which the kernel releases with the process, keeps two idc-setup apart.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "idc-setup/setup_store.h"
#include "link_mgr/platform/local/store.h"

struct local_store {
    struct setup_store base;
    struct store_local directory;
    int notify; /* inotify's descriptor, -1: not watched */
    int root;   /* inotify's number of the store's directory */
    char path[PATH_MAX];
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
    store->notify = -1;
    snprintf(store->path, sizeof(store->path), "%s", directory);
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
    if (local_of(store)->notify >= 0)
        close(local_of(store)->notify);
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

/* ---- domains, and what is published ---- */

static int local_begin(struct setup_store *store)
{
    (void)store;
    return 0;
}

static int local_end(struct setup_store *store, bool keep)
{
    (void)store;
    (void)keep;
    return 0;
}

static int local_get(struct setup_store *store, const char *path, char value[SETUP_VALUE_MAX + 1])
{
    return local_store_read(&local_of(store)->directory, path, value);
}

static int local_put(struct setup_store *store, int domid, const char *path, const char *value)
{
    return local_store_write(&local_of(store)->directory, path, value, domid);
}

static int local_drop(struct setup_store *store, const char *path)
{
    return local_store_remove(&local_of(store)->directory, path);
}

struct local_below {
    size_t skip; /* bytes of the path above, and the slash */
    setup_visit_name *visit;
    void *arg;
};

static int local_below_node(void *arg, const char *path)
{
    const struct local_below *below = arg;
    char word[SETUP_NODE_MAX];
    if (strlen(path) <= below->skip)
        return 0;
    const char *rest = path + below->skip;
    size_t length = strcspn(rest, "/");
    if (length == 0 || length >= sizeof(word))
        return 0;
    memcpy(word, rest, length);
    word[length] = '\0';
    return below->visit(below->arg, word);
}

static int local_below_path(struct setup_store *store, const char *path, setup_visit_name *visit,
                            void *arg)
{
    struct local_below below = {.skip = strlen(path) + 1, .visit = visit, .arg = arg};
    return local_store_walk(&local_of(store)->directory, path, local_below_node, &below);
}

static int local_domains(struct setup_store *store, setup_visit_domain *visit, void *arg)
{
    int result = 0, domid,
        fd = openat(local_of(store)->directory.dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *listing = fd < 0 ? NULL : fdopendir(fd);
    if (listing == NULL) {
        result = -errno;
        if (fd >= 0)
            close(fd);
        return result;
    }
    for (struct dirent *entry; result == 0 && (entry = readdir(listing)) != NULL;)
        if (local_layout_is_domain(entry->d_name, &domid))
            result = visit(arg, domid);
    closedir(listing);
    return result;
}

/* ---- watching ---- */

/* A directory that is gone again is no error. */
static int local_watch_domain(void *arg, int domid)
{
    struct local_store *store = arg;
    char path[PATH_MAX + 32];
    snprintf(path, sizeof(path), "%s/domain:%d", store->path, domid);
    int wd = inotify_add_watch(store->notify, path,
                               IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_CREATE | IN_ONLYDIR);
    return wd >= 0 || errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
}

static int local_watch(struct setup_store *base)
{
    struct local_store *store = local_of(base);
    store->notify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (store->notify < 0)
        return -errno;
    store->root = inotify_add_watch(store->notify, store->path,
                                    IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE |
                                        IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR);
    int result = store->root < 0 ? -errno : local_domains(base, local_watch_domain, store);
    return result != 0 ? result : store->notify;
}

/* What link_mgrs write for each other passes by here too, and is nothing to us. */
static int store_local_event(const struct local_store *store, const struct inotify_event *event)
{
    int domid;
    if ((event->mask & IN_Q_OVERFLOW) != 0)
        return 1;
    if (event->wd == store->root) {
        if ((event->mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT)) != 0)
            return -ENODEV;
        return event->len > 0 && local_layout_is_domain(event->name, &domid);
    }
    return event->len > 0 && (strcmp(event->name, "name") == 0 || strcmp(event->name, "uuid") == 0);
}

static int local_watched(struct setup_store *base)
{
    struct local_store *store = local_of(base);
    char buffer[8192] __attribute__((aligned(8)));
    int changed = 0;
    for (ssize_t got; (got = read(store->notify, buffer, sizeof(buffer))) > 0;)
        for (ssize_t at = 0; at < got;) {
            const struct inotify_event *event = (const struct inotify_event *)(buffer + at);
            int what = store_local_event(store, event);
            if (what < 0)
                return what;
            changed |= what;
            at += (ssize_t)(sizeof(*event) + event->len);
        }
    int result = changed != 0 ? local_domains(base, local_watch_domain, store) : 0;
    return result != 0 ? result : changed;
}

const struct setup_store_ops setup_store_local = {
    .name = "local",
    .open = local_open,
    .close = local_close,
    .read = local_read,
    .apply = local_apply,
    .walk = local_walk,
    .transactions = false,
    .begin = local_begin,
    .end = local_end,
    .get = local_get,
    .put = local_put,
    .drop = local_drop,
    .below = local_below_path,
    .domains = local_domains,
    .watch = local_watch,
    .watched = local_watched,
};
