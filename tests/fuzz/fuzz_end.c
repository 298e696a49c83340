/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzzer: the two ends of a channel, FROM and TO, a line each. What is refused is refused for a
 * place in the text and with a reason. What is accepted can be read again from its own text, with
 * the same result. Only one end of a pair listens.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "channels/end.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_same(const struct end *one, const struct end *other)
{
    return one->kind == other->kind && one->hybrid == other->hybrid &&
           one->named_port == other->named_port && one->number == other->number &&
           one->port == other->port && strcmp(one->where, other->where) == 0 &&
           strcmp(one->service, other->service) == 0 && strcmp(one->text, other->text) == 0;
}

static bool fuzz_read(const char *text, struct end *end)
{
    struct end again;
    char why[END_WHY_MAX] = "";
    size_t at = SIZE_MAX;
    if (!end_parse(text, end, &at, why)) {
        if (at > strlen(text) || why[0] == '\0' || strlen(why) >= sizeof(why))
            abort();
        return false;
    }
    if (strcmp(end->text, text) != 0 || !end_parse(end->text, &again, &at, why) ||
        !is_same(end, &again))
        abort();
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct end from, to;
    const struct end *listening, *other;
    char text[4 * END_TEXT_MAX], why[END_WHY_MAX] = "";
    if (size >= sizeof(text))
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    char *second = strchr(text, '\n');
    if (second != NULL)
        *second++ = '\0';
    bool read = fuzz_read(text, &from);
    if (second == NULL || !fuzz_read(second, &to) || !read)
        return 0;
    if (!end_match(&from, &to, &listening, &other, why)) {
        if (why[0] == '\0')
            abort();
        return 0;
    }
    if (end_listens(&from) + end_listens(&to) != (listening != NULL) || listening == other)
        abort();
    return 0;
}
