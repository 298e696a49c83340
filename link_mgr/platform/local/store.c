/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The directory store; store.h has the contract.
 *
 * A write makes a new file under a name that starts with a dot, which no node has, and renames it.
 * So readers never see half a value, a failed write changes nothing, and two writers at once leave
 * the value of one of them.
 */
#include "link_mgr/platform/local/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "link_mgr/platform/local/layout.h"

#define PERMISSIONS_MAX 255 /* bytes of a file's first line, without the newline */
#define TEMPORARY ".tmp-"
#define SWEEP_AGE_S 60

/* ---- permissions ---- */

/* Takes one entry such as "r12" off the front of text. */
static bool next_permission(const char **text, char *letter, long *domid)
{
    char *end;
    const char *p = *text;
    /* An error is negative, so text was read.
     * NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult) */
    if (*p == '\0' || strchr("nrwb", *p) == NULL || p[1] < '0' || p[1] > '9')
        return false;
    *letter = *p;
    errno = 0;
    *domid = strtol(p + 1, &end, 10);
    if (errno != 0 || (*end != ',' && *end != '\0'))
        return false;
    *text = *end == ',' ? end + 1 : end;
    return *end == '\0' || end[1] != '\0';
}

/* Xenstore's rule: the first entry names the owner, who may do everything. It also says what
 * domains without an entry may do. */
static int check_readable(const struct store_local *store, const char *permissions)
{
    char letter, others;
    long domid, owner;
    if (!next_permission(&permissions, &others, &owner))
        return -EBADMSG;
    letter = others;
    bool found = false;
    while (*permissions != '\0') {
        char entry;
        if (!next_permission(&permissions, &entry, &domid))
            return -EBADMSG;
        if (!found && domid == store->domid) {
            found = true;
            letter = entry;
        }
    }
    if (store->domid == STORE_TOOLSTACK || store->domid == 0 || store->domid == owner)
        return 0;
    return letter == 'r' || letter == 'b' ? 0 : -EACCES;
}

static bool may_write(const struct store_local *store, const char *path)
{
    char own[64];
    if (store->domid == STORE_TOOLSTACK)
        return true;
    snprintf(own, sizeof(own), "/local/domain/%d/data", store->domid);
    return local_layout_is_below(path, own);
}

/* ---- opening ---- */

static int local_store_explain(int error, const char *directory, char *why, size_t size)
{
    switch (error) {
    case ENOENT:
        snprintf(why, size,
                 "there is no store directory %s; make it (mkdir, idc-setup), or name another with "
                 "--store",
                 directory);
        break;
    case ENOTDIR:
        snprintf(why, size, "the store %s is not a directory; name a directory with --store",
                 directory);
        break;
    case EROFS:
        snprintf(why, size,
                 "the store directory %s is on a read-only file system; mount that for writing, or "
                 "name another directory with --store",
                 directory);
        break;
    case EACCES:
    case EPERM:
        snprintf(why, size,
                 "the store directory %s: %s; change its permissions, or name another with --store",
                 directory, strerror(error));
        break;
    default:
        snprintf(why, size, "cannot open the store directory %s: %s", directory, strerror(error));
    }
    return -error;
}

int local_store_open(struct store_local *store, const char *directory, int domid, bool writing,
                     char *why, size_t why_size)
{
    *store = (struct store_local){.dir = -1, .domid = domid};
    if (domid != STORE_TOOLSTACK && (domid < 0 || domid > STORE_DOMID_MAX)) {
        snprintf(why, why_size, "%d is not a domid; give one from 0 to %d", domid, STORE_DOMID_MAX);
        return -EINVAL;
    }
    int dir = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return local_store_explain(errno, directory, why, why_size);
    if (writing && faccessat(dir, ".", W_OK | X_OK, AT_EACCESS) != 0) {
        int error = errno;
        close(dir);
        return local_store_explain(error, directory, why, why_size);
    }
    store->dir = dir;
    return 0;
}

void local_store_close(struct store_local *store)
{
    if (store->dir >= 0)
        close(store->dir);
    store->dir = -1;
}

/* ---- reading ---- */

static int read_file(int fd, char *buffer, size_t size)
{
    struct stat status;
    size_t have = 0;
    if (fstat(fd, &status) != 0)
        return -errno;
    if (!S_ISREG(status.st_mode))
        return -EBADMSG;
    while (have < size) {
        ssize_t got = read(fd, buffer + have, size - have);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (got == 0)
            break;
        have += got;
    }
    return (int)have;
}

