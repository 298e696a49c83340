/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "channels/channel_line.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLANKS " \t"
#define LETTERS "abcdefghijklmnopqrstuvwxyz"
#define NAME_FIRST LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
#define NAME_CHARACTERS NAME_FIRST "._-"

/* The line as it is being read. */
struct cursor {
    const char *text, *at;
    struct channel_problem *problem;
};

/* A word without its quotes, and where in the line each of its bytes stood. */
struct word {
    char text[END_TEXT_MAX];
    size_t at[END_TEXT_MAX];
    size_t len;
};

static bool __attribute__((format(printf, 3, 4)))
line_wrong(struct cursor *cursor, size_t at, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(cursor->problem->why, CHANNEL_LINE_WHY_MAX, format, arguments);
    va_end(arguments);
    cursor->problem->at = at;
    return false;
}

static size_t cursor_offset(const struct cursor *cursor)
{
    return (size_t)(cursor->at - cursor->text);
}

static void skip_blanks(struct cursor *cursor)
{
    cursor->at += strspn(cursor->at, BLANKS);
}

/* Of the line, or of what counts in it. */
static bool cursor_is_at_end(const struct cursor *cursor)
{
    return *cursor->at == '\0' || *cursor->at == '#';
}

/* ---- words ---- */

static bool word_add(struct cursor *cursor, struct word *word)
{
    if (word->len == END_TEXT_MAX - 1)
        return line_wrong(cursor, word->at[0], "a word has at most %d bytes", END_TEXT_MAX - 1);
    word->at[word->len] = cursor_offset(cursor);
    word->text[word->len++] = *cursor->at++;
    return true;
}

static bool word_add_quoted(struct cursor *cursor, struct word *word)
{
    size_t begin = cursor_offset(cursor);
    for (cursor->at++; *cursor->at != '"';) {
        if (*cursor->at == '\\' && (cursor->at[1] == '"' || cursor->at[1] == '\\'))
            cursor->at++;
        if (*cursor->at == '\0')
            return line_wrong(cursor, begin, "the quote has no end");
        if (!word_add(cursor, word))
            return false;
    }
    cursor->at++;
    return true;
}

/* what names the word, for the complaint that there is none. */
static bool word_read(struct cursor *cursor, struct word *word, const char *what)
{
    word->len = 0;
    skip_blanks(cursor);
    word->at[0] = cursor_offset(cursor);
    if (cursor_is_at_end(cursor)) {
        line_wrong(cursor, word->at[0], "%s is missing: a line is NAME: FROM -> TO", what);
        return false;
    }
    while (*cursor->at != '\0' && strchr(BLANKS, *cursor->at) == NULL)
        if (!(*cursor->at == '"' ? word_add_quoted : word_add)(cursor, word))
            return false;
    word->text[word->len] = '\0';
    if (word->len > 0) /* else it is "", whose place is that of its quotes */
        word->at[word->len] = cursor_offset(cursor);
    return true;
}

/* ---- what both forms check ---- */

static bool end_has_path(const struct end *end)
{
    return end->kind == END_UNIX || end->kind == END_UNIX_LISTEN || end->kind == END_PTY ||
           end->kind == END_FILE;
}

static bool check_end(struct cursor *cursor, const struct end *end, size_t at)
{
    if (end->kind == END_STDIO || end->kind == END_FD)
        return line_wrong(cursor, at, "%s is an end of idc forward only", end->text);
    if (end_has_path(end) && end->where[0] != '/')
        return line_wrong(cursor, at, "%s: the path has to begin with /", end->text);
    return true;
}

/* A channel that is its own client would never stop. */
static bool is_own_client(const struct end *from, const struct end *to)
{
    bool paths = end_has_path(from) && end_has_path(to);
    bool addresses = from->port == to->port &&
                     (from->kind == END_TCP || from->kind == END_TCP_LISTEN) &&
                     (to->kind == END_TCP || to->kind == END_TCP_LISTEN);
    return (paths || addresses) && strcmp(from->where, to->where) == 0;
}

