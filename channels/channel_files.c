/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "channels/channel_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/file_trust.h"

#define PROBLEMS_TOLD 100

struct channel_file {
    char *path;
    size_t place; /* the index of the place that it belongs to */
    char *text;   /* the latest that could be read, or NULL */
    size_t len;
    bool cut;  /* its last line has no newline, and there was no text before it */
    bool seen; /* in this reading */
    TAILQ_ENTRY(channel_file) entry;
};

struct channel_files {
    struct channel_files_settings settings;
    TAILQ_HEAD(channel_file_list, channel_file) all; /* in their order */
    size_t count;
    int problems;
    bool no_memory;
};

/* ---- telling ---- */

static void __attribute__((format(printf, 2, 3)))
files_problem(struct channel_files *files, const char *format, ...)
{
    char line[PATH_MAX + CHANNEL_LINE_WHY_MAX + 64];
    va_list arguments;
    if (files->problems++ >= PROBLEMS_TOLD)
        return;
    va_start(arguments, format);
    vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    files->settings.say(files->settings.context, line);
}

static void files_tell_left_out(const struct channel_files *files)
{
    char line[64];
    snprintf(line, sizeof(line), "%d more mistakes", files->problems - PROBLEMS_TOLD);
    if (files->problems > PROBLEMS_TOLD)
        files->settings.say(files->settings.context, line);
}

/* ---- the text of a file ---- */

static const char *file_check(const struct stat *about)
{
    if (!S_ISREG(about->st_mode))
        return "it is no file";
    if (about->st_size > CHANNEL_FILES_TEXT_MAX)
        return "it has more than 1 MiB";
    return file_trust_writers(about);
}

/* NULL, or why not. The size may change while it is read. */
static const char *file_take(int fd, char **text, size_t *len)
{
    char *all = malloc(CHANNEL_FILES_TEXT_MAX + 1);
    ssize_t got = 1;
    *len = 0;
    while (all != NULL && got > 0 && *len <= CHANNEL_FILES_TEXT_MAX) {
        got = read(fd, all + *len, CHANNEL_FILES_TEXT_MAX + 1 - *len);
        *len += got > 0 ? (size_t)got : 0;
    }
    const char *wrong = all == NULL ? strerror(ENOMEM) : got < 0 ? strerror(errno) : NULL;
    if (wrong == NULL && *len > CHANNEL_FILES_TEXT_MAX)
        wrong = "it has more than 1 MiB";
    *text = wrong == NULL ? realloc(all, *len + 1) : NULL;
    if (*text == NULL)
        free(all);
    else
        (*text)[*len] = '\0';
    return *text == NULL && wrong == NULL ? strerror(ENOMEM) : wrong;
}

static const char *file_load(const char *path, char **text, size_t *len)
{
    struct stat about;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return strerror(errno);
    const char *wrong = fstat(fd, &about) < 0 ? strerror(errno) : file_check(&about);
    if (wrong == NULL)
        wrong = file_take(fd, text, len);
    close(fd);
    return wrong;
}

static void files_tell_cut(struct channel_files *files, const struct channel_file *file,
                           const char *text, size_t len, const char *meaning)
{
    unsigned line = 1;
    size_t column = 1;
    for (size_t i = 0; i < len; i++) {
        column = text[i] == '\n' ? 1 : column + 1;
        line += text[i] == '\n';
    }
    files_problem(files,
                  "%s:%u:%zu: the last line has no newline; %s; see whether all of the file is "
                  "there, and end it with a newline",
                  file->path, line, column, meaning);
}

/* True: what the file said before stays. */
static bool file_keeps(const struct channel_file *file, bool cut)
{
    return cut && file->text != NULL && !file->cut;
}

static void file_read(struct channel_files *files, struct channel_file *file)
{
    char *text = NULL;
    size_t len = 0;
    const char *wrong = file_load(file->path, &text, &len);
    if (wrong != NULL) {
        files_problem(files, "%s: %s%s", file->path, wrong,
                      file->text != NULL ? "; what it said before stays" : "");
        return;
    }
    bool cut = len > 0 && text[len - 1] != '\n';
    if (file_keeps(file, cut)) {
        files_tell_cut(files, file, text, len, "what the file said before stays");
        free(text);
        return;
    }
    free(file->text);
    file->text = text;
    file->len = len;
    file->cut = cut;
}

/* ---- which files there are ---- */

static void file_forget(struct channel_files *files, struct channel_file *file)
{
    TAILQ_REMOVE(&files->all, file, entry);
    files->count--;
    free(file->path);
    free(file->text);
    free(file);
}

