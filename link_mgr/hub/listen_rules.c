/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Parsing and asking; listen_rules.h has the grammar. */
#include "link_mgr/hub/listen_rules.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/glob.h"
#include "common/service_name.h"

#define USER_NAME_MAX 256
#define SHOWN_MAX 40 /* bytes of a word that a message repeats */

enum user_sort { USER_ALL, USER_UIDS, USER_GROUP };

struct listen_user {
    enum user_sort sort;
    uint32_t first, last; /* uids; or first is a gid */
};

enum item_sort { ITEM_ALL, ITEM_PORTS, ITEM_NAME };

struct listen_item {
    enum item_sort sort;
    uint32_t first, last;           /* ports */
    char name[IDC_SERVICE_MAX + 1]; /* perhaps with stars */
};

struct listen_rule {
    bool allow;
    unsigned line;
    unsigned users, user_count, items, item_count; /* where they begin, and how many */
};

struct listen_rules {
    struct listen_rule *rules;
    struct listen_user *users;
    struct listen_item *items;
    unsigned count, user_count, item_count;
    unsigned room, user_room, item_room;
};

/* ---- memory ---- */

/* Room for one more. */
static void *listen_grow(void *array, unsigned count, unsigned *room, size_t size)
{
    unsigned more = *room ? 2 * *room : 16;
    if (count < *room)
        return array;
    void *grown = reallocarray(array, more, size);
    if (grown)
        *room = more;
    return grown;
}

void listen_rules_free(struct listen_rules *rules)
{
    if (!rules)
        return;
    free(rules->rules);
    free(rules->users);
    free(rules->items);
    free(rules);
}

unsigned listen_rules_count(const struct listen_rules *rules)
{
    return rules->count;
}

static int add_user(struct listen_rules *rules, const struct listen_user *user)
{
    struct listen_user *users =
        listen_grow(rules->users, rules->user_count, &rules->user_room, sizeof(*users));
    if (!users)
        return -ENOMEM;
    rules->users = users;
    users[rules->user_count++] = *user;
    return 0;
}

static int add_item(struct listen_rules *rules, const struct listen_item *item)
{
    struct listen_item *items =
        listen_grow(rules->items, rules->item_count, &rules->item_room, sizeof(*items));
    if (!items)
        return -ENOMEM;
    rules->items = items;
    items[rules->item_count++] = *item;
    return 0;
}

static int add_rule(struct listen_rules *rules, const struct listen_rule *rule)
{
    struct listen_rule *all =
        listen_grow(rules->rules, rules->count, &rules->room, sizeof(*rules->rules));
    if (!all)
        return -ENOMEM;
    rules->rules = all;
    all[rules->count++] = *rule;
    return 0;
}

/* ---- parsing ---- */

struct listen_parse {
    struct listen_rules *rules;
    struct listen_wrong *wrong;
    listen_find_id *find;
    void *arg;
    const char *line; /* its beginning */
};

/* A part of the text. */
struct piece {
    const char *at;
    size_t length;
};

