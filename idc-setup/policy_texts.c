/* SPDX-License-Identifier: GPL-2.0-or-later */
/* policy_texts.c - see policy_texts.h. */
#include "idc-setup/policy_texts.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "policy/ruleset.h"

#define TEXTS_HEADER "idc-setup applied 1\n"
/* names and lines beside the texts */
#define TEXTS_FILE_MAX (RULESET_TOTAL_MAX + RULESET_FILES_MAX * (PATH_MAX + 64u) + 64u)

/* ---- one file ---- */

static int texts_read_open(int fd, size_t most, char **text, size_t *length)
{
    size_t room = 4096;
    *length = 0;
    *text = malloc(room + 1);
    while (*text != NULL) {
        ssize_t got = read(fd, *text + *length, room - *length);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            (*text)[*length] = '\0';
            return got < 0 ? -errno : 0;
        }
        *length += (size_t)got;
        if (*length > most)
            return -EFBIG;
        if (*length < room)
            continue;
        room *= 2;
        char *more = realloc(*text, room + 1);
        if (more == NULL)
            return -ENOMEM;
        *text = more;
    }
    return -ENOMEM;
}

int policy_file_read(const char *path, size_t most, char **text, size_t *length)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW | O_NONBLOCK);
    *text = NULL;
    *length = 0;
    if (fd < 0)
        return -errno;
    int result = texts_read_open(fd, most, text, length);
    close(fd);
    if (result != 0) {
        free(*text);
        *text = NULL;
    }
    return result;
}

/* Whoever may read the file, and whose it is, stays as it was. A new file may be read by all. */
static int texts_keep_owner(int fd, const char *path)
{
    struct stat former, made;
    if (lstat(path, &former) != 0 || !S_ISREG(former.st_mode))
        return fchmod(fd, 0644) == 0 ? 0 : -errno;
    if (fstat(fd, &made) != 0)
        return -errno;
    /* The mode last: a change of the owner may take bits away. */
    if ((made.st_uid != former.st_uid || made.st_gid != former.st_gid) &&
        fchown(fd, former.st_uid, former.st_gid) != 0)
        return -errno;
    return fchmod(fd, former.st_mode & 07777) == 0 ? 0 : -errno;
}

static int texts_write(int fd, const char *text, size_t length)
{
    while (length > 0) {
        ssize_t done = write(fd, text, length);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return -errno;
        text += done;
        length -= (size_t)done;
    }
    return fsync(fd) == 0 ? 0 : -errno;
}

int policy_file_replace(const char *path, const char *text, size_t length)
{
    char temporary[PATH_MAX];
    const char *slash = strrchr(path, '/');
    int directory = slash == NULL ? 0 : (int)(slash + 1 - path);
    /* The name begins with a dot, so nobody takes it for a policy file. */
    if (snprintf(temporary, sizeof(temporary), "%.*s.tmp-%s-XXXXXX", directory, path,
                 path + directory) >= (int)sizeof(temporary))
        return -ENAMETOOLONG;
    int fd = mkostemp(temporary, O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int result = texts_keep_owner(fd, path);
    if (result == 0)
        result = texts_write(fd, text, length);
    if (close(fd) != 0 && result == 0)
        result = -errno;
    if (result == 0 && rename(temporary, path) != 0)
        result = -errno;
    if (result != 0)
        unlink(temporary);
    return result;
}

/* ---- texts ---- */

static char *texts_copy(const char *text, size_t length)
{
    char *copy = malloc(length + 1);
    if (copy != NULL) {
        memcpy(copy, text, length);
        copy[length] = '\0';
    }
    return copy;
}

static int texts_add(struct policy_texts *texts, const char *name, size_t name_length,
                     const char *text, size_t length)
{
    struct policy_text *list = reallocarray(texts->list, texts->count + 1, sizeof(*list));
    if (list == NULL)
        return -ENOMEM;
    texts->list = list;
    struct policy_text *added = &list[texts->count];
    *added = (struct policy_text){
        .name = texts_copy(name, name_length), .text = texts_copy(text, length), .length = length};
    if (added->name == NULL || added->text == NULL) {
        free(added->name);
        free(added->text);
        return -ENOMEM;
    }
    texts->count++;
    return 0;
}

int policy_texts_add(struct policy_texts *texts, const char *name, const char *text, size_t length)
{
    return texts_add(texts, name, strlen(name), text, length);
}

void policy_texts_free(struct policy_texts *texts)
{
    for (size_t i = 0; i < texts->count; i++) {
        free(texts->list[i].name);
        free(texts->list[i].text);
    }
    free(texts->list);
    *texts = (struct policy_texts){0};
}

bool policy_texts_equal(const struct policy_texts *one, const struct policy_texts *other)
{
    if (one->count != other->count)
        return false;
    for (size_t i = 0; i < one->count; i++) {
        const struct policy_text *a = &one->list[i], *b = &other->list[i];
        if (strcmp(a->name, b->name) != 0 || a->length != b->length ||
            memcmp(a->text, b->text, a->length) != 0)
            return false;
    }
    return true;
}

/* ---- the copy ---- */

/* One text, which begins at *at. */
static int texts_parse_one(struct policy_texts *texts, const char *copy, size_t length, size_t *at)
{
    size_t name_length, text_length;
    int used = 0;
    if (sscanf(copy + *at, "file %9zu %9zu%n", &name_length, &text_length, &used) != 2 ||
        copy[*at + (size_t)used] != '\n')
        return -EBADMSG;
    size_t name = *at + (size_t)used + 1, text = name + name_length + 1;
    if (name_length > length || text_length > length || text + text_length + 1 > length ||
        copy[text - 1] != '\n' || copy[text + text_length] != '\n')
        return -EBADMSG;
    *at = text + text_length + 1;
    return texts_add(texts, copy + name, name_length, copy + text, text_length);
}

static int texts_parse(struct policy_texts *texts, const char *copy, size_t length)
{
    size_t at = strlen(TEXTS_HEADER);
    int result = strncmp(copy, TEXTS_HEADER, at) == 0 ? 0 : -EBADMSG;
    while (result == 0 && at < length)
        result = texts_parse_one(texts, copy, length, &at);
    return result;
}

int policy_texts_load(struct policy_texts *texts, const char *path)
{
    char *copy;
    size_t length;
    *texts = (struct policy_texts){0};
    int result = policy_file_read(path, TEXTS_FILE_MAX, &copy, &length);
    if (copy == NULL) /* as with every error */
        return result;
    result = texts_parse(texts, copy, length);
    if (result != 0)
        policy_texts_free(texts);
    free(copy);
    return result;
}

static void texts_print(FILE *out, const struct policy_texts *texts)
{
    fputs(TEXTS_HEADER, out);
    for (size_t i = 0; i < texts->count; i++) {
        const struct policy_text *text = &texts->list[i];
        fprintf(out, "file %zu %zu\n%s\n", strlen(text->name), text->length, text->name);
        fwrite(text->text, 1, text->length, out);
        fputc('\n', out);
    }
}

int policy_texts_save(const struct policy_texts *texts, const char *path)
{
    char *copy = NULL;
    size_t length;
    FILE *out = open_memstream(&copy, &length);
    if (out == NULL)
        return -ENOMEM;
    texts_print(out, texts);
    bool good = ferror(out) == 0;
    good = fclose(out) == 0 && good;
    int result = good ? policy_file_replace(path, copy, length) : -ENOMEM;
    free(copy);
    return result;
}
