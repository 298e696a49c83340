/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* call.c - calls as compact documents (common/compact.h) over a line. */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libidc/internal.h"

/* A header and a document, in one piece. The tag is 0: a line has one call at a time. */
struct message {
    size_t len;
    uint8_t bytes[LIBIDC_HEADER_SIZE + COMPACT_MAX];
};

static int call_encode(struct message *message, const struct compact_writer *call)
{
    uint32_t header[2] = {htole32((uint32_t)call->len), 0};
    message->len = 0;
    if (call->failed)
        return libidc_fail(EINVAL, "the request is too long");
    memcpy(message->bytes, header, sizeof(header));
    memcpy(message->bytes + sizeof(header), call->bytes, call->len);
    message->len = sizeof(header) + call->len;
    return 0;
}

int64_t libidc_answer_int(const struct libidc_answer *answer, const char *name, int64_t fallback)
{
    struct compact_reader reader = {answer->bytes, answer->bytes + answer->len};
    struct compact_member member;
    while (compact_next(&reader, &member) > 0)
        if (member.type != COMPACT_TEXT && compact_equal(&member.name, name))
            return member.number;
    return fallback;
}

void libidc_answer_text(const struct libidc_answer *answer, const char *name, char *out,
                        size_t size)
{
    struct compact_reader reader = {answer->bytes, answer->bytes + answer->len};
    struct compact_member member;
    out[0] = '\0';
    while (compact_next(&reader, &member) > 0)
        if (member.type == COMPACT_TEXT && compact_equal(&member.name, name))
            compact_copy(&member.text, out, size);
}

/* Keeps the members of a result. */
static int call_keep(struct libidc_answer *answer, const struct compact_reader *reader)
{
    answer->len = (size_t)(reader->end - reader->at);
    if (answer->len > sizeof(answer->bytes))
        return libidc_fail(EPROTO, "link_mgr sent an answer that is too long");
    memcpy(answer->bytes, reader->at, answer->len);
    return 0;
}

static int fail_as_told(const struct compact_reader *reader)
{
    struct libidc_answer fault;
    char text[COMPACT_MAX];
    if (call_keep(&fault, reader) < 0)
        return -1;
    int64_t code = libidc_answer_int(&fault, "code", EPROTO);
    libidc_answer_text(&fault, "text", text, sizeof(text));
    return libidc_fail(code > 0 && code <= INT32_MAX ? (int)code : EPROTO, "%s", text);
}

static int call_decode(const char *document, size_t len, struct libidc_answer *answer)
{
    struct compact_reader reader;
    if (compact_open(&reader, document, len, COMPACT_FAULT, NULL))
        return fail_as_told(&reader);
    if (!compact_open(&reader, document, len, COMPACT_RESULT, NULL))
        return libidc_fail(EPROTO, "link_mgr sent something that is not an answer");
    return answer != NULL ? call_keep(answer, &reader) : 0;
}

static int call_exchange(const char *path, const struct message *message, const int *fds,
                         int fd_count, int wait_ms, struct libidc_answer *answer, int *fd)
{
    struct libidc_line *line;
    char *document = NULL;
    size_t len = 0;
    if (libidc_line_send(path, message->bytes, message->len, fds, fd_count, wait_ms, &line) < 0)
        return -1;
    int status = libidc_line_recv(line, wait_ms, &document, &len, fd);
    int error = errno; /* giving the line back must not lose it */
    libidc_line_give_back(line, status == 0);
    errno = error;
    if (status == 0)
        status = call_decode(document, len, answer);
    error = errno;
    free(document);
    errno = error;
    return status;
}

int libidc_call(const char *path, const struct compact_writer *call, int wait_ms,
                struct libidc_answer *answer, int *fd)
{
    return libidc_call_with(path, call, wait_ms, NULL, 0, answer, fd);
}

int libidc_call_with(const char *path, const struct compact_writer *call, int wait_ms,
                     const int *fds, int fd_count, struct libidc_answer *answer, int *fd)
{
    struct message message;
    int came = -1;
    if (call_encode(&message, call) < 0)
        return -1;
    int status = call_exchange(path, &message, fds, fd_count, wait_ms, answer, &came);
    int error = errno;
    if (status == 0 && fd != NULL && came < 0)
        status = libidc_fail(error = EPROTO, "link_mgr sent no descriptor");
    if (came >= 0 && (status < 0 || fd == NULL))
        close(came);
    if (status == 0 && fd != NULL)
        *fd = came;
    errno = error;
    return status;
}

int libidc_post(const char *path, const struct compact_writer *call, int wait_ms, const int *fds,
                int fd_count)
{
    struct libidc_line *line;
    struct message message;
    if (call_encode(&message, call) < 0 ||
        libidc_line_send(path, message.bytes, message.len, fds, fd_count, wait_ms, &line) < 0)
        return -1;
    libidc_line_give_back(line, true);
    return 0;
}
