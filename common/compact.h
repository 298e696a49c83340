/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * compact.h - calls and answers of RPC in few bytes, for upgraded connections (docs/rpc.md,
 * "Compact documents").
 *
 * Methods and members are the same as in XML. But values are only whole numbers, booleans and
 * texts, and a document has at most COMPACT_MAX bytes. That is what libidc needs to connect and to
 * listen. Coding one costs some hundred instructions, where XML costs a hundred thousand. A compact
 * document starts with a NUL, and no XML document does.
 *
 *      offset  size
 *           0     1  0
 *           1     1  'C' call, 'R' result, 'F' fault
 *           2     n  call: the method's name, as a byte for its length and the name
 *         2+n        members, one after the other to the end, of
 *                    1 + n   name: a byte for its length, and the name
 *                    1       type: 'i' a number, 'b' a boolean, 's' a text
 *                    8, 1 or 2 + n  value: little-endian, signed; 0 or 1; length in two bytes,
 *                                   little-endian, and the text
 *
 * A fault has the members "code" and "text". Nothing here allocates memory; what the reader returns
 * points into the document.
 */
#ifndef IDC_COMPACT_H
#define IDC_COMPACT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define COMPACT_MAX 1024
#define COMPACT_CALL 'C'
#define COMPACT_RESULT 'R'
#define COMPACT_FAULT 'F'
#define COMPACT_NUMBER 'i'
#define COMPACT_BOOLEAN 'b'
#define COMPACT_TEXT 's'

/* ---- writing ---- */

struct compact_writer {
    size_t len;
    bool failed; /* it did not fit, or a name was too long */
    uint8_t bytes[COMPACT_MAX];
};

/* method: of a call, else NULL. */
void compact_begin(struct compact_writer *writer, char kind, const char *method);
void compact_put_number(struct compact_writer *writer, const char *name, int64_t value);
void compact_put_boolean(struct compact_writer *writer, const char *name, bool value);
void compact_put_text(struct compact_writer *writer, const char *name, const char *text);

/* ---- reading ---- */

struct compact_text {
    const char *bytes; /* without a NUL at the end */
    size_t len;
};

struct compact_member {
    struct compact_text name;
    char type;
    int64_t number; /* also of a boolean */
    struct compact_text text;
};

struct compact_reader {
    const uint8_t *at, *end;
};

bool compact_is(const void *document, size_t len);
/* kind: the kind that it has to be. method is filled in for a call. False: it is not such a
 * document. */
bool compact_open(struct compact_reader *reader, const void *document, size_t len, char kind,
                  struct compact_text *method);
/* The next member: 1, 0 at the end, -1 when the document is malformed. */
int compact_next(struct compact_reader *reader, struct compact_member *member);
bool compact_equal(const struct compact_text *text, const char *string);
/* Copies at most size - 1 bytes, and a NUL behind them. */
void compact_copy(const struct compact_text *text, char *out, size_t size);

#endif