static bool check_pair(struct cursor *cursor, const struct channel_line *line, size_t at)
{
    const struct end *listening, *other;
    char why[END_WHY_MAX];
    if (!end_match(&line->from, &line->to, &listening, &other, why))
        return line_wrong(cursor, at, "%s", why);
    return !is_own_client(&line->from, &line->to) ||
           line_wrong(cursor, at, "FROM and TO are the same, so it would be joined to itself");
}

bool channel_read_mode(const char *text, mode_t *mode)
{
    size_t digits = strspn(text, "01234567");
    if (digits == 0 || digits > 4 || text[digits] != '\0')
        return false;
    *mode = (mode_t)strtoul(text, NULL, 8);
    return *mode > 0 && *mode <= 0777;
}

static bool set_max(struct cursor *cursor, struct channel_line *line, const char *value, size_t at)
{
    size_t digits = strspn(value, "0123456789");
    unsigned long number = digits > 0 && digits <= 7 ? strtoul(value, NULL, 10) : 0;
    if (line->max != 0)
        return line_wrong(cursor, at, "max= stands there twice");
    if (digits != strlen(value) || number == 0 || number > CHANNEL_CONNECTIONS_MAX)
        return line_wrong(cursor, at, "max= takes 1 to %u, not \"%.40s\"", CHANNEL_CONNECTIONS_MAX,
                          value);
    line->max = (unsigned)number;
    return true;
}

static bool set_mode(struct cursor *cursor, struct channel_line *line, const char *value, size_t at)
{
    if (line->mode != 0)
        return line_wrong(cursor, at, "mode= stands there twice");
    if (!channel_read_mode(value, &line->mode))
        return line_wrong(cursor, at, "mode= takes 001 to 777, not \"%.40s\"", value);
    if (line->from.kind != END_UNIX_LISTEN && line->to.kind != END_UNIX_LISTEN)
        return line_wrong(cursor, at, "mode= is that of unix-listen's socket, and there is none");
    return true;
}

/* ---- FROM -> TO ---- */

static bool read_end(struct cursor *cursor, struct end *end, const char *what, size_t *begin)
{
    struct word word;
    char why[END_WHY_MAX];
    size_t at;
    if (!word_read(cursor, &word, what))
        return false;
    *begin = word.at[0];
    if (!end_parse(word.text, end, &at, why))
        return line_wrong(cursor, word.at[at], "%s", why);
    return check_end(cursor, end, *begin);
}

static bool read_arrow(struct cursor *cursor)
{
    struct word word;
    if (!word_read(cursor, &word, "-> TO"))
        return false;
    return strcmp(word.text, "->") == 0 ||
           line_wrong(cursor, word.at[0],
                      "\"%.40s\" stands where -> belongs; an end with blanks needs quotes",
                      word.text);
}

static bool read_option(struct cursor *cursor, struct channel_line *line)
{
    struct word word;
    if (!word_read(cursor, &word, "an option"))
        return false;
    if (strncmp(word.text, "max=", 4) == 0)
        return set_max(cursor, line, word.text + 4, word.at[0]);
    if (strncmp(word.text, "mode=", 5) == 0)
        return set_mode(cursor, line, word.text + 5, word.at[0]);
    return line_wrong(cursor, word.at[0],
                      "\"%.40s\" is no option: there are max=N and mode=MODE; an end with blanks "
                      "needs quotes",
                      word.text);
}

static bool read_pair(struct cursor *cursor, struct channel_line *line)
{
    size_t from, to;
    if (!read_end(cursor, &line->from, "FROM", &from) || !read_arrow(cursor) ||
        !read_end(cursor, &line->to, "TO", &to) || !check_pair(cursor, line, from))
        return false;
    for (skip_blanks(cursor); !cursor_is_at_end(cursor); skip_blanks(cursor))
        if (!read_option(cursor, line))
            return false;
    return true;
}

