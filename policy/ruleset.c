/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ruleset.c - see ruleset.h: lines become rules. */
#include "policy/ruleset.h"

#include <stdlib.h>
#include <string.h>

#include "common/service_name.h"
#include "idc.h"
#include "policy/ruleset_private.h"

/* What is being read. */
struct reading {
    struct ruleset *ruleset;
    struct ruleset_place place;
    struct lexer lexer;
    struct word word;
    struct problem problem;
};

struct ruleset *ruleset_new(void)
{
    return calloc(1, sizeof(struct ruleset));
}

void ruleset_free(struct ruleset *ruleset)
{
    if (ruleset == NULL)
        return;
    free(ruleset->rules);
    free(ruleset->routes);
    free(ruleset->groups);
    free(ruleset->group_order);
    arena_free(&ruleset->arena);
    free(ruleset);
}

void *ruleset_more(void *list, size_t count, size_t size)
{
    if (count > 0 && (count & (count - 1)) != 0)
        return list; /* rooms are powers of two */
    return realloc(list, (count > 0 ? 2 * count : 1) * size);
}

/* ---- words ---- */

enum reading_word { READING_WORD, READING_NONE, READING_WRONG };

static enum reading_word reading_next(struct reading *reading)
{
    switch (lexer_next(&reading->lexer, &reading->word, &reading->problem)) {
    case LEXER_WORD:
        return READING_WORD;
    case LEXER_END:
        return READING_NONE;
    default:
        return READING_WRONG;
    }
}

/* A word that must be there. */
static bool reading_needs(struct reading *reading, const char *what, const char *form)
{
    unsigned column = lexer_column(&reading->lexer);
    enum reading_word next = reading_next(reading);
    if (next == READING_NONE)
        problem_fill(&reading->problem, column, form, "%s is missing", what);
    return next == READING_WORD;
}

static bool reading_no_memory(struct reading *reading)
{
    return problem_memory(&reading->problem, 1);
}

/* The present word as it is written. */
static const char *reading_raw(struct reading *reading)
{
    return arena_text(&reading->ruleset->arena, reading->word.raw, reading->word.raw_length);
}

static bool reading_domain(struct reading *reading, struct domain_term *term, const char **text)
{
    struct slice slice = slice_of(&reading->word);
    *text = reading_raw(reading);
    if (*text == NULL)
        return reading_no_memory(reading);
    return domain_parse(&reading->ruleset->arena, &slice, term, &reading->problem);
}

/* ---- allow and deny ---- */

static const char rule_form[] = "ACTION FROM TO WHAT [OPTION=VALUE]...";

static bool reading_options(struct reading *reading, struct ruleset_rule *rule)
{
    enum reading_word next;
    const char *first = NULL, *end = NULL;
    while ((next = reading_next(reading)) == READING_WORD) {
        struct slice slice = slice_of(&reading->word);
        if (!rule_options_add(&reading->ruleset->arena, &slice, rule->allow, &rule->options,
                              &reading->problem))
            return false;
        first = first == NULL ? reading->word.raw : first;
        end = reading->word.raw + reading->word.raw_length;
    }
    if (next == READING_WRONG)
        return false;
    rule->options_text = arena_text(&reading->ruleset->arena, first == NULL ? "" : first,
                                    first == NULL ? 0 : (size_t)(end - first));
    return rule->options_text != NULL || reading_no_memory(reading);
}

static bool reading_services(struct reading *reading, struct ruleset_rule *rule)
{
    struct slice slice = slice_of(&reading->word);
    rule->what_text = reading_raw(reading);
    if (rule->what_text == NULL)
        return reading_no_memory(reading);
    return services_parse(&reading->ruleset->arena, &slice, &rule->what, &reading->problem);
}

static bool reading_add_rule(struct reading *reading, const struct ruleset_rule *rule)
{
    struct ruleset *ruleset = reading->ruleset;
    if (ruleset->rule_count == RULESET_RULES_MAX)
        return problem_set(&reading->problem, 1, "groups and lists of services make rules fewer",
                           "more than %u allow and deny lines", RULESET_RULES_MAX);
    void *more = ruleset_more(ruleset->rules, ruleset->rule_count, sizeof(*rule));
    if (more == NULL)
        return reading_no_memory(reading);
    ruleset->rules = more;
    ruleset->rules[ruleset->rule_count++] = *rule;
    return true;
}

