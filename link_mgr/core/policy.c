/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Parsing, asking and writing policy values; policy.h has the grammar.
 */
#include "link_mgr/core/policy.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/service_name.h"

static const char BAD_ITEM[] =
    "an item is neither a port (1-4294967295), a range of ports, nor a service name";
static const char BAD_RANGE[] = "a range of ports ends before it begins";
static const char EMPTY_ITEM[] = "a list has an empty item";
static const char TOO_MANY[] = "a list has more than 64 items";
static const char BAD_PART[] = "a part is neither in=LIST nor out=LIST";
static const char TWICE[] = "a direction is given twice";

static_assert(POLICY_ITEMS_MAX == 64, "TOO_MANY says so");

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

bool policy_valid_service(const char *name)
{
    return service_name_valid(name, strnlen(name, IDC_SERVICE_MAX + 1));
}

/* ---- parsing ---- */

/* A port in all of text[0..length). */
static bool parse_port(const char *text, size_t length, uint32_t *port)
{
    uint64_t value = 0;
    if (length == 0 || length > 10 || text[0] == '0')
        return false;
    for (size_t i = 0; i < length; i++) {
        if (!is_digit(text[i]))
            return false;
        value = value * 10 + (uint64_t)(text[i] - '0');
    }
    *port = (uint32_t)value;
    return value <= UINT32_MAX;
}

static const char *policy_add_range(struct policy_list *list, const char *text, size_t length)
{
    struct policy_range range;
    const char *dash = memchr(text, '-', length);
    size_t first_length = !dash ? length : (size_t)(dash - text);
    if (!parse_port(text, first_length, &range.first))
        return BAD_ITEM;
    range.last = range.first;
    if (dash && !parse_port(dash + 1, length - first_length - 1, &range.last))
        return BAD_ITEM;
    if (range.last < range.first)
        return BAD_RANGE;
    list->ranges[list->range_count++] = range;
    return NULL;
}

static bool digits_and_dashes(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (!is_digit(text[i]) && text[i] != '-')
            return false;
    }
    return true;
}

static const char *policy_add_item(struct policy_list *list, const char *text, size_t length)
{
    if (length == 0)
        return EMPTY_ITEM;
    if (list->range_count + list->name_count == POLICY_ITEMS_MAX)
        return TOO_MANY;
    if (digits_and_dashes(text, length))
        return policy_add_range(list, text, length);
    if (!service_name_valid(text, length))
        return BAD_ITEM;
    char *name = list->names[list->name_count++];
    memcpy(name, text, length);
    name[length] = '\0';
    return NULL;
}

/* There are 64 items at most, so insertion is a sort that is good enough. */
static void sort_ranges(struct policy_list *list)
{
    for (unsigned i = 1; i < list->range_count; i++) {
        struct policy_range moved = list->ranges[i];
        unsigned at = i;
        for (; at > 0 && list->ranges[at - 1].first > moved.first; at--)
            list->ranges[at] = list->ranges[at - 1];
        list->ranges[at] = moved;
    }
}

static void sort_names(struct policy_list *list)
{
    char moved[sizeof(list->names[0])];
    for (unsigned i = 1; i < list->name_count; i++) {
        unsigned at = i;
        memcpy(moved, list->names[i], sizeof(moved));
        for (; at > 0 && strcmp(list->names[at - 1], moved) > 0; at--)
            memcpy(list->names[at], list->names[at - 1], sizeof(moved));
        memcpy(list->names[at], moved, sizeof(moved));
    }
}

static void merge_ranges(struct policy_list *list)
{
    unsigned kept = 0;
    sort_ranges(list);
    for (unsigned i = 0; i < list->range_count; i++) {
        struct policy_range next = list->ranges[i];
        struct policy_range *last = kept > 0 ? &list->ranges[kept - 1] : NULL;
        if (!last || (uint64_t)last->last + 1 < next.first)
            list->ranges[kept++] = next;
        else if (next.last > last->last)
            last->last = next.last;
    }
    list->range_count = kept;
}

static void merge_names(struct policy_list *list)
{
    unsigned kept = 0;
    sort_names(list);
    for (unsigned i = 0; i < list->name_count; i++) {
        if (kept != 0 && strcmp(list->names[kept - 1], list->names[i]) == 0)
            continue;
        if (kept != i)
            memcpy(list->names[kept], list->names[i], sizeof(list->names[0]));
        kept++;
    }
    list->name_count = kept;
}

/* text[0..length) is a LIST. NULL, or what is wrong. */
static const char *parse_list(struct policy_list *list, const char *text, size_t length)
{
    const char *end = text + length;
    memset(list, 0, sizeof(*list));
    if (length == 1 && text[0] == '*') {
        list->all = true;
        return NULL;
    }
    for (;;) {
        const char *comma = memchr(text, ',', (size_t)(end - text));
        const char *item_end = comma ? comma : end;
        const char *wrong = policy_add_item(list, text, (size_t)(item_end - text));
        if (wrong)
            return wrong;
        if (!comma)
            break;
        text = comma + 1;
    }
    merge_ranges(list);
    merge_names(list);
    return NULL;
}

