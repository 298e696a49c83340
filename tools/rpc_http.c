/* SPDX-License-Identifier: GPL-2.0-or-later */
/* rpc_http.c - see rpc_http.h. link_mgr's answers always have their length in the head, but for a
 * refusal. That one is one line of text, and then the end. */
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

#include "common/text_cut.h"
#include "libidc/internal.h"

#define HEAD_MAX 4096
#define BODY_MAX (64u * 1024 * 1024) /* more than the longest answer of idc.recv */
#define TEXT_OF_REFUSAL 200          /* how much of it is shown */
#define HTTP_OK 200

static int http_dial(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address.sun_path))
        return libidc_fail(ENAMETOOLONG, "%s is too long for the path of a socket", path);
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    int error = errno;
    if (fd >= 0)
        close(fd);
    if (error == ENOENT || error == ECONNREFUSED)
        return libidc_fail(
            error,
            "no link_mgr serves %s: is it running? (--socket or IDC_SOCKET names another one)",
            path);
    return libidc_fail(error, "link_mgr at %s: %s", path, strerror(error));
}

/* What cannot be sent shows in the answer, or in its lack: a refusal comes without being asked. */
static bool http_send(int fd, const void *bytes, size_t len)
{
    const char *at = bytes;
    for (ssize_t sent = 0; len > 0; at += sent, len -= (size_t)sent) {
        sent = send(fd, at, len, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            sent = 0;
        if (sent < 0)
            return false;
    }
    return true;
}

/* As many bytes as there are until the end, at most len. */
static size_t http_read(int fd, char *buf, size_t len)
{
    size_t have = 0;
    while (have < len) {
        ssize_t got = recv(fd, buf + have, len - have, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        have += (size_t)got;
    }
    return have;
}

/* Reads the head, which ends with an empty line, byte by byte: it is short, and what follows it is
 * the body. The status; -1: there is none. */
static int http_read_head(int fd, char head[HEAD_MAX])
{
    size_t have = 0;
    int status;
    while (have < HEAD_MAX - 1 && http_read(fd, head + have, 1) == 1) {
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

static char *http_refused(int fd, int status)
{
    char text[TEXT_OF_REFUSAL];
    size_t len = http_read(fd, text, sizeof(text) - 1);
    text[len] = '\0';
    text[strcspn(text, "\r\n")] = '\0';
    for (char *c = text; *c != '\0'; c++)
        if (*c < ' ' || *c > '~')
            *c = '?';
    libidc_fail(ENOBUFS, "link_mgr answers %d: %s", status, text);
    return NULL;
}

static char *http_answer(int fd, size_t *len)
{
    char head[HEAD_MAX];
    int status = http_read_head(fd, head);
    if (status < 0) {
        libidc_fail(ECONNRESET, "link_mgr has closed the connection without an answer");
        return NULL;
    }
    if (status != HTTP_OK)
        return http_refused(fd, status);
    *len = http_length(head);
    char *body = *len > 0 && *len <= BODY_MAX ? malloc(*len + 1) : NULL;
    if (body != NULL && http_read(fd, body, *len) == *len) {
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
    int fd = http_dial(path);
    if (fd < 0)
        return NULL;
    int head_len = snprintf(head, sizeof(head),
                            "POST / HTTP/1.1\r\nHost: idc\r\nContent-Type: text/xml\r\n"
                            "Content-Length: %zu\r\n\r\n",
                            len);
    if (http_send(fd, head, (size_t)head_len))
        http_send(fd, body, len);
    char *answer = http_answer(fd, answer_len);
    int error = errno;
    close(fd);
    errno = error;
    return answer;
}
