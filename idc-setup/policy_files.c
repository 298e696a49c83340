/* SPDX-License-Identifier: GPL-2.0-or-later */
/* policy_files.c - see policy_files.h. */
#include "idc-setup/policy_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/file_trust.h"
#include "common/shown.h"
#include "idc-setup/policy_line.h"

#define FILES_SUFFIX ".policy"
#define FILES_ERRORS_SHOWN 50

struct files_loading {
    struct policy_texts *texts; /* that were read */
    struct ruleset *ruleset;    /* that they become */
    struct ruleset_reporter reporter;
    const struct policy_typed *typed; /* or NULL */
    bool in_force;
    unsigned errors;
    int status; /* 1 as soon as something could not be read */
};

static void files_print_hint(const struct problem *problem)
{
    fputs("\n    hint: ", stderr);
    shown_print(stderr, problem->hint);
    fputc('\n', stderr);
}

/* What was typed has no line for whoever typed it. */
static void files_report_typed(const struct policy_typed *typed, const struct problem *problem)
{
    const char *argument = policy_line_argument(typed->text, typed->arguments, problem->column);
    if (argument != NULL)
        shown_printf(stderr, "idc-setup: \"%s\": %s", argument, problem->text);
    else
        shown_printf(stderr, "idc-setup: %s", problem->text);
    files_print_hint(problem);
    if (policy_line_has_more_words(typed->arguments))
        fputs("    hint: a shell puts the names of files in the place of *; write '*'\n", stderr);
}

static void files_report(void *arg, const char *file, const struct problem *problem)
{
    struct files_loading *loading = arg;
    const struct policy_typed *typed = loading->typed;
    if (loading->errors++ >= FILES_ERRORS_SHOWN)
        return;
    if (typed != NULL && problem->line == typed->line && strcmp(file, typed->file) == 0) {
        files_report_typed(typed, problem);
        return;
    }
    if (problem->line == 0)
        shown_printf(stderr, "%s: %s", file, problem->text);
    else
        shown_printf(stderr, "%s:%u:%u: %s", file, problem->line, problem->column, problem->text);
    files_print_hint(problem);
}

static void files_fail(struct files_loading *loading, const char *path, const char *why)
{
    shown_printf(stderr, "idc-setup: cannot read %s: %s", path, why);
    fputc('\n', stderr);
    loading->status = 1;
}

/* ---- one file ---- */

/* The file's bytes, but no more than one above the limit. NULL and errno: it can't be read. */
static char *files_read(int fd, size_t *length)
{
    size_t most = RULESET_FILE_MAX + 1;
    char *text = malloc(most);
    *length = 0;
    while (text != NULL && *length < most) {
        ssize_t got = read(fd, text + *length, most - *length);
        if (got == 0)
            break;
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            int error = errno;
            free(text);
            errno = error;
            return NULL;
        }
        *length += (size_t)got;
    }
    return text;
}

/* A file may be cut while it is written or copied. Half of a line may be a good one, which says
 * something else, such as port 80 for 8080. */
static void files_check_end(struct files_loading *loading, const struct policy_text *file)
{
    const char *text = file->text;
    size_t length = file->length;
    struct problem problem = {.line = 1};
    size_t column = 1;
    if (length == 0 || text[length - 1] == '\n')
        return;
    for (size_t i = 0; i < length; i++) {
        column = text[i] == '\n' ? 1 : column + 1;
        problem.line += text[i] == '\n' ? 1 : 0;
    }
    problem_fill(&problem, (unsigned)column,
                 "see whether all of the file is there, and end it with a newline",
                 "the last line has no newline");
    files_report(loading, file->name, &problem);
}

/* What is in force is named by refusals and lists long after, wherever these are read. So its name
 * is absolute then. */
