/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_compact.c - compact documents: what is written is read again, and nothing that is malformed is. */
#include "common/compact.h"
#include "tests/unit/suite.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static struct compact_writer example(void)
{
    struct compact_writer w;
    compact_begin(&w, COMPACT_CALL, "idc.connect");
    compact_put_number(&w, "domid", 7);
    compact_put_number(&w, "least", INT64_MIN);
    compact_put_boolean(&w, "fd", true);
    compact_put_text(&w, "name", "org.example");
    compact_put_text(&w, "empty", "");
    ck_assert(!w.failed);
    return w;
}

/* How many members can be read; -1: malformed somewhere. */
static int count_members(const uint8_t *bytes, size_t len)
{
    struct compact_reader reader;
    struct compact_member member;
    struct compact_text method;
    int count = 0, more;
    if (!compact_open(&reader, bytes, len, COMPACT_CALL, &method))
        return -1;
    while ((more = compact_next(&reader, &member)) > 0)
        count++;
    return more < 0 ? -1 : count;
}

START_TEST(read_as_written)
{
    struct compact_writer w = example();
    struct compact_reader reader;
    struct compact_text method;
    struct compact_member m;
    char text[6];
    ck_assert(compact_is(w.bytes, w.len));
    ck_assert(!compact_is("<?xml", 5));
    ck_assert(!compact_is("", 0));
    ck_assert(!compact_open(&reader, w.bytes, w.len, COMPACT_RESULT, NULL));
    ck_assert(compact_open(&reader, w.bytes, w.len, COMPACT_CALL, &method));
    ck_assert(compact_equal(&method, "idc.connect"));
    ck_assert(!compact_equal(&method, "idc.connec") && !compact_equal(&method, "idc.connectx"));
    ck_assert_int_eq(compact_next(&reader, &m), 1);
    ck_assert(compact_equal(&m.name, "domid") && m.type == COMPACT_NUMBER && m.number == 7);
    ck_assert_int_eq(compact_next(&reader, &m), 1);
    ck_assert(compact_equal(&m.name, "least") && m.number == INT64_MIN);
    ck_assert_int_eq(compact_next(&reader, &m), 1);
    ck_assert(compact_equal(&m.name, "fd") && m.type == COMPACT_BOOLEAN && m.number == 1);
    ck_assert_int_eq(compact_next(&reader, &m), 1);
    ck_assert(compact_equal(&m.name, "name") && m.type == COMPACT_TEXT && compact_equal(&m.text, "org.example"));
    compact_copy(&m.text, text, sizeof(text));
    ck_assert_str_eq(text, "org.e");
    ck_assert_int_eq(compact_next(&reader, &m), 1);
    ck_assert(compact_equal(&m.name, "empty") && m.text.len == 0);
    ck_assert_int_eq(compact_next(&reader, &m), 0);
    ck_assert_int_eq(compact_next(&reader, &m), 0);
}
END_TEST

/* Cut off anywhere but between two members, it is malformed. In memory of its own, so that a sanitizer sees a read behind it. */
START_TEST(cut_off)
{
    struct compact_writer w = example();
    int whole = 0;
    for (size_t len = 0; len < w.len; len++) {
        uint8_t *copy = malloc(len + 1);
        memcpy(copy, w.bytes, len);
        uint8_t *exact = realloc(copy, len > 0 ? len : 1);
        whole += count_members(exact, len) >= 0;
        free(exact);
    }
    ck_assert_int_eq(whole, 5); /* behind the method, and behind four of five members */
    ck_assert_int_eq(count_members(w.bytes, w.len), 5);
}
END_TEST

START_TEST(wrong_values)
{
    static const char two[] = "\0C\1m\1b" "b\2", type[] = "\0C\1m\1b" "x\0", xml[] = "<C\1m";
    ck_assert_int_eq(count_members((const uint8_t *)two, sizeof(two) - 1), -1);
    ck_assert_int_eq(count_members((const uint8_t *)type, sizeof(type) - 1), -1);
    ck_assert_int_eq(count_members((const uint8_t *)xml, sizeof(xml) - 1), -1);
}
END_TEST

/* What does not fit makes the document a failed one, whatever fits afterwards. */
START_TEST(too_much)
{
    struct compact_writer w;
    char text[COMPACT_MAX + 10], name[300];
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    compact_begin(&w, COMPACT_RESULT, NULL);
    text[COMPACT_MAX - 2 - 2 - 1 - 2] = '\0'; /* fills it to the last byte */
    compact_put_text(&w, "t", text);
    ck_assert(!w.failed);
    ck_assert_uint_eq(w.len, COMPACT_MAX);
    compact_put_boolean(&w, "b", true);
    ck_assert(w.failed);
    compact_begin(&w, COMPACT_RESULT, NULL);
    ck_assert(!w.failed);
    compact_put_number(&w, name, 1);
    ck_assert(w.failed);
    compact_put_number(&w, "n", 1);
    ck_assert(w.failed);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("compact documents");
    TCase *tests = tcase_create("all");
    tcase_add_test(tests, read_as_written);
    tcase_add_test(tests, cut_off);
    tcase_add_test(tests, wrong_values);
    tcase_add_test(tests, too_much);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
