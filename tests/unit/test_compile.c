/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What idc-policy(5) says of which line decides, in examples, and what each domain is given. Random
 * ones are in test_policy_reading.py.
 */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "policy/compile.h"
#include "tests/unit/suite.h"

static void never_wrong(void *arg, const char *file, const struct problem *problem)
{
    (void)arg;
    ck_abort_msg("%s:%u:%u: %s", file, problem->line, problem->column, problem->text);
}

static const struct ruleset_reporter reporter = {.report = never_wrong};

static struct ruleset *read_policy(const char *text)
{
    struct ruleset *ruleset = ruleset_new();
    ck_assert_ptr_nonnull(ruleset);
    ruleset_add(ruleset, "policy", text, strlen(text), &reporter);
    ruleset_finish(ruleset, &reporter);
    return ruleset;
}

static const struct ruleset_domain dom0 = {.domid = 0, .name = "Domain-0", .complete = true};
static const struct ruleset_domain web = {
    .domid = 1, .name = "web", .has_uuid = true, .uuid = {1}, .complete = true};
static const struct ruleset_domain db = {.domid = 2, .name = "db", .complete = true};

/* ---- examples: which line decides about a connection from web to db? ---- */

#define NOON_2026 1767268800 /* 2026-01-01T12:00:00Z */

static const struct {
    const char *policy;
    uint32_t port;
    const char *name;
    int64_t uid;
    enum rule_type type;
    unsigned decides; /* the line, all of which are rules; 0: none */
} examples[] = {
    /* one way */
    {"allow db web *", 80, NULL, 0, RULE_TYPE_STREAM, 0},
    {"allow web db *", 80, NULL, 0, RULE_TYPE_STREAM, 1},
    /* the first line that fits */
    {"deny web db 80\nallow web db 80", 80, NULL, 0, RULE_TYPE_STREAM, 1},
    {"deny web db 80\nallow web db 80", 81, NULL, 0, RULE_TYPE_STREAM, 0},
    {"deny web dom0 *\nallow * db *\ndeny * * *", 81, NULL, 0, RULE_TYPE_STREAM, 2},
    /* a name and a port */
    {"deny * * 22\nallow * * *", 22, "ssh", 0, RULE_TYPE_STREAM, 1},
    {"deny * * ssh\nallow * * *", 22, "ssh", 0, RULE_TYPE_STREAM, 1},
    {"deny * * ssh\nallow * * *", 22, NULL, 0, RULE_TYPE_STREAM, 2},
    {"deny * * org.example.*\nallow * * *", 22, "org.example.x", 0, RULE_TYPE_STREAM, 1},
    {"deny * * 5000-5010\nallow * * *", 5010, NULL, 0, RULE_TYPE_STREAM, 1},
    {"deny * * 5000-5010\nallow * * *", 5011, NULL, 0, RULE_TYPE_STREAM, 2},
    {"deny * * 5000-5010\nallow * * *", 4999, NULL, 0, RULE_TYPE_STREAM, 2},
    /* port 1 */
    {"allow web db 80\ndeny * * *", 1, NULL, 0, RULE_TYPE_STREAM, 1},
    {"deny * * *\nallow web db 80", 1, NULL, 0, RULE_TYPE_STREAM, 1},
    {"deny web db 80\nallow web db 81", 1, NULL, 0, RULE_TYPE_STREAM, 2},
    {"deny web db 1-9\nallow web db 81", 1, NULL, 0, RULE_TYPE_STREAM, 1},
    {"allow web db 80 type=seqpacket", 1, NULL, 0, RULE_TYPE_STREAM, 1},
    {"deny web db 1 type=seqpacket\nallow * * *", 1, NULL, 0, RULE_TYPE_STREAM, 2},
    {"allow web db 80 uid=33", 1, NULL, 0, RULE_TYPE_STREAM, 0},
    /* options */
    {"allow * * * uid=33", 80, NULL, 34, RULE_TYPE_STREAM, 0},
    {"deny * * * uid=33\nallow * * *", 80, NULL, 34, RULE_TYPE_STREAM, 2},
    {"allow * * * uid=7,30-34", 80, NULL, 34, RULE_TYPE_STREAM, 1},
    {"allow * * * type=seqpacket", 80, NULL, 0, RULE_TYPE_STREAM, 0},
    {"allow * * * type=seqpacket", 80, NULL, 0, RULE_TYPE_SEQPACKET, 1},
    {"allow * * * until=2026-01-01T12:00:00Z", 80, NULL, 0, RULE_TYPE_STREAM, 0},
    {"allow * * * until=2026-01-01T12:00:01Z", 80, NULL, 0, RULE_TYPE_STREAM, 1},
    {"deny * * * until=2026-01-01T12:00:00Z\nallow * * *", 80, NULL, 0, RULE_TYPE_STREAM, 2},
    /* names */
    {"allow we* ?? 80", 80, NULL, 0, RULE_TYPE_STREAM, 1},
    {"allow \"we*\" db 80", 80, NULL, 0, RULE_TYPE_STREAM, 0},
    {"allow WEB db 80", 80, NULL, 0, RULE_TYPE_STREAM, 0},
    {"allow 1 domid:2 80", 80, NULL, 0, RULE_TYPE_STREAM, 1},
    {"allow name:1 name:2 80", 80, NULL, 0, RULE_TYPE_STREAM, 0},
    {"allow uuid:01000000-0000-0000-0000-000000000000 db 80", 80, NULL, 0, RULE_TYPE_STREAM, 1},
    {"allow web uuid:01000000-0000-0000-0000-000000000000 80", 80, NULL, 0, RULE_TYPE_STREAM, 0},
};

