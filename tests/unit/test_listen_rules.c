/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The rules of who may listen: what is read, what is refused and where, and whom they allow what.
 */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "link_mgr/hub/listen_rules.h"
#include "tests/unit/suite.h"

static struct listen_wrong wrong;

/* Users and groups of this test. */
static bool find_id(void *arg, bool group, const char *name, uint32_t *id)
{
    static const struct {
        const char *name;
        bool group;
        uint32_t id;
    } known[] = {{"bob", false, 1000},  {"alice", false, 1001}, {"www-data", false, 33},
                 {"9to5", false, 4000}, {"web", true, 50},      {"bob", true, 60}};
    (void)arg;
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (known[i].group == group && strcmp(known[i].name, name) == 0) {
            *id = known[i].id;
            return true;
        }
    return false;
}

/* In memory of exactly that size, so that valgrind and the sanitizers see a byte too many. */
static int parse_text(const char *text, size_t length, struct listen_rules **rules)
{
    char *copy = malloc(length + 1);
    memcpy(copy + 1, text, length);
    int error = listen_rules_parse(copy + 1, length, find_id, NULL, rules, &wrong);
    free(copy);
    return error;
}

static struct listen_rules *rules_of(const char *text)
{
    struct listen_rules *rules = NULL;
    ck_assert_msg(parse_text(text, strlen(text), &rules) == 0, "%u:%u: %s in \"%s\"", wrong.line,
                  wrong.column, wrong.what, text);
    return rules;
}

/* ---- reading ---- */

static const struct {
    const char *text;
    unsigned rules;
} good[] = {
    {"", 0},
    {"\n", 0},
    {"# nothing", 0},
    {"  \t # caf\xc3\xa9\n\n", 0},
    {"allow * *", 1},
    {"allow * *\n", 1},
    {"\tdeny\tbob\t80\t\n", 1},
    {"allow bob,33,1000-1999,@web,@50,* 80,1-5,org.example.*,*x*,*#of all", 1},
    {"allow 9to5 8080a\ndeny * *", 2},
    {"allow 0 1-4294967295", 1},
    {"allow 4294967294 4294967295", 1},
    {"allow www-data,@bob -x", 1},
};

START_TEST(good_texts)
{
    struct listen_rules *rules = rules_of(good[_i].text);
    ck_assert_uint_eq(listen_rules_count(rules), good[_i].rules);
    listen_rules_free(rules);
}
END_TEST

#define EIGHTY "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static const struct {
    const char *text;
    unsigned line, column;
    const char *what;
} bad[] = {
    {"permit * *", 1, 1, "\"permit\" is neither allow nor deny"},
    {"ALLOW * *", 1, 1, "\"ALLOW\" is neither"},
    {"allow", 1, 6, "who and what are missing"},
    {"allow # * *", 1, 7, "who and what are missing"},
    {"allow bob", 1, 10, "what is missing"},
    {"\n\n  allow\t*\t80 note", 3, 14, "\"note\" is too much"},
    {"allow * *\ndeny jim *", 2, 6, "there is no user \"jim\" in /etc/passwd"},
    {"deny @jim *", 1, 7, "there is no group \"jim\" in /etc/group"},
    {"deny bob,jim *", 1, 10, "there is no user \"jim\""},
    {"deny @ *", 1, 7, "there is no group \"\""},
    {"deny web *", 1, 6, "there is no user \"web\""},
    {"deny b* *", 1, 6, "there is no user \"b*\""},
    {"deny ** *", 1, 6, "there is no user \"**\""},
    {"deny - *", 1, 6, "there is no user \"-\""},
    {"deny ,bob *", 1, 6, "empty item"},
    {"deny bob, *", 1, 10, "empty item"},
    {"deny bob,,33 *", 1, 10, "empty item"},
    {"deny bob , *", 1, 12, "\"*\" is too much"},
    {"deny 4294967295 *", 1, 6, "\"4294967295\" is no uid, or range of them: they go from 0 to"},
    {"deny @4294967295 *", 1, 7, "is no gid"},
    {"deny 033 *", 1, 6, "\"033\" is no uid"},
    {"deny 33- *", 1, 6, "\"33-\" is no uid"},
    {"deny -33 *", 1, 6, "\"-33\" is no uid"},
    {"deny 1-2-3 *", 1, 6, "\"1-2-3\" is no uid"},
    {"deny 9-8 *", 1, 6, "the range \"9-8\" ends before it begins"},
    {"deny 99999999999999999999 *", 1, 6, "is no uid"},
    {"deny * 0", 1, 8, "\"0\" is no port, or range of them: they go from 1 to 4294967295"},
    {"deny * 4294967296", 1, 8, "is no port"},
    {"deny * 18446744073709551697", 1, 8, "is no port"},
    {"deny * 080", 1, 8, "is no port"},
    {"deny * 80-79", 1, 8, "ends before it begins"},
    {"deny * 80,5*", 1, 11, "\"5*\" is no port and no service"},
    {"deny * **", 1, 8, "\"**\" is no port and no service"},
    {"deny * a/b", 1, 8, "\"a/b\" is no port and no service"},
    {"deny * a?", 1, 8, "is no port and no service"},
    {"deny * .", 1, 8, "is no port and no service"},
    {"deny * " EIGHTY, 1, 8, "aaaa...\" is no port and no service"},
    {"deny * caf\xc3\xa9", 1, 11, "the byte 0xc3 has no place here"},
    {"deny * *\r\n", 1, 9, "the byte 0x0d"},
    {"deny\v* *", 1, 5, "the byte 0x0b"},
    {"allow * *\n# x\nallow * *\ndeny", 4, 5, "who and what are missing"},
};

