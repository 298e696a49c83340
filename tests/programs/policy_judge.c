/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * policy_judge - answers questions about policies, for tests that know the answer otherwise.
 *
 * On stdin, again and again:
 *
 *     policy LENGTH\n  and LENGTH bytes, a policy file; answered "good\n", or "LINE:COLUMN\n" of
 *                      the first error
 *     domains COUNT\n  and COUNT lines "DOMID NAME UUID", "-" for what there is not; the domains of
 *                      the questions below, all of them known
 *     ask FROM TO PORT NAME UID TYPE NOW\n
 *                      about two of these domains by their index, or names with ":" before. PORT 0,
 *                      NAME "-", UID -1: not known; NAME "=": the service is known to have none
 *
 * The answer to ask has four words. First the number of the rule that decides by the files, or 0.
 * Then, separated by commas, those that may decide in its place, or "-". If both domains are by
 * index: what the list "out" of FROM says after compiling, and what the list "in" of TO says; "-"
 * if the domain doesn't know the other one. If not: "* *".
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/compile.h"

#define DOMAINS_MAX 64

static struct {
    struct ruleset *ruleset;
    struct compile *compile;
    struct ruleset_domain domains[DOMAINS_MAX];
    char names[DOMAINS_MAX][DOMAIN_NAME_MAX + 1];
    size_t domain_count;
    unsigned line, column; /* of the first error */
} judge;

static void judge_stop(const char *what)
{
    fprintf(stderr, "policy_judge: %s\n", what);
    exit(1);
}

static void judge_error(void *arg, const char *file, const struct problem *problem)
{
    (void)arg;
    (void)file;
    if (judge.line == 0 || problem->line < judge.line) {
        judge.line = problem->line;
        judge.column = problem->column;
    }
}

static void judge_forget(void)
{
    compile_free(judge.compile);
    judge.compile = NULL;
}

static void judge_policy(size_t length)
{
    const struct ruleset_reporter reporter = {.report = judge_error};
    char *text = malloc(length + 1);
    if (text == NULL || fread(text, 1, length, stdin) != length)
        judge_stop("the policy is not there");
    judge_forget();
    ruleset_free(judge.ruleset);
    judge.ruleset = ruleset_new();
    judge.line = judge.column = 0;
    unsigned errors = ruleset_add(judge.ruleset, "policy", text, length, &reporter);
    if (errors == 0)
        errors = ruleset_finish(judge.ruleset, &reporter);
    free(text);
    if (errors == 0)
        puts("good");
    else
        printf("%u:%u\n", judge.line, judge.column);
    if (errors != 0) {
        ruleset_free(judge.ruleset);
        judge.ruleset = NULL;
    }
}

static void judge_domain(size_t index)
{
    char name[DOMAIN_NAME_MAX + 1], uuid[64], term[80];
    struct ruleset_domain *domain = &judge.domains[index];
    int domid;
    if (scanf("%d %255s %63s", &domid, name, uuid) != 3)
        judge_stop("a domain is wrong");
    *domain = (struct ruleset_domain){.domid = -1};
    if (strcmp(uuid, "-") != 0) {
        struct problem problem;
        snprintf(term, sizeof(term), "uuid:%s", uuid);
        if (!domain_parse_asked(term, judge.names[index], domain, &problem))
            judge_stop(problem.text);
    }
    domain->domid = domid;
    domain->complete = true;
    if (strcmp(name, "-") != 0) {
        memcpy(judge.names[index], name, sizeof(name));
        domain->name = judge.names[index];
    }
}

static void judge_domains(size_t count)
{
    if (count > DOMAINS_MAX)
        judge_stop("too many domains");
    judge_forget();
    for (size_t i = 0; i < count; i++)
        judge_domain(i);
    judge.domain_count = count;
    puts("good");
}

static void judge_compile(void)
{
    if (judge.compile != NULL)
        return;
    const struct compile_input input = {
        .ruleset = judge.ruleset, .domains = judge.domains, .count = judge.domain_count};
    if (compile_new(&judge.compile, &input) != 0)
        judge_stop("it can't be compiled");
}