START_TEST(example_lines)
{
    struct ruleset *ruleset = read_policy(examples[_i].policy);
    struct ruleset_question question = {.from = web,
                                        .to = db,
                                        .port = examples[_i].port,
                                        .name = examples[_i].name,
                                        .name_known = true,
                                        .uid = examples[_i].uid,
                                        .type = examples[_i].type,
                                        .now = NOON_2026};
    struct verdict_fit fits[8];
    ck_assert_int_eq(verdict_fits(ruleset, &question, fits), 0);
    size_t decides = verdict_decides(fits, ruleset->rule_count);
    decides = decides == ruleset->rule_count ? 0 : decides + 1;
    ck_assert_msg(decides == examples[_i].decides, "%s: line %zu, not %u", examples[_i].policy,
                  decides, examples[_i].decides);
    ruleset_free(ruleset);
}
END_TEST

/* ---- what a domain is given ---- */

/* The text for the domain with that index; the caller frees it. */
static char *text_of(const struct compile_input *input, size_t domain)
{
    struct compile *compile;
    struct compile_view view;
    size_t length;
    ck_assert_int_eq(compile_new(&compile, input), 0);
    ck_assert_int_eq(compile_view(compile, domain, &view), 0);
    char *text = compile_text(compile, &view, &length);
    ck_assert_ptr_nonnull(text);
    ck_assert_uint_eq(length, strlen(text));
    compile_view_free(&view);
    compile_free(compile);
    return text;
}

static char *text_for(const struct ruleset *ruleset, const struct ruleset_domain *domains,
                      size_t count, size_t domain)
{
    const struct compile_input input = {.ruleset = ruleset, .domains = domains, .count = count};
    return text_of(&input, domain);
}

static const char everything[] =
    "group guests = web db\n"
    "allow web db org.example.sql,5432 uid=33,40-44 connections=100 note=\"secret\"\n"
    "allow @guests dom0 org.example.metrics rate=50/s bandwidth=10M log=yes\n"
    "allow dom0 @guests 22\"\" until=2026-12-31T23:59:59Z type=stream\n"
    "allow dom0 @guests 23 until=2025-12-31T23:59:59Z\n"
    "allow other web *\n"
    "route web org.example.sql other,db,web,nobody\n"
    "route @guests org.example.sql dom0\n"
    "deny * * * log=no\n"
    "allow db web *\n";

