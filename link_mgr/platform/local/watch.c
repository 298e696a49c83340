/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Changes of the directory store; watch.h has the theory.
 */
#include "link_mgr/platform/local/watch.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#define WATCHED                                                                                 \
    (IN_MOVED_TO | IN_MOVED_FROM | IN_CLOSE_WRITE | IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF | \
     IN_ONLYDIR)

int local_watch_open(struct watch *watch, const struct store_local *store, const char *guard)
{
    char directory[32];
    *watch = (struct watch){.store = store, .fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC)};
    if (watch->fd < 0)
        return -errno;
    snprintf(watch->guard, sizeof(watch->guard), "%s", guard);
    snprintf(directory, sizeof(directory), "/proc/self/fd/%d", store->dir);
    if (inotify_add_watch(watch->fd, directory, WATCHED) < 0) {
        int error = errno;
        local_watch_close(watch);
        return -error;
    }
    return 0;
}

void local_watch_close(struct watch *watch)
{
    if (watch->fd >= 0)
        close(watch->fd);
    watch->fd = -1;
    local_path_set_clear(&watch->subscribed);
    local_path_set_clear(&watch->present);
    local_path_set_clear(&watch->visit);
    local_path_set_clear(&watch->empty);
}

/* ---- subscriptions ---- */

static bool is_subscribed(void *arg, const char *path)
{
    const struct watch *watch = arg;
    for (size_t i = 0; i < watch->subscribed.count; i++) {
        if (local_store_is_below(path, watch->subscribed.paths[i]))
            return true;
    }
    return false;
}

struct finding {
    struct watch *watch;
    bool any;
};

/* Errors that will pass, after which the node has to be looked at again. After any other it counts
 * as not there. */
static bool will_pass(int error)
{
    return error == -EMFILE || error == -ENFILE || error == -ENOMEM;
}

static int read_node(const struct watch *watch, const char *path,
                     char value[PLATFORM_VALUE_MAX + 1])
{
    int length = local_store_read(watch->store, path, value);
    if (length == -EBADMSG && watch->malformed)
        watch->malformed(watch, path);
    return length;
}

/* A node that exists when the subscription is made. It counts as present from here on, so that if
 * it goes before it was told, its absence is. */
static int note_existing(void *arg, const char *path)
{
    struct finding *finding = arg;
    char value[PLATFORM_VALUE_MAX + 1];
    int read = read_node(finding->watch, path, value);
    if (read < 0)
        return will_pass(read) ? read : 0;
    finding->any = true;
    int added = local_path_set_add(&finding->watch->present, path);
    return added != 0 ? added : local_path_set_add(&finding->watch->visit, path);
}

int local_watch_subscribe(struct watch *watch, const char *path)
{
    struct finding finding = {.watch = watch};
    if (!local_store_valid_path(path))
        return -EINVAL;
    int result = local_path_set_add(&watch->subscribed, path);
    if (result == 0)
        result = local_store_walk(watch->store, path, note_existing, &finding);
    if (result == 0 && !finding.any)
        result = local_path_set_add(&watch->empty, path);
    if (result != 0)
        local_watch_unsubscribe(watch, path);
    return result;
}

int local_watch_unsubscribe(struct watch *watch, const char *path)
{
    local_path_set_remove(&watch->empty, path);
    if (!local_path_set_remove(&watch->subscribed, path))
        return -ENOENT;
    local_path_set_filter(&watch->present, is_subscribed, watch);
    local_path_set_filter(&watch->visit, is_subscribed, watch);
    return 0;
}

/* ---- what inotify tells ---- */

void local_watch_fill(struct watch *watch)
{
    if (watch->at < watch->length)
        return;
    ssize_t got = read(watch->fd, watch->buffer, sizeof(watch->buffer));
    watch->at = 0;
    watch->length = got > 0 ? (size_t)got : 0;
}

static int note_for_visit(void *arg, const char *path)
{
    struct watch *watch = arg;
    return is_subscribed(watch, path) ? local_path_set_add(&watch->visit, path) : 0;
}

/* Events were lost: every node that is there, or was, has to be looked at. */
static int look_at_all(struct watch *watch)
{
    for (size_t i = 0; i < watch->present.count; i++) {
        int added = local_path_set_add(&watch->visit, watch->present.paths[i]);
        if (added != 0)
            return added;
    }
    return local_store_walk(watch->store, "", note_for_visit, watch);
}

/* Takes the next event of the buffer. 1: path is to be looked at; 0: nothing to do for it. */
static int take_change(struct watch *watch, char path[PLATFORM_PATH_MAX + 1])
{
    const struct inotify_event *change = (const struct inotify_event *)(watch->buffer + watch->at);
    size_t size = sizeof(*change) + change->len;
    if (change->mask & IN_Q_OVERFLOW) {
        int result = look_at_all(watch);
        if (result == 0)
            watch->at += size;
        return result;
    }
    watch->at += size;
    bool guard_gone = (change->mask & (IN_DELETE | IN_MOVED_FROM)) && change->len != 0 &&
                      strcmp(change->name, watch->guard) == 0;
    if (guard_gone || (change->mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT | IN_IGNORED)))
        watch->lost = true;
    return change->len != 0 && local_store_path_of_name(change->name, path) &&
           is_subscribed(watch, path);
}

/* ---- telling ---- */

bool local_watch_pending(const struct watch *watch)
{
    return watch->lost || watch->visit.count != 0 || watch->empty.count != 0 ||
           watch->at < watch->length;
}

/* 1: event filled in; 0: nothing to tell of this path; negative: it could not be looked at. */
static int look_at(struct watch *watch, const char *path, struct store_event *event)
{
    int length = read_node(watch, path, event->value);
    int added = length < 0 ? 0 : local_path_set_add(&watch->present, path);
    if (will_pass(length) || added != 0)
        return added != 0 ? added : length;
    if (length < 0 && !local_path_set_remove(&watch->present, path))
        return 0;
    event->present = length >= 0;
    if (length < 0)
        event->value[0] = '\0';
    strcpy(event->path, path);
    return 1;
}

static int next_visit(struct watch *watch, struct store_event *event)
{
    int told = look_at(watch, watch->visit.paths[0], event);
    if (told >= 0)
        local_path_set_remove(&watch->visit, told == 1 ? event->path : watch->visit.paths[0]);
    return told;
}

static int next_change(struct watch *watch, struct store_event *event)
{
    char path[PLATFORM_PATH_MAX + 1];
    size_t before = watch->at;
    int wanted = take_change(watch, path);
    int told = wanted == 1 ? look_at(watch, path, event) : wanted;
    if (told < 0)
        watch->at = before;
    return told;
}

static int next_empty(struct watch *watch, struct store_event *event)
{
    strcpy(event->path, watch->empty.paths[0]);
    event->value[0] = '\0';
    event->present = false;
    local_path_set_remove(&watch->empty, event->path);
    return 1;
}

int local_watch_next(struct watch *watch, struct store_event *event)
{
    int told = 0;
    while (told == 0 && local_watch_pending(watch)) {
        if (watch->lost)
            return -ENODEV;
        if (watch->visit.count != 0)
            told = next_visit(watch, event);
        else if (watch->empty.count != 0)
            told = next_empty(watch, event);
        else
            told = next_change(watch, event);
    }
    return told == 1 ? 1 : 0;
}
