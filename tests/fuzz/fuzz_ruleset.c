/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzzer: policy files. A byte 0xff separates two files. What is wrong is told with a place that
 * exists. What is right is judged and compiled, and both must say the same.
 */
#include <stdlib.h>
#include <string.h>

#include "policy/compile.h"

#define DOMAIN_COUNT 4

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct ruleset_domain domains[DOMAIN_COUNT] = {
    {.domid = 0, .name = "Domain-0", .complete = true},
    {.domid = 3, .name = "web", .has_uuid = true, .uuid = {0xaa}, .complete = true},
    {.domid = 7, .name = "mail-1", .complete = true},
    {.domid = 80, .complete = true},
};

static const struct ruleset_question questions[] = {
    {.port = 80, .name_known = true, .uid = 33, .type = RULE_TYPE_STREAM, .now = 1000000000},
    {.port = 1, .name_known = true, .uid = 0, .type = RULE_TYPE_SEQPACKET, .now = 0},
    {.port = 9, .name = "org.example.sql", .type = RULE_TYPE_STREAM, .now = 1798761598},
};

static void fuzz_require(bool good)
{
    if (!good)
        abort();
}

static void fuzz_printable(const char *text)
{
    fuzz_require(text[0] != '\0');
    for (; *text != '\0'; text++)
        fuzz_require(*text >= 0x20 && *text < 0x7f);
}

static void fuzz_report(void *arg, const char *file, const struct problem *problem)
{
    const size_t *most = arg;
    fuzz_require(strcmp(file, "f") == 0);
    fuzz_require(problem->line >= 1 && problem->line <= *most + 1);
    fuzz_require(problem->column >= 1 && problem->column <= LEXER_LINE_MAX + 1);
    fuzz_printable(problem->text);
    fuzz_printable(problem->hint);
}

/* What the view of one side says of the question. */
static const struct ruleset_rule *fuzz_side(const struct compile *compile,
                                            const struct compile_view *view, size_t other, bool out,
                                            const struct ruleset_question *question, bool *known)
{
    const struct compile_peer *peer = compile_view_peer(view, other);
    *known = peer != NULL;
    if (peer == NULL)
        return NULL;
    return compile_decides(compile, out ? &peer->out : &peer->in, question);
}

static const struct ruleset_rule *fuzz_files_say(const struct ruleset *ruleset,
                                                 const struct ruleset_question *question)
{
    struct verdict_fit *fits = calloc(ruleset->rule_count + 1, sizeof(*fits));
    fuzz_require(fits != NULL && verdict_fits(ruleset, question, fits) == 0);
    size_t decides = verdict_decides(fits, ruleset->rule_count);
    for (size_t i = 0; i < ruleset->rule_count; i++)
        fuzz_require(fits[i].unknown == 0);
    free(fits);
    return decides < ruleset->rule_count ? &ruleset->rules[decides] : NULL;
}

static void fuzz_pair(const struct ruleset *ruleset, const struct compile *compile,
                      const struct compile_view *views, size_t from, size_t to,
                      struct ruleset_question question)
{
    bool out_known, in_known;
    question.from = domains[from];
    question.to = domains[to];
    const struct ruleset_rule *rule = fuzz_files_say(ruleset, &question);
    const struct ruleset_rule *out =
        fuzz_side(compile, &views[from], to, true, &question, &out_known);
    const struct ruleset_rule *in =
        fuzz_side(compile, &views[to], from, false, &question, &in_known);
    fuzz_require(out_known == in_known);
    fuzz_require(out_known ? out == rule && in == rule : rule == NULL || !rule->allow);
}

static void fuzz_text(const struct compile *compile, const struct compile_view *view)
{
    size_t length;
    char *text = compile_text(compile, view, &length);
    fuzz_require(text != NULL && length >= 14 && strcmp(text + length - 5, "\nend\n") == 0);
    for (size_t i = 0; i < length; i++)
        fuzz_require(text[i] == '\n' || (text[i] >= 0x20 && text[i] < 0x7f));
    free(text);
}

static void fuzz_compile(const struct ruleset *ruleset, const struct ruleset_question *question)
{
    struct compile *compile;
    struct compile_view views[DOMAIN_COUNT];
    const struct compile_input input = {
        .ruleset = ruleset, .domains = domains, .count = DOMAIN_COUNT};
    fuzz_require(compile_new(&compile, &input) == 0);
    for (size_t i = 0; i < DOMAIN_COUNT; i++) {
        fuzz_require(compile_view(compile, i, &views[i]) == 0);
        fuzz_text(compile, &views[i]);
    }
    for (size_t from = 0; from < DOMAIN_COUNT; from++)
        for (size_t to = 0; to < DOMAIN_COUNT; to++)
            if (from != to)
                fuzz_pair(ruleset, compile, views, from, to, *question);
    for (size_t i = 0; i < DOMAIN_COUNT; i++)
        compile_view_free(&views[i]);
    compile_free(compile);
}

/* What somebody asks about comes from the command line. */
static void fuzz_asked(const char *text, size_t size)
{
    char copy[300], name[DOMAIN_NAME_MAX + 1];
    struct ruleset_domain domain;
    struct problem problem;
    size_t length = size < sizeof(copy) ? size : sizeof(copy) - 1;
    memcpy(copy, text, length);
    copy[length] = '\0';
    if (domain_parse_asked(copy, name, &domain, &problem))
        fuzz_require(domain.domid >= 0 || domain.has_uuid ||
                     (domain.name != NULL && strlen(domain.name) <= DOMAIN_NAME_MAX));
    else
        fuzz_printable(problem.text);
}

static unsigned fuzz_files(struct ruleset *ruleset, const char *text, size_t size)
{
    const struct ruleset_reporter reporter = {.report = fuzz_report, .arg = &size};
    unsigned errors = 0;
    for (size_t from = 0; from <= size;) {
        const char *end = from < size ? memchr(text + from, 0xff, size - from) : NULL;
        size_t length = end == NULL ? size - from : (size_t)(end - text) - from;
        if (ruleset->file_count < RULESET_FILES_MAX)
            errors += ruleset_add(ruleset, "f", text + from, length, &reporter);
        from += length + 1;
    }
    return errors + ruleset_finish(ruleset, &reporter); /* also of a set with errors */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ruleset *ruleset = ruleset_new();
    fuzz_require(ruleset != NULL);
    fuzz_asked((const char *)data, size);
    if (fuzz_files(ruleset, (const char *)data, size) == 0)
        for (size_t i = 0; i < sizeof(questions) / sizeof(questions[0]); i++)
            fuzz_compile(ruleset, &questions[i]);
    ruleset_free(ruleset);
    return 0;
}