/* ---- the form of xl ---- */

enum xl_key { XL_CONNECTION, XL_PATH, XL_NAME, XL_DOMAIN, XL_MAX, XL_MODE, XL_KEYS };

static const char *const xl_keys[] = {
    [XL_CONNECTION] = "connection", [XL_PATH] = "path", [XL_NAME] = "name",
    [XL_DOMAIN] = "domain",         [XL_MAX] = "max",   [XL_MODE] = "mode"};
_Static_assert(sizeof(xl_keys) / sizeof(xl_keys[0]) == XL_KEYS, "each key has its word");

struct xl_values {
    size_t begin;
    size_t at[XL_KEYS];
    char text[XL_KEYS][END_TEXT_MAX]; /* "": not given */
};

/* Ends are written KIND:WHERE, so a word and = can be no end. */
static bool is_xl_form(const char *text)
{
    size_t letters = strspn(text, LETTERS);
    return letters > 0 && text[letters + strspn(text + letters, BLANKS)] == '=';
}

static int xl_find_key(const char *text, size_t len)
{
    for (int key = 0; key < XL_KEYS; key++)
        if (strlen(xl_keys[key]) == len && memcmp(xl_keys[key], text, len) == 0)
            return key;
    return -1;
}

/* What stands before the comma, the end or a comment. */
static size_t xl_value_length(const char *text)
{
    size_t len = 0;
    while (text[len] != '\0' && text[len] != ',' &&
           !(text[len] == '#' && (len == 0 || strchr(BLANKS, text[len - 1]) != NULL)))
        len++;
    return len;
}

static bool xl_read_value(struct cursor *cursor, struct xl_values *values, int key)
{
    size_t at = cursor_offset(cursor), all = xl_value_length(cursor->at), len = all;
    while (len > 0 && strchr(BLANKS, cursor->at[len - 1]) != NULL)
        len--;
    if (len == 0)
        return line_wrong(cursor, at, "%s= has no value", xl_keys[key]);
    if (len >= END_TEXT_MAX)
        return line_wrong(cursor, at, "a value has at most %d bytes", END_TEXT_MAX - 1);
    if (values->text[key][0] != '\0')
        return line_wrong(cursor, at, "%s= stands there twice", xl_keys[key]);
    memcpy(values->text[key], cursor->at, len);
    values->text[key][len] = '\0';
    values->at[key] = at;
    cursor->at += all;
    return true;
}

static bool xl_read_pair(struct cursor *cursor, struct xl_values *values)
{
    skip_blanks(cursor);
    size_t letters = strspn(cursor->at, NAME_CHARACTERS);
    int key = xl_find_key(cursor->at, letters);
    if (key < 0)
        return line_wrong(cursor, cursor_offset(cursor),
                          "\"%.*s\" is no key: there are connection=, path=, name=, domain=, max= "
                          "and mode=",
                          letters < 40 ? (int)letters : 40, cursor->at);
    cursor->at += letters;
    skip_blanks(cursor);
    if (*cursor->at != '=')
        return line_wrong(cursor, cursor_offset(cursor), "= is missing behind %s", xl_keys[key]);
    cursor->at++;
    skip_blanks(cursor);
    return xl_read_value(cursor, values, key);
}

static bool xl_read(struct cursor *cursor, struct xl_values *values)
{
    values->begin = cursor_offset(cursor);
    if (!xl_read_pair(cursor, values))
        return false;
    while (*cursor->at == ',') {
        cursor->at++;
        if (!xl_read_pair(cursor, values))
            return false;
    }
    return true;
}

/* Makes an end of up to three texts. What is wrong with it is wrong with the value of that key. */
static bool xl_make_end(struct cursor *cursor, const struct xl_values *values, enum xl_key key,
                        struct end *end, const char *const parts[4])
{
    char text[4 * END_TEXT_MAX] = "", why[END_WHY_MAX];
    size_t at, len = 0;
    for (int i = 0; i < 4 && parts[i] != NULL && len < sizeof(text); i++)
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%s", parts[i]);
    if (!end_parse(text, end, &at, why))
        return line_wrong(cursor, values->at[key], "%s", why);
    return check_end(cursor, end, values->at[key]);
}

