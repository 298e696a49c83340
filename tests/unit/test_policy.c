/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Policy values: what is read, what is refused, who may connect, and how values are written.
 */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "link_mgr/core/policy.h"
#include "tests/unit/suite.h"

static struct policy policy;
static char text[POLICY_VALUE_MAX + 1];

/* ---- reading and writing ---- */

static const struct {
    const char *value, *canonical;
} good[] = {
    {"", ""},
    {"in=* out=*", "in=* out=*"},
    {"out=* in=*", "in=* out=*"},
    {"in=80", "in=80"},
    {"out=80", "out=80"},
    {"in=1 out=4294967295", "in=1 out=4294967295"},
    {"in=443,80", "in=80,443"},
    {"in=81,80", "in=80-81"},
    {"in=80,80,80", "in=80"},
    {"in=5000-5010,5005-5020,5021,5023", "in=5000-5021,5023"},
    {"in=1-4294967295,7,4294967295", "in=1-4294967295"},
    {"in=9-9", "in=9"},
    {"in=20-30,1-100,40", "in=1-100"},
    {"in=b,a,b,80", "in=80,a,b"},
    {"in=org.example.clipboard out=A_b-c.9", "in=org.example.clipboard out=A_b-c.9"},
    {"in=-x", "in=-x"},
    {"in=.x", "in=.x"},
    {"in=8080a", "in=8080a"},
    {"in=0x50", "in=0x50"}, /* a name */
};

START_TEST(good_values)
{
    ck_assert_int_eq(policy_parse(&policy, good[_i].value, NULL), 0);
    ck_assert_int_eq(policy_format(&policy, text, sizeof(text)), (int)strlen(good[_i].canonical));
    ck_assert_str_eq(text, good[_i].canonical);
    struct policy again;
    ck_assert_int_eq(policy_parse(&again, text, NULL), 0);
    ck_assert_mem_eq(&again.in.ranges, &policy.in.ranges,
                     again.in.range_count * sizeof(again.in.ranges[0]));
}
END_TEST

static const char *const bad[] = {
    " ",
    "in",
    "in=",
    "out=",
    "in= out=*",
    "*",
    "80",
    "in=* ",
    " in=*",
    "in=*  out=*",
    "in=*\tout=*",
    "in=*\n",
    "in=80\nout=80",
    "IN=*",
    "in=*,80",
    "in=80,*",
    "in=**",
    "in=80,",
    "in=,80",
    "in=80,,81",
    "in=0",
    "in=0-5",
    "in=080",
    "in=4294967296",
    "in=99999999999999999999",
    "in=18446744073709551617",
    "in=5010-5000",
    "in=5000-",
    "in=-5000",
    "in=-",
    "in=1-2-3",
    "in=1--2",
    "in=+80",
    "in=80 in=81",
    "out=1 in=2 out=3",
    "in=* out=* both=*",
    "in=a/b",
    "in=a:b",
    "in=a b",
    "in=caf\xc3\xa9",
    "in=.",
    "in=5-_",
    "in=80;81",
    "inn=80",
    "in==80",
    "in=x*",
    /* 80 bytes */
    "in=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
};

START_TEST(bad_values)
{
    const char *why = NULL;
    memset(&policy, 0x55, sizeof(policy));
    ck_assert_msg(policy_parse(&policy, bad[_i], &why) == -EINVAL, "'%s' was taken", bad[_i]);
    ck_assert_ptr_nonnull(why);
    ck_assert(!policy_allows_in(&policy, 80, NULL));
    ck_assert(!policy_allows_out(&policy, 1, NULL));
    ck_assert_int_eq(policy_format(&policy, text, sizeof(text)), 0);
}
END_TEST

static void list_of(char *out, unsigned count, bool named)
{
    out += sprintf(out, "in=%s10", named ? "name" : "");
    for (unsigned i = 1; i < count; i++)
        out += sprintf(out, named ? ",name%u" : ",%u", 10 + 2 * i);
}

