/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * rules.c - see rules.h: the lines of the text, in their order. What is in a rule's line is in
 * rules_rule.c.
 */
#include "link_mgr/core/rules.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/service_name.h"
#include "link_mgr/core/rules_private.h"

struct rules_reader {
    struct rules *rules;
    struct rules_word text; /* what is not read yet */
    uint32_t line;
    bool ended;
};

/* ---- numbers of rules ---- */

/* The place of the first rule with this number, or a larger one. */
static uint32_t rules_position(const struct rules *rules, uint32_t number)
{
    uint32_t low = 0, high = rules->rule_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (rules->rules[middle].number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const struct rule *rules_find_rule(const struct rules *rules, uint32_t number)
{
    uint32_t at = rules_position(rules, number);
    return at < rules->rule_count && rules->rules[at].number == number ? &rules->rules[at] : NULL;
}

static uint32_t rules_count_items(const struct rules_word *list)
{
    uint32_t count = 1;
    for (size_t i = 0; i < list->length; i++)
        count += list->at[i] == ',';
    return count;
}

static const char *rules_read_list(struct rules *rules, struct rules_word word,
                                   struct rules_list *list)
{
    struct rules_word item;
    uint64_t number, last = 0;
    if (list->at)
        return "a list of rules is given twice";
    uint32_t *at = rules_take(rules, rules_count_items(&word), sizeof(*at));
    if (!at)
        return rules_no_memory;
    list->at = at;
    for (; rules_next_word(&word, ',', &item); last = number) {
        if (!rules_number(&item, 1, UINT32_MAX, &number) || number <= last)
            return "a list of rules is not one of ascending numbers";
        const struct rule *rule = rules_find_rule(rules, (uint32_t)number);
        if (!rule)
            return "a list has a rule that is not there";
        at[list->count++] = (uint32_t)(rule - rules->rules);
    }
    return NULL;
}

/* ---- words of lines ---- */

/* If the word is NAME=VALUE with this name: its value. */
static bool rules_value_of(const struct rules_word *word, const char *name,
                           struct rules_word *value)
{
    size_t length = strlen(name);
    if (word->length <= length || memcmp(word->at, name, length) != 0 || word->at[length] != '=')
        return false;
    *value = (struct rules_word){word->at + length + 1, word->length - length - 1};
    return true;
}

/* A line with these: NULL where the line has none. */
struct rules_members {
    const char **name, **uuid;
    struct rules_list *out, *in;
};

static const char *rules_read_member(struct rules *rules, const struct rules_word *word,
                                     const struct rules_members *members)
{
    struct rules_word value;
    if (members->name && !*members->name && rules_value_of(word, "name", &value))
        return rules_read_text(rules, &value, members->name);
    if (members->uuid && !*members->uuid && rules_value_of(word, "uuid", &value))
        return rules_read_uuid(rules, &value, members->uuid);
    if (members->out && rules_value_of(word, "out", &value))
        return rules_read_list(rules, value, members->out);
    if (members->in && rules_value_of(word, "in", &value))
        return rules_read_list(rules, value, members->in);
    return "a word that is not known here, or given twice";
}

static const char *rules_read_members(struct rules *rules, struct rules_word rest,
                                      const struct rules_members *members)
{
    struct rules_word word;
    const char *wrong = NULL;
    while (!wrong && rules_next_word(&rest, ' ', &word))
        wrong = rules_read_member(rules, &word, members);
    return wrong;
}

/* ---- lines ---- */

static const char *line_version(struct rules_reader *reader, struct rules_word rest)
{
    (void)reader;
    return rest.at && rules_word_is(&rest, "1") ? NULL : "a version that is not known";
}

static const char *line_self(struct rules_reader *reader, struct rules_word rest)
{
    struct rules *rules = reader->rules;
    const struct rules_members members = {.name = &rules->name, .uuid = &rules->uuid};
    return rules_read_members(rules, rest, &members);
}

static const char *line_commands(struct rules_reader *reader, struct rules_word rest)
{
    uint64_t number;
    if (!rest.at || !rules_number(&rest, 0, UINT32_MAX, &number))
        return "commands without a number";
    reader->rules->commands = (uint32_t)number;
    return NULL;
}

static const char *line_rule(struct rules_reader *reader, struct rules_word rest)
{
    struct rules *rules = reader->rules;
    struct rule *rule = &rules->rules[rules->rule_count];
    struct rules_word word;
    uint64_t number, least = rules->rule_count ? (uint64_t)rule[-1].number + 1 : 1;
    if (!rules_next_word(&rest, ' ', &word) || !rules_number(&word, least, UINT32_MAX, &number))
        return "rules do not ascend by number";
    rule->number = (uint32_t)number;
    rules->rule_count++;
    return rules_read_rule(rules, rest, rule);
}

static const char *line_peer(struct rules_reader *reader, struct rules_word rest)
{
    struct rules *rules = reader->rules;
    struct rules_peer *peer = &rules->peers[rules->peer_count];
    const struct rules_members members = {
        .name = &peer->name, .uuid = &peer->uuid, .out = &peer->out, .in = &peer->in};
    struct rules_word word;
    const char *wrong =
        rules_next_word(&rest, ' ', &word) ? rules_read_domid(&word, &peer->domid) : "no domid";
    if (!wrong && rules->peer_count > 0 && peer->domid <= peer[-1].domid)
        wrong = "peers do not ascend by domid";
    rules->peer_count++;
    return wrong ? wrong : rules_read_members(rules, rest, &members);
}

static const char *rules_check_denies(const struct rules *rules, const struct rules_list *list)
{
    for (uint32_t i = 0; i < list->count; i++)
        if (rules->rules[list->at[i]].allow)
            return "an allow rule for all other domains";
    return NULL;
}

static const char *line_other(struct rules_reader *reader, struct rules_word rest)
{
    struct rules *rules = reader->rules;
    const struct rules_members members = {.out = &rules->other_out, .in = &rules->other_in};
    const char *wrong = rules_read_members(rules, rest, &members);
    if (!wrong)
        wrong = rules_check_denies(rules, &rules->other_out);
    return wrong ? wrong : rules_check_denies(rules, &rules->other_in);
}

static const char *rules_read_service(struct rules *rules, const struct rules_word *word,
                                      const char **service)
{
    if (!service_name_valid(word->at, word->length))
        return "a route of what is no service name";
    char *out = rules_take(rules, word->length + 1, 1);
    if (!out)
        return rules_no_memory;
    memcpy(out, word->at, word->length);
    *service = out;
    return NULL;
}

static const char *rules_read_domids(struct rules *rules, struct rules_word list,
                                     struct rules_route *route)
{
    struct rules_word item;
    const char *wrong = NULL;
    uint32_t *domids = rules_take(rules, RULES_ROUTE_DOMAINS_MAX, sizeof(*domids));
    if (!domids)
        return rules_no_memory;
    route->domids = domids;
    while (!wrong && rules_next_word(&list, ',', &item))
        wrong = route->domid_count == RULES_ROUTE_DOMAINS_MAX
                    ? "a route to too many domains"
                    : rules_read_domid(&item, &domids[route->domid_count++]);
    return wrong;
}

static const char *line_route(struct rules_reader *reader, struct rules_word rest)
{
    struct rules *rules = reader->rules;
    struct rules_route *route = &rules->routes[rules->route_count++];
    struct rules_word service, domids, place;
    if (!rules_next_word(&rest, ' ', &service) || !rules_next_word(&rest, ' ', &domids) ||
        !rest.at || !rules_value_of(&rest, "at", &place))
        return "a route without a service, domains and a place";
    const char *wrong = rules_read_service(rules, &service, &route->service);
    if (!wrong)
        wrong = rules_read_domids(rules, domids, route);
    return wrong ? wrong : rules_read_text(rules, &place, &route->place);
}

static const char *line_end(struct rules_reader *reader, struct rules_word rest)
{
    reader->ended = true;
    return rest.at || reader->text.length > 0 ? "something after the end" : NULL;
}

/* In their order. */
static const struct rules_line {
    const char *word;
    const char *(*read)(struct rules_reader *reader, struct rules_word rest);
    bool many, must;
} rules_lines[] = {
    {"version", line_version, false, true},    {"self", line_self, false, false},
    {"commands", line_commands, false, false}, {"rule", line_rule, true, false},
    {"peer", line_peer, true, false},          {"other", line_other, false, false},
    {"route", line_route, true, false},        {"end", line_end, false, true},
};
#define RULES_LINES (sizeof(rules_lines) / sizeof(rules_lines[0]))

/* The kind of line that begins with the word; *next is the first that may come. */
static const struct rules_line *rules_find_line(const struct rules_word *word, size_t *next)
{
    for (size_t i = *next; i < RULES_LINES; i++) {
        if (rules_word_is(word, rules_lines[i].word)) {
            *next = i + !rules_lines[i].many;
            return &rules_lines[i];
        }
        if (rules_lines[i].must)
            break;
    }
    return NULL;
}

static const char *rules_read_line(struct rules_reader *reader, size_t *next)
{
    struct rules_word line, word;
    if (!memchr(reader->text.at, '\n', reader->text.length))
        return "a last line without its newline";
    reader->line++;
    rules_next_word(&reader->text, '\n', &line);
    rules_next_word(&line, ' ', &word);
    const struct rules_line *kind = rules_find_line(&word, next);
    return kind ? kind->read(reader, line) : "a line that is not known, or not in its place";
}

/* ---- the whole text ---- */

/* How many lines begin with the word. */
static uint32_t rules_count_lines(const struct rules_word *text, const char *word)
{
    struct rules_word rest = *text, line;
    size_t length = strlen(word);
    uint32_t count = 0;
    while (rules_next_word(&rest, '\n', &line))
        count += line.length >= length && memcmp(line.at, word, length) == 0;
    return count;
}

static const char *rules_make_room(struct rules *rules, const struct rules_word *text)
{
    uint32_t lines = rules_count_lines(text, "rule"), peers = rules_count_lines(text, "peer");
    uint32_t routes = rules_count_lines(text, "route");
    if (lines > RULES_MAX || peers > IDC_DOMID_SELF || routes > RULES_ROUTES_MAX)
        return "too many rules, peers or routes";
    rules->rules = rules_take(rules, lines, sizeof(*rules->rules));
    rules->peers = rules_take(rules, peers, sizeof(*rules->peers));
    rules->routes = rules_take(rules, routes, sizeof(*rules->routes));
    return rules->rules && rules->peers && rules->routes ? NULL : rules_no_memory;
}

static const char *rules_read(struct rules_reader *reader)
{
    size_t next = 0;
    if (reader->text.length > RULES_TEXT_MAX)
        return "a text that is too long";
    const char *wrong = rules_make_room(reader->rules, &reader->text);
    while (!wrong && reader->text.length > 0)
        wrong = rules_read_line(reader, &next);
    return wrong || reader->ended ? wrong : "the end is missing";
}

int rules_new(struct rules **made, const char *text, size_t length, struct rules_problem *problem)
{
    struct rules *rules = calloc(1, sizeof(*rules));
    struct rules_reader reader = {.rules = rules, .text = {text, length}};
    if (!rules)
        return -ENOMEM;
    const char *wrong = rules_read(&reader);
    if (!wrong) {
        *made = rules;
        return 0;
    }
    rules_free(rules);
    *problem = (struct rules_problem){.line = reader.line, .what = wrong};
    return wrong == rules_no_memory ? -ENOMEM : -EINVAL;
}

/* ---- asking ---- */

const struct rules_peer *rules_find_peer(const struct rules *rules, uint32_t domid)
{
    uint32_t low = 0, high = rules->peer_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (rules->peers[middle].domid < domid)
            low = middle + 1;
        else
            high = middle;
    }
    return low < rules->peer_count && rules->peers[low].domid == domid ? &rules->peers[low] : NULL;
}

const struct rules_list *rules_between(const struct rules *rules, uint32_t domid, bool out)
{
    const struct rules_peer *peer = rules_find_peer(rules, domid);
    if (!peer)
        return out ? &rules->other_out : &rules->other_in;
    return out ? &peer->out : &peer->in;
}

uint32_t rules_place_in(const struct rules *rules, const struct rules_list *list,
                        const struct rule *rule)
{
    for (uint32_t i = 0; i < list->count; i++)
        if (&rules->rules[list->at[i]] == rule)
            return i + 1;
    return 0;
}

const struct rule *rules_at_place(const struct rules *rules, const struct rules_list *list,
                                  uint32_t place)
{
    return place > 0 && place <= list->count ? &rules->rules[list->at[place - 1]] : NULL;
}

uint64_t rules_next_end(const struct rules *rules, uint64_t now)
{
    uint64_t next = RULES_FOREVER;
    for (uint32_t i = 0; i < rules->rule_count; i++)
        if (rules->rules[i].until > now && rules->rules[i].until < next)
            next = rules->rules[i].until;
    return next;
}
