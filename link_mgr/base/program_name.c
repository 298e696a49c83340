/* SPDX-License-Identifier: GPL-2.0-or-later */
/* program_name.c - see program_name.h. */
#include "link_mgr/base/program_name.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "common/shown.h"

void program_name(int pid, char name[PROGRAM_NAME_MAX])
{
    char path[32], text[64];
    name[0] = '\0';
    if (pid <= 0)
        return;
    snprintf(path, sizeof(path), "/proc/%d/comm", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return;
    ssize_t length = read(fd, text, sizeof(text));
    close(fd);
    if (length > 0 && text[length - 1] == '\n') /* the kernel's */
        length--;
    if (length > 0)
        shown_text(name, PROGRAM_NAME_MAX, text, (size_t)length, SHOWN_ASCII | SHOWN_BACKSLASH);
}