START_TEST(bad_texts)
{
    struct listen_rules *rules = NULL;
    ck_assert_msg(parse_text(bad[_i].text, strlen(bad[_i].text), &rules) == -EINVAL,
                  "\"%s\" was taken", bad[_i].text);
    ck_assert_ptr_null(rules);
    ck_assert_msg(wrong.line == bad[_i].line && wrong.column == bad[_i].column &&
                      strstr(wrong.what, bad[_i].what),
                  "\"%s\": %u:%u: %s", bad[_i].text, wrong.line, wrong.column, wrong.what);
}
END_TEST

START_TEST(a_nul_is_no_end)
{
    struct listen_rules *rules = NULL;
    ck_assert_int_eq(parse_text("deny * *\0\nallow * *", 19, &rules), -EINVAL);
    ck_assert_uint_eq(wrong.column, 9);
}
END_TEST

START_TEST(as_many_as_there_may_be)
{
    static char text[LISTEN_TEXT_MAX];
    struct listen_rules *rules = NULL;
    size_t length = 0;
    for (int i = 0; i < LISTEN_RULES_MAX; i++)
        length += (size_t)sprintf(text + length, "deny * %d,%d\n", i + 1, i + 5000);
    ck_assert_int_eq(parse_text(text, length, &rules), 0);
    ck_assert_uint_eq(listen_rules_count(rules), LISTEN_RULES_MAX);
    unsigned line;
    const struct groups none = {.known = true};
    const struct listen_question last = {.uid = 1, .groups = &none, .port = 4999 + 1024};
    ck_assert(!listen_rules_allow(rules, &last, &line));
    ck_assert_uint_eq(line, 1024);
    listen_rules_free(rules);
    length += (size_t)sprintf(text + length, "deny * *\n");
    ck_assert_int_eq(parse_text(text, length, &rules), -EINVAL);
    ck_assert_uint_eq(wrong.line, LISTEN_RULES_MAX + 1);
}
END_TEST

/* ---- asking ---- */

#define BOB 1000
#define ALICE 1001
#define NOT_KNOWN UINT32_MAX

static const char example[] = "# line 1\n"
                              "allow  bob               5432,org.example.sql\n"
                              "allow  33,@web           80,443,8000-8099,org.example.web.*\n"
                              "deny   *                 org.example.*,5432\n"
                              "\n"
                              "allow  1000-1999         *\n"
                              "deny   @60               6000-7000\n"
                              "allow  @60               *,22\n";

static const struct {
    uint32_t uid;
    uint32_t groups[2]; /* 0: none; NOT_KNOWN: they are not known */
    const char *name;
    uint32_t port;
    bool allowed;
    unsigned line;
} questions[] = {
    {BOB, {0}, "", 5432, true, 2},
    {BOB, {0}, "org.example.sql", 0, true, 2},
    {ALICE, {0}, "", 5432, false, 4},
    {ALICE, {0}, "org.example.sql", 0, false, 4},
    {BOB, {0}, "org.example.sqlx", 0, false, 4},
    {BOB, {0}, "org.example.sq", 0, false, 4},
    {33, {0}, "", 80, true, 3},
    {33, {0}, "", 81, false, 0},
    {33, {0}, "", 7999, false, 0},
    {33, {0}, "", 8000, true, 3},
    {33, {0}, "", 8099, true, 3},
    {33, {0}, "", 8100, false, 0},
    {33, {0}, "org.example.web.a", 0, true, 3},
    {33, {0}, "org.example.web.", 0, true, 3},
    {33, {0}, "org.example.web", 0, false, 4},
    {33, {0}, "ORG.example.web.a", 0, false, 0},
    {7, {50}, "", 443, true, 3},
    {7, {9, 50}, "", 443, true, 3},
    {7, {9, 51}, "", 443, false, 0},
    {7, {33}, "", 443, false, 0},        /* a group is no user */
    {50, {0}, "", 443, false, 0},        /* and a user no group */
    {7, {NOT_KNOWN}, "", 443, false, 0}, /* not to one's advantage */
    /* a star leaves out what is root's; what is written is given */
    {BOB, {0}, "", 1023, false, 0},
    {BOB, {0}, "", 1024, true, 6},
    {BOB, {0}, "", UINT32_MAX, true, 6},
    {BOB, {0}, "any", 0, true, 6},
    {1999, {0}, "any", 0, true, 6},
    {2000, {0}, "any", 0, false, 0},
    {999, {0}, "any", 0, false, 0},
    {7, {60}, "", 22, true, 8},
    {7, {60}, "", 23, false, 0},
    {7, {60}, "any", 0, true, 8},
    {7, {60}, "", 6500, false, 7},
    {7, {NOT_KNOWN}, "", 6500, false, 7}, /* it may be one of them */
    {7, {NOT_KNOWN}, "", 7001, false, 0},
    {UINT32_MAX, {0}, "any", 0, false, 0},
};