static bool xl_make_service(struct cursor *cursor, const struct xl_values *values, struct end *end)
{
    const char *name = values->text[XL_NAME], *domain = values->text[XL_DOMAIN];
    if (!xl_make_end(cursor, values, XL_NAME, end, (const char *const[4]){"idc-listen:", name}))
        return false;
    return domain[0] == '\0' || xl_make_end(cursor, values, XL_DOMAIN, end,
                                            (const char *const[4]){"idc:", domain, ":", name});
}

/* Where a socket's path ends in ,connect there is a comma, so here it can't. */
static bool xl_make_local(struct cursor *cursor, const struct xl_values *values, bool is_pty,
                          const char *terminals, struct end *end)
{
    bool there = values->text[XL_DOMAIN][0] != '\0';
    if (is_pty)
        return xl_make_end(cursor, values, XL_NAME, end,
                           (const char *const[4]){"pty:", terminals, "/", values->text[XL_NAME]});
    return xl_make_end(
        cursor, values, XL_PATH, end,
        (const char *const[4]){there ? "unix-listen:" : "unix:", values->text[XL_PATH]});
}

static bool xl_check(struct cursor *cursor, const struct xl_values *values, bool *is_pty)
{
    const char *connection = values->text[XL_CONNECTION];
    *is_pty = strcmp(connection, "pty") == 0;
    if (connection[0] == '\0')
        return line_wrong(cursor, values->begin, "connection=socket or connection=pty is missing");
    if (!*is_pty && strcmp(connection, "socket") != 0)
        return line_wrong(cursor, values->at[XL_CONNECTION],
                          "connection= takes socket or pty, not \"%.40s\"", connection);
    if (values->text[XL_NAME][0] == '\0')
        return line_wrong(cursor, values->begin, "name= is missing, which is that of the service");
    if (*is_pty && values->text[XL_PATH][0] != '\0')
        return line_wrong(cursor, values->at[XL_PATH],
                          "connection=pty has no path=, its link is called like the service");
    if (!*is_pty && values->text[XL_PATH][0] == '\0')
        return line_wrong(cursor, values->begin, "connection=socket needs path=");
    return true;
}

/* Of a line that is wrong elsewhere too. */
static void xl_take_name(const struct xl_values *values, struct channel_line *line)
{
    const char *name = values->text[XL_NAME];
    size_t len = strlen(name);
    if (line->name[0] == '\0' && len > 0 && len <= CHANNEL_NAME_MAX &&
        strspn(name, NAME_CHARACTERS) == len && strchr(NAME_FIRST, name[0]) != NULL)
        memcpy(line->name, name, len + 1);
}

static bool xl_check_name(struct cursor *cursor, const struct xl_values *values,
                          const struct channel_line *line)
{
    return line->name[0] != '\0' ||
           line_wrong(cursor, values->at[XL_NAME],
                      "a channel can't be called \"%.40s\": put NAME: before the line",
                      values->text[XL_NAME]);
}

static bool xl_read_line(struct cursor *cursor, const char *terminals, struct channel_line *line)
{
    struct xl_values values = {.begin = 0};
    struct end service, local;
    bool is_pty;
    bool read = xl_read(cursor, &values);
    xl_take_name(&values, line);
    if (!read || !xl_check(cursor, &values, &is_pty) ||
        !xl_make_service(cursor, &values, &service) || !xl_check_name(cursor, &values, line) ||
        !xl_make_local(cursor, &values, is_pty, terminals, &local))
        return false;
    bool there = values.text[XL_DOMAIN][0] != '\0';
    line->from = there ? local : service;
    line->to = there ? service : local;
    if (!check_pair(cursor, line, values.begin))
        return false;
    if (values.text[XL_MAX][0] != '\0' &&
        !set_max(cursor, line, values.text[XL_MAX], values.at[XL_MAX]))
        return false;
    return values.text[XL_MODE][0] == '\0' ||
           set_mode(cursor, line, values.text[XL_MODE], values.at[XL_MODE]);
}