START_TEST(a_list_has_a_maximum)
{
    char value[POLICY_VALUE_MAX + 1];
    list_of(value, POLICY_ITEMS_MAX, false);
    ck_assert_int_eq(policy_parse(&policy, value, NULL), 0);
    ck_assert_uint_eq(policy.in.range_count, POLICY_ITEMS_MAX);
    list_of(value, POLICY_ITEMS_MAX + 1, false);
    ck_assert_int_eq(policy_parse(&policy, value, NULL), -EINVAL);
    list_of(value, POLICY_ITEMS_MAX, true);
    ck_assert_int_eq(policy_parse(&policy, value, NULL), 0);
    ck_assert_uint_eq(policy.in.name_count, POLICY_ITEMS_MAX);
    list_of(value, POLICY_ITEMS_MAX + 1, true);
    ck_assert_int_eq(policy_parse(&policy, value, NULL), -EINVAL);
}
END_TEST

START_TEST(what_does_not_fit_is_not_written)
{
    ck_assert_int_eq(policy_parse(&policy, "in=80,name out=*", NULL), 0);
    for (size_t size = 1; size <= strlen("in=80,name out=*"); size++) {
        char *small = malloc(size); /* exactly, for the sanitizers to see a byte too many */
        ck_assert_int_eq(policy_format(&policy, small, size), -ENOSPC);
        free(small);
    }
    ck_assert_int_eq(policy_format(&policy, text, strlen("in=80,name out=*") + 1), 16);
    ck_assert_int_eq(policy_format_list(&policy.in, text, sizeof(text)), 7);
    ck_assert_str_eq(text, "80,name");
}
END_TEST

START_TEST(single_lists)
{
    struct policy_list list;
    const char *why = NULL;
    ck_assert_int_eq(policy_parse_list(&list, "82,80-81,x", NULL), 0);
    ck_assert_int_eq(policy_format_list(&list, text, sizeof(text)), 7);
    ck_assert_str_eq(text, "80-82,x");
    ck_assert_int_eq(policy_parse_list(&list, "80,81 out=*", &why), -EINVAL);
    ck_assert_ptr_nonnull(why);
    ck_assert_uint_eq(list.range_count, 0);
    ck_assert_int_eq(policy_parse_list(&list, "", &why), -EINVAL);
}
END_TEST

/* ---- asking ---- */

static const struct {
    const char *value;
    uint32_t port;
    const char *name;
    bool in, out;
} answers[] = {
    {"", 80, NULL, false, false},
    {"", 1, NULL, false, false},
    {"", 0, NULL, false, false},
    {"in=* out=*", 80, NULL, true, true},
    {"in=* out=*", 1, NULL, true, true},
    {"in=* out=*", 4294967295, NULL, true, true},
    {"in=* out=*", 0, NULL, false, false}, /* there is no port 0 */
    {"in=* out=*", 0, "x", true, true},
    {"in=*", 80, NULL, true, false},
    {"out=*", 80, NULL, false, true},
    {"in=80 out=80", 80, NULL, true, true},
    {"in=80 out=80", 79, NULL, false, false},
    {"in=80 out=80", 81, NULL, false, false},
    {"in=5000-5010 out=5000-5010", 4999, NULL, false, false},
    {"in=5000-5010 out=5000-5010", 5000, NULL, true, true},
    {"in=5000-5010 out=5000-5010", 5010, NULL, true, true},
    {"in=5000-5010 out=5000-5010", 5011, NULL, false, false},
    /* the manager's port */
    {"in=80 out=80", 1, NULL, true, true},
    {"in=x out=x", 1, NULL, true, true},
    {"in=80", 1, NULL, true, false},
    {"out=80", 1, NULL, false, true},
    /* names: our side can't know the port at first, the other side resolves it */
    {"in=x out=x", 0, "x", true, true},
    {"in=x out=x", 0, "y", false, false},
    {"in=x out=x", 80, NULL, false, false},
    {"in=x out=x", 80, "x", true, true},
    {"in=x out=x", 80, "X", false, false},
    {"in=80 out=80", 80, "x", true, true},
    {"in=80 out=80", 81, "x", false, false},
    {"in=80 out=80", 0, "x", false, true},
    {"in=80 out=80", 80, "", true, true},
    {"in=80 out=80", 81, "", false, false},
    {"in=xy out=xy", 0, "x", false, false},
};

