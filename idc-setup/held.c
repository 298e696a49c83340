/* SPDX-License-Identifier: GPL-2.0-or-later */
/* held.c - see held.h. */
#include "idc-setup/held.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define HELD_LINE_MAX 4096

struct held_piece {
    FILE *to;
    size_t length;
    STAILQ_ENTRY(held_piece) entry;
    char bytes[];
};

static struct {
    FILE *out, *err;           /* as they were; NULL: nothing is held */
    FILE *held_out, *held_err; /* in their place */
    STAILQ_HEAD(, held_piece) pieces;
} held;

/* Without memory, waiting for the reader is better than losing what it should read. */
static ssize_t held_write(FILE *to, const char *bytes, size_t length)
{
    struct held_piece *piece = malloc(sizeof(*piece) + length);
    if (piece == NULL)
        return (ssize_t)fwrite(bytes, 1, length, to);
    piece->to = to;
    piece->length = length;
    memcpy(piece->bytes, bytes, length);
    STAILQ_INSERT_TAIL(&held.pieces, piece, entry);
    return (ssize_t)length;
}

static ssize_t held_write_out(void *cookie, const char *bytes, size_t length)
{
    (void)cookie;
    return held_write(held.out, bytes, length);
}

static ssize_t held_write_err(void *cookie, const char *bytes, size_t length)
{
    (void)cookie;
    return held_write(held.err, bytes, length);
}

/* The GNU C library says that stdout and stderr are variables that may be set. */
void held_begin(void)
{
    static const cookie_io_functions_t out = {.write = held_write_out};
    static const cookie_io_functions_t err = {.write = held_write_err};
    STAILQ_INIT(&held.pieces);
    held.held_out = fopencookie(NULL, "w", out);
    held.held_err = fopencookie(NULL, "w", err);
    if (held.held_out == NULL || held.held_err == NULL) {
        held_end();
        return;
    }
    setvbuf(held.held_out, NULL, _IOLBF, HELD_LINE_MAX); /* the two keep their order */
    setvbuf(held.held_err, NULL, _IOLBF, HELD_LINE_MAX);
    held.out = stdout;
    held.err = stderr;
    stdout = held.held_out;
    stderr = held.held_err;
}

void held_end(void)
{
    if (held.held_out != NULL)
        fclose(held.held_out); /* what is in its buffer becomes a piece */
    if (held.held_err != NULL)
        fclose(held.held_err);
    held.held_out = held.held_err = NULL;
    if (held.out == NULL)
        return;
    stdout = held.out;
    stderr = held.err;
    held.out = held.err = NULL;
    for (struct held_piece *piece; (piece = STAILQ_FIRST(&held.pieces)) != NULL;) {
        STAILQ_REMOVE_HEAD(&held.pieces, entry);
        fwrite(piece->bytes, 1, piece->length, piece->to);
        free(piece);
    }
}
