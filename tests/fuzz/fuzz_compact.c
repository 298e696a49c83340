/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzzer: compact documents, both ways. What can be read to the end is written again, and must be
 * the same bytes. And what the input says is written, with a count of one's own of whether it fits,
 * and must be read as it was written.
 */
#include <stdlib.h>
#include <string.h>

#include "common/compact.h"
#include "tests/fuzz/fuzz_count.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void compact_require(bool condition)
{
    if (!condition)
        abort();
}

/* ---- bytes, read and written again ---- */

static void compact_put(struct compact_writer *writer, const struct compact_member *member)
{
    char name[256], text[COMPACT_MAX];
    compact_copy(&member->name, name, sizeof(name));
    compact_copy(&member->text, text, sizeof(text));
    if (member->type == COMPACT_NUMBER)
        compact_put_number(writer, name, member->number);
    else if (member->type == COMPACT_BOOLEAN)
        compact_put_boolean(writer, name, member->number != 0);
    else
        compact_put_text(writer, name, text);
}

static bool has_nul(const struct compact_text *text)
{
    return text->len > 0 && memchr(text->bytes, 0, text->len) != NULL;
}

static void read_and_write(const uint8_t *data, size_t size)
{
    struct compact_writer writer;
    struct compact_reader reader;
    struct compact_text method;
    struct compact_member member;
    char name[256];
    int more;
    bool plain = size <= COMPACT_MAX; /* a writer takes no NULs in names and texts */
    if (!compact_open(&reader, data, size, COMPACT_CALL, &method))
        return;
    plain = plain && !has_nul(&method);
    compact_copy(&method, name, sizeof(name));
    compact_begin(&writer, COMPACT_CALL, name);
    while ((more = compact_next(&reader, &member)) > 0) {
        plain = plain && !has_nul(&member.name) && !has_nul(&member.text);
        if (plain)
            compact_put(&writer, &member);
    }
    if (more == 0 && plain)
        compact_require(!writer.failed && writer.len == size &&
                        memcmp(writer.bytes, data, size) == 0);
}

/* ---- members, written and read again ---- */

/* A member as the input says it: 4 bytes of it. */
struct wish {
    char type;
    size_t name_len, text_len;
    uint8_t value;
};

static struct wish wish_of(const uint8_t *data)
{
    return (struct wish){.type = "ibs"[data[0] % 3],
                         .name_len = (size_t)data[1] + (data[0] & 128 ? 10 : 0),
                         .text_len = (size_t)data[2] * (data[0] & 64 ? 5 : 1),
                         .value = data[3]};
}

static const char *compact_filled(char *buf, char with, size_t len)
{
    memset(buf, with, len);
    buf[len] = '\0';
    return buf;
}

static int64_t number_of(const struct wish *wish)
{
    return (int64_t)((uint64_t)wish->value * 0x0123456789abcdefu);
}

static void put_wish(struct compact_writer *writer, const struct wish *wish)
{
    char name[300], text[1300];
    compact_filled(name, (char)('a' + wish->value % 26), wish->name_len);
    if (wish->type == COMPACT_NUMBER)
        compact_put_number(writer, name, number_of(wish));
    else if (wish->type == COMPACT_BOOLEAN)
        compact_put_boolean(writer, name, wish->value & 1);
    else
        compact_put_text(writer, name,
                         compact_filled(text, (char)('A' + wish->value % 26), wish->text_len));
}

static size_t size_of(const struct wish *wish)
{
    size_t value = wish->type == COMPACT_NUMBER    ? 8
                   : wish->type == COMPACT_BOOLEAN ? 1
                                                   : 2 + wish->text_len;
    return 1 + wish->name_len + 1 + value;
}

static void require_read(struct compact_reader *reader, const struct wish *wish)
{
    char name[300], text[1300];
    struct compact_member member;
    compact_require(compact_next(reader, &member) == 1);
    compact_require(member.type == wish->type);
    compact_require(compact_equal(
        &member.name, compact_filled(name, (char)('a' + wish->value % 26), wish->name_len)));
    if (wish->type == COMPACT_NUMBER)
        compact_require(member.number == number_of(wish));
    else if (wish->type == COMPACT_BOOLEAN)
        compact_require(member.number == (wish->value & 1));
    else
        compact_require(compact_equal(
            &member.text, compact_filled(text, (char)('A' + wish->value % 26), wish->text_len)));
}

static void write_and_read(const uint8_t *data, size_t size)
{
    struct compact_writer writer;
    struct compact_reader reader;
    struct compact_member member;
    size_t expected = 2;
    bool fits = true;
    compact_begin(&writer, COMPACT_RESULT, NULL);
    for (size_t at = 0; at + 4 <= size; at += 4) {
        struct wish wish = wish_of(data + at);
        put_wish(&writer, &wish);
        expected += size_of(&wish);
        fits = fits && wish.name_len <= 255 && expected <= COMPACT_MAX;
        compact_require(writer.failed == !fits);
        compact_require(writer.len <= COMPACT_MAX);
    }
    if (!fits)
        return;
    compact_require(writer.len == expected);
    compact_require(compact_open(&reader, writer.bytes, writer.len, COMPACT_RESULT, NULL));
    for (size_t at = 0; at + 4 <= size; at += 4) {
        struct wish wish = wish_of(data + at);
        require_read(&reader, &wish);
    }
    compact_require(compact_next(&reader, &member) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_count("documents read");
    read_and_write(data, size);
    write_and_read(data, size);
    return 0;
}
