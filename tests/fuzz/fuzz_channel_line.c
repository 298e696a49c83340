/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzzer: two lines of /etc/idc/channels. What is refused is refused for a place in the line and
 * with a reason. What is accepted has a name that can be a file's, ends that match, and no path but
 * an absolute one. It can be written down again and read with the same result.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "channels/channel_line.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TERMINALS "/dev/t"

static void check_name(const char *name)
{
    static const char characters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    if (strlen(name) > CHANNEL_NAME_MAX || strspn(name, characters) != strlen(name) ||
        name[0] == '.' || name[0] == '-')
        abort();
}

static size_t write_quoted(char *to, const char *text)
{
    size_t len = 0;
    to[len++] = '"';
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\')
            to[len++] = '\\';
        to[len++] = *text;
    }
    to[len++] = '"';
    to[len] = '\0';
    return len;
}

static void check_again(const struct channel_line *line)
{
    struct channel_line again;
    struct channel_problem problem;
    char text[5 * END_TEXT_MAX + 256];
    size_t len = (size_t)sprintf(text, "%s: ", line->name);
    len += write_quoted(text + len, line->from.text);
    len += (size_t)sprintf(text + len, " -> ");
    len += write_quoted(text + len, line->to.text);
    if (line->max != 0)
        len += (size_t)sprintf(text + len, " max=%u", line->max);
    if (line->mode != 0)
        sprintf(text + len, " mode=%o", line->mode);
    if (channel_line_parse(text, TERMINALS, &again, &problem) != CHANNEL_LINE_GOOD ||
        !channel_line_is_same(line, &again))
        abort();
}

static bool fuzz_line(const char *text, struct channel_line *line)
{
    const struct end *listening, *other;
    struct channel_problem problem;
    char why[END_WHY_MAX];
    enum channel_line_result result = channel_line_parse(text, TERMINALS, line, &problem);
    check_name(line->name);
    if (result == CHANNEL_LINE_WRONG && (problem.at > strlen(text) || problem.why[0] == '\0' ||
                                         strlen(problem.why) >= sizeof(problem.why)))
        abort();
    if (result != CHANNEL_LINE_GOOD)
        return false;
    if (line->name[0] == '\0' || !end_match(&line->from, &line->to, &listening, &other, why))
        abort();
    check_again(line);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct channel_line one, other;
    char text[2 * CHANNEL_LINE_MAX];
    if (size >= sizeof(text))
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    char *second = strchr(text, '\n');
    if (second != NULL)
        *second++ = '\0';
    bool good = fuzz_line(text, &one);
    if (second == NULL || !fuzz_line(second, &other) || !good)
        return 0;
    if (channel_line_is_same(&one, &other) != channel_line_is_same(&other, &one) ||
        channel_line_collides(&one, &other) != channel_line_collides(&other, &one))
        abort();
    return 0;
}