/* Splits a file's text into permissions and value, and takes the value if it may be read. */
static int take_value(const struct store_local *store, char *text, size_t length,
                      char value[PLATFORM_VALUE_MAX + 1])
{
    char *newline = memchr(text, '\n', length);
    if (newline == NULL || memchr(text, '\0', length) != NULL)
        return -EBADMSG;
    *newline = '\0';
    int allowed = check_readable(store, text);
    if (allowed != 0)
        return allowed;
    size_t value_length = text + length - (newline + 1);
    if (value_length > PLATFORM_VALUE_MAX)
        return -EBADMSG;
    memcpy(value, newline + 1, value_length);
    value[value_length] = '\0';
    return (int)value_length;
}

int local_store_read(const struct store_local *store, const char *path,
                     char value[PLATFORM_VALUE_MAX + 1])
{
    char file[LAYOUT_ROOM_MAX + PLATFORM_PATH_MAX + 1];
    /* one byte more than the longest, to notice a longer one */
    char text[PERMISSIONS_MAX + 1 + PLATFORM_VALUE_MAX + 1];
    if (!local_layout_file(path, file))
        return -EINVAL;
    int fd = openat(store->dir, file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        return errno == ELOOP || errno == ENXIO ? -EBADMSG : -errno;
    int length = read_file(fd, text, sizeof(text));
    close(fd);
    if (length < 0)
        return length;
    return length == sizeof(text) ? -EBADMSG : take_value(store, text, length, value);
}

/* ---- writing ---- */

static int write_all(int fd, const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t done = write(fd, bytes, length);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return -errno;
        bytes += done;
        length -= done;
    }
    return 0;
}

/* Whoever may use the store's directory may use the new directory in it. */
static int make_directory(const struct store_local *store, const char *name)
{
    struct stat status;
    if (mkdirat(store->dir, name, 0700) != 0)
        return errno == EEXIST ? 0 : -errno;
    if (fstat(store->dir, &status) != 0 ||
        fchmodat(store->dir, name, status.st_mode & 0777, 0) != 0)
        return -errno;
    return 0;
}

int local_store_make_room(const struct store_local *store, const struct local_room *room)
{
    char domain[LAYOUT_ROOM_MAX];
    strcpy(domain, room->name);
    char *slash = strchr(domain, '/');
    if (room->path[0] == '\0')
        return 0; /* the store's directory itself */
    if (slash)
        *slash = '\0';
    int result = make_directory(store, domain);
    return result != 0 || !slash ? result : make_directory(store, room->name);
}

