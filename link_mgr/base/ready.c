/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "link_mgr/base/ready.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/notify.h"
#include "link_mgr/base/log.h"

static void ready_notify(const char *words)
{
    int error = notify_send(words);
    if (error < 0)
        log_line(LOG_WARNING, "cannot write to NOTIFY_SOCKET %s: %s", getenv("NOTIFY_SOCKET"),
                 strerror(-error));
}

void ready_tell(int fd, int domid, const char *socket)
{
    char words[256];
    snprintf(words, sizeof(words), "READY=1\nSTATUS=domain %d, programs reach it at %s", domid,
             socket);
    ready_notify(words);
    if (fd < 0)
        return;
    if (write(fd, "\n", 1) != 1)
        log_line(LOG_WARNING, "cannot write to --ready-fd %d: %s", fd, strerror(errno));
    close(fd);
}

void ready_tell_stopping(void)
{
    ready_notify("STOPPING=1");
}
