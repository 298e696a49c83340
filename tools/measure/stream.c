/* SPDX-License-Identifier: GPL-2.0-or-later */
/* stream.c - reading and writing whole blocks over any transport, and the text of the latest error.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/text_cut.h"
#include "tools/measure/measure.h"

static _Thread_local char error_text[2048];

int measure_fail(const char *format, ...)
{
    va_list args;
    int error = errno; /* stays */
    va_start(args, format);
    int length = vsnprintf(error_text, sizeof(error_text), format, args);
    text_mark_cut(error_text, sizeof(error_text), length);
    va_end(args);
    errno = error;
    return -1;
}

const char *measure_error(void)
{
    return error_text;
}

int stream_read_all(struct stream *stream, void *buf, size_t len)
{
    const struct transport *transport = stream->transport;
    for (size_t done = 0; done < len;) {
        ssize_t n = transport->read ? transport->read(stream, (char *)buf + done, len - done)
                                    : read(stream->fd, (char *)buf + done, len - done);
        if (n == 0)
            return measure_fail("the other side has closed the connection");
        if (n < 0 && errno != EINTR)
            return measure_fail("read: %s", strerror(errno));
        done += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

int stream_write_all(struct stream *stream, const void *buf, size_t len)
{
    const struct transport *transport = stream->transport;
    for (size_t done = 0; done < len;) {
        ssize_t n = transport->write
                        ? transport->write(stream, (const char *)buf + done, len - done)
                        : write(stream->fd, (const char *)buf + done, len - done);
        if (n < 0 && errno != EINTR)
            return measure_fail("write: %s", strerror(errno));
        done += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

void stream_close(struct stream *stream)
{
    if (stream->transport->close)
        stream->transport->close(stream);
    else
        close(stream->fd);
}
