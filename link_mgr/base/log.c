/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * log.c - theory of operation
 *
 * Whoever reads stderr may stop reading it, and the daemon must not wait for that. O_NONBLOCK
 * belongs to the open file, which others share. So a pipe or a terminal is opened again through
 * /proc, and only what we open does not block. A socket is written to with MSG_DONTWAIT. A file on
 * disk is written to as it is. A pipe of another user's cannot be opened. It is asked whether it
 * has room for PIPE_BUF bytes, and gets no more.
 *
 * Lines that find no room are lost. They are counted, and the next line that finds room says so.
 */
#include "link_mgr/base/log.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/text_cut.h"
#include "link_mgr/base/clock.h"

#define LINES_PER_SECOND 10
#define ALL_LINES_PER_SECOND 100
#define LINE_MAX_BYTES 8192 /* two paths, and words */

static int verbose;

static struct {
    pthread_mutex_t mutex; /* of what follows */
    bool known;
    bool socket, pipe; /* what stderr is */
    int fd;            /* opened again, or stderr */
    unsigned lost;
    bool cut; /* the last line was not written to its end */
} out = {.mutex = PTHREAD_MUTEX_INITIALIZER};

void log_set_verbose(int level)
{
    verbose = level;
}

static bool is_shown(int priority)
{
    return priority <= (verbose ? LOG_DEBUG : LOG_NOTICE);
}

static void out_find(void)
{
    struct stat status;
    out.known = true;
    out.fd = STDERR_FILENO;
    if (fstat(STDERR_FILENO, &status) < 0)
        return;
    out.socket = S_ISSOCK(status.st_mode);
    if (!S_ISFIFO(status.st_mode) && !S_ISCHR(status.st_mode))
        return;
    int fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    out.pipe = fd < 0 && S_ISFIFO(status.st_mode);
    if (fd >= 0)
        out.fd = fd;
}

static ssize_t out_put(const char *bytes, size_t len)
{
    struct pollfd p = {.fd = out.fd, .events = POLLOUT};
    if (out.socket)
        return send(out.fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (out.pipe && poll(&p, 1, 0) != 1)
        return -1;
    return write(out.fd, bytes, out.pipe && len > PIPE_BUF ? PIPE_BUF : len);
}

/* In one call, so that lines of several processes don't mix. What is said of lost lines goes with
 * the line: it alone would find room more often than any line. */
static void out_line(const char *line, size_t len)
{
    static char both[LINE_MAX_BYTES + 128];
    pthread_mutex_lock(&out.mutex);
    if (!out.known)
        out_find();
    if (out.lost > 0) {
        len = (size_t)snprintf(both, sizeof(both), "%slink_mgr: lines were lost: %u\n%s",
                               out.cut ? "\n" : "", out.lost, line);
        line = both;
    }
    ssize_t put = out_put(line, len);
    out.lost = put == (ssize_t)len ? 0 : out.lost + 1;
    out.cut = put > 0 ? put != (ssize_t)len : out.cut;
    pthread_mutex_unlock(&out.mutex);
}

static void write_line(int priority, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));
static void write_line(int priority, const char *format, va_list args)
{
    char text[LINE_MAX_BYTES], line[LINE_MAX_BYTES + 32];
    if (!is_shown(priority))
        return;
    text_mark_cut(text, sizeof(text), vsnprintf(text, sizeof(text), format, args));
    /* systemd reads a priority at the start of each line of a service's stderr. */
    int length = getenv("JOURNAL_STREAM") ? snprintf(line, sizeof(line), "<%d>%s\n", priority, text)
                                          : snprintf(line, sizeof(line), "link_mgr: %s\n", text);
    out_line(line, (size_t)length);
}

void log_line(int priority, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    write_line(priority, format, args);
    va_end(args);
}

/* May one more pass? */
static bool log_admit(struct log_limit *limit, unsigned most, const char *of_what)
{
    uint64_t now = clock_now_ms();
    if (now - limit->window_ms >= 1000) {
        if (limit->held)
            log_line(LOG_NOTICE, "%u %s were left out", limit->held, of_what);
        *limit = (struct log_limit){.window_ms = now};
    }
    if (limit->passed == most) {
        limit->held++;
        return false;
    }
    limit->passed++;
    return true;
}

void log_limited_line(struct log_limit *limit, int priority, const char *format, ...)
{
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    static struct log_limit all;
    va_list args;
    if (!is_shown(priority))
        return; /* lines that nobody sees must not use up the limit */
    pthread_mutex_lock(&mutex);
    bool passes = log_admit(limit, LINES_PER_SECOND, "lines like the next one") &&
                  log_admit(&all, ALL_LINES_PER_SECOND, "lines");
    pthread_mutex_unlock(&mutex);
    if (!passes)
        return;
    va_start(args, format);
    write_line(priority, format, args);
    va_end(args);
}