static bool reading_rule(struct reading *reading, bool allow)
{
    struct ruleset_rule rule = {.place = reading->place, .allow = allow};
    rule.options.log = !allow;
    return reading_needs(reading, "FROM", rule_form) &&
           reading_domain(reading, &rule.from, &rule.from_text) &&
           reading_needs(reading, "TO", rule_form) &&
           reading_domain(reading, &rule.to, &rule.to_text) &&
           reading_needs(reading, "WHAT", rule_form) && reading_services(reading, &rule) &&
           reading_options(reading, &rule) && reading_add_rule(reading, &rule);
}

static bool reading_allow(struct reading *reading)
{
    return reading_rule(reading, true);
}

static bool reading_deny(struct reading *reading)
{
    return reading_rule(reading, false);
}

/* ---- group ---- */

static const char group_form[] = "group NAME = MEMBER..., with blanks around the =";

static const struct ruleset_group *group_called(const struct ruleset *ruleset, const char *name)
{
    for (size_t i = 0; i < ruleset->group_count; i++)
        if (strcmp(ruleset->groups[i].name, name) == 0)
            return &ruleset->groups[i];
    return NULL;
}

static bool reading_group_name(struct reading *reading, struct ruleset_group *group)
{
    struct slice slice = slice_of(&reading->word);
    char shown[PROBLEM_SHOWN_MAX], file[PROBLEM_SHOWN_MAX];
    group->column = slice.at[0];
    if (slice_find(&slice, '=') < slice.length) {
        reading->ruleset->groups_unsure = true;
        return problem_set(&reading->problem, slice.at[0], group_form,
                           "no blank before or after the =");
    }
    if (!domain_valid_group(&slice))
        return problem_set(&reading->problem, slice.at[0],
                           "a group's name has 1 to 63 letters, digits, '.', '_' and '-'",
                           "\"%s\" can't be a group's name", slice_shown(&slice, shown));
    const struct ruleset_group *other = group_called(reading->ruleset, reading->word.text);
    if (other != NULL)
        return problem_set(
            &reading->problem, slice.at[0], "make two groups, and a third one that contains both",
            "the group %s is made a second time; the first is at %s:%u", slice_shown(&slice, shown),
            problem_shown(file, other->place.file, strlen(other->place.file)), other->place.line);
    group->name = arena_text(&reading->ruleset->arena, slice.text, slice.length);
    return group->name != NULL || reading_no_memory(reading);
}

static bool reading_equals(struct reading *reading)
{
    struct slice slice = slice_of(&reading->word);
    return slice_is(&slice, "=") ||
           problem_set(&reading->problem, slice.at[0], group_form, "there is no = here");
}

static bool reading_members(struct reading *reading, struct ruleset_group *group)
{
    struct domain_term draft[LEXER_LINE_MAX / 2];
    const char *text;
    enum reading_word next;
    while ((next = reading_next(reading)) == READING_WORD)
        if (!reading_domain(reading, &draft[group->member_count++], &text))
            return false;
    if (next == READING_WRONG)
        return false;
    group->members =
        arena_copy(&reading->ruleset->arena, draft, group->member_count, sizeof(draft[0]));
    return group->members != NULL || reading_no_memory(reading);
}

static bool reading_add_group(struct reading *reading, const struct ruleset_group *group)
{
    struct ruleset *ruleset = reading->ruleset;
    if (ruleset->group_count == RULESET_GROUPS_MAX) {
        ruleset->groups_unsure = true;
        return problem_set(&reading->problem, 1, "globs make groups fewer", "more than %u groups",
                           RULESET_GROUPS_MAX);
    }
    void *more = ruleset_more(ruleset->groups, ruleset->group_count, sizeof(*group));
    if (more == NULL)
        return reading_no_memory(reading);
    ruleset->groups = more;
    ruleset->groups[ruleset->group_count++] = *group;
    return true;
}

static bool reading_group(struct reading *reading)
{
    struct ruleset_group group = {.place = reading->place};
    if (!reading_needs(reading, "the group's name", group_form) ||
        !reading_group_name(reading, &group))
        return false;
    if (reading_needs(reading, "the =", group_form) && reading_equals(reading) &&
        reading_members(reading, &group))
        return reading_add_group(reading, &group);
    const struct problem problem = reading->problem; /* the first one is told */
    group.member_count = 0;
    reading_add_group(reading, &group);
    reading->problem = problem;
    return false;
}

