/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Random policies and questions: dom0 explains by the files (policy/verdict.h), and the link_mgr of
 * both domains judge by the texts that dom0 gives them (policy/compile.h, core/rules.h). All three
 * must come to the same rule. A side that does not know both the port and the name may let through
 * what the other one refuses, and must never refuse what the files allow.
 *
 * 10,000 policies with 100 questions each; 1,000 with IDC_TEST_SHORT set, as in slow builds.
 * RULES_SEED repeats a run.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "link_mgr/core/rules.h"
#include "policy/compile.h"
#include "tests/unit/suite.h"

#define POLICIES 10000
#define SHORT_POLICIES 1000
#define QUESTIONS 100
#define DOMAINS 3

static uint64_t random_state;
static char policy_text[4096];

static unsigned random_below(unsigned limit)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(random_state >> 33) % limit;
}

#define PICK(list) list[random_below(sizeof(list) / sizeof((list)[0]))]

static const struct ruleset_domain domains[DOMAINS] = {
    {.domid = 1, .name = "web", .complete = true},
    {.domid = 2, .name = "db", .complete = true},
    {.domid = 3, .name = "mail-7", .complete = true},
};

static void random_policy(void)
{
    static const char *const names[] = {"*", "web", "db", "mail-*", "?b", "2", "@some"};
    static const char *const services[] = {"*",   "80",  "1",    "70-90", "x",     "x*",
                                           "x.y", "?.y", "81,x", "*y,80", "1-100", "x,x.y,82"};
    static const char *const options[] = {"",
                                          "",
                                          "",
                                          " uid=33",
                                          " uid=1-33",
                                          " type=stream",
                                          " type=seqpacket",
                                          " until=2001-09-09T01:46:40Z",
                                          " uid=33 type=stream"};
    char *at = policy_text + sprintf(policy_text, "group some = web mail-7\n");
    for (unsigned lines = 1 + random_below(8); lines > 0; lines--)
        at += sprintf(at, "%s %s %s %s%s\n", random_below(2) ? "allow" : "deny", PICK(names),
                      PICK(names), PICK(services), PICK(options));
}

static void policy_wrong(void *arg, const char *file, const struct problem *problem)
{
    (void)arg, (void)file;
    ck_abort_msg("%s: line %u: %s", policy_text, problem->line, problem->text);
}

/* The rules of each domain's link_mgr. */
static void rules_of_all(const struct ruleset *ruleset, struct rules *rules[DOMAINS])
{
    const struct compile_input input = {.ruleset = ruleset, .domains = domains, .count = DOMAINS};
    struct compile *compile;
    struct compile_view view;
    struct rules_problem problem;
    size_t length;
    ck_assert_int_eq(compile_new(&compile, &input), 0);
    for (size_t i = 0; i < DOMAINS; i++) {
        ck_assert_int_eq(compile_view(compile, i, &view), 0);
        char *text = compile_text(compile, &view, &length);
        if (rules_new(&rules[i], text, length, &problem))
            ck_abort_msg("%s: line %u: %s", text, problem.line, problem.what);
        free(text);
        compile_view_free(&view);
    }
    compile_free(compile);
}

/* The line of the rule that decides, 0: none. */
static unsigned line_by_rules(const struct rules *rules, uint32_t domid, bool out,
                              const struct rule_question *question, struct rules_verdict *verdict)
{
    *verdict = (struct rules_verdict){0};
    if (!rules_decide(rules, rules_between(rules, domid, out), 1, UINT32_MAX, question, verdict))
        return 0;
    return (unsigned)strtoul(strchr(verdict->rule->place, ':') + 1, NULL, 10);
}

/* A domain that must not know of the other one has no rule to name. */
static void expect_same(unsigned line, bool allowed, const struct rules *rules, uint32_t domid,
                        bool out, const struct rule_question *question)
{
    struct rules_verdict verdict;
    unsigned found = line_by_rules(rules, domid, out, question, &verdict);
    bool unknown = !rules_find_peer(rules, domid);
    if (found != line && !(unknown && !allowed))
        ck_abort_msg("%sline %u by the files, %u by the rules; port %u, name %s, uid %u, type %d, "
                     "now %u, to %u, out %d",
                     policy_text, line, found, question->port, question->name, question->uid,
                     (int)question->type, (unsigned)question->now, domid, out);
    ck_assert(!verdict.perhaps && (verdict.rule && verdict.rule->allow) == allowed);
}

