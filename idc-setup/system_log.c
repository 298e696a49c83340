/* SPDX-License-Identifier: GPL-2.0-or-later */
/* system_log.c - see system_log.h. */
#include "idc-setup/system_log.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#define SYSTEM_LOG_MAX 3072

const char *system_log_path = _PATH_LOG;

static unsigned lost; /* lines, since the log took one */
static bool waited;   /* as long as it may */

/* By datagrams, or by a stream, in which each line ends with a NUL. */
static int log_connect(int type)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", system_log_path);
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    int error = errno;
    if (fd >= 0)
        close(fd);
    errno = error;
    return -1;
}

/* As syslog(3) writes it. */
static size_t log_format(char line[SYSTEM_LOG_MAX], int priority, const char *text)
{
    char when[32];
    struct tm local;
    time_t now = time(NULL);
    localtime_r(&now, &local);
    strftime(when, sizeof(when), "%h %e %T", &local);
    int length = snprintf(line, SYSTEM_LOG_MAX, "<%d>%s idc-setup[%d]: %s", priority, when,
                          (int)getpid(), text);
    return length < SYSTEM_LOG_MAX ? (size_t)length : SYSTEM_LOG_MAX - 1;
}

static bool log_send(int priority, const char *text, int wait_ms)
{
    char line[SYSTEM_LOG_MAX];
    size_t length = log_format(line, priority, text), end = 0;
    int fd = log_connect(SOCK_DGRAM);
    if (fd < 0 && errno == EPROTOTYPE) {
        fd = log_connect(SOCK_STREAM);
        end = 1;
    }
    if (fd < 0)
        return errno == ENOENT || errno == ECONNREFUSED; /* there is no log to miss a line */
    struct pollfd room = {.fd = fd, .events = POLLOUT};
    bool sent = poll(&room, 1, waited ? 0 : wait_ms) == 1 &&
                send(fd, line, length + end, MSG_NOSIGNAL) == (ssize_t)(length + end);
    close(fd);
    return sent;
}

bool system_log_put(int priority, const char *text, int wait_ms)
{
    char told[64];
    snprintf(told, sizeof(told), "lines were lost: %u", lost);
    if ((lost == 0 || log_send(priority, told, wait_ms)) && log_send(priority, text, wait_ms)) {
        lost = 0;
        waited = false;
        return true;
    }
    lost++;
    waited = true;
    return false;
}
