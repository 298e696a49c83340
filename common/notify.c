/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

/* systemd may be slow when everything starts at once, and then READY=1 must not get lost. Nothing
 * else is worth waiting for. */
#define NOTIFY_SECONDS 5

/* Takes a path, or an abstract name, which is written with an @. Returns the length; 0: it is
 * neither. */
static socklen_t notify_address(const char *name, struct sockaddr_un *address)
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

static int notify_send_to(const char *name, const char *words)
{
    static const struct timeval limit = {NOTIFY_SECONDS, 0};
    struct sockaddr_un address;
    socklen_t len = notify_address(name, &address);
    int flags = MSG_NOSIGNAL | (strncmp(words, "READY=1", 7) == 0 ? 0 : MSG_DONTWAIT);
    if (len == 0)
        return -EINVAL;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    ssize_t sent = sendto(fd, words, strlen(words), flags, (struct sockaddr *)&address, len);
    int error = sent < 0 ? -errno : 0;
    close(fd);
    return error;
}

int notify_send(const char *words)
{
    const char *name = getenv("NOTIFY_SOCKET");
    return name != NULL && name[0] != '\0' ? notify_send_to(name, words) : 0;
}