/* ---- route ---- */

static const char route_form[] = "route FROM SERVICE TO[,TO]...";

struct reading_route {
    struct domain_term to[RULESET_ROUTE_DOMAINS_MAX];
    const char *texts[RULESET_ROUTE_DOMAINS_MAX];
    unsigned count;
};

static bool reading_service(struct reading *reading, struct ruleset_route *route)
{
    struct slice slice = slice_of(&reading->word);
    char shown[PROBLEM_SHOWN_MAX];
    if (!service_name_valid(slice.text, slice.length))
        return problem_set(&reading->problem, slice.at[0],
                           "a route is for one service name, without globs and ports",
                           "\"%s\" is not a service name", slice_shown(&slice, shown));
    route->service = arena_text(&reading->ruleset->arena, slice.text, slice.length);
    return route->service != NULL || reading_no_memory(reading);
}

static bool route_term_good(const struct reading_route *draft, const struct domain_term *term,
                            struct problem *problem)
{
    if (term->kind == DOMAIN_ANY || term->kind == DOMAIN_GROUP || term->glob)
        return problem_set(problem, term->column, "name the domains in the order to try them",
                           "a route leads to one domain after the other, not to a glob or a group");
    for (unsigned i = 0; i < draft->count; i++)
        if (domain_same(&draft->to[i], term))
            return problem_set(problem, term->column, "leave it out here",
                               "this domain is in the list already");
    return true;
}

static bool reading_route_term(struct reading *reading, const struct slice *slice,
                               struct reading_route *draft)
{
    struct domain_term term;
    if (!domain_parse(&reading->ruleset->arena, slice, &term, &reading->problem) ||
        !route_term_good(draft, &term, &reading->problem))
        return false;
    if (draft->count == RULESET_ROUTE_DOMAINS_MAX)
        return problem_set(&reading->problem, term.column, "leave some out",
                           "more than %u domains in a route", RULESET_ROUTE_DOMAINS_MAX);
    draft->texts[draft->count] = arena_text(&reading->ruleset->arena, slice->text, slice->length);
    draft->to[draft->count] = term;
    return draft->texts[draft->count++] != NULL || reading_no_memory(reading);
}

/* The word is a list; only commas that are not quoted separate. */
static bool reading_route_terms(struct reading *reading, struct ruleset_route *route)
{
    struct reading_route draft = {.count = 0};
    struct slice all = slice_of(&reading->word);
    for (size_t from = 0; from <= all.length;) {
        struct slice rest = slice_part(&all, from, all.length);
        size_t length = rest.length;
        slice_has_bare(&rest, ",", &length);
        struct slice term = slice_part(&rest, 0, length);
        if (!reading_route_term(reading, &term, &draft))
            return false;
        from += length + 1;
    }
    route->to_count = draft.count;
    route->to_text = reading_raw(reading);
    route->to = arena_copy(&reading->ruleset->arena, draft.to, draft.count, sizeof(draft.to[0]));
    route->to_texts =
        arena_copy(&reading->ruleset->arena, draft.texts, draft.count, sizeof(draft.texts[0]));
    return (route->to != NULL && route->to_text != NULL && route->to_texts != NULL) ||
           reading_no_memory(reading);
}

/* Nothing may follow. */
static bool reading_ends(struct reading *reading)
{
    enum reading_word next = reading_next(reading);
    if (next == READING_WORD)
        problem_fill(&reading->problem, reading->word.at[0],
                     "a route has no options, and its list has commas without blanks",
                     "this word is too many");
    return next == READING_NONE;
}

static bool reading_add_route(struct reading *reading, const struct ruleset_route *route)
{
    struct ruleset *ruleset = reading->ruleset;
    if (ruleset->route_count == RULESET_ROUTES_MAX)
        return problem_set(&reading->problem, 1, "groups make routes fewer",
                           "more than %u route lines", RULESET_ROUTES_MAX);
    void *more = ruleset_more(ruleset->routes, ruleset->route_count, sizeof(*route));
    if (more == NULL)
        return reading_no_memory(reading);
    ruleset->routes = more;
    ruleset->routes[ruleset->route_count++] = *route;
    return true;
}