#define WEB_SELF "self name=web uuid=01000000-0000-0000-0000-000000000000\n"

START_TEST(texts)
{
    static const char *const expected[] = {
        "version 1\n"
        "self name=Domain-0\n"
        "rule 1 allow org.example.metrics rate=50 bandwidth=10000000 log=yes at=policy:3\n"
        "rule 2 allow 22 type=stream until=1798761599 log=no at=policy:4\n"
        "rule 3 allow 23 until=1767225599 log=no at=policy:5\n"
        "rule 4 deny * log=no at=policy:9\n"
        "peer 1 name=web uuid=01000000-0000-0000-0000-000000000000 out=2,3,4 in=1,4\n"
        "peer 2 name=db out=2,3,4 in=1,4\n"
        "other out=4 in=4\n"
        "end\n",
        "version 1\n" WEB_SELF
        "rule 1 allow org.example.sql,5432 uid=33,40-44 connections=100 log=no at=policy:2\n"
        "rule 2 allow org.example.metrics rate=50 bandwidth=10000000 log=yes at=policy:3\n"
        "rule 3 allow 22 type=stream until=1798761599 log=no at=policy:4\n"
        "rule 4 allow 23 until=1767225599 log=no at=policy:5\n"
        "rule 5 deny * log=no at=policy:9\n"
        "peer 0 name=Domain-0 out=2,5 in=3,4,5\n"
        "peer 2 name=db out=1,5 in=5\n"
        "other out=5 in=5\n"
        "route org.example.sql 2,1 at=policy:7\n"
        "end\n",
    };
    /* in no order; the peers are in theirs */
    const struct ruleset_domain domains[] = {db, dom0, web};
    const size_t order[] = {1, 2};
    struct ruleset *ruleset = read_policy(everything);
    for (size_t i = 0; i < 2; i++) {
        char *text = text_for(ruleset, domains, 3, order[i]);
        ck_assert_str_eq(text, expected[i]);
        free(text);
    }
    ruleset_free(ruleset);
}
END_TEST

/* Rules that commands made are the first ones; their number counts those in this text. */
START_TEST(commands_come_first)
{
    const struct ruleset_domain domains[] = {web, db, dom0};
    struct ruleset *ruleset = read_policy("allow dom0 db 1000\ndeny web db 80\nallow web db 22\n"
                                          "allow dom0 web 2000\n");
    struct compile_input input = {
        .ruleset = ruleset, .domains = domains, .count = 3, .commands = 2};
    static const char *const expected[] = {"commands 1\nrule 1 deny 80", "commands 2\nrule 1",
                                           "commands 1\nrule 1 allow 1000"};
    for (size_t i = 0; i < 3; i++) {
        char *text = text_of(&input, i);
        ck_assert_msg(strstr(text, expected[i]) != NULL, "%s", text);
        free(text);
    }
    input.commands = 1;
    char *text = text_of(&input, 0);
    ck_assert_ptr_null(strstr(text, "commands"));
    free(text);
    ruleset_free(ruleset);
}
END_TEST

/* A policy node joins two domains: each has to be able to find the other one by its name. */
START_TEST(nodes_join)
{
    const struct ruleset_domain domains[] = {web, db, dom0};
    static const struct compile_node nodes[] = {{2, 1}, {1, 2}, {7, 1}, {1, 7}};
    struct ruleset *ruleset = read_policy("deny db web 22\n");
    const struct compile_input input = {
        .ruleset = ruleset, .domains = domains, .count = 3, .nodes = nodes, .node_count = 4};
    static const char *const expected[] = {
        "version 1\n" WEB_SELF "rule 1 deny 22 log=yes at=policy:1\npeer 2 name=db in=1\nend\n",
        ("version 1\nself name=db\nrule 1 deny 22 log=yes at=policy:1\n"
         "peer 1 name=web uuid=01000000-0000-0000-0000-000000000000 out=1\nend\n"),
        "version 1\nself name=Domain-0\nend\n",
    };
    for (size_t i = 0; i < 3; i++) {
        char *text = text_of(&input, i);
        ck_assert_str_eq(text, expected[i]);
        free(text);
    }
    ruleset_free(ruleset);
}
END_TEST