static const char *files_name(const struct files_loading *loading, const char *path,
                              char absolute[2 * PATH_MAX])
{
    char copy[PATH_MAX], directory[PATH_MAX];
    const char *slash = strrchr(path, '/');
    if (!loading->in_force || path[0] == '/')
        return path;
    snprintf(copy, sizeof(copy), "%s", path);
    if (realpath(dirname(copy), directory) == NULL)
        return path;
    snprintf(absolute, 2 * PATH_MAX, "%s/%s", directory[1] == '\0' ? "" : directory,
             slash == NULL ? path : slash + 1);
    return absolute;
}

static void files_add_open(struct files_loading *loading, const char *path, int fd)
{
    size_t length;
    char *text = files_read(fd, &length), absolute[2 * PATH_MAX];
    if (text == NULL ||
        policy_texts_add(loading->texts, files_name(loading, path, absolute), text, length) != 0)
        files_fail(loading, path, strerror(errno));
    free(text);
}

/* ---- who could have written it ---- */

/* The directory, and all above it: who may rename one of them could put another in its place. */
static bool files_trust_directories(struct files_loading *loading, const char *directory)
{
    char above[PATH_MAX];
    struct stat status;
    if (realpath(directory, above) == NULL) {
        files_fail(loading, directory, strerror(errno));
        return false;
    }
    for (;;) {
        const char *others =
            lstat(above, &status) != 0 ? strerror(errno) : file_trust_writers(&status);
        if (others != NULL) {
            files_fail(loading, above, others);
            return false;
        }
        char *slash = strrchr(above, '/');
        if (slash[1] == '\0')
            return true;
        slash[slash == above ? 1 : 0] = '\0';
    }
}

static bool files_trust_named(struct files_loading *loading, const char *path)
{
    char copy[PATH_MAX];
    if (snprintf(copy, sizeof(copy), "%s", path) < (int)sizeof(copy))
        return files_trust_directories(loading, dirname(copy));
    files_fail(loading, path, strerror(ENAMETOOLONG));
    return false;
}

/* A file that was named may be a pipe. One of the directory may not: nobody might ever write. */
static bool files_acceptable(struct files_loading *loading, const char *path, int fd, bool named)
{
    struct stat status;
    bool known = fstat(fd, &status) == 0;
    bool regular = known && S_ISREG(status.st_mode);
    if (!known || (!regular && (!named || S_ISDIR(status.st_mode)))) {
        files_fail(loading, path, known ? "it is not a regular file" : strerror(errno));
        return false;
    }
    const char *others =
        named && !(regular && loading->in_force) ? NULL : file_trust_writers(&status);
    if (others != NULL)
        files_fail(loading, path, others);
    return others == NULL &&
           (!named || !regular || !loading->in_force || files_trust_named(loading, path));
}

static void files_add(struct files_loading *loading, const char *path, bool named, bool needed)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | (named ? 0 : O_NONBLOCK));
    if (fd < 0) {
        if (errno != ENOENT || needed)
            files_fail(loading, path, strerror(errno));
        return;
    }
    if (files_acceptable(loading, path, fd, named))
        files_add_open(loading, path, fd);
    close(fd);
}

/* ---- the directory ---- */

static int files_wanted(const struct dirent *entry)
{
    size_t length = strlen(entry->d_name), suffix = strlen(FILES_SUFFIX);
    return entry->d_name[0] != '.' && length > suffix &&
           strcmp(entry->d_name + length - suffix, FILES_SUFFIX) == 0;
}

