/* SPDX-License-Identifier: GPL-2.0-or-later */
/* lexer.c - see lexer.h. */
#include "policy/lexer.h"

#include <string.h>

void lexer_begin(struct lexer *lexer, const char *line, size_t length)
{
    *lexer = (struct lexer){.line = line, .length = length};
}

static bool lexer_is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static bool lexer_is_control(char c)
{
    return ((unsigned char)c < 0x20 && c != '\t') || c == 0x7f;
}

unsigned lexer_column(const struct lexer *lexer)
{
    return (unsigned)lexer->next + 1;
}

static void word_add(struct word *word, char c, size_t place, bool quoted)
{
    word->text[word->length] = c;
    word->at[word->length] = (uint16_t)(place + 1);
    word->quoted[word->length++] = quoted;
}

/* From a quote to its end. */
static bool lexer_quoted(struct lexer *lexer, struct word *word, struct problem *problem)
{
    unsigned begin = lexer_column(lexer);
    while (++lexer->next < lexer->length) {
        char c = lexer->line[lexer->next];
        if (c == '"') {
            lexer->next++;
            return true;
        }
        if (c == '\\') {
            char after = lexer->next + 1 < lexer->length ? lexer->line[lexer->next + 1] : '\0';
            if (after != '"' && after != '\\')
                return problem_set(problem, lexer_column(lexer), "a backslash is written \\\\",
                                   "in quotes only \\\" and \\\\ may follow a backslash");
            lexer->next++;
            c = after;
        }
        word_add(word, c, lexer->next, true);
    }
    return problem_set(problem, begin, "quotes end in the line in which they begin",
                       "the quote has no end");
}

static bool lexer_bare(struct lexer *lexer, struct word *word, struct problem *problem)
{
    char c = lexer->line[lexer->next];
    if (c == '\\')
        return problem_set(problem, lexer_column(lexer),
                           "lines can't be continued; a long list is made of groups in groups",
                           "a backslash outside quotes");
    if (c == '#')
        return problem_set(problem, lexer_column(lexer),
                           "put a blank before a comment, or quotes around the word",
                           "a # inside a word");
    word_add(word, c, lexer->next++, false);
    return true;
}

/* Control characters may hide what a line says, so they are errors in comments too. */
static bool lexer_clean(const struct lexer *lexer, size_t from, size_t to, struct problem *problem)
{
    for (size_t i = from; i < to; i++)
        if (lexer_is_control(lexer->line[i]))
            return problem_set(problem, (unsigned)i + 1,
                               "only spaces and tabs may separate words; remove it",
                               "a control character, 0x%02x", (unsigned char)lexer->line[i]);
    return true;
}

static bool lexer_word(struct lexer *lexer, struct word *word, struct problem *problem)
{
    bool good = true;
    word->length = 0;
    word->raw = lexer->line + lexer->next;
    while (good && lexer->next < lexer->length && !lexer_is_blank(lexer->line[lexer->next]))
        good = lexer->line[lexer->next] == '"' ? lexer_quoted(lexer, word, problem)
                                               : lexer_bare(lexer, word, problem);
    word->raw_length = (size_t)(lexer->line + lexer->next - word->raw);
    word->text[word->length] = '\0';
    /* what is wrong with an empty word is shown where it begins */
    word->at[word->length] =
        (uint16_t)(word->length > 0 ? lexer_column(lexer) : (size_t)(word->raw - lexer->line) + 1);
    return good && lexer_clean(lexer, (size_t)(word->raw - lexer->line), lexer->next, problem);
}

enum lexer_result lexer_next(struct lexer *lexer, struct word *word, struct problem *problem)
{
    while (lexer->next < lexer->length && lexer_is_blank(lexer->line[lexer->next]))
        lexer->next++;
    if (lexer->next < lexer->length && lexer->line[lexer->next] != '#')
        return lexer_word(lexer, word, problem) ? LEXER_WORD : LEXER_WRONG;
    if (!lexer_clean(lexer, lexer->next, lexer->length, problem))
        return LEXER_WRONG;
    return LEXER_END;
}

struct slice slice_of(const struct word *word)
{
    return (struct slice){
        .text = word->text, .at = word->at, .quoted = word->quoted, .length = word->length};
}

struct slice slice_part(const struct slice *slice, size_t from, size_t to)
{
    return (struct slice){.text = slice->text + from,
                          .at = slice->at + from,
                          .quoted = slice->quoted + from,
                          .length = to - from};
}

bool slice_is(const struct slice *slice, const char *text)
{
    return slice->length == strlen(text) && memcmp(slice->text, text, slice->length) == 0;
}

bool slice_begins(const struct slice *slice, const char *text)
{
    size_t length = strlen(text);
    return slice->length >= length && memcmp(slice->text, text, length) == 0;
}

size_t slice_find(const struct slice *slice, char byte)
{
    const char *found = memchr(slice->text, byte, slice->length);
    return found == NULL ? slice->length : (size_t)(found - slice->text);
}

bool slice_has_bare(const struct slice *slice, const char *set, size_t *where)
{
    for (size_t i = 0; i < slice->length; i++)
        if (!slice->quoted[i] && slice->text[i] != '\0' && strchr(set, slice->text[i]) != NULL) {
            *where = i;
            return true;
        }
    return false;
}

const char *slice_shown(const struct slice *slice, char shown[PROBLEM_SHOWN_MAX])
{
    return problem_shown(shown, slice->text, slice->length);
}

enum number_result slice_number(const struct slice *slice, uint64_t least, uint64_t most,
                                uint64_t *number)
{
    bool large = false;
    *number = 0;
    for (size_t i = 0; i < slice->length; i++) {
        char c = slice->text[i];
        if (c < '0' || c > '9')
            return NUMBER_NONE;
        large = large || *number > most; /* most is far below what would overflow */
        if (!large)
            *number = *number * 10 + (uint64_t)(c - '0');
    }
    if (slice->length == 0)
        return NUMBER_NONE;
    if (slice->length > 1 && slice->text[0] == '0')
        return NUMBER_ZEROS;
    return large || *number > most || *number < least ? NUMBER_RANGE : NUMBER_GOOD;
}
