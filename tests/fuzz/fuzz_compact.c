/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Fuzzer: compact documents. What can be read to the end is written again, and must be the same bytes. */
#include <stdlib.h>
#include <string.h>

#include "common/compact.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put(struct compact_writer *writer, const struct compact_member *member)
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct compact_writer writer;
    struct compact_reader reader;
    struct compact_text method;
    struct compact_member member;
    char name[256];
    int more;
    bool plain = size <= COMPACT_MAX; /* a writer takes no NULs in names and texts */
    if (!compact_open(&reader, data, size, COMPACT_CALL, &method))
        return 0;
    plain = plain && (method.len == 0 || memchr(method.bytes, 0, method.len) == NULL);
    compact_copy(&method, name, sizeof(name));
    compact_begin(&writer, COMPACT_CALL, name);
    while ((more = compact_next(&reader, &member)) > 0) {
        plain = plain && (member.name.len == 0 || memchr(member.name.bytes, 0, member.name.len) == NULL) &&
                (member.text.len == 0 || memchr(member.text.bytes, 0, member.text.len) == NULL);
        if (plain)
            put(&writer, &member);
    }
    if (more == 0 && plain && (writer.failed || writer.len != size || memcmp(writer.bytes, data, size) != 0))
        abort();
    return 0;
}