/* What the view of one domain says of a connection with the other one. */
static void judge_side(size_t mine, size_t other, bool out, const struct ruleset_question *question)
{
    struct compile_view view;
    if (compile_view(judge.compile, mine, &view) != 0)
        judge_stop("out of memory");
    const struct compile_peer *peer = compile_view_peer(&view, other);
    if (peer == NULL) {
        fputs(" -", stdout);
    } else {
        const struct ruleset_rule *rule =
            compile_decides(judge.compile, out ? &peer->out : &peer->in, question);
        printf(" %zu", rule == NULL ? 0 : (size_t)(rule - judge.ruleset->rules) + 1);
    }
    compile_view_free(&view);
}

static void judge_files(const struct ruleset_question *question)
{
    size_t count = judge.ruleset->rule_count;
    struct verdict_fit *fits = calloc(count + 1, sizeof(*fits));
    if (fits == NULL || verdict_fits(judge.ruleset, question, fits) != 0)
        judge_stop("out of memory");
    size_t decides = verdict_decides(fits, count);
    const char *before = " ";
    printf("%zu", decides == count ? 0 : decides + 1);
    for (size_t i = 0; i < decides; i++)
        if (verdict_is_perhaps(&fits[i])) {
            printf("%s%zu", before, i + 1);
            before = ",";
        }
    if (before[0] == ' ')
        fputs(" -", stdout);
    free(fits);
}

/* The index of a domain, or -1: it is known by what the text says. */
static long judge_which(const char *text, char name[DOMAIN_NAME_MAX + 1],
                        struct ruleset_domain *domain)
{
    struct problem problem;
    if (text[0] == ':') {
        if (!domain_parse_asked(text + 1, name, domain, &problem))
            judge_stop(problem.text);
        return -1;
    }
    long index = strtol(text, NULL, 10);
    if (index < 0 || (size_t)index >= judge.domain_count)
        judge_stop("there is no such domain");
    *domain = judge.domains[index];
    return index;
}

static void judge_ask(void)
{
    static char from[DOMAIN_NAME_MAX + 9], to[DOMAIN_NAME_MAX + 9], name[256], type[16];
    static char from_name[DOMAIN_NAME_MAX + 1], to_name[DOMAIN_NAME_MAX + 1];
    struct ruleset_question question = {0};
    if (scanf("%263s %263s %" SCNu32 " %255s %" SCNd64 " %15s %" SCNd64, from, to, &question.port,
              name, &question.uid, type, &question.now) != 7 ||
        judge.ruleset == NULL)
        judge_stop("a question is wrong");
    long from_index = judge_which(from, from_name, &question.from);
    long to_index = judge_which(to, to_name, &question.to);
    question.name = strcmp(name, "-") == 0 || strcmp(name, "=") == 0 ? NULL : name;
    question.name_known = strcmp(name, "=") == 0;
    question.type = strcmp(type, "stream") == 0 ? RULE_TYPE_STREAM : RULE_TYPE_SEQPACKET;
    judge_files(&question);
    if (from_index < 0 || to_index < 0) {
        puts(" * *");
        return;
    }
    judge_compile();
    judge_side((size_t)from_index, (size_t)to_index, true, &question);
    judge_side((size_t)to_index, (size_t)from_index, false, &question);
    putchar('\n');
}

int main(void)
{
    char word[16];
    size_t number;
    while (scanf("%15s", word) == 1) {
        if (strcmp(word, "ask") == 0)
            judge_ask();
        else if (scanf("%zu", &number) != 1 || getchar() != '\n')
            judge_stop("a number is missing");
        else if (strcmp(word, "policy") == 0)
            judge_policy(number);
        else if (strcmp(word, "domains") == 0)
            judge_domains(number);
        else
            judge_stop(word);
    }
    judge_forget();
    ruleset_free(judge.ruleset);
    return 0;
}