static int wrong_at(struct listen_parse *parse, const char *at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static int wrong_at(struct listen_parse *parse, const char *at, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(parse->wrong->what, sizeof(parse->wrong->what), format, args);
    va_end(args);
    parse->wrong->column = (unsigned)(at - parse->line) + 1;
    return -EINVAL;
}

/* For a message, in quotes: the beginning of what may be long. */
#define SHOWN "\"%.*s%s\""
#define SHOW(piece)                                                             \
    (int)((piece).length < SHOWN_MAX ? (piece).length : SHOWN_MAX), (piece).at, \
        (piece).length > SHOWN_MAX ? "..." : ""

static bool piece_is(struct piece piece, const char *text)
{
    return piece.length == strlen(text) && memcmp(piece.at, text, piece.length) == 0;
}

static bool is_number_text(struct piece piece)
{
    for (size_t i = 0; i < piece.length; i++)
        if (piece.at[i] < '0' || piece.at[i] > '9')
            return false;
    return piece.length > 0;
}

/* A number in all of the piece. */
static bool take_number(struct piece piece, uint32_t least, uint32_t most, uint32_t *number)
{
    uint64_t value = 0;
    if (!is_number_text(piece) || piece.length > 10 || (piece.at[0] == '0' && piece.length > 1))
        return false;
    for (size_t i = 0; i < piece.length; i++)
        value = value * 10 + (uint64_t)(piece.at[i] - '0');
    *number = (uint32_t)value;
    return value >= least && value <= most;
}

/* Is it meant as a number, or as a range? */
static bool is_range_text(struct piece piece)
{
    bool digit = false;
    for (size_t i = 0; i < piece.length; i++) {
        bool here = piece.at[i] >= '0' && piece.at[i] <= '9';
        digit = digit || here;
        if (!here && piece.at[i] != '-')
            return false;
    }
    return digit;
}

/* what: what the numbers are, for a message. 0 or -EINVAL. */
static int take_range(struct listen_parse *parse, struct piece piece, uint32_t least, uint32_t most,
                      const char *what, uint32_t range[2])
{
    const char *dash = memchr(piece.at, '-', piece.length);
    struct piece first = {piece.at, dash ? (size_t)(dash - piece.at) : piece.length};
    struct piece last = dash ? (struct piece){dash + 1, piece.length - first.length - 1} : first;
    if (!take_number(first, least, most, &range[0]) || !take_number(last, least, most, &range[1]))
        return wrong_at(parse, piece.at, SHOWN " is no %s: they go from %u to %u", SHOW(piece),
                        what, least, most);
    if (range[1] < range[0])
        return wrong_at(parse, piece.at, "the range " SHOWN " ends before it begins", SHOW(piece));
    return 0;
}

/* The number of a name. */
static int take_id(struct listen_parse *parse, struct piece piece, bool group, uint32_t *id)
{
    char name[USER_NAME_MAX];
    bool fits = piece.length > 0 && piece.length < sizeof(name);
    if (fits) {
        memcpy(name, piece.at, piece.length);
        name[piece.length] = '\0';
    }
    if (fits && parse->find(parse->arg, group, name, id))
        return 0;
    return wrong_at(parse, piece.at, "there is no %s " SHOWN " in /etc/%s",
                    group ? "group" : "user", SHOW(piece), group ? "group" : "passwd");
}

static int take_user(struct listen_parse *parse, struct piece piece)
{
    struct listen_user user = {.sort = USER_UIDS};
    uint32_t range[2] = {0, 0};
    int error = 0;
    if (piece_is(piece, "*")) {
        user.sort = USER_ALL;
    } else if (piece.at[0] == '@') {
        struct piece group = {piece.at + 1, piece.length - 1};
        user.sort = USER_GROUP;
        error = is_number_text(group) ? take_range(parse, group, 0, UINT32_MAX - 1, "gid", range)
                                      : take_id(parse, group, true, &range[0]);
    } else if (is_range_text(piece)) {
        error = take_range(parse, piece, 0, UINT32_MAX - 1, "uid, or range of them", range);
    } else {
        error = take_id(parse, piece, false, &range[0]);
        range[1] = range[0];
    }
    user.first = range[0];
    user.last = range[1];
    return error ? error : add_user(parse->rules, &user);
}

static int take_item(struct listen_parse *parse, struct piece piece)
{
    struct listen_item item = {.sort = ITEM_PORTS};
    uint32_t range[2] = {0, 0};
    int error = 0;
    const enum service_item sort = service_item(piece.at, piece.length, "*");
    if (piece_is(piece, "*"))
        item.sort = ITEM_ALL;
    else if (sort == SERVICE_ITEM_PORTS)
        error = take_range(parse, piece, 1, UINT32_MAX, "port, or range of them", range);
    else if (sort == SERVICE_ITEM_WRONG)
        error = wrong_at(parse, piece.at,
                         SHOWN " is no port and no service: up to %d of A-Z a-z 0-9 . _ - *, "
                               "with a letter",
                         SHOW(piece), IDC_SERVICE_MAX);
    else {
        item.sort = ITEM_NAME;
        memcpy(item.name, piece.at, piece.length);
    }
    item.first = range[0];
    item.last = range[1];
    return error ? error : add_item(parse->rules, &item);
}

static int take_list(struct listen_parse *parse, struct piece list,
                     int (*take)(struct listen_parse *parse, struct piece piece))
{
    const char *end = list.at + list.length;
    for (const char *at = list.at;; at++) {
        const char *comma = memchr(at, ',', (size_t)(end - at));
        struct piece piece = {at, (size_t)((comma ? comma : end) - at)};
        int error =
            piece.length > 0 ? take(parse, piece) : wrong_at(parse, at, "a list has an empty item");
        if (error || !comma)
            return error;
        at = comma;
    }
}

/* words: ACTION WHO WHAT. */
static int take_rule(struct listen_parse *parse, const struct piece words[3])
{
    struct listen_rules *rules = parse->rules;
    struct listen_rule rule = {.allow = piece_is(words[0], "allow"),
                               .line = parse->wrong->line,
                               .users = rules->user_count,
                               .items = rules->item_count};
    if (!rule.allow && !piece_is(words[0], "deny"))
        return wrong_at(parse, words[0].at, SHOWN " is neither allow nor deny", SHOW(words[0]));
    if (rules->count == LISTEN_RULES_MAX)
        return wrong_at(parse, words[0].at, "there are more than %d rules", LISTEN_RULES_MAX);
    int error = take_list(parse, words[1], take_user);
    if (!error)
        error = take_list(parse, words[2], take_item);
    rule.user_count = rules->user_count - rule.users;
    rule.item_count = rules->item_count - rule.items;
    return error ? error : add_rule(rules, &rule);
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t';
}

/* The next word at *at, before end. Its length is 0: there is none. */
static struct piece next_word(const char **at, const char *end)
{
    while (*at < end && is_space(**at))
        ++*at;
    struct piece word = {*at, 0};
    while (*at < end && !is_space(**at))
        ++*at;
    word.length = (size_t)(*at - word.at);
    return word;
}

/* Only what can be read: nothing that a terminal would not show, or that only looks like a letter.
 */
static int check_bytes(struct listen_parse *parse, const char *end)
{
    for (const char *c = parse->line; c < end; c++)
        if (!is_space(*c) && (*c <= ' ' || *c > '~'))
            return wrong_at(parse, c, "the byte 0x%02x has no place here", (unsigned char)*c);
    return 0;
}

/* The line without its newline. */
static int take_line(struct listen_parse *parse, struct piece line)
{
    static const char *const missing[] = {"", "who and what are missing: ACTION WHO WHAT",
                                          "what is missing: ACTION WHO WHAT"};
    const char *comment = memchr(line.at, '#', line.length);
    const char *end = comment ? comment : line.at + line.length, *at = line.at;
    struct piece words[3];
    parse->line = line.at;
    int error = check_bytes(parse, end);
    if (error)
        return error;
    for (int i = 0; i < 3; i++) {
        words[i] = next_word(&at, end);
        if (words[i].length == 0)
            return i == 0 ? 0 : wrong_at(parse, words[i].at, "%s", missing[i]);
    }
    struct piece rest = next_word(&at, end);
    if (rest.length > 0)
        return wrong_at(parse, rest.at, SHOWN " is too much: ACTION WHO WHAT", SHOW(rest));
    return take_rule(parse, words);
}

static int take_text(struct listen_parse *parse, const char *text, size_t length)
{
    const char *end = text + length;
    int error = 0;
    for (const char *at = text; at < end && !error;) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        struct piece line = {at, (size_t)((newline ? newline : end) - at)};
        parse->wrong->line++;
        error = take_line(parse, line);
        at += line.length + (newline ? 1 : 0);
    }
    return error;
}

