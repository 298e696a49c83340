/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_libidc_symbols.c - libidc.so exports what idc.h declares, all of it and nothing else; and
 * idc.h is good C++ too. */
#include <check.h>
#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/suite.h"

#define NAMES_MAX 64

struct names {
    char name[NAMES_MAX][64];
    int count;
};

static void libidc_symbols_add(struct names *names, const char *name, size_t len)
{
    ck_assert_int_lt(names->count, NAMES_MAX);
    ck_assert_uint_lt(len, sizeof(names->name[0]));
    memcpy(names->name[names->count], name, len);
    names->name[names->count++][len] = '\0';
}

static bool libidc_symbols_contains(const struct names *names, const char *name)
{
    for (int i = 0; i < names->count; i++)
        if (strcmp(names->name[i], name) == 0)
            return true;
    return false;
}

/* Each line of idc.h that begins with IDC_API declares one function: the word before the
 * parenthesis. */
static struct names libidc_symbols_declared(void)
{
    struct names names = {.count = 0};
    char line[512];
    FILE *header = fopen("include/idc.h", "r");
    ck_assert_msg(header != NULL, "run this in the project's directory");
    while (fgets(line, sizeof(line), header) != NULL) {
        char *end = strchr(line, '('), *begin = end;
        if (strncmp(line, "IDC_API ", 8) != 0)
            continue;
        ck_assert_ptr_nonnull(end);
        while (begin > line && (isalnum((unsigned char)begin[-1]) || begin[-1] == '_'))
            begin--;
        libidc_symbols_add(&names, begin, (size_t)(end - begin));
    }
    fclose(header);
    return names;
}

/* The library lies beside the directory of this program. */
static struct names libidc_symbols_exported(void)
{
    struct names names = {.count = 0};
    char self[512], command[1100], line[512], name[256];
    ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
    ck_assert_int_gt(len, 0);
    self[len] = '\0';
    *strrchr(self, '/') = '\0';
    snprintf(command, sizeof(command),
             "nm -D --defined-only --with-symbol-versions '%s/../libidc.so'", self);
    FILE *pipe = popen(command, "r");
    while (fgets(line, sizeof(line), pipe) != NULL) {
        ck_assert_int_eq(sscanf(line, "%*s %*c %255s", name), 1);
        char *version = strchr(name, '@');
        if (strncmp(name, "IDC_0", 5) == 0)
            continue; /* the version's own symbol */
        ck_assert_msg(version != NULL && strcmp(version, "@@IDC_0") == 0, "%s has another version",
                      name);
        libidc_symbols_add(&names, name, (size_t)(version - name));
    }
    ck_assert_int_eq(pclose(pipe), 0);
    return names;
}

START_TEST(exported_is_declared)
{
    struct names d = libidc_symbols_declared(), e = libidc_symbols_exported();
    ck_assert_int_ge(d.count, 15);
    for (int i = 0; i < d.count; i++)
        ck_assert_msg(libidc_symbols_contains(&e, d.name[i]), "%s is declared but not exported",
                      d.name[i]);
    for (int i = 0; i < e.count; i++)
        ck_assert_msg(libidc_symbols_contains(&d, e.name[i]), "%s is exported but not declared",
                      e.name[i]);
}
END_TEST

START_TEST(header_is_good_cplusplus)
{
    if (system("command -v g++ >/dev/null") != 0)
        return;
    ck_assert_int_eq(
        system("for version in 11 14 17 20; do printf '#include \"idc.h\"\nint main() {"
               "    struct idc_options options = IDC_OPTIONS_INIT;"
               "    return options.size != sizeof(options) || options.type != IDC_STREAM || "
               "options.timeout_ms != 0"
               "        || options.nonblocking || options.socket || idc_connect_with(0, 1, "
               "&options) < 0; }' | "
               "g++ -x c++ -std=c++$version -Wall -Wextra -pedantic -Werror -fsyntax-only "
               "-Iinclude - || exit 1;"
               "done"),
        0);
    ck_assert_int_eq(system("echo '#include \"idc.h\"' | gcc -x c -std=c99 -Wall -Wextra -Werror "
                            "-fsyntax-only -Iinclude -"),
                     0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("libidc symbols");
    TCase *tests = tcase_create("all");
    tcase_add_test(tests, exported_is_declared);
    tcase_add_test(tests, header_is_good_cplusplus);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
