/* SPDX-License-Identifier: GPL-2.0-or-later */
/* rules_words.c - memory, words and single values of the text (rules_private.h). */
#include "link_mgr/core/rules_private.h"

#include <stdlib.h>
#include <string.h>

#define PIECE_BYTES 65536u
#define PIECE_ALIGN 8u

struct rules_piece {
    struct rules_piece *next;
    size_t used, size;
    uint64_t bytes[];
};

const char rules_no_memory[] = "there is no memory for it";

/* ---- memory ---- */

static struct rules_piece *rules_new_piece(struct rules *rules, size_t least)
{
    size_t size = least > PIECE_BYTES ? least : PIECE_BYTES;
    struct rules_piece *piece = malloc(sizeof(*piece) + size);
    if (!piece)
        return NULL;
    *piece = (struct rules_piece){.next = rules->pieces, .size = size};
    rules->pieces = piece;
    return piece;
}

void *rules_take(struct rules *rules, size_t count, size_t size)
{
    struct rules_piece *piece = rules->pieces;
    size_t need = (count * size + PIECE_ALIGN) / PIECE_ALIGN * PIECE_ALIGN;
    if (!piece || piece->size - piece->used < need)
        piece = rules_new_piece(rules, need);
    if (!piece)
        return NULL;
    void *taken = (char *)piece->bytes + piece->used;
    piece->used += need;
    return memset(taken, 0, need);
}

void rules_free(struct rules *rules)
{
    while (rules && rules->pieces) {
        struct rules_piece *piece = rules->pieces;
        rules->pieces = piece->next;
        free(piece);
    }
    free(rules);
}

/* ---- words ---- */

bool rules_next_word(struct rules_word *rest, char separator, struct rules_word *word)
{
    if (!rest->at)
        return false;
    const char *end = memchr(rest->at, separator, rest->length);
    word->at = rest->at;
    word->length = end ? (size_t)(end - rest->at) : rest->length;
    rest->length -= word->length + (end ? 1 : 0);
    rest->at = end ? end + 1 : NULL;
    return true;
}

bool rules_word_is(const struct rules_word *word, const char *text)
{
    return word->length == strlen(text) && memcmp(word->at, text, word->length) == 0;
}

bool rules_number(const struct rules_word *word, uint64_t least, uint64_t most, uint64_t *number)
{
    uint64_t value = 0;
    if (word->length == 0 || word->length > 18 || (word->length > 1 && word->at[0] == '0'))
        return false;
    for (size_t i = 0; i < word->length; i++) {
        if (word->at[i] < '0' || word->at[i] > '9')
            return false;
        value = value * 10 + (uint64_t)(word->at[i] - '0');
    }
    *number = value;
    return value >= least && value <= most;
}

const char *rules_read_domid(const struct rules_word *word, uint32_t *domid)
{
    uint64_t number;
    if (!rules_number(word, 0, IDC_DOMID_SELF - 1, &number))
        return "a domid is not one";
    *domid = (uint32_t)number;
    return NULL;
}

/* ---- TEXT ---- */

static bool text_is_plain(char c)
{
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    return letter || (c >= '0' && c <= ':') || c == '.' || c == '_' || c == '-' || c == '/' ||
           c == '+';
}

/* 16: it is not a digit. */
static unsigned text_hex(char c)
{
    if (c >= '0' && c <= '9')
        return (unsigned)(c - '0');
    c |= 'a' ^ 'A';
    return c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10 : 16;
}

/* The next byte that a TEXT stands for; 0: the text is wrong there. */
static char text_byte(const struct rules_word *word, size_t *at)
{
    char c = word->at[(*at)++];
    if (c != '%')
        return (char)(text_is_plain(c) ? c : '\0');
    if (word->length - *at < 2)
        return '\0';
    unsigned high = text_hex(word->at[*at]), low = text_hex(word->at[*at + 1]);
    *at += 2;
    return (char)(high < 16 && low < 16 ? high << 4 | low : 0);
}

const char *rules_read_text(struct rules *rules, const struct rules_word *word, const char **text)
{
    size_t length = 0;
    if (word->length == 0 || word->length > (size_t)3 * RULES_WORD_MAX)
        return "a text is empty, or too long";
    char *out = rules_take(rules, word->length + 1, 1);
    if (!out)
        return rules_no_memory;
    for (size_t at = 0; at < word->length; length++) {
        out[length] = text_byte(word, &at);
        if (out[length] == '\0')
            return "a text has a byte that must be written as % and two digits";
    }
    *text = out;
    return length > RULES_WORD_MAX ? "a text is empty, or too long" : NULL;
}

const char *rules_read_uuid(struct rules *rules, const struct rules_word *word, const char **uuid)
{
    static const char form[RULES_UUID + 1] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
    static const char wrong[] = "a UUID is not one";
    if (word->length != RULES_UUID)
        return wrong;
    for (size_t i = 0; i < RULES_UUID; i++)
        if (form[i] == 'x' ? text_hex(word->at[i]) > 15 : word->at[i] != '-')
            return wrong;
    char *out = rules_take(rules, RULES_UUID + 1, 1);
    if (!out)
        return rules_no_memory;
    memcpy(out, word->at, RULES_UUID);
    *uuid = out;
    return NULL;
}