/* A domain learns of nobody with whom no line lets it connect, in either direction. */
START_TEST(no_more_than_needed)
{
    const struct ruleset_domain domains[] = {web, db};
    static const char *const nothing[] = {"version 1\n" WEB_SELF "end\n",
                                          "version 1\nself name=db\nend\n"};
    static const struct {
        const char *policy;
        bool known, other; /* other: there is a rule for domains that are not known */
    } cases[] = {
        {"", false, false},
        {"deny web db 80", false, false},
        {"deny web d* 80\ndeny we? db 81\ndeny domid:1 uuid:02000000-0000-0000-0000-000000000000 1",
         false, false},
        {"group g = web db\ndeny @g @g *", false, false},
        {"allow web dom0 80", false, false},
        {"route web x db", false, false},
        {"deny * * 80", false, true},
        {"deny * db *\nallow web db 80", false, true}, /* behind a line that decides all */
        {"allow web db 80 until=2026-01-01T12:00:00Z", true, false},
        {"deny web db * until=2026-01-01T12:00:00Z\nallow web db 80", true, false},
        {"allow web db 80", true, false},
        {"allow db web 80", true, false},
        {"deny web db * uid=33\nallow web db 80", true, false},
        {"deny web db * type=stream\nallow web db 80", true, false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct ruleset *ruleset = read_policy(cases[i].policy);
        for (size_t d = 0; d < 2; d++) {
            char *text = text_for(ruleset, domains, 2, d);
            bool known = strstr(text, d == 0 ? "name=db" : "peer 1 name=web") != NULL;
            ck_assert_msg(known == cases[i].known, "%s: %s", cases[i].policy, text);
            ck_assert_msg(known || cases[i].other || strcmp(text, nothing[d]) == 0, "%s: %s",
                          cases[i].policy, text);
            free(text);
        }
        ruleset_free(ruleset);
    }
}
END_TEST

/* What stands for domains that are not known names none of them, and allows nothing. */
START_TEST(others)
{
    static const struct {
        const char *policy, *text;
    } cases[] = {
        {"deny web * 80\n", "rule 1 deny 80 log=yes at=policy:1\nother out=1\n"},
        {"deny * web 80\n", "rule 1 deny 80 log=yes at=policy:1\nother in=1\n"},
        {"deny * \"*\" 80\n", ""},
        {"deny * db 80\n", ""},
        {"deny db * 80\n", ""},
        {"deny web * *\ndeny * * 81", "rule 1 deny * log=yes at=policy:1\n"
                                      "rule 2 deny 81 log=yes at=policy:2\nother out=1 in=2\n"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct ruleset_domain domains[] = {web, db};
        char expected[500];
        struct ruleset *ruleset = read_policy(cases[i].policy);
        char *text = text_for(ruleset, domains, 2, 0);
        snprintf(expected, sizeof(expected), "version 1\n" WEB_SELF "%send\n", cases[i].text);
        ck_assert_str_eq(text, expected);
        free(text);
        ruleset_free(ruleset);
    }
}
END_TEST

/* Of a route's domains, a domain is told those that it may know. Only the first line counts. */
START_TEST(routes)
{
    static const struct ruleset_domain spare = {.domid = 3, .name = "db", .complete = true};
    const struct ruleset_domain domains[] = {web, spare, db, dom0};
    static const struct {
        const char *policy, *route;
    } cases[] = {
        {"allow web db *\nroute web x db", "route x 2,3 at=policy:2\n"},
        {"allow web domid:3 *\nroute web x db", "route x 3 at=policy:2\n"},
        {"allow * * *\nroute web x 3,dom0,db\nroute web x 2", "route x 3,0,2 at=policy:2\n"},
        {"allow * * *\nroute w* x none\nroute web x db", NULL},
        {"allow web db *\nroute web x dom0\nroute web x db", NULL},
        {"allow web db *\nroute db x db\nroute web y db\nroute * x db",
         "route y 2,3 at=policy:3\nroute x 2,3 at=policy:4\n"},
        {"route web x web", "route x 1 at=policy:1\n"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct ruleset *ruleset = read_policy(cases[i].policy);
        char *text = text_for(ruleset, domains, 4, 0), *found = strstr(text, "\nroute ");
        if (cases[i].route == NULL)
            ck_assert_msg(found == NULL, "%s: %s", cases[i].policy, text);
        else
            ck_assert_msg(found != NULL &&
                              strncmp(found + 1, cases[i].route, strlen(cases[i].route)) == 0 &&
                              strcmp(found + 1 + strlen(cases[i].route), "end\n") == 0,
                          "%s: %s", cases[i].policy, text);
        free(text);
        ruleset_free(ruleset);
    }
}
END_TEST

/* Names may have any bytes, and some domains have none. */
START_TEST(strange_names)
{
    const struct ruleset_domain domains[] = {
        web,
        {.domid = 7, .name = "a b=\n%\xc3\xa9", .complete = true},
        {.domid = 8, .complete = true},
    };
    struct ruleset *ruleset = read_policy("allow * web 80");
    char *text = text_for(ruleset, domains, 3, 0);
    ck_assert_str_eq(text, "version 1\n" WEB_SELF "rule 1 allow 80 log=no at=policy:1\n"
                           "peer 7 name=a%20b%3d%0a%25%c3%a9 in=1\npeer 8 in=1\nend\n");
    free(text);
    ruleset_free(ruleset);
}
END_TEST

/* A later domain of the same name gets what rules by name give, and nothing by UUID. Both domains
 * of one name get it. */
START_TEST(namesakes)
{
    const struct ruleset_domain later = {
        .domid = 9, .name = "web", .has_uuid = true, .uuid = {2}, .complete = true};
    const struct ruleset_domain domains[] = {web, later, db};
    struct ruleset *ruleset = read_policy("allow web db 80\n"
                                          "allow uuid:01000000-0000-0000-0000-000000000000 db 81");
    char *text = text_for(ruleset, domains, 3, 0);
    ck_assert_ptr_nonnull(strstr(text, "peer 2 name=db out=1,2\n"));
    free(text);
    text = text_for(ruleset, domains, 3, 1);
    ck_assert_ptr_nonnull(strstr(text, "peer 2 name=db out=1\n"));
    free(text);
    ruleset_free(ruleset);
}
END_TEST

/* What is given to a domain changes only when something about its own peers does. */
START_TEST(untouched_by_others)
{
    const struct ruleset_domain other = {.domid = 9, .name = "other", .complete = true};
    const struct ruleset_domain domains[] = {web, db, dom0, other};
    struct ruleset *ruleset = read_policy(everything);
    for (size_t i = 1; i < 3; i++) {
        char *before = text_for(ruleset, domains, 3, i), *after = text_for(ruleset, domains, 4, i);
        ck_assert_str_eq(before, after);
        free(before);
        free(after);
    }
    char *text = text_for(ruleset, domains, 4, 0); /* "allow other web *" */
    ck_assert_ptr_nonnull(strstr(text, "name=other"));
    free(text);
    ruleset_free(ruleset);
}
END_TEST

START_TEST(wrong_domains)
{
    struct compile *compile;
    struct ruleset_domain domains[] = {web, db, web};
    struct ruleset *ruleset = read_policy("allow * * *");
    struct compile_input input = {.ruleset = ruleset, .domains = domains, .count = 3};
    ck_assert_int_eq(compile_new(&compile, &input), -EINVAL);
    domains[2].domid = -1;
    ck_assert_int_eq(compile_new(&compile, &input), -EINVAL);
    domains[2] = (struct ruleset_domain){.domid = 3};
    ck_assert_int_eq(compile_new(&compile, &input), -EINVAL);
    input.count = 0;
    ck_assert_int_eq(compile_new(&compile, &input), 0);
    compile_free(compile);
    ruleset_free(ruleset);
}
END_TEST

/* ---- a large host ---- */

#define LARGE_DOMAINS 100
#define LARGE_LINES 1000

static char large_text[LARGE_LINES * 80];
static char large_names[LARGE_DOMAINS][24];
static struct ruleset_domain large_domains[LARGE_DOMAINS];

/* Lines for pairs, for groups, by globs and for all, in turn. */
static void make_large(void)
{
    char *end = large_text;
    for (unsigned i = 0; i < LARGE_DOMAINS; i++) {
        snprintf(large_names[i], sizeof(large_names[i]), "guest-%u-%c", i, 'a' + i % 5);
        large_domains[i] =
            (struct ruleset_domain){.domid = (int)i, .name = large_names[i], .complete = true};
    }
    end += sprintf(end, "group some = guest-*-b guest-1? 7\n");
    for (unsigned i = 1; i < LARGE_LINES; i++)
        switch (i % 4) {
        case 0:
            end += sprintf(end, "allow guest-%u-%c @some %u,org.example.s%u\n", i % 97,
                           'a' + i % 97 % 5, i, i);
            break;
        case 1:
            end +=
                sprintf(end, "allow guest-*-%c guest-%u* %u uid=%u\n", 'a' + i % 5, i % 10, i, i);
            break;
        case 2:
            end += sprintf(end, "allow @some * org.example.service%u connections=10\n", i);
            break;
        default:
            end += sprintf(end, "%s * dom0 %u-%u\n", i % 8 == 3 ? "deny" : "allow", i, i + 10);
        }
}

/* It is printed how long this takes, and not asserted. What is asserted does not depend on speed.
 */
START_TEST(large_host)
{
    struct compile *compile;
    size_t total = 0, longest = 0;
    make_large();
    clock_t begin = clock();
    struct ruleset *ruleset = read_policy(large_text);
    clock_t parsed = clock();
    ck_assert_uint_eq(ruleset->rule_count, LARGE_LINES - 1);
    const struct compile_input input = {
        .ruleset = ruleset, .domains = large_domains, .count = LARGE_DOMAINS};
    ck_assert_int_eq(compile_new(&compile, &input), 0);
    for (size_t i = 0; i < LARGE_DOMAINS; i++) {
        struct compile_view view;
        size_t length;
        ck_assert_int_eq(compile_view(compile, i, &view), 0);
        char *text = compile_text(compile, &view, &length);
        ck_assert_ptr_nonnull(text);
        total += length;
        longest = length > longest ? length : longest;
        free(text);
        compile_view_free(&view);
    }
    printf("%d lines, %d domains: read in %.1f ms, compiled in %.1f ms of CPU; %zu bytes in all, "
           "%zu for one domain, %zu nodes\n",
           LARGE_LINES, LARGE_DOMAINS, (double)(parsed - begin) * 1e3 / CLOCKS_PER_SEC,
           (double)(clock() - parsed) * 1e3 / CLOCKS_PER_SEC, total, longest,
           (longest + COMPILE_PART_MAX - 1) / COMPILE_PART_MAX);
    ck_assert_uint_gt(longest, COMPILE_PART_MAX); /* it is worth being split */
    compile_free(compile);
    ruleset_free(ruleset);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("compile");
    TCase *deciding = tcase_create("deciding");
    tcase_add_loop_test(deciding, example_lines, 0, sizeof(examples) / sizeof(examples[0]));
    suite_add_tcase(suite, deciding);
    TCase *given = tcase_create("given");
    tcase_set_timeout(given, 60);
    tcase_add_test(given, texts);
    tcase_add_test(given, commands_come_first);
    tcase_add_test(given, nodes_join);
    tcase_add_test(given, no_more_than_needed);
    tcase_add_test(given, others);
    tcase_add_test(given, routes);
    tcase_add_test(given, strange_names);
    tcase_add_test(given, namesakes);
    tcase_add_test(given, untouched_by_others);
    tcase_add_test(given, wrong_domains);
    tcase_add_test(given, large_host);
    suite_add_tcase(suite, given);
    return run_suite(suite);
}
