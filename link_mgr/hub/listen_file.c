/* SPDX-License-Identifier: GPL-2.0-or-later */
/* listen_file.h says what is believed. */
#include "link_mgr/hub/listen_file.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <libgen.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/file_trust.h"

#define PASSWD "/etc/passwd"
#define GROUP "/etc/group"

#define READS_MAX 3 /* of a file that is being changed */

/* ---- names ---- */

struct id_name {
    char *name;
    uint32_t id;
    size_t place; /* in the file */
};

/* What is in /etc/passwd, or in /etc/group. Each is read once for a file of rules. */
struct id_table {
    struct id_name *names;
    size_t count, room;
    bool is_read;
};

/* [0]: users, [1]: groups */
struct id_tables {
    struct id_table tables[2];
};

/* Of two entries with the same name, the first in the file counts, as for the C library. */
static int compare_names(const void *left, const void *right)
{
    const struct id_name *one = left, *other = right;
    int order = strcmp(one->name, other->name);
    return order ? order : (one->place > other->place) - (one->place < other->place);
}

static bool table_add(struct id_table *table, const char *name, uint32_t id)
{
    if (table->count == table->room) {
        size_t room = table->room ? 2 * table->room : 64;
        struct id_name *names = reallocarray(table->names, room, sizeof(*names));
        if (!names)
            return false;
        table->names = names;
        table->room = room;
    }
    struct id_name *new = &table->names[table->count];
    *new = (struct id_name){.name = strdup(name), .id = id, .place = table->count};
    table->count += new->name ? 1 : 0;
    return new->name;
}

static bool add_next_user(struct id_table *table, FILE *stream)
{
    const struct passwd *entry = fgetpwent(stream);
    return entry && table_add(table, entry->pw_name, entry->pw_uid);
}

static bool add_next_group(struct id_table *table, FILE *stream)
{
    const struct group *entry = fgetgrent(stream);
    return entry && table_add(table, entry->gr_name, entry->gr_gid);
}

/* If there is no memory for all of it, names are missing, and the rules are refused. */
static void table_read(struct id_table *table, bool group)
{
    FILE *stream = fopen(group ? GROUP : PASSWD, "re");
    table->is_read = true;
    if (!stream)
        return;
    while (group ? add_next_group(table, stream) : add_next_user(table, stream))
        ;
    fclose(stream);
    if (table->count > 1)
        qsort(table->names, table->count, sizeof(*table->names), compare_names);
}

static void tables_free(struct id_tables *tables)
{
    for (int i = 0; i < 2; i++) {
        for (size_t k = 0; k < tables->tables[i].count; k++)
            free(tables->tables[i].names[k].name);
        free(tables->tables[i].names);
    }
}

static bool find_id(void *arg, bool group, const char *name, uint32_t *id)
{
    struct id_table *table = &((struct id_tables *)arg)->tables[group];
    if (!table->is_read)
        table_read(table, group);
    /* the first that is not before it */
    size_t low = 0, high = table->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(table->names[middle].name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == table->count || strcmp(table->names[low].name, name) != 0)
        return false;
    *id = table->names[low].id;
    return true;
}

/* ---- who can write it ---- */

static int file_fail(const char *path, int error, const char *what, char why[LISTEN_WHY_MAX])
{
    snprintf(why, LISTEN_WHY_MAX, "%s: %s", path, what);
    return error;
}

/* *listed: everybody may look into it. */
static int check_directory(const char *directory, bool *listed, char why[LISTEN_WHY_MAX])
{
    struct stat state;
    if (lstat(directory, &state) < 0)
        return file_fail(directory, -errno, strerror(errno), why);
    const char *others = file_trust_writers(&state);
    *listed = *listed && (state.st_mode & S_IXOTH);
    return others ? file_fail(directory, -EPERM, others, why) : 0;
}

/* The directory, and all above it: who may rename one of them could put another in its place. */
static int check_directories(const char *directory, bool *listed, char why[LISTEN_WHY_MAX])
{
    char above[PATH_MAX];
    snprintf(above, sizeof(above), "%s", directory);
    for (;;) {
        int error = check_directory(above, listed, why);
        if (error || strcmp(above, "/") == 0)
            return error;
        char *slash = strrchr(above, '/');
        slash[slash == above ? 1 : 0] = '\0';
    }
}

static int check_file(const char *path, const struct stat *state, char why[LISTEN_WHY_MAX])
{
    if (!S_ISREG(state->st_mode))
        return file_fail(path, -EINVAL, "is not a file", why);
    const char *others = file_trust_writers(state);
    return others ? file_fail(path, -EPERM, others, why) : 0;
}

/* ---- reading ---- */

/* A length, or negative errno. One byte more than is allowed shows that there are too many. */
static ssize_t read_text(int fd, char text[LISTEN_TEXT_MAX + 1])
{
    size_t length = 0;
    while (length <= LISTEN_TEXT_MAX) {
        ssize_t got = pread(fd, text + length, LISTEN_TEXT_MAX + 1 - length, (off_t)length);
        if (got < 0 && errno != EINTR)
            return -errno;
        if (got == 0)
            break;
        length += got > 0 ? (size_t)got : 0;
    }
    return length <= LISTEN_TEXT_MAX ? (ssize_t)length : -EFBIG;
}