static struct channel_file *file_new(const char *path, size_t place)
{
    struct channel_file *file = calloc(1, sizeof(*file));
    if (file != NULL)
        file->path = strdup(path);
    if (file == NULL || file->path == NULL) {
        free(file);
        return NULL;
    }
    file->place = place;
    return file;
}

/* Where it belongs: by its place, and by its name there. */
static struct channel_file *file_find_next(const struct channel_files *files, const char *path,
                                           size_t place)
{
    struct channel_file *file;
    TAILQ_FOREACH (file, &files->all, entry)
        if (file->place > place || (file->place == place && strcmp(file->path, path) >= 0))
            return file;
    return NULL;
}

/* The file is there, and is to be read. */
static void files_see(struct channel_files *files, const char *path, size_t place)
{
    struct channel_file *next = file_find_next(files, path, place), *file = next;
    if (next == NULL || next->place != place || strcmp(next->path, path) != 0) {
        if (files->count == CHANNEL_FILES_MAX) {
            files_problem(files, "%s: there are more than %d files", path, CHANNEL_FILES_MAX);
            return;
        }
        file = file_new(path, place);
        if (file == NULL) {
            files->no_memory = true;
            return;
        }
        if (next != NULL)
            TAILQ_INSERT_BEFORE(next, file, entry);
        else
            TAILQ_INSERT_TAIL(&files->all, file, entry);
        files->count++;
    }
    file->seen = true;
    file_read(files, file);
}

/* Its files stay as they were. */
static void files_keep(struct channel_files *files, size_t place)
{
    struct channel_file *file;
    TAILQ_FOREACH (file, &files->all, entry)
        file->seen = file->seen || file->place == place;
}

/* Editors and packages leave names behind that are none of these: .x, x~, x.dpkg-old. */
static int directory_filter(const struct dirent *one)
{
    const char *name = one->d_name, *dot = strrchr(name, '.');
    size_t len = strlen(name);
    return name[0] != '.' && name[len - 1] != '~' &&
           (dot == NULL || (strncmp(dot, ".dpkg-", 6) != 0 && strcmp(dot, ".bak") != 0));
}

static void files_see_directory(struct channel_files *files, size_t place)
{
    const char *directory = files->settings.places[place];
    struct dirent **names;
    char path[PATH_MAX];
    int count = scandir(directory, &names, directory_filter, alphasort);
    if (count < 0) {
        files_problem(files, "%s: %s; what it said before stays", directory, strerror(errno));
        files_keep(files, place);
        return;
    }
    for (int i = 0; i < count; i++) {
        if (snprintf(path, sizeof(path), "%s/%s", directory, names[i]->d_name) < (int)sizeof(path))
            files_see(files, path, place);
        free(names[i]);
    }
    free(names);
}

static void files_see_place(struct channel_files *files, size_t place)
{
    const char *path = files->settings.places[place], *wrong = NULL;
    struct stat about = {.st_mode = 0};
    if (stat(path, &about) < 0) {
        if (errno == ENOENT && files->settings.may_be_missing)
            return;
        wrong = strerror(errno);
    } else if (S_ISDIR(about.st_mode)) {
        wrong = file_trust_writers(&about);
    }
    if (wrong != NULL) {
        files_problem(files, "%s: %s; what it said before stays", path, wrong);
        files_keep(files, place);
    } else if (S_ISDIR(about.st_mode)) {
        files_see_directory(files, place);
    } else {
        files_see(files, path, place);
    }
}

static void files_look(struct channel_files *files)
{
    struct channel_file *file, *next;
    TAILQ_FOREACH (file, &files->all, entry)
        file->seen = false;
    for (size_t i = 0; i < files->settings.place_count; i++)
        files_see_place(files, i);
    for (file = TAILQ_FIRST(&files->all); file != NULL; file = next) {
        next = TAILQ_NEXT(file, entry);
        if (!file->seen)
            file_forget(files, file);
    }
}

/* ---- what they say ---- */

static const struct channel_entry *list_find(const struct channel_list *list, const char *name)
{
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->entries[i].line.name, name) == 0)
            return &list->entries[i];
    return NULL;
}

static const struct channel_entry *list_find_collision(const struct channel_list *list,
                                                       const struct channel_line *line)
{
    for (size_t i = 0; i < list->count; i++)
        if (!list->entries[i].wrong && channel_line_collides(&list->entries[i].line, line))
            return &list->entries[i];
    return NULL;
}

/* Doubled each time. */
static bool list_grow(struct channel_list *list)
{
    size_t count = list->count, size = count == 0 ? 16 : 2 * count;
    if (count != 0 && (count < 16 || (count & (count - 1)) != 0))
        return true;
    struct channel_entry *entries = realloc(list->entries, size * sizeof(*entries));
    if (entries == NULL)
        return false;
    list->entries = entries;
    return true;
}

