/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "channels/report.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "channels/channel_set.h"
#include "common/socket_file.h"

#define REPORT_READERS 16
#define REPORT_SECONDS 10
#define REPORT_BACKLOG 64
#define REPORT_PAUSE_MS 250
#define SYSTEM_DIRECTORY "/run/idc-channels"

struct report_reader {
    struct report *report;
    struct bufferevent *stream; /* NULL: this place is free */
    struct event deadline;
};

struct report {
    const struct channel_set *set;
    struct event_base *base;
    struct sockaddr_un address;
    struct socket_file file;
    int listener;
    struct event acceptable, again; /* again: after a pause */
    struct report_reader readers[REPORT_READERS];
};

bool report_default_path(bool reader, char path[REPORT_PATH_MAX])
{
    const char *own = getenv("XDG_RUNTIME_DIR"), *given = getenv("RUNTIME_DIRECTORY");
    if (!reader && given != NULL && given[0] == '/')
        return snprintf(path, REPORT_PATH_MAX, "%s/status.sock", given) < REPORT_PATH_MAX;
    bool has_own = getuid() != 0 && own != NULL && own[0] == '/' &&
                   snprintf(path, REPORT_PATH_MAX, "%s/idc-channels.sock", own) < REPORT_PATH_MAX;
    if (has_own && (!reader || access(path, F_OK) == 0))
        return true;
    snprintf(path, REPORT_PATH_MAX, "%s/status.sock", SYSTEM_DIRECTORY);
    return reader || getuid() == 0;
}

static int __attribute__((format(printf, 2, 3)))
report_fail(char why[REPORT_WHY_MAX], const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(why, REPORT_WHY_MAX, format, arguments);
    va_end(arguments);
    return -1;
}

/* ---- readers ---- */

static void reader_end(struct report_reader *reader)
{
    event_del(&reader->deadline);
    bufferevent_free(reader->stream); /* and closes it */
    reader->stream = NULL;
    event_add(&reader->report->acceptable, NULL);
}

static void reader_deadline(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    reader_end(argument);
}

static void reader_written(struct bufferevent *stream, void *argument)
{
    (void)stream;
    reader_end(argument);
}

static void reader_event(struct bufferevent *stream, short what, void *argument)
{
    (void)stream;
    if (what & (BEV_EVENT_ERROR | BEV_EVENT_EOF))
        reader_end(argument);
}

static int reader_answer(const struct report_reader *reader)
{
    struct evbuffer *out = bufferevent_get_output(reader->stream);
    if (evbuffer_add_printf(out, REPORT_FIRST_LINE "\n") < 0)
        return -ENOMEM;
    int count = channel_set_report(reader->report->set, out);
    return count >= 0 && evbuffer_add_printf(out, "end %d\n", count) > 0 ? 0 : -ENOMEM;
}

static void reader_begin(struct report *report, struct report_reader *reader, int fd)
{
    static const struct timeval limit = {REPORT_SECONDS, 0};
    reader->stream = bufferevent_socket_new(report->base, fd, BEV_OPT_CLOSE_ON_FREE);
    if (reader->stream == NULL) {
        close(fd);
        return;
    }
    reader->report = report;
    evtimer_assign(&reader->deadline, report->base, reader_deadline, reader);
    bufferevent_setcb(reader->stream, NULL, reader_written, reader_event, reader);
    if (event_add(&reader->deadline, &limit) < 0 || reader_answer(reader) < 0)
        reader_end(reader);
}

static struct report_reader *report_find_place(struct report *report)
{
    for (int i = 0; i < REPORT_READERS; i++)
        if (report->readers[i].stream == NULL)
            return &report->readers[i];
    return NULL;
}

/* Something has to be closed first. Whoever waits would be told of again and again. */
static void report_pause(struct report *report)
{
    static const struct timeval pause = {0, REPORT_PAUSE_MS * 1000};
    event_del(&report->acceptable);
    event_add(&report->again, &pause);
}

static void report_again(evutil_socket_t fd, short what, void *argument)
{
    struct report *report = argument;
    (void)fd;
    (void)what;
    event_add(&report->acceptable, NULL);
}

static void report_accept(evutil_socket_t listener, short what, void *argument)
{
    struct report *report = argument;
    struct report_reader *place = report_find_place(report);
    (void)what;
    if (place == NULL) {
        event_del(&report->acceptable); /* until a reader is done */
        return;
    }
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0)
        reader_begin(report, place, fd);
    else if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR)
        report_pause(report);
}

/* ---- the socket ---- */

static int report_listen(struct report *report, char *why)
{
    const char *path = report->address.sun_path;
    int fd = socket_file_listen(&report->address, 0600, REPORT_BACKLOG, &report->file);
    if (fd == -EADDRINUSE)
        return report_fail(why, "another one runs already, whose socket is %s", path);
    if (fd == -EEXIST)
        return report_fail(why, "%s: what is there is no socket, and stays", path);
    if (report->file.lock_is_foreign)
        return report_fail(why, "%s.lock was made by uid %u, and stays: %s", path,
                           (unsigned)report->file.lock_uid, strerror(-fd));
    if (fd < 0)
        return report_fail(why, "%s: %s", path, strerror(-fd));
    report->listener = fd;
    return 0;
}

static int report_open(struct report *report, const char *path, char *why)
{
    if (strlen(path) >= sizeof(report->address.sun_path))
        return report_fail(why, "%.100s...: the path of a socket has at most %zu bytes", path,
                           sizeof(report->address.sun_path) - 1);
    report->address.sun_family = AF_UNIX;
    memcpy(report->address.sun_path, path, strlen(path) + 1);
    if (strncmp(path, SYSTEM_DIRECTORY "/", sizeof(SYSTEM_DIRECTORY)) == 0)
        mkdir(SYSTEM_DIRECTORY, 0755); /* systemd makes it for the service */
    if (report_listen(report, why) < 0)
        return -1;
    event_assign(&report->acceptable, report->base, report->listener, EV_READ | EV_PERSIST,
                 report_accept, report);
    return event_add(&report->acceptable, NULL) == 0 ? 0 : report_fail(why, "out of memory");
}

struct report *report_new(struct event_base *base, const char *path, const struct channel_set *set,
                          char why[REPORT_WHY_MAX])
{
    struct report *report = calloc(1, sizeof(*report));
    if (report == NULL) {
        report_fail(why, "out of memory");
        return NULL;
    }
    report->base = base;
    report->set = set;
    report->listener = -1;
    event_assign(&report->acceptable, base, -1, 0, report_accept, report);
    evtimer_assign(&report->again, base, report_again, report);
    if (report_open(report, path, why) == 0)
        return report;
    report_free(report);
    return NULL;
}

void report_free(struct report *report)
{
    if (report == NULL)
        return;
    for (int i = 0; i < REPORT_READERS; i++)
        if (report->readers[i].stream != NULL)
            reader_end(&report->readers[i]);
    event_del(&report->acceptable);
    event_del(&report->again);
    if (report->listener >= 0) {
        socket_file_remove(&report->address, &report->file);
        close(report->listener);
    }
    free(report);
}
