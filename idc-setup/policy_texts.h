/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * policy_texts.h - the texts of policy files, and a copy of those that are in force.
 *
 * Files change before they are applied, and some are wrong. So the texts that were applied are kept
 * in one file: a line "idc-setup applied 1", and for each text a line "file NAMELENGTH LENGTH",
 * then the name and a newline, then the text and a newline.
 */
#ifndef IDC_SETUP_POLICY_TEXTS_H
#define IDC_SETUP_POLICY_TEXTS_H

#include <stdbool.h>
#include <stddef.h>

struct policy_text {
    char *name, *text; /* the name as errors and refusals show it; both NUL-terminated */
    size_t length;
};

struct policy_texts {
    struct policy_text *list;
    size_t count;
};

/* Copies both. 0 or -ENOMEM. */
int policy_texts_add(struct policy_texts *texts, const char *name, const char *text, size_t length);
void policy_texts_free(struct policy_texts *texts);
bool policy_texts_equal(const struct policy_texts *one, const struct policy_texts *other);

/* 0 or negative errno; -EBADMSG: this is no such copy. */
int policy_texts_load(struct policy_texts *texts, const char *path);
int policy_texts_save(const struct policy_texts *texts, const char *path);

/* All of a file, NUL-terminated, which the caller frees. Negative errno; -EFBIG: more than most. */
int policy_file_read(const char *path, size_t most, char **text, size_t *length);
/* Puts a new file in the place of what is there: all of it or nothing, also if the power fails. */
int policy_file_replace(const char *path, const char *text, size_t length);

#endif