/* alphasort would go by the locale. */
static int files_compare(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static bool files_path(struct files_loading *loading, const char *directory, const char *name,
                       char path[PATH_MAX])
{
    int length = snprintf(path, PATH_MAX, "%s/%s", directory, name);
    if (length < PATH_MAX)
        return true;
    files_fail(loading, directory, strerror(ENAMETOOLONG));
    return false;
}

static void files_add_more(struct files_loading *loading, const char *directory)
{
    struct dirent **entries;
    char path[PATH_MAX];
    int count = scandir(directory, &entries, files_wanted, files_compare);
    if (count < 0) {
        if (errno != ENOENT)
            files_fail(loading, directory, strerror(errno));
        return;
    }
    bool trusted = files_trust_directories(loading, directory);
    for (int i = 0; i < count; i++) {
        if (trusted && files_path(loading, directory, entries[i]->d_name, path))
            files_add(loading, path, false, true);
        free(entries[i]);
    }
    free(entries);
}

static void files_add_directory(struct files_loading *loading, const struct policy_source *source)
{
    char path[PATH_MAX];
    struct stat status;
    bool there = stat(source->directory, &status) == 0;
    if (!there && (source->directory_given || errno != ENOENT)) {
        files_fail(loading, source->directory, strerror(errno));
        return;
    }
    if (there && !S_ISDIR(status.st_mode)) {
        files_fail(loading, source->directory, "it is not a directory");
        return;
    }
    if (!there || !files_trust_directories(loading, source->directory))
        return;
    if (files_path(loading, source->directory, "policy", path))
        files_add(loading, path, false, false);
    if (files_path(loading, source->directory, "policy.d", path))
        files_add_more(loading, path);
}

/* ---- all ---- */

int policy_files_read(const struct policy_source *source, struct policy_texts *texts)
{
    struct files_loading loading = {.texts = texts, .in_force = source->in_force};
    *texts = (struct policy_texts){0};
    if (source->files == NULL)
        files_add_directory(&loading, source);
    for (char **file = source->files; file != NULL && *file != NULL; file++)
        files_add(&loading, *file, true, true);
    if (loading.status != 0)
        policy_texts_free(texts);
    return loading.status;
}

static void files_parse_text(struct files_loading *loading, const struct policy_text *text)
{
    if (ruleset_add(loading->ruleset, text->name, text->text, text->length, &loading->reporter) ==
        0)
        files_check_end(loading, text);
}

static int files_parse_all(struct files_loading *loading, const struct policy_text *commands,
                           const struct policy_texts *texts, size_t *command_rules)
{
    if (commands != NULL)
        files_parse_text(loading, commands);
    ruleset_reverse(loading->ruleset);
    *command_rules = loading->ruleset->rule_count;
    for (size_t i = 0; i < texts->count; i++)
        files_parse_text(loading, &texts->list[i]);
    ruleset_finish(loading->ruleset, &loading->reporter);
    if (loading->errors > FILES_ERRORS_SHOWN)
        fprintf(stderr, "idc-setup: %u more errors are not shown\n",
                loading->errors - FILES_ERRORS_SHOWN);
    return loading->errors > 0 ? POLICY_STATUS_WRONG : 0;
}

int policy_files_parse(const struct policy_text *commands, const struct policy_texts *texts,
                       struct ruleset **ruleset, size_t *command_rules)
{
    return policy_files_parse_typed(commands, texts, NULL, ruleset, command_rules);
}

int policy_files_parse_typed(const struct policy_text *commands, const struct policy_texts *texts,
                             const struct policy_typed *typed, struct ruleset **ruleset,
                             size_t *command_rules)
{
    struct files_loading loading = {.ruleset = ruleset_new(), .typed = typed};
    *ruleset = NULL;
    if (loading.ruleset == NULL) {
        fputs("idc-setup: out of memory\n", stderr);
        return 1;
    }
    loading.reporter = (struct ruleset_reporter){.report = files_report, .arg = &loading};
    int status = files_parse_all(&loading, commands, texts, command_rules);
    if (status != 0)
        ruleset_free(loading.ruleset);
    else
        *ruleset = loading.ruleset;
    return status;
}

int policy_files_load(const struct policy_source *source, struct ruleset **ruleset)
{
    struct policy_texts texts;
    size_t commands;
    *ruleset = NULL;
    int status = policy_files_read(source, &texts);
    if (status == 0)
        status = policy_files_parse(NULL, &texts, ruleset, &commands);
    policy_texts_free(&texts);
    return status;
}