int listen_rules_parse(const char *text, size_t length, listen_find_id *find, void *arg,
                       struct listen_rules **rules, struct listen_wrong *wrong)
{
    struct listen_parse parse = {
        .rules = calloc(1, sizeof(**rules)), .wrong = wrong, .find = find, .arg = arg};
    *wrong = (struct listen_wrong){0};
    if (!parse.rules)
        return -ENOMEM;
    int error = take_text(&parse, text, length);
    if (error)
        listen_rules_free(parse.rules);
    else
        *rules = parse.rules;
    return error;
}

/* ---- asking ---- */

/* What is not known of the groups must not be to the user's advantage. */
static bool user_fits(const struct listen_user *user, const struct listen_question *question,
                      bool allow)
{
    if (user->sort == USER_GROUP)
        return groups_have(question->groups, user->first, !allow);
    return user->sort == USER_ALL || (question->uid >= user->first && question->uid <= user->last);
}

/* A star does not give away what has always been root's. */
static bool item_fits(const struct listen_item *item, const struct listen_question *question,
                      bool allow)
{
    if (item->sort == ITEM_ALL)
        return !allow || question->port == 0 || question->port > IDC_PORT_PRIVILEGED_MAX;
    if (question->port == 0)
        return item->sort == ITEM_NAME && glob_fits(item->name, question->name);
    return item->sort == ITEM_PORTS && question->port >= item->first &&
           question->port <= item->last;
}

static bool rule_fits(const struct listen_rules *rules, const struct listen_rule *rule,
                      const struct listen_question *question)
{
    bool user = false, item = false;
    for (unsigned i = 0; i < rule->user_count && !user; i++)
        user = user_fits(&rules->users[rule->users + i], question, rule->allow);
    for (unsigned i = 0; i < rule->item_count && user && !item; i++)
        item = item_fits(&rules->items[rule->items + i], question, rule->allow);
    return item;
}

bool listen_rules_allow(const struct listen_rules *rules, const struct listen_question *question,
                        unsigned *line)
{
    *line = 0;
    for (unsigned i = 0; i < rules->count; i++) {
        const struct listen_rule *rule = &rules->rules[i];
        if (!rule_fits(rules, rule, question))
            continue;
        *line = rule->line;
        return rule->allow;
    }
    return false;
}
