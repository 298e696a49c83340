/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ready.c - see ready.h. libsystemd would do the same with one more library in every guest. */
#include "link_mgr/base/ready.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "link_mgr/base/log.h"

/* Takes a path, or an abstract name, which is written with an @. Returns the length; 0: it is
 * neither. */
static socklen_t ready_address(const char *name, struct sockaddr_un *address)
{
    size_t len = strlen(name);
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if ((name[0] != '/' && name[0] != '@') || len < 2 || len >= sizeof(address->sun_path))
        return 0;
    memcpy(address->sun_path, name, len);
    if (name[0] != '@')
        return sizeof(*address);
    address->sun_path[0] = '\0';
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
}

/* 0 or a negative errno. */
static int ready_send(const char *name, const char *words)
{
    struct sockaddr_un address;
    socklen_t len = ready_address(name, &address);
    if (len == 0)
        return -EINVAL;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    ssize_t sent = sendto(fd, words, strlen(words), MSG_NOSIGNAL, (struct sockaddr *)&address, len);
    int error = sent < 0 ? -errno : 0;
    close(fd);
    return error;
}

static void ready_notify(const char *words)
{
    const char *name = getenv("NOTIFY_SOCKET");
    int error = name != NULL && name[0] != '\0' ? ready_send(name, words) : 0;
    if (error < 0)
        log_line(LOG_WARNING, "cannot write to NOTIFY_SOCKET %s: %s", name, strerror(-error));
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
