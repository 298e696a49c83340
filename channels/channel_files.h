/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * channel_files.h - the files of channels, and what they say together.
 *
 * Theory of operation
 *
 * Each place is a file, or a directory whose files count in the order of their names. A file's text
 * is kept. channel_files_read reads all files anew, and a file that can't be read then keeps the
 * text that it had. So does a directory its files. What has gone away is forgotten, but for a place
 * that must be there.
 *
 * A wrong line is told of as FILE:LINE:COLUMN, once for each reading, and the other lines go on. It
 * stays in the list if its name could be read: a channel of that name is then left as it is.
 *
 * A file whose last line has no newline may have been cut off. Half of a line may be a good one,
 * which says something else, and the lines behind it are missing. So the text that it had is kept.
 * If it had none yet, its whole lines count, and the last one is wrong.
 */
#ifndef IDC_CHANNELS_CHANNEL_FILES_H
#define IDC_CHANNELS_CHANNEL_FILES_H

#include "channels/channel_line.h"

#define CHANNEL_FILES_PLACES 16
#define CHANNEL_FILES_MAX 1024           /* files */
#define CHANNEL_FILES_TEXT_MAX (1 << 20) /* bytes of one */
#define CHANNELS_MAX 4096                /* lines that count */

struct channel_files_settings {
    const char *places[CHANNEL_FILES_PLACES];
    size_t place_count;
    bool may_be_missing;   /* the places */
    const char *terminals; /* as channel_line_parse */
    /* A line without its newline. */
    void (*say)(void *context, const char *line);
    void *context;
};

struct channel_entry {
    struct channel_line line;
    bool wrong; /* only its name counts */
};

struct channel_list {
    struct channel_entry *entries;
    size_t count, good;
};

struct channel_files;

/* NULL: there is no memory. The texts that settings names must outlive it. */
struct channel_files *channel_files_new(const struct channel_files_settings *settings);
void channel_files_free(struct channel_files *files);

/* Returns how many mistakes there are, or -ENOMEM: then list has nothing, and what was said before
 * stays true. */
int channel_files_read(struct channel_files *files, struct channel_list *list);
void channel_list_free(struct channel_list *list);

#endif
