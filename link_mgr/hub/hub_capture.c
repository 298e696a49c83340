/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Frames for those who capture; hub_capture.h has the theory, hub_capture_text.c the words. */
#include "link_mgr/hub/hub_capture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/capture.h"
#include "common/guard.h"
#include "link_mgr/base/clock.h"
#include "link_mgr/base/closer.h"
#include "link_mgr/base/log.h"
#include "link_mgr/base/own_error.h"
#include "link_mgr/core/capture.h"
#include "link_mgr/hub/hub_capture_text.h"
#include "link_mgr/hub/hub_private.h"

#define END_ROOM (sizeof(struct capture_record) + 64) /* for the last record */

struct hub_capture {
    LIST_ENTRY(hub_capture) entry;
    struct hub *hub;
    struct hub_capture_request wanted;
    int fd; /* our end */
    struct event readable, writable;
    bool ending; /* no more frames; it ends when the buffer is empty */
    uint64_t frames, dropped;
    uint32_t at, used; /* what is in the buffer, which is a ring */
    uint8_t buffer[CAPTURE_BUFFER];
};

/* ---- the buffer ---- */

static void capture_copy(struct hub_capture *capture, const void *from, size_t length)
{
    uint32_t to = (capture->at + capture->used) % CAPTURE_BUFFER;
    size_t first = CAPTURE_BUFFER - to < length ? CAPTURE_BUFFER - to : length;
    memcpy(capture->buffer + to, from, first);
    memcpy(capture->buffer, (const uint8_t *)from + first, length - first);
    capture->used += (uint32_t)length;
}

/* The record has its lengths; text and data follow. There is room. */
static void capture_put(struct hub_capture *capture, struct capture_record *record,
                        const char *text, const struct spans *data)
{
    static const uint8_t zeros[8];
    uint32_t length = (uint32_t)sizeof(*record) + record->text_length + record->captured;
    record->size = CAPTURE_PAD(length);
    capture_copy(capture, record, sizeof(*record));
    capture_copy(capture, text, record->text_length);
    for (int i = 0; i < data->count; i++)
        capture_copy(capture, data->at[i].iov_base, data->at[i].iov_len);
    capture_copy(capture, zeros, record->size - length);
}

static bool capture_wants(const struct hub_capture *capture, const struct capture_record *record)
{
    const struct hub_capture_request *wanted = &capture->wanted;
    if (capture->ending || (wanted->one_peer && record->peer != wanted->domid))
        return false;
    return wanted->port == 0 || record->local_port == wanted->port ||
           record->peer_port == wanted->port;
}

static void capture_take(struct hub_capture *capture, const struct capture_record *shown,
                         const struct capture_words *words)
{
    struct capture_record record = *shown;
    struct spans data = words->data;
    record.captured = record.length < capture->wanted.data ? record.length : capture->wanted.data;
    spans_keep(&data, record.captured);
    record.frames = ++capture->frames;
    uint32_t size = CAPTURE_PAD((uint32_t)sizeof(record) + record.text_length + record.captured);
    if (capture->used + size + END_ROOM > CAPTURE_BUFFER) {
        capture->dropped++;
        return;
    }
    record.dropped = capture->dropped;
    capture_put(capture, &record, words->text, &data);
}

void hub_capture_frame(struct host *host, const struct capture_frame *shown)
{
    struct hub *hub = host->ctx;
    struct hub_capture *capture;
    struct capture_record record = {.kind = CAPTURE_FRAME, .time_ns = clock_wall_ns()};
    struct capture_words words;
    hub_capture_describe(shown, &record, &words);
    LIST_FOREACH (capture, &hub->captures.list, entry)
        if (capture_wants(capture, &record))
            capture_take(capture, &record, &words);
}

/* ---- to the reader ---- */

/* Some capture has begun or is ending: does anybody still want frames? */
static void capture_hook(struct hub *hub)
{
    const struct hub_capture *capture;
    hub->host.frame = NULL;
    LIST_FOREACH (capture, &hub->captures.list, entry)
        if (!capture->ending)
            hub->host.frame = hub_capture_frame;
}

static void capture_free(struct hub_capture *capture)
{
    struct hub *hub = capture->hub;
    event_del(&capture->readable);
    event_del(&capture->writable);
    closer_close(capture->fd, capture->wanted.caller.uid);
    LIST_REMOVE(capture, entry);
    hub->captures.count--;
    log_line(LOG_NOTICE, "a capture of uid %u has ended: %llu frames, %llu of them lost",
             (unsigned)capture->wanted.caller.uid, (unsigned long long)capture->frames,
             (unsigned long long)capture->dropped);
    free(capture);
    capture_hook(hub);
}

