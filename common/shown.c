/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* shown.c - see shown.h. */
#include "common/shown.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define SHOWN_PIECE 4096 /* bytes of the room of a text that is changed in place */

/* Ascending. Those that nobody sees, or that change how others are seen. */
static const struct {
    uint32_t first, last;
} shown_hidden[] = {
    {0x0000, 0x001f},    /* control characters */
    {0x007f, 0x00a0},    /* DEL, C1, and a blank that is no blank */
    {0x00ad, 0x00ad},    /* soft hyphen */
    {0x034f, 0x034f},    /* joins graphemes */
    {0x061c, 0x061c},    /* mark of direction */
    {0x115f, 0x1160},    /* fillers of Hangul */
    {0x17b4, 0x17b5},    /* vowels of Khmer that are not seen */
    {0x180b, 0x180f},    /* selectors of Mongolian */
    {0x2000, 0x200f},    /* blanks, no width, marks of direction */
    {0x2028, 0x202f},    /* lines, paragraphs, embedding, a narrow blank */
    {0x205f, 0x206f},    /* a blank, what is not seen, isolates */
    {0x2800, 0x2800},    /* an empty pattern of Braille */
    {0x3000, 0x3000},    /* a wide blank */
    {0x3164, 0x3164},    /* filler of Hangul */
    {0xd800, 0xf8ff},    /* surrogates, private use */
    {0xfe00, 0xfe0f},    /* selectors of variants */
    {0xfeff, 0xfeff},    /* byte order mark, no width */
    {0xffa0, 0xffa0},    /* filler of Hangul */
    {0xfff0, 0xffff},    /* annotation, what is no character */
    {0x1bca0, 0x1bca3},  /* of shorthand */
    {0x1d173, 0x1d17a},  /* of music */
    {0xe0000, 0x10ffff}, /* tags, selectors, private use */
};

static bool shown_is_hidden(uint32_t character)
{
    for (size_t i = 0; i < sizeof(shown_hidden) / sizeof(shown_hidden[0]); i++)
        if (character <= shown_hidden[i].last)
            return character >= shown_hidden[i].first;
    return true; /* beyond Unicode */
}

/* The length that the first byte says; 0: none. */
static size_t shown_length(unsigned char first)
{
    if (first < 0x80)
        return 1;
    if (first >= 0xc2 && first <= 0xdf)
        return 2;
    if (first >= 0xe0 && first <= 0xef)
        return 3;
    return first >= 0xf0 && first <= 0xf4 ? 4 : 0;
}

size_t shown_character(const char *text, size_t length)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000}; /* by length */
    const unsigned char *bytes = (const unsigned char *)text;
    const size_t count = shown_length(bytes[0]);
    if (count == 0 || count > length)
        return 0;
    uint32_t character = count == 1 ? bytes[0] : bytes[0] & (0x7fu >> count);
    for (size_t i = 1; i < count; i++) {
        if ((bytes[i] & 0xc0) != 0x80)
            return 0;
        character = character << 6 | (bytes[i] & 0x3fu);
    }
    return character < least[count] || shown_is_hidden(character) ? 0 : count;
}

/* What stands for the beginning of the text: its length. *taken is how much of the text it is. */
static size_t shown_next(const char *text, size_t length, unsigned how, char out[4], size_t *taken)
{
    static const char digits[] = "0123456789abcdef";
    const size_t count = shown_character(text, length);
    const unsigned char byte = (unsigned char)text[0];
    if (count > 0 && !(count > 1 && (how & SHOWN_ASCII) != 0) &&
        !(byte == '\\' && (how & SHOWN_BACKSLASH) != 0)) {
        memcpy(out, text, count);
        return *taken = count;
    }
    out[0] = '\\';
    out[1] = 'x';
    out[2] = digits[byte >> 4];
    out[3] = digits[byte & 15];
    *taken = 1;
    return 4;
}

size_t shown_text(char *out, size_t size, const char *text, size_t length, unsigned how)
{
    size_t at = 0, from = 0, taken;
    char next[4];
    while (from < length) {
        size_t count = shown_next(text + from, length - from, how, next, &taken);
        if (at + count >= size)
            break;
        memcpy(out + at, next, count);
        at += count;
        from += taken;
    }
    if (size > 0)
        out[at] = '\0';
    return from;
}

void shown_in_place(char *text, size_t size, unsigned how)
{
    char shown[SHOWN_PIECE];
    if (size > sizeof(shown))
        size = sizeof(shown);
    shown_text(shown, size, text, strlen(text), how);
    memcpy(text, shown, strlen(shown) + 1);
}

/* In pieces, since each write to stderr is a system call. */
void shown_print(FILE *out, const char *text)
{
    size_t length = strlen(text);
    char piece[1024];
    while (length > 0) {
        const size_t taken = shown_text(piece, sizeof(piece), text, length, SHOWN_UTF8);
        fputs(piece, out);
        text += taken;
        length -= taken;
    }
}

void shown_vprintf(FILE *out, const char *format, va_list arguments)
{
    char *text = NULL;
    if (vasprintf(&text, format, arguments) < 0)
        text = NULL;
    shown_print(out, text != NULL ? text : "out of memory");
    free(text);
}

void shown_printf(FILE *out, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    shown_vprintf(out, format, arguments);
    va_end(arguments);
}
