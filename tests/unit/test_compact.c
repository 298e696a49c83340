/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_compact.c - compact documents: what is written is read again, and nothing that is malformed
 * is. */
#include "common/compact.h"
#include "tests/unit/suite.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static struct compact_writer compact_example(void)
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
    struct compact_writer w = compact_example();
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
    ck_assert(compact_equal(&m.name, "name") && m.type == COMPACT_TEXT &&
              compact_equal(&m.text, "org.example"));
    compact_copy(&m.text, text, sizeof(text));
    ck_assert_str_eq(text, "org.e");
    ck_assert_int_eq(compact_next(&reader, &m), 1);
    ck_assert(compact_equal(&m.name, "empty") && m.text.len == 0);
    ck_assert_int_eq(compact_next(&reader, &m), 0);
    ck_assert_int_eq(compact_next(&reader, &m), 0);
}
END_TEST

/* What compact.h says, byte by byte: two sides that are wrong alike would understand each other. */
START_TEST(the_layout)
{
    static const char call[] = "\0C"
                               "\1m"
                               "\1n"
                               "i\xF7\xFE\xFF\xFF\xFF\xFF\xFF\xFF"
                               "\1t"
                               "b\1"
                               "\1f"
                               "b\0"
                               "\1s"
                               "s\3\0abc";
    static const char fault[] = "\0F"
                                "\1n"
                                "i\x08\x07\x06\x05\x04\x03\x02\x01";
    struct compact_writer w;
    struct compact_reader reader;
    struct compact_member m;
    compact_begin(&w, COMPACT_CALL, "m");
    compact_put_number(&w, "n", -265);
    compact_put_boolean(&w, "t", true);
    compact_put_boolean(&w, "f", false);
    compact_put_text(&w, "s", "abc");
    ck_assert_uint_eq(w.len, sizeof(call) - 1);
    ck_assert_mem_eq(w.bytes, call, w.len);
    /* no method */
    ck_assert(compact_open(&reader, fault, sizeof(fault) - 1, COMPACT_FAULT, NULL));
    ck_assert_int_eq(compact_next(&reader, &m), 1);
    ck_assert(compact_equal(&m.name, "n") && m.number == 0x0102030405060708);
    compact_begin(&w, COMPACT_FAULT, NULL);
    compact_put_number(&w, "n", m.number);
    ck_assert_uint_eq(w.len, sizeof(fault) - 1);
    ck_assert_mem_eq(w.bytes, fault, w.len);
}
END_TEST

/* Names and texts as long as they can be. */
START_TEST(long_ones)
{
    char name[257], text[701], copy[702];
    struct compact_writer w;
    struct compact_reader reader;
    struct compact_text method;
    struct compact_member m;
    memset(name, 'n', sizeof(name));
    memset(text, 't', sizeof(text));
    name[255] = text[700] = '\0';
    compact_begin(&w, COMPACT_CALL, "m");
    compact_put_text(&w, name, text);
    ck_assert(!w.failed);
    ck_assert_mem_eq(w.bytes + 5 + 255, "s\xBC\2t", 4); /* 700 */
    ck_assert(compact_open(&reader, w.bytes, w.len, COMPACT_CALL, &method));
    ck_assert_int_eq(compact_next(&reader, &m), 1);
    ck_assert(compact_equal(&m.name, name) && compact_equal(&m.text, text));
    memset(copy, 'x', sizeof(copy));
    compact_copy(&m.text, copy, sizeof(copy));
    ck_assert_str_eq(copy, text);
    text[699] = '\0';
    ck_assert(!compact_equal(&m.text, text) && !compact_equal(&m.text, ""));
    name[255] = 'n'; /* one more than a byte can tell */
    name[256] = '\0';
    compact_begin(&w, COMPACT_CALL, name);
    ck_assert(w.failed);
    compact_begin(&w, COMPACT_CALL, "m");
    compact_put_boolean(&w, name, true);
    ck_assert(w.failed);
}
END_TEST

/* Cut off anywhere but between two members, it is malformed. In memory of its own, so that a
 * sanitizer sees a read behind it. */
START_TEST(cut_off)
{
    struct compact_writer w = compact_example();
    int whole = 0, again = 0;
    for (size_t len = 0; len < w.len; len++) {
        uint8_t *copy = malloc(len + 1);
        memcpy(copy, w.bytes, len);
        uint8_t *exact = realloc(copy, len > 0 ? len : 1);
        whole += count_members(exact, len) >= 0;
        free(exact);
        /* Nor with the rest of the document behind the cut. */
        again += count_members(w.bytes, len) >= 0;
    }
    ck_assert_int_eq(again, 5);
    ck_assert_int_eq(whole, 5); /* behind the method, and behind four of five members */
    ck_assert_int_eq(count_members(w.bytes, w.len), 5);
}
END_TEST

START_TEST(wrong_values)
{
    static const char two[] = "\0C\1m\1b"
                              "b\2",
                      type[] = "\0C\1m\1b"
                               "x\0",
                      bare[] = "\0C\1m\1b"
                               "x",
                      xml[] = "<C\1m";
    ck_assert_int_eq(count_members((const uint8_t *)two, sizeof(two) - 1), -1);
    ck_assert_int_eq(count_members((const uint8_t *)type, sizeof(type) - 1), -1);
    ck_assert_int_eq(count_members((const uint8_t *)bare, sizeof(bare) - 1), -1);
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
    ck_assert_uint_le(w.len, COMPACT_MAX);
    for (size_t over = 1; over < 4; over++) {
        compact_begin(&w, COMPACT_RESULT, NULL);
        text[COMPACT_MAX - 2 - 2 - 1 - 2] = 'x';
        text[COMPACT_MAX - 2 - 2 - 1 - 2 + over] = '\0';
        compact_put_text(&w, "t", text);
        ck_assert(w.failed);
        ck_assert_uint_le(w.len, COMPACT_MAX);
        text[COMPACT_MAX - 2 - 2 - 1 - 2 + over] = 'x';
        size_t before = w.len;
        compact_put_boolean(&w, "b", true); /* which would fit */
        ck_assert(w.failed && w.len == before);
    }
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
    tcase_add_test(tests, the_layout);
    tcase_add_test(tests, long_ones);
    tcase_add_test(tests, cut_off);
    tcase_add_test(tests, wrong_values);
    tcase_add_test(tests, too_much);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