/* Returns what sendmsg does. */
static ssize_t capture_send(const struct hub_capture *capture)
{
    uint32_t first = CAPTURE_BUFFER - capture->at;
    if (first > capture->used)
        first = capture->used;
    struct iovec spans[2] = {
        {(void *)(uintptr_t)(capture->buffer + capture->at), first},
        {(void *)(uintptr_t)capture->buffer, capture->used - first},
    };
    const struct msghdr message = {.msg_iov = spans, .msg_iovlen = first < capture->used ? 2 : 1};
    return sendmsg(capture->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* May free the capture. */
static void capture_write(struct hub_capture *capture)
{
    ssize_t sent = capture->used > 0 ? capture_send(capture) : 0;
    if (sent > 0) {
        capture->at = (capture->at + (uint32_t)sent) % CAPTURE_BUFFER;
        capture->used -= (uint32_t)sent;
    }
    bool blocked = sent < 0 && (errno == EAGAIN || errno == EINTR || errno == ENOBUFS);
    bool over = (sent < 0 && !blocked) || (capture->used == 0 && capture->ending);
    if (over || (capture->used > 0 && event_add(&capture->writable, NULL) < 0))
        capture_free(capture);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    capture_write(arg);
}

void hub_captures_write(struct hub *hub)
{
    struct hub_capture *capture, *next;
    for (capture = LIST_FIRST(&hub->captures.list); capture; capture = next) {
        next = LIST_NEXT(capture, entry);
        if (capture->used > 0 && !event_pending(&capture->writable, EV_WRITE, NULL))
            capture_write(capture);
    }
}

/* ---- begin and end ---- */

/* No more frames. The last record says why. */
static void capture_stop(struct hub_capture *capture, const char *why)
{
    const struct spans none = {.count = 0};
    struct capture_record record = {.kind = CAPTURE_END,
                                    .time_ns = clock_wall_ns(),
                                    .frames = capture->frames,
                                    .dropped = capture->dropped,
                                    .text_length = (uint16_t)strlen(why)};
    event_del(&capture->readable);
    capture->ending = true;
    capture_put(capture, &record, why, &none);
}

/* The reader wants no more, or has closed. */
static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct hub_capture *capture = arg;
    (void)fd, (void)what;
    capture_stop(capture, "");
    capture_hook(capture->hub);
    capture_write(capture);
}

static int capture_start(struct hub_capture *capture, int ends[2])
{
    struct event_base *base = capture->hub->base;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        return -errno;
    capture->fd = ends[0];
    guard_begin(ends[0]);
    event_assign(&capture->readable, base, ends[0], EV_READ, on_readable, capture);
    event_assign(&capture->writable, base, ends[0], EV_WRITE, on_writable, capture);
    if (event_add(&capture->readable, NULL) == 0)
        return 0;
    close(ends[0]);
    close(ends[1]);
    return -ENOMEM;
}

/* What nobody, or not everybody, may ask for. 0 or negative errno. */
static int capture_check(const struct hub *hub, const struct hub_capture_request *request,
                         char why[HUB_WHY_MAX])
{
    uint32_t uid = request->caller.uid;
    if (uid == HUB_NOBODY || (uid != 0 && uid != geteuid())) {
        snprintf(why, HUB_WHY_MAX,
                 "only root, and the user that link_mgr runs as, may capture what passes on links");
        return -EACCES;
    }
    if (request->one_peer &&
        (request->domid == (uint32_t)hub->core->domid || request->domid == IDC_DOMID_SELF)) {
        snprintf(why, HUB_WHY_MAX, "connections within a domain have no link to be captured on");
        return -EINVAL;
    }
    if (hub->captures.count == CAPTURES_MAX) {
        snprintf(why, HUB_WHY_MAX, "%d captures are under way, and there may be no more",
                 CAPTURES_MAX);
        return -EBUSY;
    }
    return 0;
}

int hub_capture(struct hub *hub, const struct hub_capture_request *request, int *fd,
                char why[HUB_WHY_MAX])
{
    int ends[2];
    int error = capture_check(hub, request, why);
    if (error)
        return error;
    struct hub_capture *capture = calloc(1, sizeof(*capture));
    if (capture) {
        capture->hub = hub;
        capture->wanted = *request;
    }
    error = capture ? capture_start(capture, ends) : -ENOMEM;
    if (error) {
        free(capture);
        snprintf(why, HUB_WHY_MAX, "%s", own_error_text(error));
        return own_error(error);
    }
    LIST_INSERT_HEAD(&hub->captures.list, capture, entry);
    hub->captures.count++;
    capture_hook(hub);
    log_line(LOG_NOTICE, "a capture of uid %u begins (pid %d), %s", (unsigned)request->caller.uid,
             request->caller.pid, request->data > 0 ? "with data" : "without data");
    *fd = ends[1];
    return 0;
}

void hub_captures_end(struct hub *hub)
{
    while (!LIST_EMPTY(&hub->captures.list)) {
        struct hub_capture *capture = LIST_FIRST(&hub->captures.list);
        if (!capture->ending)
            capture_stop(capture, "link_mgr has ended");
        if (capture_send(capture) < 0) {
            /* the reader sees the end without the last record */
        }
        capture_free(capture);
    }
}
