/* SPDX-License-Identifier: GPL-2.0-or-later */
/* link_mgr's command line, of a link_mgr that was built without Xen: what is wrong is said in one
 * line, with what to do. */
#undef IDC_WITH_XEN
#include "link_mgr/options.c" /* NOLINT(bugprone-suspicious-include) */

#include <check.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/unit/suite.h"

static bool on_xen;

bool platform_xen_is_here(void)
{
    return on_xen;
}

#define ARGUMENTS_MAX 8
#define TEN "/123456789"
#define LONGEST TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN "/123456"
#define UUID "00112233-4455-6677-8899-aabbccddeeff"
#define NO_UUID "00000000-0000-0000-0000-000000000000"
#define TOO_LONG TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN "/1234567"

static const struct {
    const char *arguments[ARGUMENTS_MAX];
    bool on_xen;
    int status;
    const char *words;
} cases[] = {
    {{"--store", "/s", "--domid", "1"}, false, -1, ""},
    {{"--store", "/s", "--domid", "1"}, true, -1, ""},
    {{"--store", "/s", "--domid", "1", "--socket", LONGEST}, false, -1, ""},
    {{"--store", "/s", "--domid", "1", "--socket", TOO_LONG}, false, 2, "at most 107 bytes"},
    {{"--store", "/s", "--domid", "1", "--socket", ""}, false, 2, "--socket needs a path"},
    {{"--store", "", "--domid", "1"}, false, 2, "--store needs a directory"},
    {{"--store", "/s"}, false, 2, "needs --domid N"},
    {{NULL}, false, 2, "this is not a Xen domain, and the local platform needs --store DIR"},
    {{NULL}, true, 1, "built without Xen"},
    {{"--platform", "xen"}, false, 1, "built without Xen"},
    {{"--platform", "local"}, true, 2, "the local platform needs --store DIR"},
    {{"--store", "/s", "--domid", "1", "--name", "7"}, false, -1, ""},
    {{"--store", "/s", "--domid", "1", "--name", "b\xc3\xbcro", "--uuid", UUID}, false, -1, ""},
    {{"--store", "/s", "--domid", "1", "--name", ""}, false, 2, "--name takes a domain's name"},
    {{"--store", "/s", "--domid", "1", "--name", "a\nb"}, false, 2, "no control characters"},
    {{"--store", "/s", "--domid", "1", "--uuid", "7"}, false, 2, "--uuid takes one like 00112233"},
    {{"--store", "/s", "--domid", "1", "--uuid", NO_UUID}, false, 2, "not that of zeros"},
    {{"--platform", "xen", "--name", "web"}, false, 2, "the toolstack says what a domain is"},
    {{"--uuid", UUID}, true, 2, "--name and --uuid are for the local platform"},
    {{"--platform", "other"}, false, 2, "--platform takes auto, xen or local, not \"other\""},
    {{"--bogus"}, false, 2, "--bogus is not an option, or takes no argument (see link_mgr --help)"},
    {{"--verbose", "--bogus=3"},
     false,
     2,
     "--bogus=3 is not an option, or takes no argument (see link_mgr --help)"},
    {{"--verbose=1"},
     false,
     2,
     "--verbose=1 is not an option, or takes no argument (see link_mgr --help)"},
    {{"-xy"}, false, 2, "-x is not an option, or takes no argument (see link_mgr --help)"},
    {{"--store", "/s", "--domid", "1", "--quota", "calls=1", "--quota", "handles=0"},
     false,
     -1,
     ""},
    {{"--quota", "callers=1"}, false, 2, "--quota takes NAME=N"},
    {{"--quota", "calls=x"}, false, 2, "--quota calls takes a number from 0 to 184467440737095516"},
    {{"--quota", "rpc-memory=-1"}, false, 2, "--quota rpc-memory takes a number from 0 to 1844674"},
    {{"--quota", "calls"}, false, 2, "--quota takes NAME=N"},
    {{"--store", "/s", "--domid", "1", "--listen-rules", "f"}, false, -1, ""},
    {{"--check-listen", "f"}, false, -1, ""},
    {{"--check-listen", ""}, false, 2, "--check-listen needs a file"},
    {{"--listen-rules", ""}, false, 2, "--listen-rules needs a file"},
    {{"--store"}, false, 2, "--store needs an argument (see link_mgr --help)"},
    {{"one"}, false, 2, "unexpected argument \"one\" (see link_mgr --help)"},
};

START_TEST(said)
{
    char *argv[ARGUMENTS_MAX + 2] = {(char[]){"/usr/sbin/link_mgr"}};
    char text[512] = "";
    struct options options;
    int argc = 1, told = memfd_create("stderr", MFD_CLOEXEC), before = dup(STDERR_FILENO);
    while (argc <= ARGUMENTS_MAX && cases[_i].arguments[argc - 1] != NULL) {
        argv[argc] = (char *)(uintptr_t)cases[_i].arguments[argc - 1];
        argc++;
    }
    unsetenv("IDC_STORE");
    unsetenv("IDC_SOCKET");
    on_xen = cases[_i].on_xen;
    optind = 0;
    dup2(told, STDERR_FILENO);
    int status = options_parse(argc, argv, &options);
    dup2(before, STDERR_FILENO);
    ssize_t length = pread(told, text, sizeof(text) - 1, 0);
    close(told);
    close(before);
    ck_assert_int_eq(status, cases[_i].status);
    ck_assert_msg(strstr(text, cases[_i].words) != NULL, "%s", text);
    ck_assert_msg(status < 0 ? length == 0
                             : strncmp(text, "link_mgr: ", 10) == 0 &&
                                   strchr(text, '\n') == text + length - 1,
                  "%s", text);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("options");
    TCase *tests = tcase_create("all");
    tcase_add_loop_test(tests, said, 0, sizeof(cases) / sizeof(cases[0]));
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
