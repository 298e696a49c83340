/* SPDX-License-Identifier: GPL-2.0-or-later */
/* compile_text.c - the text for one domain, as docs/xenstore.md has it. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/compile_private.h"

static bool text_is_plain(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("._-/+:", c) != NULL);
}

static void text_word(FILE *out, const char *word)
{
    for (; *word != '\0'; word++)
        if (text_is_plain(*word))
            putc_unlocked(*word, out);
        else
            fprintf(out, "%%%02x", (unsigned char)*word);
}

static void text_uids(FILE *out, const struct rule_options *options)
{
    for (unsigned i = 0; i < options->uid_count; i++) {
        const struct services_range *range = &options->uids[i];
        fprintf(out, "%s%" PRIu32, i == 0 ? " uid=" : ",", range->first);
        if (range->last != range->first)
            fprintf(out, "-%" PRIu32, range->last);
    }
}

static void text_options(FILE *out, const struct rule_options *options)
{
    text_uids(out, options);
    if (options->type != RULE_TYPE_ANY)
        fprintf(out, " type=%s", options->type == RULE_TYPE_STREAM ? "stream" : "seqpacket");
    if (rule_options_has(options, RULE_UNTIL))
        fprintf(out, " until=%" PRId64, options->until);
    if (options->connections != 0)
        fprintf(out, " connections=%" PRIu32, options->connections);
    if (options->rate != 0)
        fprintf(out, " rate=%" PRIu32, options->rate);
    if (options->bandwidth != 0)
        fprintf(out, " bandwidth=%" PRIu64, options->bandwidth);
    fprintf(out, " log=%s", options->log ? "yes" : "no");
}

/* A text that is being made. */
struct text {
    FILE *out;
    const struct compile *compile;
    const struct compile_view *view;
    uint32_t *numbers; /* of each rule in this text; 0: it is not in it */
};

static void text_place(FILE *out, const struct ruleset_place *place)
{
    fputs(" at=", out);
    text_word(out, place->file);
    fprintf(out, ":%u\n", place->line);
}

static void text_rule(const struct text *text, size_t index)
{
    const struct ruleset_rule *rule = &text->compile->input.ruleset->rules[index];
    fprintf(text->out, "rule %" PRIu32 " %s ", text->numbers[index],
            rule->allow ? "allow" : "deny");
    for (const char *c = rule->what_text; *c != '\0'; c++)
        if (*c != '"') /* there may be quotes with nothing in them */
            putc_unlocked(*c, text->out);
    text_options(text->out, &rule->options);
    text_place(text->out, &rule->place);
}

/* There are very many of these in a text, and fprintf is slow. */
static void text_decimal(FILE *out, uint32_t number)
{
    char digits[10];
    size_t at = sizeof(digits);
    do
        digits[--at] = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    fwrite_unlocked(digits + at, 1, sizeof(digits) - at, out);
}

static void text_list(const struct text *text, const char *name, const struct compile_list *list)
{
    if (list->count > 0)
        fputs(name, text->out);
    for (size_t i = 0; i < list->count; i++) {
        putc_unlocked(i == 0 ? '=' : ',', text->out);
        text_decimal(text->out, text->numbers[list->rules[i]]);
    }
}

static void text_identity(FILE *out, const struct ruleset_domain *domain)
{
    if (domain->name != NULL) {
        fputs(" name=", out);
        text_word(out, domain->name);
    }
    for (unsigned i = 0; domain->has_uuid && i < DOMAIN_UUID_SIZE; i++)
        fprintf(out, "%s%02x",
                i == 0                                  ? " uuid="
                : i == 4 || i == 6 || i == 8 || i == 10 ? "-"
                                                        : "",
                domain->uuid[i]);
}

static void text_self(const struct text *text)
{
    const struct ruleset_domain *domain = &text->compile->input.domains[text->view->domain];
    if (domain->name == NULL && !domain->has_uuid)
        return;
    fputs("self", text->out);
    text_identity(text->out, domain);
    fputc('\n', text->out);
}

static void text_peer(const struct text *text, const struct compile_peer *peer)
{
    const struct ruleset_domain *domain = &text->compile->input.domains[peer->domain];
    if (domain->name == NULL && !domain->has_uuid && peer->out.count == 0 && peer->in.count == 0)
        return; /* a policy node joins them, and there is nothing else to say */
    fprintf(text->out, "peer %d", domain->domid);
    text_identity(text->out, domain);
    text_list(text, " out", &peer->out);
    text_list(text, " in", &peer->in);
    fputc('\n', text->out);
}

static void text_other(const struct text *text)
{
    if (text->view->other_out.count == 0 && text->view->other_in.count == 0)
        return;
    fputs("other", text->out);
    text_list(text, " out", &text->view->other_out);
    text_list(text, " in", &text->view->other_in);
    fputc('\n', text->out);
}

static void text_route(const struct text *text, const struct compile_route *route)
{
    const struct ruleset_route *line = &text->compile->input.ruleset->routes[route->route];
    fprintf(text->out, "route %s", line->service);
    for (size_t i = 0; i < route->count; i++)
        fprintf(text->out, "%s%d", i == 0 ? " " : ",", route->domids[i]);
    text_place(text->out, &line->place);
}

/* ---- numbers ---- */

static void text_mark(struct text *text, const struct compile_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        text->numbers[list->rules[i]] = 1;
}

/* Returns how many of those that commands made are in the text. */
static uint32_t text_number(struct text *text)
{
    const struct compile_view *view = text->view;
    uint32_t number = 0, commands = 0;
    for (size_t i = 0; i < view->count; i++) {
        text_mark(text, &view->peers[i].out);
        text_mark(text, &view->peers[i].in);
    }
    text_mark(text, &view->other_out);
    text_mark(text, &view->other_in);
    for (size_t i = 0; i < text->compile->input.ruleset->rule_count; i++) {
        if (text->numbers[i] != 0)
            text->numbers[i] = ++number;
        if (i + 1 == text->compile->input.commands)
            commands = number;
    }
    return commands;
}

static void text_all(struct text *text)
{
    const struct compile_view *view = text->view;
    uint32_t commands = text_number(text);
    fputs("version 1\n", text->out);
    text_self(text);
    if (commands != 0)
        fprintf(text->out, "commands %" PRIu32 "\n", commands);
    for (size_t i = 0; i < text->compile->input.ruleset->rule_count; i++)
        if (text->numbers[i] != 0)
            text_rule(text, i);
    for (size_t i = 0; i < view->count; i++)
        text_peer(text, &view->peers[i]);
    text_other(text);
    for (size_t i = 0; i < view->route_count; i++)
        text_route(text, &view->routes[i]);
    fputs("end\n", text->out);
}

char *compile_text(const struct compile *compile, const struct compile_view *view, size_t *length)
{
    char *made = NULL;
    struct text text = {.compile = compile, .view = view};
    text.numbers = calloc(compile->input.ruleset->rule_count + 1, sizeof(*text.numbers));
    text.out = text.numbers == NULL ? NULL : open_memstream(&made, length);
    bool good = text.out != NULL;
    if (good) {
        text_all(&text);
        good = ferror(text.out) == 0;
        good = fclose(text.out) == 0 && good;
    }
    free(text.numbers);
    if (good)
        return made;
    free(made);
    return NULL;
}