static int make_temporary(const struct store_local *store, const struct local_room *room,
                          char *name, size_t size)
{
    uint64_t number;
    if (getrandom(&number, sizeof(number), 0) != sizeof(number))
        return -errno;
    snprintf(name, size, "%s/" TEMPORARY "%016" PRIx64, room->name, number);
    int fd = openat(store->dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0 && errno == ENOENT && local_store_make_room(store, room) == 0)
        fd = openat(store->dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    return fd < 0 ? -errno : fd;
}

static int replace_file(const struct store_local *store, const char *path, const char *text,
                        size_t length)
{
    struct local_room room;
    char temporary[LAYOUT_ROOM_MAX + 32], file[LAYOUT_ROOM_MAX + PLATFORM_PATH_MAX + 1];
    if (!local_layout_room(path, &room) || !local_layout_file(path, file))
        return -EINVAL;
    int fd = make_temporary(store, &room, temporary, sizeof(temporary));
    if (fd < 0)
        return fd;
    int result = write_all(fd, text, length);
    if (close(fd) != 0 && result == 0)
        result = -errno;
    if (result == 0 && renameat(store->dir, temporary, store->dir, file) != 0)
        result = -errno;
    if (result != 0)
        unlinkat(store->dir, temporary, 0);
    return result;
}

int local_store_write(const struct store_local *store, const char *path, const char *value,
                      int reader)
{
    char text[PERMISSIONS_MAX + 1 + PLATFORM_VALUE_MAX + 1];
    int owner = store->domid == STORE_TOOLSTACK ? 0 : store->domid;
    if (!local_layout_valid_path(path) || reader < -1 || reader > STORE_DOMID_MAX)
        return -EINVAL;
    if (strlen(value) > PLATFORM_VALUE_MAX)
        return -E2BIG;
    if (!may_write(store, path))
        return -EACCES;
    int length = reader < 0 || reader == owner
                     ? snprintf(text, sizeof(text), "n%d\n%s", owner, value)
                     : snprintf(text, sizeof(text), "n%d,r%d\n%s", owner, reader, value);
    return replace_file(store, path, text, length);
}

int local_store_remove_node(const struct store_local *store, const char *path)
{
    char file[LAYOUT_ROOM_MAX + PLATFORM_PATH_MAX + 1];
    if (!local_layout_file(path, file))
        return -EINVAL;
    if (!may_write(store, path))
        return -EACCES;
    return unlinkat(store->dir, file, 0) == 0 || errno == ENOENT ? 0 : -errno;
}

static int remove_visited(void *arg, const char *path)
{
    return local_store_remove_node(arg, path);
}

int local_store_remove(const struct store_local *store, const char *path)
{
    struct store_local copy = *store;
    if (!local_layout_valid_path(path))
        return -EINVAL;
    return may_write(store, path) ? local_store_walk(store, path, remove_visited, &copy) : -EACCES;
}

/* ---- walking ---- */

static DIR *open_listing(const struct store_local *store, const char *directory)
{
    int fd = openat(store->dir, directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *listing = fd < 0 ? NULL : fdopendir(fd);
    if (!listing && fd >= 0) {
        int error = errno;
        close(fd);
        errno = error;
    }
    return listing;
}

/* Calls visit with the name of each entry of a type until it returns other than 0. A directory that
 * does not exist is empty. */
static int walk_directory(const struct store_local *store, const char *directory,
                          unsigned char type, int (*visit)(void *arg, const char *name), void *arg)
{
    int result = 0;
    DIR *listing = open_listing(store, directory);
    if (!listing)
        return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
    for (struct dirent *entry; result == 0 && (entry = readdir(listing)) != NULL;) {
        if (entry->d_type == type || entry->d_type == DT_UNKNOWN)
            result = visit(arg, entry->d_name);
    }
    closedir(listing);
    return result;
}

struct walk {
    const struct store_local *store;
    const char *prefix;
    local_store_visit *visit;
    void *arg;
    struct local_room room;
    int domid;
};

static int walk_node(void *arg, const char *name)
{
    const struct walk *walk = arg;
    char path[PLATFORM_PATH_MAX + 1];
    return local_layout_path(&walk->room, name, path) && local_layout_is_below(path, walk->prefix)
               ? walk->visit(walk->arg, path)
               : 0;
}

static int walk_room(void *arg, const char *name)
{
    struct walk *walk = arg;
    return local_layout_is_room(walk->domid, name, &walk->room) &&
                   local_layout_is_below(walk->room.path, walk->prefix)
               ? walk_directory(walk->store, walk->room.name, DT_REG, walk_node, walk)
               : 0;
}

static int walk_domain(void *arg, const char *name)
{
    struct walk *walk = arg;
    char path[PLATFORM_PATH_MAX + 1];
    if (!local_layout_is_domain(name, &walk->domid))
        return 0;
    snprintf(path, sizeof(path), "/local/domain/%d", walk->domid);
    bool wanted =
        local_layout_is_below(path, walk->prefix) || local_layout_is_below(walk->prefix, path);
    if (!wanted)
        return 0;
    local_layout_domain_room(walk->domid, &walk->room);
    int result = walk_directory(walk->store, name, DT_REG, walk_node, walk);
    return result != 0 ? result : walk_directory(walk->store, name, DT_DIR, walk_room, walk);
}

int local_store_walk(const struct store_local *store, const char *prefix, local_store_visit *visit,
                     void *arg)
{
    struct walk walk = {.store = store, .prefix = prefix, .visit = visit, .arg = arg};
    if (!local_layout_room(prefix, &walk.room))
        walk.room = (struct local_room){.name = "."}; /* "": all of them */
    int result = walk_directory(store, walk.room.name, DT_REG, walk_node, &walk);
    if (result == 0 && local_layout_is_above_rooms(prefix))
        result = walk_directory(store, ".", DT_DIR, walk_domain, &walk);
    return result;
}

static int sweep_file(void *arg, const char *name)
{
    const struct walk *walk = arg;
    struct stat status;
    char file[LAYOUT_ROOM_MAX + 256 + 1];
    if (strncmp(name, TEMPORARY, strlen(TEMPORARY)) != 0)
        return 0;
    snprintf(file, sizeof(file), "%s/%s", walk->room.name, name);
    if (fstatat(walk->store->dir, file, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
        time(NULL) - status.st_mtime >= SWEEP_AGE_S)
        unlinkat(walk->store->dir, file, 0);
    return 0;
}

static int sweep_room(void *arg, const char *name)
{
    struct walk *walk = arg;
    return local_layout_is_room(walk->domid, name, &walk->room)
               ? walk_directory(walk->store, walk->room.name, DT_REG, sweep_file, walk)
               : 0;
}

void local_store_sweep(const struct store_local *store)
{
    char domain[LAYOUT_ROOM_MAX];
    struct walk walk = {.store = store, .room = {.name = "."}, .domid = store->domid};
    walk_directory(store, ".", DT_REG, sweep_file, &walk);
    snprintf(domain, sizeof(domain), "domain:%d", store->domid);
    walk_directory(store, domain, DT_DIR, sweep_room, &walk);
}