static bool reading_route(struct reading *reading)
{
    struct ruleset_route route = {.place = reading->place};
    return reading_needs(reading, "FROM", route_form) &&
           reading_domain(reading, &route.from, &route.from_text) &&
           reading_needs(reading, "SERVICE", route_form) && reading_service(reading, &route) &&
           reading_needs(reading, "TO", route_form) && reading_route_terms(reading, &route) &&
           reading_ends(reading) && reading_add_route(reading, &route);
}

/* ---- lines and files ---- */

static const struct {
    const char *word;
    bool (*read)(struct reading *reading);
} reading_actions[] = {
    {"allow", reading_allow},
    {"deny", reading_deny},
    {"group", reading_group},
    {"route", reading_route},
};

static bool reading_action(struct reading *reading)
{
    struct slice slice = slice_of(&reading->word);
    char shown[PROBLEM_SHOWN_MAX];
    for (size_t i = 0; i < sizeof(reading_actions) / sizeof(reading_actions[0]); i++)
        if (slice_is(&slice, reading_actions[i].word))
            return reading_actions[i].read(reading);
    reading->ruleset->groups_unsure = true;
    return problem_set(&reading->problem, slice.at[0],
                       "a line begins with allow, deny, group or route, or is a # comment",
                       "\"%s\" is not an action", slice_shown(&slice, shown));
}

static bool reading_line(struct reading *reading, const char *line, size_t length)
{
    if (length > 0 && line[length - 1] == '\r')
        length--;
    if (length > LEXER_LINE_MAX) {
        reading->ruleset->groups_unsure = true;
        return problem_set(&reading->problem, LEXER_LINE_MAX + 1,
                           "make several lines; groups may contain groups",
                           "the line has more than %d bytes", LEXER_LINE_MAX);
    }
    lexer_begin(&reading->lexer, line, length);
    enum reading_word first = reading_next(reading);
    reading->ruleset->groups_unsure |= first == READING_WRONG;
    return first == READING_WORD ? reading_action(reading) : first == READING_NONE;
}

static unsigned ruleset_whole(struct ruleset *ruleset, const struct ruleset_reporter *reporter,
                              const char *file, const char *hint, const char *what)
{
    struct problem problem = {.line = 0};
    problem_fill(&problem, 0, hint, "%s", what);
    ruleset->groups_unsure = true;
    reporter->report(reporter->arg, file, &problem);
    return 1;
}

static unsigned reading_file(struct reading *reading, const char *text, size_t length,
                             const struct ruleset_reporter *reporter)
{
    unsigned errors = 0;
    for (size_t from = 0; from < length;) {
        const char *newline = memchr(text + from, '\n', length - from);
        size_t end = newline == NULL ? length : (size_t)(newline - text);
        reading->problem.line = ++reading->place.line;
        if (!reading_line(reading, text + from, end - from)) {
            reporter->report(reporter->arg, reading->place.file, &reading->problem);
            errors++;
        }
        from = end + 1;
    }
    return errors;
}

unsigned ruleset_add(struct ruleset *ruleset, const char *file, const char *text, size_t length,
                     const struct ruleset_reporter *reporter)
{
    if (length > RULESET_FILE_MAX)
        return ruleset_whole(ruleset, reporter, file, "make several files of it",
                             "the file has more than 1048576 bytes");
    if (ruleset->file_count == RULESET_FILES_MAX || ruleset->total > RULESET_TOTAL_MAX - length)
        return ruleset_whole(ruleset, reporter, file, "leave some lines or files out",
                             "there are more than 1000 files, or 4194304 bytes in all of them");
    ruleset->file_count++;
    ruleset->total += length;
    struct reading *reading = malloc(sizeof(*reading));
    if (reading == NULL)
        return ruleset_whole(ruleset, reporter, file, "try again when there is more",
                             "out of memory");
    reading->ruleset = ruleset;
    reading->place =
        (struct ruleset_place){.file = arena_text(&ruleset->arena, file, strlen(file))};
    unsigned errors = 0;
    if (reading->place.file == NULL)
        errors =
            ruleset_whole(ruleset, reporter, file, "try again when there is more", "out of memory");
    else
        errors = reading_file(reading, text, length, reporter);
    free(reading);
    return errors;
}

void ruleset_reverse(struct ruleset *ruleset)
{
    for (size_t i = 0, k = ruleset->rule_count; i + 1 < k; i++) {
        struct ruleset_rule rule = ruleset->rules[--k];
        ruleset->rules[k] = ruleset->rules[i];
        ruleset->rules[i] = rule;
    }
}