int policy_parse_list(struct policy_list *list, const char *text, const char **why)
{
    const char *wrong = parse_list(list, text, strlen(text));
    if (!wrong)
        return 0;
    memset(list, 0, sizeof(*list));
    if (why)
        *why = wrong;
    return -EINVAL;
}

/* text[0..length) is "in=LIST" or "out=LIST". */
static const char *parse_part(struct policy *policy, const char *text, size_t length, bool seen[2])
{
    bool out = length >= 4 && memcmp(text, "out=", 4) == 0;
    if (!out && (length < 3 || memcmp(text, "in=", 3) != 0))
        return BAD_PART;
    if (seen[out])
        return TWICE;
    seen[out] = true;
    size_t skip = out ? 4 : 3;
    return parse_list(out ? &policy->out : &policy->in, text + skip, length - skip);
}

static const char *parse_value(struct policy *policy, const char *value)
{
    bool seen[2] = {false, false};
    while (*value != '\0') {
        size_t length = strcspn(value, " ");
        const char *wrong = parse_part(policy, value, length, seen);
        if (wrong)
            return wrong;
        value += length;
        if (value[0] == ' ' && value[1] == '\0')
            return BAD_PART;
        value += *value == ' ';
    }
    return NULL;
}

int policy_parse(struct policy *policy, const char *value, const char **why)
{
    memset(policy, 0, sizeof(*policy));
    const char *wrong = parse_value(policy, value);
    if (!wrong)
        return 0;
    memset(policy, 0, sizeof(*policy));
    if (why)
        *why = wrong;
    return -EINVAL;
}

/* ---- asking ---- */

static bool allows_anything(const struct policy_list *list)
{
    return list->all || list->range_count != 0 || list->name_count != 0;
}

static bool has_port(const struct policy_list *list, uint32_t port)
{
    for (unsigned i = 0; i < list->range_count; i++) {
        if (port >= list->ranges[i].first && port <= list->ranges[i].last)
            return true;
    }
    return list->all && port != 0;
}

static bool has_name(const struct policy_list *list, const char *name)
{
    for (unsigned i = 0; i < list->name_count; i++) {
        if (strcmp(list->names[i], name) == 0)
            return true;
    }
    return list->all;
}

static bool is_name(const char *name)
{
    return name && name[0] != '\0';
}

bool policy_allows_in(const struct policy *policy, uint32_t port, const char *name)
{
    const struct policy_list *in = &policy->in;
    if (port == IDC_PORT_MANAGER && allows_anything(in))
        return true;
    return has_port(in, port) || (is_name(name) && has_name(in, name));
}

bool policy_allows_out(const struct policy *policy, uint32_t port, const char *name)
{
    const struct policy_list *out = &policy->out;
    if (is_name(name))
        return has_name(out, name) || (port == 0 ? out->range_count != 0 : has_port(out, port));
    return port == IDC_PORT_MANAGER ? allows_anything(out) : has_port(out, port);
}

/* ---- writing ---- */

struct text {
    char *at;
    size_t size, length; /* length may grow beyond size: then it did not fit */
};

static void policy_append(struct text *text, const char *piece)
{
    size_t length = strlen(piece);
    if (text->length + length < text->size)
        memcpy(text->at + text->length, piece, length + 1);
    text->length += length;
}

static void append_list(struct text *text, const struct policy_list *list)
{
    const char *comma = "";
    char range[32];
    if (list->all)
        policy_append(text, "*");
    for (unsigned i = 0; i < list->range_count; i++, comma = ",") {
        struct policy_range r = list->ranges[i];
        if (r.first == r.last)
            snprintf(range, sizeof(range), "%s%u", comma, r.first);
        else
            snprintf(range, sizeof(range), "%s%u-%u", comma, r.first, r.last);
        policy_append(text, range);
    }
    for (unsigned i = 0; i < list->name_count; i++, comma = ",") {
        policy_append(text, comma);
        policy_append(text, list->names[i]);
    }
}

static int policy_finish(const struct text *text)
{
    return text->length < text->size ? (int)text->length : -ENOSPC;
}

int policy_format_list(const struct policy_list *list, char *out, size_t size)
{
    struct text text = {.at = out, .size = size};
    policy_append(&text, "");
    append_list(&text, list);
    return policy_finish(&text);
}

int policy_format(const struct policy *policy, char *out, size_t size)
{
    struct text text = {.at = out, .size = size};
    policy_append(&text, "");
    if (allows_anything(&policy->in)) {
        policy_append(&text, "in=");
        append_list(&text, &policy->in);
    }
    if (allows_anything(&policy->out)) {
        policy_append(&text, text.length == 0 ? "out=" : " out=");
        append_list(&text, &policy->out);
    }
    return policy_finish(&text);
}
