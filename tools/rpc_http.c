/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * rpc_http.c - see rpc_http.h.
 *
 * link_mgr's answers always have their length in the head, but for a refusal. That one is one line
 * of text, and then the end.
 *
 * A call may wait for as long as it likes, without a limit too, so no limit of time can tell
 * whether link_mgr hangs. Something else can: when nothing has passed for a while, link_mgr is
 * asked for its domid over another connection. If it lives, it answers at once, and the wait goes
 * on.
 */
#include "tools/rpc_http.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/shown.h"
#include "common/text_cut.h"
#include "libidc/internal.h"
#include "tools/measure/ask.h"

#define HEAD_MAX 4096
#define BODY_MAX (64u * 1024 * 1024) /* more than the longest answer of idc.recv */
#define TEXT_OF_REFUSAL 200          /* how much of it is shown */
#define HTTP_OK 200

struct http {
    const char *path;
    int fd;
    bool hangs; /* link_mgr does not answer, so the call is given up */
};

static void http_limit(int fd)
{
    const struct timeval limit = {.tv_sec = ASK_TIMEOUT_MS / 1000};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)); /* also for connect */
}

/* After a call of the kernel that failed: is it to be made again? */
static bool http_again(struct http *http)
{
    struct compact_writer call;
    if (errno == EINTR)
        return true;
    if (errno != EAGAIN)
        return false;
    compact_begin(&call, COMPACT_CALL, "idc.domid");
    http->hangs =
        libidc_call(http->path, &call, ASK_TIMEOUT_MS, NULL, NULL) < 0 && errno == ETIMEDOUT;
    return !http->hangs;
}

static void http_fail_hanging(const char *path)
{
    libidc_fail(ETIMEDOUT, "link_mgr at %s does not answer, not even another call: is it stopped?",
                path);
}

static int http_dial(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address.sun_path))
        return libidc_fail(ENAMETOOLONG, "%s is too long for the path of a socket", path);
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0)
        http_limit(fd);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    int error = errno;
    if (fd >= 0)
        close(fd);
    if (error == EAGAIN) {
        http_fail_hanging(path);
        return -1;
    }
    if (error == ENOENT || error == ECONNREFUSED)
        return libidc_fail(
            error,
            "no link_mgr serves %s: is it running? (--socket or IDC_SOCKET names another one)",
            path);
    return libidc_fail(error, "link_mgr at %s: %s", path, strerror(error));
}

/* What cannot be sent shows in the answer, or in its lack: a refusal comes without being asked. */
static bool http_send(struct http *http, const void *bytes, size_t len)
{
    const char *at = bytes;
    for (ssize_t sent = 0; len > 0; at += sent, len -= (size_t)sent) {
        sent = send(http->fd, at, len, MSG_NOSIGNAL);
        if (sent < 0 && http_again(http))
            sent = 0;
        if (sent < 0)
            return false;
    }
    return true;
}

/* As many bytes as there are until the end, at most len. */
static size_t http_read(struct http *http, char *buf, size_t len)
{
    size_t have = 0;
    while (have < len) {
        ssize_t got = recv(http->fd, buf + have, len - have, 0);
        if (got < 0 && http_again(http))
            continue;
        if (got <= 0)
            break;
        have += (size_t)got;
    }
    return have;
}

/* Reads the head, which ends with an empty line, byte by byte: it is short, and what follows it is
 * the body. The status; -1: there is none. */
static int http_read_head(struct http *http, char head[HEAD_MAX])
{
    size_t have = 0;
    int status;
    while (have < HEAD_MAX - 1 && http_read(http, head + have, 1) == 1) {
        head[++have] = '\0';
        if (have >= 4 && memcmp(head + have - 4, "\r\n\r\n", 4) == 0)
            return sscanf(head, "HTTP/1.%*[01] %d", &status) == 1 ? status : -1;
    }
    return -1;
}

static size_t http_length(const char *head)
{
    const char *length = strcasestr(head, "\r\nContent-Length:");
    return length != NULL ? strtoul(length + strlen("\r\nContent-Length:"), NULL, 10) : 0;
}

static char *http_refused(struct http *http, int status)
{
    char text[TEXT_OF_REFUSAL];
    size_t len = http_read(http, text, sizeof(text) - 1);
    text[len] = '\0';
    text[strcspn(text, "\r\n")] = '\0';
    shown_in_place(text, sizeof(text), SHOWN_ASCII);
    libidc_fail(ENOBUFS, "link_mgr answers %d: %s", status, text);
    return NULL;
}

static char *http_answer(struct http *http, size_t *len)
{
    char head[HEAD_MAX];
    int status = http_read_head(http, head);
    if (status < 0) {
        libidc_fail(ECONNRESET, "link_mgr has closed the connection without an answer");
        return NULL;
    }
    if (status != HTTP_OK)
        return http_refused(http, status);
    *len = http_length(head);
    char *body = *len > 0 && *len <= BODY_MAX ? malloc(*len + 1) : NULL;
    if (body != NULL && http_read(http, body, *len) == *len) {
        body[*len] = '\0';
        return body;
    }
    free(body);
    libidc_fail(EPROTO, "link_mgr's answer of %zu bytes cannot be read", *len);
    return NULL;
}

char *rpc_http_post(const char *path, const void *body, size_t len, size_t *answer_len)
{
    char head[128];
    struct http http = {.path = path, .fd = http_dial(path)};
    char *answer = NULL;
    if (http.fd < 0)
        return NULL;
    int head_len = snprintf(head, sizeof(head),
                            "POST / HTTP/1.1\r\nHost: idc\r\nContent-Type: text/xml\r\n"
                            "Content-Length: %zu\r\n\r\n",
                            len);
    if (http_send(&http, head, (size_t)head_len))
        http_send(&http, body, len);
    if (!http.hangs)
        answer = http_answer(&http, answer_len);
    if (answer == NULL && http.hangs)
        http_fail_hanging(path);
    int error = errno;
    close(http.fd);
    errno = error;
    return answer;
}
