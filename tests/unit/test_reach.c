/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Examples of what a rule reaches below others (policy/reach.h): those that random policies
 * (test_graph.py) seldom have.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "policy/reach.h"
#include "tests/unit/suite.h"

#define NOW 1767268800 /* 2026-01-01T12:00:00Z */

static void never_wrong(void *arg, const char *file, const struct problem *problem)
{
    (void)arg;
    ck_abort_msg("%s:%u:%u: %s", file, problem->line, problem->column, problem->text);
}

static const struct ruleset_reporter reporter = {.report = never_wrong};

/* All lines are about one pair. The question is about the last one. */
static const struct {
    const char *lines;
    enum reach reach;
} examples[] = {
    {"allow a b *", REACH_SERVICES},
    {"allow a b 1", REACH_MANAGER},
    {"deny a b 80", REACH_NOTHING},
    {"allow a b 80 until=2026-01-01T12:00:00Z", REACH_NOTHING},
    {"allow a b 80 until=2026-01-01T12:00:01Z", REACH_SERVICES},
    {"deny a b *\nallow a b 80", REACH_NOTHING},
    {"deny a b * until=2026-01-01T12:00:00Z\nallow a b 80", REACH_SERVICES},
    {"deny a b 80\nallow a b 80", REACH_MANAGER},
    {"deny a b 1,80\nallow a b 80", REACH_NOTHING},
    {"deny a b 1-80\ndeny a b 82-4294967295\nallow a b 81", REACH_SERVICES},
    {"deny a b 1-81\ndeny a b 81-4294967295\nallow a b *", REACH_NOTHING},
    /* a service with a name has a port too, and may have any */
    {"deny a b 1-81\ndeny a b 82-4294967295\nallow a b org.x", REACH_NOTHING},
    {"deny a b 1-81\ndeny a b 83-4294967295\nallow a b org.x", REACH_SERVICES},
    {"deny a b org.x\nallow a b org.x", REACH_MANAGER},
    {"deny a b org.x\nallow a b 80", REACH_SERVICES}, /* it may have another name */
    /* uids and types */
    {"deny a b * uid=0-32,34-4294967294\nallow a b *", REACH_SERVICES},
    {"deny a b * uid=0-33\ndeny a b * uid=34-4294967294\nallow a b *", REACH_NOTHING},
    {"deny a b * uid=33\nallow a b * uid=33", REACH_NOTHING},
    {"deny a b * uid=33\nallow a b * uid=33-34", REACH_SERVICES},
    {"deny a b * type=stream\nallow a b *", REACH_SERVICES},
    {"deny a b * type=stream\nallow a b * type=stream", REACH_MANAGER}, /* with any type */
    {"deny a b * type=stream\ndeny a b * type=seqpacket\nallow a b *", REACH_NOTHING},
    /* globs */
    {"deny a b org.*\nallow a b org.x.*", REACH_MANAGER},
    {"deny a b org.?*\nallow a b org.*", REACH_SERVICES}, /* "org." */
    {"deny a b org.?*,org.\nallow a b org.*", REACH_MANAGER},
    {"deny a b org.??*,org.\nallow a b org.*", REACH_SERVICES},
    {"deny a b org.??*,org.,org.?\nallow a b org.*", REACH_MANAGER},
    {"deny a b *x\ndeny a b *y\nallow a b *x,*y", REACH_MANAGER},
    {"deny a b a*b*c\nallow a b a*c", REACH_SERVICES},
    {"deny a b a*c\nallow a b a*b*c", REACH_MANAGER},
    {"deny a b a*z\nallow a b a*", REACH_SERVICES},
    {"deny a b a?\nallow a b a?,ab", REACH_MANAGER},
    {"deny a b azz,axx\nallow a b a??", REACH_SERVICES},
};

START_TEST(example_lines)
{
    const char *lines = examples[_i].lines;
    struct ruleset *ruleset = ruleset_new();
    uint32_t rules[8] = {0, 1, 2, 3, 4, 5, 6, 7};
    enum reach reach;
    ruleset_add(ruleset, "policy", lines, strlen(lines), &reporter);
    ruleset_finish(ruleset, &reporter);
    const struct reach_above above = {
        .ruleset = ruleset, .rules = rules, .count = ruleset->rule_count - 1, .now = NOW};
    ck_assert_int_eq(reach_of_rule(&above, &ruleset->rules[above.count], &reach), 0);
    ck_assert_msg(reach == examples[_i].reach, "%s\nreaches %d, not %d", lines, (int)reach,
                  (int)examples[_i].reach);
    ruleset_free(ruleset);
}
END_TEST

/* So many names are not all tried. Then the rule is said to reach something. */
START_TEST(globs_of_many_wildcards)
{
    char lines[400] = "deny a b ?????????*a\nallow a b ";
    struct ruleset *ruleset = ruleset_new();
    const uint32_t rules[] = {0};
    enum reach reach;
    for (unsigned i = 0; i < 39; i++)
        strcat(lines, "*?");
    strcat(lines, "a");
    ruleset_add(ruleset, "policy", lines, strlen(lines), &reporter);
    ck_assert_uint_eq(ruleset_finish(ruleset, &reporter), 0);
    const struct reach_above above = {.ruleset = ruleset, .rules = rules, .count = 1, .now = NOW};
    ck_assert_int_eq(reach_of_rule(&above, &ruleset->rules[1], &reach), 0);
    ck_assert_int_eq(reach, REACH_SERVICES);
    ruleset_free(ruleset);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("reach");
    TCase *tests = tcase_create("examples");
    tcase_add_loop_test(tests, example_lines, 0, sizeof(examples) / sizeof(examples[0]));
    tcase_add_test(tests, globs_of_many_wildcards);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