static void list_add(struct channel_files *files, struct channel_list *list,
                     const struct channel_line *line, bool wrong)
{
    if (!list_grow(list)) {
        files->no_memory = true;
        return;
    }
    list->entries[list->count++] = (struct channel_entry){.line = *line, .wrong = wrong};
    list->good += !wrong;
}

/* Beside the other lines. */
static bool line_fits(const struct channel_list *list, const struct channel_line *line,
                      struct channel_problem *problem)
{
    const struct channel_entry *other = list_find_collision(list, line);
    problem->at = 0;
    if (list_find(list, line->name) != NULL)
        snprintf(problem->why, sizeof(problem->why), "there is a channel %s already", line->name);
    else if (list->count >= CHANNELS_MAX)
        snprintf(problem->why, sizeof(problem->why), "there are %d channels already", CHANNELS_MAX);
    else if (other != NULL)
        snprintf(problem->why, sizeof(problem->why), "channel %s has that service, path or address",
                 other->line.name);
    else
        return true;
    return false;
}

/* A channel of its name stays as it is. */
static void list_add_wrong(struct channel_files *files, struct channel_list *list,
                           const struct channel_line *line)
{
    if (line->name[0] != '\0' && list_find(list, line->name) == NULL && list->count < CHANNELS_MAX)
        list_add(files, list, line, true);
}

/* What its half says does not count, and so need not be right. */
static void file_parse_cut(struct channel_files *files, const struct channel_file *file,
                           const char *text, struct channel_list *list)
{
    struct channel_line line;
    struct channel_problem problem;
    files_tell_cut(files, file, file->text, file->len, "it does not count");
    if (channel_line_parse(text, files->settings.terminals, &line, &problem) != CHANNEL_LINE_EMPTY)
        list_add_wrong(files, list, &line);
}

static void file_parse_line(struct channel_files *files, const struct channel_file *file,
                            const char *text, unsigned number, struct channel_list *list)
{
    struct channel_line line;
    struct channel_problem problem;
    enum channel_line_result result =
        channel_line_parse(text, files->settings.terminals, &line, &problem);
    if (result == CHANNEL_LINE_EMPTY)
        return;
    if (result == CHANNEL_LINE_GOOD && line_fits(list, &line, &problem)) {
        list_add(files, list, &line, false);
        return;
    }
    files_problem(files, "%s:%u:%zu: %s", file->path, number, problem.at + 1, problem.why);
    list_add_wrong(files, list, &line);
}

static void file_parse(struct channel_files *files, const struct channel_file *file,
                       struct channel_list *list)
{
    const char *at = file->text, *end = file->text + file->len;
    char text[CHANNEL_LINE_MAX + 2];
    for (unsigned number = 1; at < end && !files->no_memory; number++) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        size_t all = (size_t)((newline != NULL ? newline : end) - at);
        size_t len = all < sizeof(text) ? all : sizeof(text) - 1;
        memcpy(text, at, len);
        text[len] = '\0';
        const char *nothing = memchr(text, '\0', len);
        if (newline == NULL)
            file_parse_cut(files, file, text, list);
        else if (nothing != NULL)
            files_problem(files, "%s:%u:%zu: the byte 0 does not belong into a line", file->path,
                          number, (size_t)(nothing - text) + 1);
        else
            file_parse_line(files, file, text, number, list);
        at += all + 1;
    }
}

/* ---- all ---- */

int channel_files_read(struct channel_files *files, struct channel_list *list)
{
    const struct channel_file *file;
    *list = (struct channel_list){.count = 0};
    files->problems = 0;
    files->no_memory = false;
    files_look(files);
    TAILQ_FOREACH (file, &files->all, entry)
        if (file->text != NULL)
            file_parse(files, file, list);
    files_tell_left_out(files);
    if (!files->no_memory)
        return files->problems;
    channel_list_free(list);
    return -ENOMEM;
}

void channel_list_free(struct channel_list *list)
{
    free(list->entries);
    *list = (struct channel_list){.count = 0};
}

struct channel_files *channel_files_new(const struct channel_files_settings *settings)
{
    struct channel_files *files = calloc(1, sizeof(*files));
    if (files == NULL)
        return NULL;
    files->settings = *settings;
    TAILQ_INIT(&files->all);
    return files;
}

void channel_files_free(struct channel_files *files)
{
    struct channel_file *file;
    if (files == NULL)
        return;
    while ((file = TAILQ_FIRST(&files->all)) != NULL)
        file_forget(files, file);
    free(files);
}
