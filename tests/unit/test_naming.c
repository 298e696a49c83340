/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_naming.c - the texts that name a domain: what each form means, and which are refused. */
#include "common/naming.h"
#include "tests/unit/suite.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

static struct naming naming_good(const char *text)
{
    struct naming naming;
    const char *wrong = naming_parse(&naming, text);
    ck_assert_msg(wrong == NULL, "%s: %s", text, wrong);
    return naming;
}

static void naming_refused(const char *text, const char *why)
{
    struct naming naming;
    const char *wrong = naming_parse(&naming, text);
    ck_assert_msg(wrong != NULL, "%s is taken", text);
    ck_assert_msg(strstr(wrong, why) != NULL, "%s: %s", text, wrong);
}

START_TEST(naming_by_domid)
{
    static const struct {
        const char *text;
        uint32_t domid;
    } good[] = {{"0", 0},       {"7", 7},         {"32751", 32751}, {"dom0", 0},
                {"domid:0", 0}, {"domid:12", 12}, {"0007", 7},      {"domid:032751", 32751}};
    static const char *const bad[] = {"32753",   "65536",   "4294967303", "99999999999999999999999",
                                      "domid:",  "domid:x", "domid:-1",   "domid:32753",
                                      "domid:7 "};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct naming naming = naming_good(good[i].text);
        ck_assert_int_eq(naming.kind, NAMING_DOMID);
        ck_assert_uint_eq(naming.domid, good[i].domid);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        naming_refused(bad[i], "a domid is 0 to 32751");
}
END_TEST

START_TEST(naming_by_word)
{
    static const char *const names[] = {"Self", "ANY", "Dom0", "selfish", "any1", "dom00"};
    ck_assert_int_eq(naming_good("self").kind, NAMING_SELF);
    ck_assert_int_eq(naming_good("32752").kind, NAMING_SELF);
    ck_assert_int_eq(naming_good("any").kind, NAMING_ANY);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        ck_assert_str_eq(naming_good(names[i]).name, names[i]);
}
END_TEST

START_TEST(naming_by_name)
{
    static const struct {
        const char *text, *name;
    } good[] = {{"web", "web"},
                {"7a", "7a"},
                {"-7", "-7"},
                {" ", " "},
                {"my guest", "my guest"},
                {"b\xc3\xbc"
                 "ro",
                 "b\xc3\xbc"
                 "ro"},
                {"\xff\x80", "\xff\x80"},
                {"name:7", "7"},
                {"name:any", "any"},
                {"name:self", "self"},
                {"name:dom0", "dom0"},
                {"name:name:x", "name:x"},
                {"name:@x*?:", "@x*?:"}};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct naming naming = naming_good(good[i].text);
        ck_assert_int_eq(naming.kind, NAMING_NAME);
        ck_assert_str_eq(naming.name, good[i].name);
    }
    naming_refused("", "not empty");
    naming_refused("name:", "not empty");
    naming_refused("a\nb", "control");
    naming_refused("name:\x7f", "control");
    naming_refused("@guests", "group");
    naming_refused("mail-*", "glob");
    naming_refused("mail-?", "glob");
    naming_refused("a:b", "name:NAME");
    naming_refused("Name:b", "name:NAME");
    naming_refused(":", "name:NAME");
}
END_TEST

/* As long as a name can be, and a byte longer, with and without its prefix. */
START_TEST(naming_length)
{
    char text[NAMING_TEXT_MAX + 2] = "name:";
    memset(text + 5, 'x', NAMING_NAME_MAX);
    ck_assert_uint_eq(strlen(text), NAMING_TEXT_MAX);
    ck_assert_str_eq(naming_good(text).name, text + 5);
    ck_assert_str_eq(naming_good(text + 5).name, text + 5);
    text[NAMING_TEXT_MAX] = 'x';
    naming_refused(text, "255");
    naming_refused(text + 5, "255");
}
END_TEST

START_TEST(naming_by_uuid)
{
    static const char canonical[] = "00112233-4455-6677-8899-aabbccddeeff";
    char text[NAMING_UUID_TEXT + 1];
    struct naming naming = naming_good("uuid:00112233-4455-6677-8899-AABBCCDDeeff");
    ck_assert_int_eq(naming.kind, NAMING_UUID);
    ck_assert_uint_eq(naming.uuid[0], 0);
    ck_assert_uint_eq(naming.uuid[15], 0xff);
    naming_write_uuid(naming.uuid, text);
    ck_assert_str_eq(text, canonical);
    naming_refused("uuid:", "a UUID is written");
    naming_refused("uuid:00112233-4455-6677-8899-aabbccddeef", "a UUID is written");
    naming_refused("uuid:00112233-4455-6677-8899-aabbccddeefff", "a UUID is written");
    naming_refused("uuid:00112233-4455-6677-8899-aabbccddeefg", "a UUID is written");
    naming_refused("uuid:001122334-455-6677-8899-aabbccddeeff", "a UUID is written");
    naming_refused("uuid:00000000-0000-0000-0000-000000000000", "zeros");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("naming");
    TCase *tests = tcase_create("naming");
    tcase_add_test(tests, naming_by_domid);
    tcase_add_test(tests, naming_by_word);
    tcase_add_test(tests, naming_by_name);
    tcase_add_test(tests, naming_length);
    tcase_add_test(tests, naming_by_uuid);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
