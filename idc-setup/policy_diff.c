/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * policy_diff.c - see policy_diff.h. Lines are compared as they are written, so what a group or a
 * glob means may change without a line here: the domains that get other rules are counted too.
 */
#include "idc-setup/policy_diff.h"

#include <stdlib.h>
#include <string.h>

#include "idc-setup/policy_list.h"

/* A rule or a route. */
struct diff_line {
    const char *text; /* without its place */
    char *shown;
    size_t index;
    bool matched;
};

struct diff_side {
    struct diff_line *lines;
    size_t count;
};

static FILE *diff_begin(struct diff_side *side, size_t *size)
{
    return open_memstream(&side->lines[side->count].shown, size);
}

/* 0 also if there is no memory for it: then the place counts as part of the line. */
static size_t diff_place_length(const struct ruleset_place *place)
{
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    if (out == NULL)
        return 0;
    policy_print_place(out, place);
    if (fclose(out) != 0)
        length = 0;
    free(text);
    return length;
}

/* The text begins behind the place. */
static bool diff_end(struct diff_side *side, FILE *out, const struct ruleset_place *place)
{
    struct diff_line *line = &side->lines[side->count];
    if (fclose(out) != 0)
        return false;
    line->text = line->shown + diff_place_length(place);
    line->index = side->count++;
    return true;
}

static bool diff_take_rule(struct diff_side *side, const struct ruleset_rule *rule)
{
    size_t size;
    FILE *out = diff_begin(side, &size);
    if (out == NULL)
        return false;
    policy_print_rule(out, rule);
    return diff_end(side, out, &rule->place);
}

static bool diff_take_route(struct diff_side *side, const struct ruleset_route *route)
{
    size_t size;
    FILE *out = diff_begin(side, &size);
    if (out == NULL)
        return false;
    policy_print_route(out, route);
    return diff_end(side, out, &route->place);
}

static bool diff_collect(struct diff_side *side, const struct ruleset *ruleset)
{
    size_t rules = ruleset == NULL ? 0 : ruleset->rule_count;
    size_t routes = ruleset == NULL ? 0 : ruleset->route_count;
    side->lines = calloc(rules + routes + 1, sizeof(*side->lines));
    bool good = side->lines != NULL;
    for (size_t i = 0; good && i < rules; i++)
        good = diff_take_rule(side, &ruleset->rules[i]);
    for (size_t i = 0; good && i < routes; i++)
        good = diff_take_route(side, &ruleset->routes[i]);
    return good;
}

static int diff_compare(const void *a, const void *b)
{
    const struct diff_line *one = a, *other = b;
    int order = strcmp(one->text, other->text);
    return order != 0 ? order : (one->index > other->index) - (one->index < other->index);
}

static int diff_compare_index(const void *a, const void *b)
{
    const struct diff_line *one = a, *other = b;
    return (one->index > other->index) - (one->index < other->index);
}

/* Both are sorted by their texts. */
static void diff_match(struct diff_side *before, struct diff_side *after)
{
    for (size_t i = 0, k = 0; i < before->count && k < after->count;) {
        int order = strcmp(before->lines[i].text, after->lines[k].text);
        if (order == 0)
            before->lines[i].matched = after->lines[k].matched = true;
        i += order <= 0;
        k += order >= 0;
    }
}

static int diff_print(FILE *out, const struct diff_side *side, char sign)
{
    int count = 0;
    for (size_t i = 0; i < side->count; i++)
        if (!side->lines[i].matched) {
            fprintf(out, "%c %s\n", sign, side->lines[i].shown);
            count++;
        }
    return count;
}

/* Both have the same lines. */
static bool diff_is_reordered(const struct diff_side *before, const struct diff_side *after)
{
    for (size_t i = 0; i < before->count; i++)
        if (strcmp(before->lines[i].text, after->lines[i].text) != 0)
            return true;
    return false;
}

static void diff_free(struct diff_side *side)
{
    for (size_t i = 0; side->lines != NULL && i < side->count; i++)
        free(side->lines[i].shown);
    free(side->lines);
}

static int diff_sides(FILE *out, struct diff_side *before, struct diff_side *after)
{
    qsort(before->lines, before->count, sizeof(before->lines[0]), diff_compare);
    qsort(after->lines, after->count, sizeof(after->lines[0]), diff_compare);
    diff_match(before, after);
    qsort(before->lines, before->count, sizeof(before->lines[0]), diff_compare_index);
    qsort(after->lines, after->count, sizeof(after->lines[0]), diff_compare_index);
    int count = diff_print(out, before, '-') + diff_print(out, after, '+');
    if (count > 0 || !diff_is_reordered(before, after))
        return count;
    fputs("* the same lines in another order\n", out);
    return 1;
}

int policy_diff(FILE *out, const struct ruleset *before, const struct ruleset *after)
{
    struct diff_side sides[2] = {{0}};
    bool good = diff_collect(&sides[0], before) && diff_collect(&sides[1], after);
    int count = good ? diff_sides(out, &sides[0], &sides[1]) : -1;
    diff_free(&sides[0]);
    diff_free(&sides[1]);
    return count;
}
