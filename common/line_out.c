/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* line_out.c - see line_out.h. */
#include "common/line_out.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

/* A terminal that says it has room has it for so many bytes. */
#define TERMINAL_PIECE 128

void line_out_open(struct line_out *out, int number, const char *program)
{
    struct stat status;
    char path[32];
    out->program = program;
    out->fd = number;
    out->kind = LINE_OUT_PLAIN;
    out->lost = 0;
    out->cut = false;
    if (fstat(number, &status) < 0)
        return;
    if (S_ISSOCK(status.st_mode))
        out->kind = LINE_OUT_SOCKET;
    if (!S_ISFIFO(status.st_mode) && !S_ISCHR(status.st_mode))
        return;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", number);
    int fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (fd >= 0)
        out->fd = fd;
    else if (S_ISFIFO(status.st_mode))
        out->kind = LINE_OUT_PIPE;
    else if (isatty(number))
        out->kind = LINE_OUT_TERMINAL;
}

static bool line_out_has_room(const struct line_out *out)
{
    struct pollfd asked = {.fd = out->fd, .events = POLLOUT};
    return poll(&asked, 1, 0) == 1;
}

static ssize_t line_out_pipe(const struct line_out *out, const char *bytes, size_t len)
{
    struct iovec part = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = len};
    ssize_t put = pwritev2(out->fd, &part, 1, -1, RWF_NOWAIT);
    if (put >= 0 || (errno != EOPNOTSUPP && errno != ENOSYS))
        return put;
    if (!line_out_has_room(out))
        return -1;
    return write(out->fd, bytes, len < PIPE_BUF ? len : PIPE_BUF);
}

static ssize_t line_out_terminal(const struct line_out *out, const char *bytes, size_t len)
{
    size_t done = 0;
    while (done < len && line_out_has_room(out)) {
        size_t left = len - done;
        ssize_t put = write(out->fd, bytes + done, left < TERMINAL_PIECE ? left : TERMINAL_PIECE);
        if (put <= 0)
            break;
        done += (size_t)put;
    }
    return (ssize_t)done;
}

static ssize_t line_out_write(const struct line_out *out, const char *bytes, size_t len)
{
    switch (out->kind) {
    case LINE_OUT_SOCKET:
        return send(out->fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    case LINE_OUT_PIPE:
        return line_out_pipe(out, bytes, len);
    case LINE_OUT_TERMINAL:
        return line_out_terminal(out, bytes, len);
    default:
        return write(out->fd, bytes, len);
    }
}

/* What is said of lost lines goes with the line: it alone would find room more often than any line.
 */
void line_out_put(struct line_out *out, const char *line, size_t len)
{
    int said = 0;
    if (len > LINE_OUT_MAX)
        len = LINE_OUT_MAX;
    if (out->lost > 0) {
        said =
            snprintf(out->both, sizeof(out->both) - LINE_OUT_MAX, "%s%.100s: lines were lost: %u\n",
                     out->cut ? "\n" : "", out->program, out->lost);
        memcpy(out->both + said, line, len);
        line = out->both;
        len += (size_t)said;
    }
    ssize_t put = line_out_write(out, line, len);
    if (put == (ssize_t)len)
        out->lost = 0;
    else if (len > (size_t)said) /* else there was no line */
        out->lost++;
    out->cut = put > 0 ? put != (ssize_t)len : out->cut;
}

/* ---- in place of stdout and stderr ---- */

static struct line_out line_outs[2]; /* stdout, stderr; program: it is in use */

/* stdio is told that all of it was written: what is lost is no error of the stream. */
static ssize_t line_out_take_bytes(void *cookie, const char *bytes, size_t len)
{
    struct line_out *out = cookie;
    for (size_t done = 0; done < len; done += LINE_OUT_MAX)
        line_out_put(out, bytes + done, len - done < LINE_OUT_MAX ? len - done : LINE_OUT_MAX);
    return (ssize_t)len;
}

static FILE *line_out_stream(struct line_out *out, int number, const char *program)
{
    static const cookie_io_functions_t functions = {.write = line_out_take_bytes};
    FILE *stream = fopencookie(out, "w", functions);
    if (stream == NULL)
        return NULL;
    line_out_open(out, number, program);
    setvbuf(stream, NULL, _IOLBF, LINE_OUT_MAX);
    return stream;
}

bool line_out_tell(void)
{
    for (size_t i = 0; i < 2; i++)
        if (line_outs[i].lost > 0)
            line_out_put(&line_outs[i], "", 0);
    return line_outs[0].lost == 0 && line_outs[1].lost == 0;
}

static void line_out_at_end(void)
{
    fflush(stdout);
    fflush(stderr);
    line_out_tell();
}

void line_out_take(FILE **stream, const char *program)
{
    struct line_out *out = &line_outs[stream == &stderr];
    if (out->program != NULL)
        return; /* it was done */
    signal(SIGPIPE, SIG_IGN);
    fflush(*stream);
    FILE *taken = line_out_stream(out, fileno(*stream), program);
    if (taken == NULL)
        return;
    *stream = taken;
    atexit(line_out_at_end);
}

void line_out_again(void)
{
    struct line_out *err = &line_outs[1];
    if (err->program != NULL)
        line_out_open(err, STDERR_FILENO, err->program);
}
