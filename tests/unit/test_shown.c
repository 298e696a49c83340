/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Texts of others in what people read (common/shown.h). */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/shown.h"
#include "tests/unit/suite.h"

/* NOLINTBEGIN(misc-misleading-bidirectional): that is what these are about */
static const struct {
    const char *text;
    unsigned how;
    const char *shown;
} examples[] = {
    {"", 0, ""},
    {"mail-1 ~!\"\\", 0, "mail-1 ~!\"\\"},
    {"a\\b", SHOWN_BACKSLASH, "a\\x5cb"},
    {"a\nb\tc\033[2Jd\177", 0, "a\\x0ab\\x09c\\x1b[2Jd\\x7f"},
    {"b\303\274ro", 0, "b\303\274ro"},
    {"b\303\274ro", SHOWN_ASCII, "b\\xc3\\xbcro"},
    {"\346\227\245\360\237\220\247", 0, "\346\227\245\360\237\220\247"}, /* a sign, and a penguin */
    {"x\342\200\256y", 0, "x\\xe2\\x80\\xaey"},                          /* U+202E */
    {"\342\200\213", 0, "\\xe2\\x80\\x8b"},                              /* U+200B */
    {"\342\201\246", 0, "\\xe2\\x81\\xa6"},                              /* U+2066 */
    {"\342\200\250", 0, "\\xe2\\x80\\xa8"},                              /* U+2028 */
    {"\357\273\277", 0, "\\xef\\xbb\\xbf"},                              /* U+FEFF */
    {"\302\233", 0, "\\xc2\\x9b"},                                       /* U+009B: CSI */
    {"\302\255", 0, "\\xc2\\xad"},                                       /* U+00AD */
    {"\330\234", 0, "\\xd8\\x9c"},                                       /* U+061C */
    {"\363\240\201\201", 0, "\\xf3\\xa0\\x81\\x81"},                     /* U+E0041: a tag */
    /* what is no UTF-8 */
    {"\233", 0, "\\x9b"},
    {"\303", 0, "\\xc3"},
    {"\303x", 0, "\\xc3x"},
    {"\300\212", 0, "\\xc0\\x8a"},                   /* a newline in two bytes */
    {"\340\200\212", 0, "\\xe0\\x80\\x8a"},          /* in three */
    {"\355\240\200", 0, "\\xed\\xa0\\x80"},          /* a surrogate */
    {"\364\220\200\200", 0, "\\xf4\\x90\\x80\\x80"}, /* beyond Unicode */
    {"\377\376", 0, "\\xff\\xfe"},
};
/* NOLINTEND(misc-misleading-bidirectional) */

START_TEST(example_texts)
{
    char out[100], *printed = NULL;
    size_t size;
    const char *text = examples[_i].text;
    ck_assert_uint_eq(shown_text(out, sizeof(out), text, strlen(text), examples[_i].how),
                      strlen(text));
    ck_assert_str_eq(out, examples[_i].shown);
    strcpy(out, text);
    shown_in_place(out, sizeof(out), examples[_i].how);
    ck_assert_str_eq(out, examples[_i].shown);
    FILE *file = open_memstream(&printed, &size);
    shown_printf(file, "%s", text);
    fclose(file);
    if (examples[_i].how == SHOWN_UTF8)
        ck_assert_str_eq(printed, examples[_i].shown);
    free(printed);
}
END_TEST

START_TEST(nothing_is_cut_in_two)
{
    char out[9];
    ck_assert_uint_eq(shown_text(out, sizeof(out), "ab\n\ncd", 6, 0), 3);
    ck_assert_str_eq(out, "ab\\x0a");
    ck_assert_uint_eq(shown_text(out, sizeof(out), "12345678abc", 11, 0), 8);
    ck_assert_str_eq(out, "12345678");
    ck_assert_uint_eq(shown_text(out, sizeof(out), "1234567\303\274", 9, 0), 7);
    ck_assert_str_eq(out, "1234567");
    ck_assert_uint_eq(shown_text(out, sizeof(out), "a\0b", 3, 0), 3);
    ck_assert_str_eq(out, "a\\x00b");
    ck_assert_uint_eq(shown_text(out, 1, "a", 1, 0), 0);
    ck_assert_str_eq(out, "");
    strcpy(out, "ab\ncd\n");
    shown_in_place(out, sizeof(out), 0);
    ck_assert_str_eq(out, "ab\\x0acd");
}
END_TEST

/* Each character that a text of two to four bytes can have is shown whole or not at all, and is
 * what it was. */
START_TEST(all_characters)
{
    for (unsigned character = 0; character < 0x110000; character++) {
        char text[4], out[32];
        size_t length = character < 0x80 ? 1 : character < 0x800 ? 2 : character < 0x10000 ? 3 : 4;
        for (size_t i = length; i-- > 1;)
            text[i] = (char)(0x80 | (character >> (6 * (length - 1 - i)) & 0x3f));
        text[0] = (char)(length == 1 ? character
                                     : (0xf00u >> length & 0xff) | character >> 6 * (length - 1));
        shown_text(out, sizeof(out), text, length, 0);
        if (shown_character(text, length) != 0)
            ck_assert(strlen(out) == length && memcmp(out, text, length) == 0);
        else
            ck_assert_uint_eq(strlen(out), 4 * length);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("shown");
    TCase *tests = tcase_create("shown");
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, example_texts, 0, sizeof(examples) / sizeof(examples[0]));
    tcase_add_test(tests, nothing_is_cut_in_two);
    tcase_add_test(tests, all_characters);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