/* ---- the line ---- */

static bool read_name(struct cursor *cursor, struct channel_line *line)
{
    size_t at = cursor_offset(cursor), len = strspn(cursor->at, NAME_CHARACTERS);
    const char *begin = cursor->at, *behind = begin + len;
    if (len == 0 || strchr(NAME_FIRST, *begin) == NULL)
        return line_wrong(cursor, at,
                          "a line begins with NAME:, which begins with a letter or a "
                          "digit");
    if (*behind != ':')
        return line_wrong(cursor, at + len,
                          "a name has letters, digits, dots, - and _, and a colon behind it");
    if (behind[1] != '\0' && strchr(BLANKS, behind[1]) == NULL)
        return line_wrong(cursor, at + len + 1, "a line begins with NAME: and a blank");
    if (len > CHANNEL_NAME_MAX)
        return line_wrong(cursor, at, "a name has at most %d bytes", CHANNEL_NAME_MAX);
    memcpy(line->name, begin, len);
    line->name[len] = '\0';
    cursor->at = behind + 1;
    skip_blanks(cursor);
    return true;
}

static bool check_characters(struct cursor *cursor)
{
    size_t len = strlen(cursor->text);
    if (len > CHANNEL_LINE_MAX)
        return line_wrong(cursor, CHANNEL_LINE_MAX, "a line has at most %d bytes",
                          CHANNEL_LINE_MAX);
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)cursor->text[i];
        if ((c < ' ' && c != '\t') || c == 127)
            return line_wrong(cursor, i, "the byte %u does not belong into a line", c);
    }
    return true;
}

/* The name first: it counts if the rest is wrong. */
static bool read_line(struct cursor *cursor, const char *terminals, struct channel_line *line)
{
    if (!is_xl_form(cursor->at) && !read_name(cursor, line))
        return false;
    if (!check_characters(cursor))
        return false;
    return is_xl_form(cursor->at) ? xl_read_line(cursor, terminals, line) : read_pair(cursor, line);
}

enum channel_line_result channel_line_parse(const char *text, const char *terminals,
                                            struct channel_line *line,
                                            struct channel_problem *problem)
{
    struct cursor cursor = {.text = text, .at = text, .problem = problem};
    *line = (struct channel_line){.max = 0};
    *problem = (struct channel_problem){.at = 0};
    skip_blanks(&cursor);
    if (cursor_is_at_end(&cursor))
        return CHANNEL_LINE_EMPTY;
    return read_line(&cursor, terminals, line) ? CHANNEL_LINE_GOOD : CHANNEL_LINE_WRONG;
}

/* ---- two lines ---- */

bool channel_line_is_same(const struct channel_line *one, const struct channel_line *other)
{
    return strcmp(one->name, other->name) == 0 && strcmp(one->from.text, other->from.text) == 0 &&
           strcmp(one->to.text, other->to.text) == 0 && one->max == other->max &&
           one->mode == other->mode;
}

static bool end_takes(const struct end *end)
{
    return end_listens(end) || end->kind == END_PTY;
}

/* A socket and a terminal's link can't have one path either. */
static bool end_collides(const struct end *one, const struct end *other)
{
    return end_takes(one) && end_takes(other) && end_has_path(one) == end_has_path(other) &&
           (end_has_path(one) || one->kind == other->kind) && one->port == other->port &&
           strcmp(one->where, other->where) == 0 && strcmp(one->service, other->service) == 0;
}

bool channel_line_collides(const struct channel_line *one, const struct channel_line *other)
{
    return end_collides(&one->from, &other->from) || end_collides(&one->from, &other->to) ||
           end_collides(&one->to, &other->from) || end_collides(&one->to, &other->to);
}
