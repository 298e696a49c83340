/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Changes of the directory store; watch.h has the theory.
 */
#include "link_mgr/platform/local/watch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#define WATCHED                                                                                 \
    (IN_MOVED_TO | IN_MOVED_FROM | IN_CLOSE_WRITE | IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF | \
     IN_ONLYDIR)

/* ---- directories ---- */

/* The place of a directory in the array, or the place where it would stand. */
static size_t watch_room_position(const struct watch *watch, int wd)
{
    size_t low = 0, high = watch->room_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (watch->rooms[middle].wd < wd)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct watched_room *watch_find_room(const struct watch *watch, int wd)
{
    size_t at = watch_room_position(watch, wd);
    return at < watch->room_count && watch->rooms[at].wd == wd ? &watch->rooms[at] : NULL;
}

static int watch_note_room(struct watch *watch, int wd, const struct local_room *room)
{
    if (watch->room_count == watch->room_space) {
        size_t space = watch->room_space == 0 ? 4 : watch->room_space * 2;
        struct watched_room *rooms = reallocarray(watch->rooms, space, sizeof(*rooms));
        if (!rooms)
            return -ENOMEM;
        watch->rooms = rooms;
        watch->room_space = space;
    }
    size_t at = watch_room_position(watch, wd);
    struct watched_room *place = &watch->rooms[at];
    memmove(place + 1, place, (watch->room_count - at) * sizeof(*place));
    *place = (struct watched_room){.wd = wd, .users = 1, .room = *room};
    watch->room_count++;
    return 0;
}

static int watch_enter_room(struct watch *watch, const struct local_room *room)
{
    char directory[64];
    int made = local_store_make_room(watch->store, room);
    if (made < 0)
        return made;
    snprintf(directory, sizeof(directory), "/proc/self/fd/%d/%s", watch->store->dir, room->name);
    int wd = inotify_add_watch(watch->fd, directory, WATCHED);
    if (wd < 0)
        return -errno;
    struct watched_room *known = watch_find_room(watch, wd);
    if (known) {
        known->users++;
        return 0;
    }
    int noted = watch_note_room(watch, wd, room);
    if (noted < 0)
        inotify_rm_watch(watch->fd, wd);
    return noted;
}

static void watch_leave_room(struct watch *watch, const struct local_room *room)
{
    for (size_t i = 0; i < watch->room_count; i++) {
        struct watched_room *known = &watch->rooms[i];
        if (strcmp(known->room.name, room->name) != 0)
            continue;
        if (--known->users > 0)
            return;
        inotify_rm_watch(watch->fd, known->wd);
        watch->room_count--;
        memmove(known, known + 1, (watch->room_count - i) * sizeof(*known));
        return;
    }
}

/* ---- life ---- */

int local_watch_open(struct watch *watch, const struct store_local *store, const char *guard)
{
    const struct local_room itself = {.name = "."};
    *watch = (struct watch){.store = store, .fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC)};
    if (watch->fd < 0)
        return -errno;
    snprintf(watch->guard, sizeof(watch->guard), "%s", guard);
    int error = watch_enter_room(watch, &itself);
    if (error < 0)
        local_watch_close(watch);
    return error;
}

void local_watch_close(struct watch *watch)
{
    if (watch->fd >= 0)
        close(watch->fd);
    watch->fd = -1;
    free(watch->rooms);
    watch->rooms = NULL;
    watch->room_count = watch->room_space = 0;
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
        if (local_layout_is_below(path, watch->subscribed.paths[i]))
            return true;
    }
    return false;
}

struct finding {
    struct watch *watch;
    bool any;
};

/* Temporary errors, after which we look at the node again. After any other error the node counts as
 * absent. */
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

/* A node that exists when the subscription is made. It counts as present from here on. So if it
 * goes before it was reported, its absence is reported. */
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

static int watch_begin(struct watch *watch, const char *path)
{
    struct finding finding = {.watch = watch};
    int result = local_path_set_add(&watch->subscribed, path);
    if (result == 0)
        result = local_store_walk(watch->store, path, note_existing, &finding);
    if (result == 0 && !finding.any)
        result = local_path_set_add(&watch->empty, path);
    return result;
}

int local_watch_subscribe(struct watch *watch, const char *path)
{
    struct local_room room;
    if (!local_layout_room(path, &room) || local_layout_is_above_rooms(path))
        return -EINVAL;
    bool again = local_path_set_has(&watch->subscribed, path);
    int result = again ? 0 : watch_enter_room(watch, &room);
    if (result != 0)
        return result;
    result = watch_begin(watch, path);
    if (result != 0 && !local_path_set_has(&watch->subscribed, path))
        watch_leave_room(watch, &room);
    if (result != 0 && !again)
        local_watch_unsubscribe(watch, path);
    return result;
}

int local_watch_unsubscribe(struct watch *watch, const char *path)
{
    struct local_room room;
    local_path_set_remove(&watch->empty, path);
    if (!local_path_set_remove(&watch->subscribed, path) || !local_layout_room(path, &room))
        return -ENOENT;
    watch_leave_room(watch, &room);
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
    return local_path_set_add(&watch->visit, path);
}

/* Events were lost, so we have to look at every node that is there, or was there. */
static int look_at_all(struct watch *watch)
{
    int result = 0;
    for (size_t i = 0; result == 0 && i < watch->present.count; i++)
        result = local_path_set_add(&watch->visit, watch->present.paths[i]);
    for (size_t i = 0; result == 0 && i < watch->subscribed.count; i++)
        result = local_store_walk(watch->store, watch->subscribed.paths[i], note_for_visit, watch);
    return result;
}

/* Does the change mean that the store is lost? */
static bool change_loses_store(const struct watch *watch, const struct watched_room *room,
                               const struct inotify_event *change)
{
    bool guard_gone = room->room.path[0] == '\0' && (change->mask & (IN_DELETE | IN_MOVED_FROM)) &&
                      change->len != 0 && strcmp(change->name, watch->guard) == 0;
    return guard_gone ||
           (change->mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT | IN_IGNORED)) != 0;
}

/* Takes the next event of the buffer. 1: we have to look at path; 0: there is nothing to do for
 * it. */
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
    const struct watched_room *room = watch_find_room(watch, change->wd);
    if (!room)
        return 0; /* it belongs to a subscription that has ended */
    watch->lost |= change_loses_store(watch, room, change);
    return change->len != 0 && local_layout_path(&room->room, change->name, path) &&
           is_subscribed(watch, path);
}

/* ---- telling ---- */

bool local_watch_pending(const struct watch *watch)
{
    return watch->lost || watch->visit.count != 0 || watch->empty.count != 0 ||
           watch->at < watch->length;
}

/* 1: event was filled in. 0: there is nothing to report about this path. Negative: the node could
 * not be looked at. */
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
        watch->stuck = false;
        if (watch->lost)
            return -ENODEV;
        if (watch->visit.count != 0)
            told = next_visit(watch, event);
        else if (watch->empty.count != 0)
            told = next_empty(watch, event);
        else
            told = next_change(watch, event);
    }
    watch->stuck = told < 0;
    return told == 1 ? 1 : 0;
}
