/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "channels/hybrid.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/shown.h"

/* ---- saying ---- */

static int hybrid_say(const struct side *side, const char *word, uint32_t port)
{
    char text[HYBRID_LINE_MAX];
    int len = snprintf(text, sizeof(text), "%s %u\n", word, port);
    ssize_t sent = side_write(side, text, (size_t)len);
    if (sent < 0)
        return (int)sent;
    return sent == len ? 0 : -EIO;
}

int hybrid_say_connect(const struct side *side, uint32_t port)
{
    return hybrid_say(side, "CONNECT", port);
}

int hybrid_say_ok(const struct side *side, uint32_t port)
{
    return hybrid_say(side, "OK", port);
}

/* ---- reading ---- */

/* The next byte of the line, which is taken out unless it is the last one that there may be. */
static int hybrid_read_byte(struct side *side, char *byte, bool last)
{
    ssize_t got = recv(side->in, byte, 1, MSG_DONTWAIT | MSG_PEEK);
    if (got < 0)
        got = -errno;
    if (got == 1 && (*byte == '\n' || last))
        side->held = true;
    else if (got == 1)
        got = side_take_byte(side, byte);
    if (got < 0)
        return got == -EINTR ? -EAGAIN : (int)got;
    return got == 0 ? -EPIPE : 0;
}

/* 0: all of it is there, but for the newline. */
static int hybrid_read(struct hybrid_line *line, struct side *side)
{
    int error = 0;
    char *at = line->text + line->len;
    while (!side->held && error == 0) {
        at = line->text + line->len;
        error = hybrid_read_byte(side, at, line->len == sizeof(line->text) - 2);
        line->len += error == 0 && !side->held;
    }
    bool whole = *at == '\n';
    *at = '\0';
    return error == 0 && !whole ? -EPROTO : error;
}

/* A word, a blank, and a number. */
static int hybrid_parse(const char *text, const char *word, uint32_t *number)
{
    size_t len = strlen(word);
    if (strncmp(text, word, len) != 0 || text[len] != ' ')
        return -EPROTO;
    const char *digits = text + len + 1;
    size_t count = strspn(digits, "0123456789");
    if (count == 0 || count > 10 || digits[count] != '\0')
        return -EPROTO;
    unsigned long long value = strtoull(digits, NULL, 10);
    *number = (uint32_t)value;
    return value <= UINT32_MAX ? 0 : -EPROTO;
}

int hybrid_read_connect(struct hybrid_line *line, struct side *side, uint32_t *port)
{
    int error = hybrid_read(line, side);
    if (error == 0)
        error = hybrid_parse(line->text, "CONNECT", port);
    return error == 0 && *port == 0 ? -EPROTO : error;
}

int hybrid_read_ok(struct hybrid_line *line, struct side *side)
{
    uint32_t number;
    int error = hybrid_read(line, side);
    return error == 0 ? hybrid_parse(line->text, "OK", &number) : error;
}

const char *hybrid_shown(const struct hybrid_line *line, char shown[HYBRID_SHOWN_MAX])
{
    shown_text(shown, HYBRID_SHOWN_MAX, line->text, line->len, SHOWN_ASCII);
    return shown;
}
