/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * policy_line.c - see policy_line.h. A shell has taken quotes away that a file needs. So what may
 * only stand in quotes gets them, and the rest stays without: a `*` is the glob that was meant. A
 * domain whose name has a `*`, or a comma, is given in the quotes of a file, and they stay.
 */
#include "idc-setup/policy_line.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "idc-setup/fail.h"
#include "policy/rule_options.h"

#define LINE_NAME "name:"
#define LINE_UNTIL "until=+"
#define LINE_UNTIL_MAX 1000000000 /* seconds, more than thirty years */

/* ---- words ---- */

static bool line_needs_quotes(char c)
{
    return c == ' ' || c == '#' || c == '"' || c == '\\' || c == '(' || c == ')' || c == '$' ||
           c == '\'' || c == ';' || c == '&' || c == '<' || c == '>' || c == '|' || c == '!' ||
           c == '[' || c == ']' || c == '{' || c == '}' || c == '^' || c == '`';
}

/* Is it "TEXT" or name:"TEXT", as a file may have it? */
static bool line_is_quoted(const char *argument)
{
    if (strncmp(argument, LINE_NAME, strlen(LINE_NAME)) == 0)
        argument += strlen(LINE_NAME);
    if (*argument++ != '"')
        return false;
    for (; *argument != '\0' && *argument != '"'; argument++)
        if (*argument == '\\' && *++argument != '"' && *argument != '\\')
            return false;
    return argument[0] == '"' && argument[1] == '\0';
}

static void line_print_word(FILE *out, const char *argument)
{
    bool quoted = false;
    if (line_is_quoted(argument)) {
        fputs(argument, out);
        return;
    }
    if (argument[0] == '\0')
        fputs("\"\"", out);
    for (const char *c = argument; *c != '\0'; c++) {
        if (line_needs_quotes(*c) != quoted) {
            quoted = !quoted;
            fputc('"', out);
        }
        if (*c == '"' || *c == '\\')
            fputc('\\', out);
        fputc(*c, out);
    }
    if (quoted)
        fputc('"', out);
}

char *policy_line_word(const char *argument)
{
    char *word = NULL;
    size_t size;
    FILE *out = open_memstream(&word, &size);
    if (out == NULL)
        return NULL;
    line_print_word(out, argument);
    return fclose(out) == 0 ? word : NULL;
}

/* A newline would begin a second line, which nobody has asked for. */
static bool line_has_control(const char *argument)
{
    for (; *argument != '\0'; argument++)
        if ((unsigned char)*argument < 0x20 || *argument == 0x7f)
            return true;
    return false;
}

/* ---- until=+TIME ---- */

/* The seconds of 90m and the like; 0: it is not such a time. */
static int64_t line_period(const char *text)
{
    static const struct {
        char unit;
        int64_t seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
    int64_t number = 0;
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 9 || text[digits] == '\0' || text[digits + 1] != '\0')
        return 0;
    for (size_t i = 0; i < digits; i++)
        number = number * 10 + (text[i] - '0');
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
        if (units[i].unit == text[digits] && number <= LINE_UNTIL_MAX / units[i].seconds)
            return number * units[i].seconds;
    return 0;
}

static int line_print_option(FILE *out, const char *argument, int64_t now)
{
    char text[RULE_TIME_TEXT];
    if (strncmp(argument, LINE_UNTIL, strlen(LINE_UNTIL)) != 0) {
        line_print_word(out, argument);
        return 0;
    }
    int64_t seconds = line_period(argument + strlen(LINE_UNTIL));
    if (seconds == 0)
        return policy_fail(SETUP_STATUS_USAGE,
                           "%s: after until=+ stands a number with s, m, h or d", argument);
    rule_time_format(now + seconds, text);
    fprintf(out, "until=%s", text);
    return 0;
}

/* ---- the line ---- */

static bool line_has_what(char **arguments)
{
    return arguments[2] != NULL && strchr(arguments[2], '=') == NULL;
}

static int line_print(FILE *out, const char *action, char **arguments, int64_t now)
{
    fprintf(out, "%s ", action);
    line_print_word(out, arguments[0]);
    fputc(' ', out);
    line_print_word(out, arguments[1]);
    char **rest = arguments + 2;
    bool what = line_has_what(arguments);
    fprintf(out, " %s", what ? "" : "*");
    if (what)
        line_print_word(out, *rest++);
    int status = 0;
    for (; status == 0 && *rest != NULL; rest++) {
        fputc(' ', out);
        status = line_print_option(out, *rest, now);
    }
    return status;
}

int policy_line_make(const char *action, char **arguments, int64_t now, char **line)
{
    size_t size;
    *line = NULL;
    if (arguments[0] == NULL || arguments[1] == NULL)
        return policy_fail(SETUP_STATUS_USAGE, "FROM and TO are missing");
    for (char **argument = arguments; *argument != NULL; argument++)
        if (line_has_control(*argument))
            return policy_fail(SETUP_STATUS_USAGE, "a control character in an argument");
    FILE *out = open_memstream(line, &size);
    if (out == NULL)
        return policy_fail(SETUP_STATUS_FAILED, "out of memory");
    int status = line_print(out, action, arguments, now);
    if (fclose(out) != 0 && status == 0)
        status = policy_fail(SETUP_STATUS_FAILED, "out of memory");
    return status;
}

/* ---- back from the line to the arguments ---- */

/* Words have one blank between them, and those inside a word are in quotes. */
static size_t line_word_at(const char *line, unsigned column)
{
    size_t word = 0;
    bool quoted = false;
    for (unsigned at = 1; at < column && line[at - 1] != '\0'; at++) {
        char c = line[at - 1];
        if (quoted && c == '\\') {
            at++;
            continue;
        }
        quoted = quoted != (c == '"');
        word += c == ' ' && !quoted;
    }
    return word;
}

const char *policy_line_argument(const char *line, char **arguments, unsigned column)
{
    size_t word = line_word_at(line, column), count = 0;
    while (arguments[count] != NULL)
        count++;
    if (word == 0 || (word == 3 && !line_has_what(arguments)))
        return NULL;
    if (word > 3 && !line_has_what(arguments))
        word--;
    return word <= count ? arguments[word - 1] : NULL;
}

bool policy_line_has_more_words(char **arguments)
{
    return line_has_what(arguments) && arguments[3] != NULL && strchr(arguments[3], '=') == NULL;
}

bool policy_line_is_rule(const char *line, size_t length)
{
    static const char *const actions[] = {"allow", "deny"};
    while (length > 0 && (*line == ' ' || *line == '\t')) {
        line++;
        length--;
    }
    for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++) {
        size_t action = strlen(actions[i]);
        if (length > action && memcmp(line, actions[i], action) == 0 &&
            (line[action] == ' ' || line[action] == '\t'))
            return true;
    }
    return false;
}

bool policy_line_is(const char *line, size_t length, const char *pair, const char *what)
{
    const char *blank = memchr(line, ' ', length);
    if (blank == NULL || !policy_line_is_rule(line, length))
        return false;
    size_t rest = length - (size_t)(blank + 1 - line), pair_length = strlen(pair);
    const char *at = blank + 1;
    if (rest < pair_length + 1 || strncmp(at, pair, pair_length) != 0 || at[pair_length] != ' ')
        return false;
    if (what == NULL)
        return true;
    at += pair_length + 1;
    rest -= pair_length + 1;
    size_t what_length = strlen(what);
    return rest >= what_length && strncmp(at, what, what_length) == 0 &&
           (rest == what_length || at[what_length] == ' ');
}