START_TEST(answers)
{
    struct listen_rules *rules = rules_of(example);
    uint32_t list[2] = {questions[_i].groups[0], questions[_i].groups[1]};
    const struct groups groups = {.known = list[0] != NOT_KNOWN,
                                  .count = list[0] == NOT_KNOWN ? 0 : !!list[0] + !!list[1],
                                  .list = list};
    const struct listen_question question = {.uid = questions[_i].uid,
                                             .groups = &groups,
                                             .port = questions[_i].port,
                                             .name = questions[_i].name};
    unsigned line = 99;
    bool allowed = listen_rules_allow(rules, &question, &line);
    ck_assert_msg(allowed == questions[_i].allowed && line == questions[_i].line,
                  "uid %u, %s, port %u: %s by line %u", question.uid, question.name, question.port,
                  allowed ? "allowed" : "refused", line);
    listen_rules_free(rules);
}
END_TEST

static bool allows_name(const char *pattern, const char *name)
{
    char text[256];
    unsigned line;
    const struct groups none = {.known = true};
    snprintf(text, sizeof(text), "allow * %s", pattern);
    struct listen_rules *rules = rules_of(text);
    bool allowed = listen_rules_allow(
        rules, &(struct listen_question){.uid = 1, .groups = &none, .name = name}, &line);
    listen_rules_free(rules);
    return allowed;
}

START_TEST(patterns)
{
    static const struct {
        const char *pattern, *fits, *fits_not;
    } table[] = {
        {"a", "a", "aa"},          {"a*", "a", "ba"},          {"a*", "abc", "b"},
        {"*a", "a", "ab"},         {"*a", "aba", "abab"},      {"a*b", "ab", "a"},
        {"a*b", "abxb", "abx"},    {"*ab*", "xabx", "axb"},    {"a**b", "ab", "b"},
        {"*a*b*", "xaxbx", "bxa"}, {"*a*a*a*b", "aaab", "aa"}, {"a*bc*d", "abcbcd", "abcx"},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        ck_assert_msg(allows_name(table[i].pattern, table[i].fits), "%s, %s", table[i].pattern,
                      table[i].fits);
        ck_assert_msg(!allows_name(table[i].pattern, table[i].fits_not), "%s, %s", table[i].pattern,
                      table[i].fits_not);
    }
}
END_TEST

/* In a line that denies, a star leaves nothing out. */
START_TEST(a_star_denies_everything)
{
    struct listen_rules *rules = rules_of("deny bob *\nallow * *,1-1023");
    const struct groups none = {.known = true};
    struct listen_question question = {.uid = BOB, .groups = &none, .port = 80, .name = ""};
    unsigned line;
    ck_assert(!listen_rules_allow(rules, &question, &line));
    ck_assert_uint_eq(line, 1);
    question.uid = ALICE;
    ck_assert(listen_rules_allow(rules, &question, &line));
    ck_assert_uint_eq(line, 2);
    listen_rules_free(rules);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("rules of who may listen");
    TCase *tests = tcase_create("all");
    tcase_add_loop_test(tests, good_texts, 0, sizeof(good) / sizeof(good[0]));
    tcase_add_loop_test(tests, bad_texts, 0, sizeof(bad) / sizeof(bad[0]));
    tcase_add_test(tests, a_nul_is_no_end);
    tcase_add_test(tests, as_many_as_there_may_be);
    tcase_add_loop_test(tests, answers, 0, sizeof(questions) / sizeof(questions[0]));
    tcase_add_test(tests, patterns);
    tcase_add_test(tests, a_star_denies_everything);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
