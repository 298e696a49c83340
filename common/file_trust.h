/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * file_trust.h - who could change a file of rules, by its owner and its mode.
 */
#ifndef IDC_FILE_TRUST_H
#define IDC_FILE_TRUST_H

#include <stddef.h>
#include <sys/stat.h>
#include <unistd.h>

/* Who else than root and we could change it, in words; NULL: nobody. In a sticky directory nobody
 * can replace what is another user's. */
static inline const char *file_trust_writers(const struct stat *state)
{
    if (state->st_uid != 0 && state->st_uid != geteuid())
        return "belongs to another user than root";
    if (S_ISDIR(state->st_mode) && (state->st_mode & S_ISVTX))
        return NULL;
    if (state->st_mode & S_IWOTH)
        return "can be written by everybody";
    return state->st_mode & S_IWGRP ? "can be written by its group" : NULL;
}

#endif