START_TEST(questions)
{
    ck_assert_int_eq(policy_parse(&policy, answers[_i].value, NULL), 0);
    ck_assert_int_eq(policy_allows_in(&policy, answers[_i].port, answers[_i].name), answers[_i].in);
    ck_assert_int_eq(policy_allows_out(&policy, answers[_i].port, answers[_i].name),
                     answers[_i].out);
}
END_TEST

START_TEST(service_names)
{
    char name[IDC_SERVICE_MAX + 2];
    memset(name, 'a', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    ck_assert(!policy_valid_service(name));
    ck_assert(policy_valid_service(name + 1));
    ck_assert(policy_valid_service("a"));
    ck_assert(policy_valid_service("Z_9.-"));
    ck_assert(policy_valid_service("8080x"));
    ck_assert(!policy_valid_service(""));
    ck_assert(!policy_valid_service("8080"));
    ck_assert(!policy_valid_service("a b"));
    ck_assert(!policy_valid_service("a,b"));
    ck_assert(!policy_valid_service("a\n"));
    ck_assert(!policy_valid_service("*"));
    ck_assert(!policy_valid_service("\xe9"));
}
END_TEST

static void expect_canonical(const struct policy_list *list)
{
    for (unsigned i = 1; i < list->range_count; i++)
        ck_assert_uint_gt(list->ranges[i].first, (uint64_t)list->ranges[i - 1].last + 1);
    for (unsigned i = 1; i < list->name_count; i++)
        ck_assert_int_gt(strcmp(list->names[i], list->names[i - 1]), 0);
}

/* Random text made of the grammar's own characters: what is taken is canonical, and the same when
 * written and read. */
START_TEST(random_values_survive_a_round_trip)
{
    static const char alphabet[] = "in=out=**,,--  0123456789a.";
    char value[64], again[POLICY_VALUE_MAX + 1];
    unsigned taken = 0;
    int rounds = getenv("IDC_TEST_SHORT") ? 50000 : 1000000; /* short: slow builds */
    srandom(20240607);
    for (int round = 0; round < rounds; round++) {
        size_t length = (size_t)random() % 16;
        int start = sprintf(value, "%s", random() % 2 ? "in=" : "out=");
        for (size_t i = 0; i < length; i++)
            value[start + (int)i] = alphabet[(size_t)random() % (sizeof(alphabet) - 1)];
        value[start + (int)length] = '\0';
        if (policy_parse(&policy, value, NULL) != 0)
            continue;
        taken++;
        expect_canonical(&policy.in);
        expect_canonical(&policy.out);
        ck_assert_int_ge(policy_format(&policy, text, sizeof(text)), 0);
        ck_assert_int_eq(policy_parse(&policy, text, NULL), 0);
        ck_assert_int_ge(policy_format(&policy, again, sizeof(again)), 0);
        ck_assert_str_eq(text, again);
    }
    ck_assert_uint_gt(taken, (unsigned)rounds / 100);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("policy");
    TCase *c = tcase_create("policy");
    tcase_set_timeout(c, 120);
    tcase_add_loop_test(c, good_values, 0, sizeof(good) / sizeof(good[0]));
    tcase_add_loop_test(c, bad_values, 0, sizeof(bad) / sizeof(bad[0]));
    tcase_add_test(c, a_list_has_a_maximum);
    tcase_add_test(c, what_does_not_fit_is_not_written);
    tcase_add_test(c, single_lists);
    tcase_add_loop_test(c, questions, 0, sizeof(answers) / sizeof(answers[0]));
    tcase_add_test(c, service_names);
    tcase_add_test(c, random_values_survive_a_round_trip);
    suite_add_tcase(suite, c);
    return run_suite(suite);
}