/* The connecting side knows the port or the name. */
static void expect_no_less(unsigned line, bool allowed, const struct rules *rules, uint32_t domid,
                           const struct rule_question *question)
{
    struct rules_verdict verdict;
    unsigned found = line_by_rules(rules, domid, true, question, &verdict);
    bool lets = verdict.rule && verdict.rule->allow;
    if (allowed && !lets)
        ck_abort_msg("%sline %u allows it, and the connecting side refuses it by %u", policy_text,
                     line, found);
    if (!verdict.perhaps && rules_find_peer(rules, domid))
        ck_assert_msg(found == line, "%sline %u, not %u", policy_text, line, found);
}

static void ask_all(const struct ruleset *ruleset, struct rules *const rules[DOMAINS])
{
    static const uint32_t ports[] = {1, 80, 81, 82, 5000};
    static const char *const names[] = {"", "x", "x.y", "z.y", "q"};
    static const uint32_t uids[] = {0, 33, 34};
    static const uint64_t times[] = {999999999, 1000000000, 1000000001};
    struct verdict_fit fits[16];
    unsigned from = random_below(DOMAINS), to = (from + 1 + random_below(DOMAINS - 1)) % DOMAINS;
    struct rule_question question = {.port = PICK(ports),
                                     .name = PICK(names),
                                     .name_known = true,
                                     .type = random_below(2) ? IDC_STREAM : IDC_SEQPACKET,
                                     .uid = PICK(uids),
                                     .now = PICK(times)};
    if (question.port == 1)
        question.name = "";
    const struct ruleset_question asked = {
        .from = domains[from],
        .to = domains[to],
        .port = question.port,
        .name = question.name[0] ? question.name : NULL,
        .name_known = true,
        .uid = question.uid,
        .type = question.type == IDC_STREAM ? RULE_TYPE_STREAM : RULE_TYPE_SEQPACKET,
        .now = (int64_t)question.now};
    ck_assert_int_eq(verdict_fits(ruleset, &asked, fits), 0);
    size_t decides = verdict_decides(fits, ruleset->rule_count);
    const struct ruleset_rule *rule =
        decides < ruleset->rule_count ? &ruleset->rules[decides] : NULL;
    const unsigned line = rule ? rule->place.line : 0;
    const bool allowed = rule && rule->allow;
    uint32_t from_domid = (uint32_t)domains[from].domid, to_domid = (uint32_t)domains[to].domid;
    expect_same(line, allowed, rules[to], from_domid, false, &question);
    expect_same(line, allowed, rules[from], to_domid, true, &question);
    struct rule_question part = question;
    part.name_known = false;
    part.name = "";
    expect_no_less(line, allowed, rules[from], to_domid, &part);
    part.name = question.name;
    part.port = 0;
    if (part.name[0])
        expect_no_less(line, allowed, rules[from], to_domid, &part);
}

START_TEST(all_agree)
{
    static const struct ruleset_reporter reporter = {.report = policy_wrong};
    const char *seed = getenv("RULES_SEED");
    const int policies = getenv("IDC_TEST_SHORT") ? SHORT_POLICIES : POLICIES;
    random_state = seed ? strtoull(seed, NULL, 10) : 1;
    for (int i = 0; i < policies; i++) {
        struct rules *rules[DOMAINS];
        random_policy();
        struct ruleset *ruleset = ruleset_new();
        ruleset_add(ruleset, "f", policy_text, strlen(policy_text), &reporter);
        ck_assert_uint_eq(ruleset_finish(ruleset, &reporter), 0);
        rules_of_all(ruleset, rules);
        for (int k = 0; k < QUESTIONS; k++)
            ask_all(ruleset, rules);
        for (int k = 0; k < DOMAINS; k++)
            rules_free(rules[k]);
        ruleset_free(ruleset);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("rules agree");
    TCase *tcase = tcase_create("random");
    tcase_set_timeout(tcase, 300);
    tcase_add_test(tcase, all_agree);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
