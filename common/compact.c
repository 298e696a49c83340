/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Compact documents; compact.h has the layout. Somebody else wrote what we read, so every length is
 * checked against the rest of the document before it is used. */
#include "common/compact.h"

#include <string.h>

/* ---- writing ---- */

/* Room for size bytes, or NULL. Once something did not fit, nothing fits any more. */
static uint8_t *compact_grow(struct compact_writer *writer, size_t size)
{
    if (writer->failed || size > sizeof(writer->bytes) - writer->len) {
        writer->failed = true;
        return NULL;
    }
    writer->len += size;
    return writer->bytes + writer->len - size;
}

static void put_name(struct compact_writer *writer, const char *name)
{
    size_t len = strlen(name);
    uint8_t *to = len <= UINT8_MAX ? compact_grow(writer, 1 + len) : NULL;
    if (to == NULL) {
        writer->failed = true;
        return;
    }
    to[0] = (uint8_t)len;
    memcpy(to + 1, name, len);
}

/* Name and type, and room for the value. */
static uint8_t *put_member(struct compact_writer *writer, const char *name, char type, size_t size)
{
    put_name(writer, name);
    uint8_t *to = compact_grow(writer, 1 + size);
    if (to == NULL)
        return NULL;
    to[0] = (uint8_t)type;
    return to + 1;
}

void compact_begin(struct compact_writer *writer, char kind, const char *method)
{
    writer->failed = false;
    writer->bytes[0] = 0;
    writer->bytes[1] = (uint8_t)kind;
    writer->len = 2;
    if (method != NULL)
        put_name(writer, method);
}

void compact_put_number(struct compact_writer *writer, const char *name, int64_t value)
{
    uint8_t *to = put_member(writer, name, COMPACT_NUMBER, 8);
    for (int i = 0; to != NULL && i < 8; i++)
        to[i] = (uint8_t)((uint64_t)value >> (8 * i));
}

void compact_put_boolean(struct compact_writer *writer, const char *name, bool value)
{
    uint8_t *to = put_member(writer, name, COMPACT_BOOLEAN, 1);
    if (to != NULL)
        to[0] = value;
}

void compact_put_text(struct compact_writer *writer, const char *name, const char *text)
{
    size_t len = strnlen(text, COMPACT_MAX);
    uint8_t *to = put_member(writer, name, COMPACT_TEXT, 2 + len);
    if (to == NULL)
        return;
    to[0] = (uint8_t)len;
    to[1] = (uint8_t)(len >> 8);
    memcpy(to + 2, text, len);
}

/* ---- reading ---- */

/* The next size bytes, or NULL when fewer are left. */
static const uint8_t *compact_take(struct compact_reader *reader, size_t size)
{
    if (size > (size_t)(reader->end - reader->at))
        return NULL;
    reader->at += size;
    return reader->at - size;
}

/* A text behind its length, which has length_size bytes. */
static bool take_text(struct compact_reader *reader, int length_size, struct compact_text *text)
{
    const uint8_t *length = compact_take(reader, (size_t)length_size);
    if (length == NULL)
        return false;
    text->len = length_size == 1 ? length[0] : (size_t)(length[0] | length[1] << 8);
    text->bytes = (const char *)compact_take(reader, text->len);
    return text->bytes != NULL;
}

bool compact_is(const void *document, size_t len)
{
    return len > 0 && *(const uint8_t *)document == 0;
}

bool compact_open(struct compact_reader *reader, const void *document, size_t len, char kind,
                  struct compact_text *method)
{
    *reader = (struct compact_reader){.at = document, .end = (const uint8_t *)document + len};
    const uint8_t *head = compact_take(reader, 2);
    if (head == NULL || head[0] != 0 || head[1] != (uint8_t)kind)
        return false;
    return kind != COMPACT_CALL || take_text(reader, 1, method);
}

static bool take_number(struct compact_reader *reader, int64_t *number)
{
    uint64_t value = 0;
    const uint8_t *from = compact_take(reader, 8);
    for (int i = 0; from != NULL && i < 8; i++)
        value |= (uint64_t)from[i] << (8 * i);
    *number = (int64_t)value;
    return from != NULL;
}

static bool take_boolean(struct compact_reader *reader, int64_t *number)
{
    const uint8_t *from = compact_take(reader, 1);
    *number = from != NULL ? *from : 0;
    return from != NULL && *from <= 1;
}

static bool take_value(struct compact_reader *reader, struct compact_member *member)
{
    switch (member->type) {
    case COMPACT_NUMBER:
        return take_number(reader, &member->number);
    case COMPACT_BOOLEAN:
        return take_boolean(reader, &member->number);
    case COMPACT_TEXT:
        return take_text(reader, 2, &member->text);
    default:
        return false;
    }
}

int compact_next(struct compact_reader *reader, struct compact_member *member)
{
    if (reader->at == reader->end)
        return 0;
    *member = (struct compact_member){0};
    const uint8_t *type = take_text(reader, 1, &member->name) ? compact_take(reader, 1) : NULL;
    if (type == NULL)
        return -1;
    member->type = (char)*type;
    return take_value(reader, member) ? 1 : -1;
}

bool compact_equal(const struct compact_text *text, const char *string)
{
    return text->len == strlen(string) &&
           (text->len == 0 || memcmp(text->bytes, string, text->len) == 0);
}

void compact_copy(const struct compact_text *text, char *out, size_t size)
{
    size_t len = text->len < size - 1 ? text->len : size - 1;
    if (len > 0) /* bytes may be NULL */
        memcpy(out, text->bytes, len);
    out[len] = '\0';
}
