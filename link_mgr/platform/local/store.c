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

#define PERMISSIONS_MAX 255 /* bytes of a file's first line, without the newline */
#define TEMPORARY ".tmp-"
#define SWEEP_AGE_S 60

/* ---- paths ---- */

static bool path_character(char c)
{
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    return letter || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '@';
}

bool local_store_valid_path(const char *path)
{
    size_t length = strnlen(path, PLATFORM_PATH_MAX + 1);
    if (length < 2 || length > PLATFORM_PATH_MAX || path[0] != '/' || path[length - 1] == '/')
        return false;
    for (size_t i = 1; i < length; i++) {
        if (path[i] == '/' ? path[i - 1] == '/' : !path_character(path[i]))
            return false;
    }
    return true;
}

bool local_store_is_below(const char *path, const char *prefix)
{
    size_t length = strlen(prefix);
    return strncmp(path, prefix, length) == 0 && (path[length] == '\0' || path[length] == '/');
}

static bool name_of_path(const char *path, char name[PLATFORM_PATH_MAX + 1])
{
    if (!local_store_valid_path(path))
        return false;
    strcpy(name, path + 1);
    for (char *c = name; *c != '\0'; c++) {
        if (*c == '/')
            *c = '.';
    }
    return true;
}

bool local_store_path_of_name(const char *name, char path[PLATFORM_PATH_MAX + 1])
{
    if (strlen(name) >= PLATFORM_PATH_MAX || strchr(name, '/') != NULL)
        return false;
    path[0] = '/';
    strcpy(path + 1, name);
    for (char *c = path; *c != '\0'; c++) {
        if (*c == '.')
            *c = '/';
    }
    return local_store_valid_path(path);
}

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

/* Xenstore's rule: the first entry names the owner, who may do all, and what those may who have no
 * entry. */
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
    return local_store_is_below(path, own);
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
    case EACCES:
    case EPERM:
    case EROFS:
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
    char name[PLATFORM_PATH_MAX + 1];
    /* one byte more than the longest, to notice a longer */
    char text[PERMISSIONS_MAX + 1 + PLATFORM_VALUE_MAX + 1];
    if (!name_of_path(path, name))
        return -EINVAL;
    int fd = openat(store->dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
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

static int make_temporary(const struct store_local *store, char *name, size_t size)
{
    uint64_t number;
    if (getrandom(&number, sizeof(number), 0) != sizeof(number))
        return -errno;
    snprintf(name, size, TEMPORARY "%016" PRIx64, number);
    int fd = openat(store->dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    return fd < 0 ? -errno : fd;
}

static int replace_file(const struct store_local *store, const char *name, const char *text,
                        size_t length)
{
    char temporary[32];
    int fd = make_temporary(store, temporary, sizeof(temporary));
    if (fd < 0)
        return fd;
    int result = write_all(fd, text, length);
    if (close(fd) != 0 && result == 0)
        result = -errno;
    if (result == 0 && renameat(store->dir, temporary, store->dir, name) != 0)
        result = -errno;
    if (result != 0)
        unlinkat(store->dir, temporary, 0);
    return result;
}

int local_store_write(const struct store_local *store, const char *path, const char *value,
                      int reader)
{
    char name[PLATFORM_PATH_MAX + 1];
    char text[PERMISSIONS_MAX + 1 + PLATFORM_VALUE_MAX + 1];
    int owner = store->domid == STORE_TOOLSTACK ? 0 : store->domid;
    if (!name_of_path(path, name) || reader < -1 || reader > STORE_DOMID_MAX)
        return -EINVAL;
    if (strlen(value) > PLATFORM_VALUE_MAX)
        return -E2BIG;
    if (!may_write(store, path))
        return -EACCES;
    int length = reader < 0 || reader == owner
                     ? snprintf(text, sizeof(text), "n%d\n%s", owner, value)
                     : snprintf(text, sizeof(text), "n%d,r%d\n%s", owner, reader, value);
    return replace_file(store, name, text, length);
}

int local_store_remove_node(const struct store_local *store, const char *path)
{
    char name[PLATFORM_PATH_MAX + 1];
    if (!name_of_path(path, name))
        return -EINVAL;
    if (!may_write(store, path))
        return -EACCES;
    return unlinkat(store->dir, name, 0) == 0 || errno == ENOENT ? 0 : -errno;
}

static int remove_visited(void *arg, const char *path)
{
    return local_store_remove_node(arg, path);
}

int local_store_remove(const struct store_local *store, const char *path)
{
    struct store_local copy = *store;
    if (!local_store_valid_path(path))
        return -EINVAL;
    return may_write(store, path) ? local_store_walk(store, path, remove_visited, &copy) : -EACCES;
}

/* ---- walking ---- */

static DIR *open_listing(const struct store_local *store)
{
    int fd = openat(store->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *listing = fd < 0 ? NULL : fdopendir(fd);
    if (listing == NULL && fd >= 0)
        close(fd);
    return listing;
}

int local_store_walk(const struct store_local *store, const char *prefix, local_store_visit *visit,
                     void *arg)
{
    char path[PLATFORM_PATH_MAX + 1];
    int result = 0;
    DIR *listing = open_listing(store);
    if (listing == NULL)
        return -errno;
    for (struct dirent *entry; result == 0 && (entry = readdir(listing)) != NULL;) {
        bool file = entry->d_type == DT_REG || entry->d_type == DT_UNKNOWN;
        if (file && local_store_path_of_name(entry->d_name, path) &&
            local_store_is_below(path, prefix))
            result = visit(arg, path);
    }
    closedir(listing);
    return result;
}

void local_store_sweep(const struct store_local *store)
{
    struct stat status;
    DIR *listing = open_listing(store);
    if (listing == NULL)
        return;
    for (struct dirent *entry; (entry = readdir(listing)) != NULL;) {
        bool ours = strncmp(entry->d_name, TEMPORARY, strlen(TEMPORARY)) == 0;
        if (ours && fstatat(store->dir, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
            status.st_mtime + SWEEP_AGE_S < time(NULL))
            unlinkat(store->dir, entry->d_name, 0);
    }
    closedir(listing);
}