static bool is_unchanged(const struct stat *before, const struct stat *after)
{
    return before->st_size == after->st_size && before->st_mtim.tv_sec == after->st_mtim.tv_sec &&
           before->st_mtim.tv_nsec == after->st_mtim.tv_nsec &&
           before->st_ctim.tv_sec == after->st_ctim.tv_sec &&
           before->st_ctim.tv_nsec == after->st_ctim.tv_nsec;
}

/* All of it as it was at one time, and *state of that time. A length, or negative errno; -EAGAIN:
 * somebody goes on writing. */
static ssize_t read_whole(int fd, char text[LISTEN_TEXT_MAX + 1], struct stat *state)
{
    struct stat after;
    for (int i = 0; i < READS_MAX; i++) {
        if (fstat(fd, state) < 0)
            return -errno;
        if (!S_ISREG(state->st_mode))
            return 0; /* which is said of it later */
        ssize_t length = read_text(fd, text);
        if (length < 0)
            return length;
        if (fstat(fd, &after) < 0)
            return -errno;
        if (is_unchanged(state, &after) && length == state->st_size)
            return length;
    }
    return -EAGAIN;
}

static int parse_text(const char *path, const char *text, size_t length,
                      struct listen_rules **rules, char why[LISTEN_WHY_MAX])
{
    struct id_tables tables = {0};
    struct listen_wrong wrong;
    int error = listen_rules_parse(text, length, find_id, &tables, rules, &wrong);
    tables_free(&tables);
    if (error == -EINVAL)
        snprintf(why, LISTEN_WHY_MAX, "%.*s:%u:%u: %s", LISTEN_WHY_MAX - LISTEN_WRONG_MAX - 32,
                 path, wrong.line, wrong.column, wrong.what);
    return error && error != -EINVAL ? file_fail(path, error, strerror(-error), why) : error;
}

static int check_end(const char *path, const char *text, size_t length, char why[LISTEN_WHY_MAX])
{
    unsigned line = 1, column = 1;
    if (length == 0 || text[length - 1] == '\n')
        return 0;
    for (size_t i = 0; i < length; i++) {
        column = text[i] == '\n' ? 1 : column + 1;
        line += text[i] == '\n' ? 1 : 0;
    }
    snprintf(why, LISTEN_WHY_MAX,
             "%.*s:%u:%u: the last line has no newline: is the file still being written?",
             LISTEN_WHY_MAX - LISTEN_WRONG_MAX - 32, path, line, column);
    return -EINVAL;
}

/* What is wrong in a line is said before what is wrong with the end. */
static int take_text(const char *path, const char *text, size_t length, struct listen_rules **rules,
                     char why[LISTEN_WHY_MAX])
{
    int error = parse_text(path, text, length, rules, why);
    if (!error)
        error = check_end(path, text, length, why);
    if (!error && listen_rules_count(*rules) == 0)
        error = file_fail(path, -EINVAL, "there is no rule in it", why);
    if (error) {
        listen_rules_free(*rules);
        *rules = NULL;
    }
    return error;
}

static int read_and_take(const char *path, int fd, struct stat *state, struct listen_rules **rules,
                         char why[LISTEN_WHY_MAX])
{
    static char text[LISTEN_TEXT_MAX + 1]; /* one file is read at a time */
    ssize_t length = read_whole(fd, text, state);
    if (length == -EAGAIN)
        return file_fail(path, -EAGAIN, "it is being written", why);
    if (length < 0)
        return file_fail(path, (int)length, strerror((int)-length), why);
    int error = check_file(path, state, why);
    return error ? error : take_text(path, text, (size_t)length, rules, why);
}

/* Where the path's directory really is. 0 or negative errno. */
static int find_directory(const char *path, char directory[PATH_MAX])
{
    char copy[PATH_MAX];
    if ((size_t)snprintf(copy, sizeof(copy), "%s", path) >= sizeof(copy))
        return -ENAMETOOLONG;
    return realpath(dirname(copy), directory) ? 0 : -errno;
}

/* A descriptor, or negative errno. It is opened where the directory really is, which is checked. */
static int open_file(const char *path, char directory[PATH_MAX])
{
    char real[PATH_MAX + LISTEN_WHY_MAX];
    const char *slash = strrchr(path, '/');
    int error = find_directory(path, directory);
    if (error)
        return error;
    snprintf(real, sizeof(real), "%s/%s", directory, slash ? slash + 1 : path);
    /* it must not wait for a writer of a fifo */
    int fd = open(real, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW);
    return fd >= 0 ? fd : -errno;
}

int listen_file_read(const struct listen_file *file, struct listen_rules **rules, bool *is_public,
                     char why[LISTEN_WHY_MAX])
{
    char directory[PATH_MAX];
    struct stat state;
    *rules = NULL;
    *is_public = false;
    int fd = open_file(file->path, directory);
    if (!file->must_exist && (fd == -ENOENT || fd == -ENOTDIR))
        return 0;
    if (fd == -ELOOP)
        return file_fail(file->path, fd, "is a symbolic link", why);
    if (fd < 0)
        return file_fail(file->path, fd, strerror(-fd), why);
    bool listed = true;
    int error = check_directories(directory, &listed, why);
    if (!error)
        error = read_and_take(file->path, fd, &state, rules, why);
    *is_public = !error && listed && (state.st_mode & S_IROTH);
    close(fd);
    return error;
}
