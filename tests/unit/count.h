/* SPDX-License-Identifier: GPL-2.0-or-later */
/* count.h - what there is in a directory, and so how many descriptors and threads this process has.
 * A count of descriptors includes the one that it needs itself. */
#ifndef IDC_TEST_COUNT_H
#define IDC_TEST_COUNT_H

#include <check.h>
#include <dirent.h>
#include <string.h>

/* Whose names begin with prefix. */
static inline int count_entries(const char *directory, const char *prefix)
{
    int count = 0;
    DIR *listing = opendir(directory);
    ck_assert_ptr_nonnull(listing);
    for (struct dirent *entry; (entry = readdir(listing)) != NULL;)
        count += strncmp(entry->d_name, prefix, strlen(prefix)) == 0 &&
                 strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(listing);
    return count;
}

static inline int count_descriptors(void)
{
    return count_entries("/proc/self/fd", "");
}

static inline int count_threads(void)
{
    return count_entries("/proc/self/task", "");
}

#endif
