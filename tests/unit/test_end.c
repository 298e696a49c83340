/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How the ends of channels are written (channels/end.h). */
#include <stdio.h>

#include "channels/end.h"
#include "tests/unit/suite.h"

static const struct {
    const char *text;
    enum end_kind kind;
    const char *where, *service;
    uint32_t port, number;
} good[] = {
    {"idc:3:80", END_IDC, "3", "", 80, 0},
    {"idc:web:org.example.x", END_IDC, "web", "org.example.x", 0, 0},
    {"idc:uuid:00112233-4455-6677-8899-aabbccddeeff:5", END_IDC,
     "uuid:00112233-4455-6677-8899-aabbccddeeff", "", 5, 0},
    {"idc:any:log", END_IDC, "any", "log", 0, 0},
    {"idc:web:4294967295", END_IDC, "web", "", 4294967295u, 0},
    {"idc-listen:22", END_IDC_LISTEN, "", "", 22, 0},
    {"idc-listen:a", END_IDC_LISTEN, "", "a", 0, 0},
    {"unix:/run/a:b,c", END_UNIX, "/run/a:b,c", "", 0, 0},
    {"unix:/a,connected=5", END_UNIX, "/a,connected=5", "", 0, 0},
    {"unix:/a,connect", END_UNIX, "/a,connect", "", 0, 0},
    {"unix-listen:/run/a,other", END_UNIX_LISTEN, "/run/a,other", "", 0, 0},
    {"tcp:host.example:22", END_TCP, "host.example", "", 22, 0},
    {"tcp:[fe80::1]:65535", END_TCP, "fe80::1", "", 65535, 0},
    {"tcp-listen:127.0.0.1:1", END_TCP_LISTEN, "127.0.0.1", "", 1, 0},
    {"tcp-listen:[::]:80", END_TCP_LISTEN, "::", "", 80, 0},
    {"vsock:2:1024", END_VSOCK, "2", "", 1024, 2},
    {"pty:/run/tty", END_PTY, "/run/tty", "", 0, 0},
    {"file:/var/log/x", END_FILE, "/var/log/x", "", 0, 0},
    {"exec:tr a-z A-Z", END_EXEC, "tr a-z A-Z", "", 0, 0},
    {"stdio", END_STDIO, "", "", 0, 0},
    {"fd:7", END_FD, "", "", 0, 7},
};

START_TEST(what_is_right)
{
    struct end end;
    size_t at;
    char why[END_WHY_MAX] = "";
    ck_assert_msg(end_parse(good[_i].text, &end, &at, why), "%s: %s", good[_i].text, why);
    ck_assert_int_eq(end.kind, good[_i].kind);
    ck_assert_str_eq(end.text, good[_i].text);
    ck_assert_str_eq(end.where, good[_i].where);
    ck_assert_str_eq(end.service, good[_i].service);
    ck_assert_uint_eq(end.port, good[_i].port);
    ck_assert_uint_eq(end.number, good[_i].number);
    ck_assert(!end.hybrid && !end.named_port);
}
END_TEST

static const struct {
    const char *text;
    size_t at;
    const char *word; /* of the reason */
} wrong[] = {
    {"", 0, "is no end"},
    {"idc", 3, "idc:DOMAIN:SERVICE"},
    {"idc:", 3, "idc:DOMAIN:SERVICE"},
    {"idc:web", 4, "idc:DOMAIN:SERVICE"},
    {"idc::80", 4, "idc:DOMAIN:SERVICE"},
    {"idc:web:", 4, "idc:DOMAIN:SERVICE"},
    {"idc:99999999:80", 4, "domid"},
    {"idc:web:0", 8, "neither a port"},
    {"idc:web:4294967296", 8, "neither a port"},
    {"idc:web:a b", 8, "neither a port"},
    {"idc-listen:-1", 11, "neither a port"},
    {"IDC:web:80", 0, "is no end"},
    {"tcp:host", 4, "tcp:HOST:PORT"},
    {"tcp:host:0", 9, "1 to 65535"},
    {"tcp:host:65536", 9, "1 to 65535"},
    {"tcp:host:22x", 9, "1 to 65535"},
    {"tcp:::1:22", 4, "brackets"},
    {"tcp-listen:localhost:22", 11, "address of this machine"},
    {"vsock:x:1", 6, "a CID"},
    {"vsock:4294967295:1", 6, "a CID"},
    {"vsock:2:-1", 8, "a port"},
    {"unix:/a,connect=0", 16, "the port of connect="},
    {"unix:/a,connect=", 16, "the port of connect="},
    {"unix:/a,connect=4294967296", 16, "1 to 4294967295, or *"},
    {"unix:/a,connect=5,connect=x", 26, "the port of connect="},
    {"unix:,connect=5", 5, "unix:PATH,connect=PORT"},
    {"stdio:x", 5, "alone"},
    {"fd:-1", 3, "a number"},
    {"fd:99999999", 3, "a number"},
    {"exec:", 4, "exec:COMMAND"},
};

START_TEST(what_is_wrong)
{
    struct end end;
    size_t at = 1000;
    char why[END_WHY_MAX] = "";
    ck_assert_msg(!end_parse(wrong[_i].text, &end, &at, why), "%s", wrong[_i].text);
    ck_assert_msg(strstr(why, wrong[_i].word) != NULL, "%s: %s", wrong[_i].text, why);
    ck_assert_msg(at == wrong[_i].at, "%s: at %zu", wrong[_i].text, at);
}
END_TEST

START_TEST(a_port_behind_a_unix_socket)
{
    struct end end;
    size_t at;
    char why[END_WHY_MAX];
    ck_assert(end_parse("unix:/run/v.sock,connect=4294967295", &end, &at, why));
    ck_assert_str_eq(end.where, "/run/v.sock");
    ck_assert(end.hybrid && !end.named_port && end.port == 4294967295u);
    ck_assert(end_parse("unix:/run/v.sock,connect=*", &end, &at, why));
    ck_assert(end.hybrid && end.named_port && end.port == 0);
    ck_assert(end_parse("unix:/v,connect=1,connect=2", &end, &at, why));
    ck_assert_str_eq(end.where, "/v,connect=1");
    ck_assert_uint_eq(end.port, 2);
}
END_TEST

/* A socket's path has 107 bytes at most, with and without ",connect". */
START_TEST(long_paths)
{
    struct end end;
    size_t at;
    char text[200], why[END_WHY_MAX];
    for (int len = 106; len < 110; len++) {
        snprintf(text, sizeof(text), "unix:/%0*d", len - 1, 0);
        ck_assert_int_eq(end_parse(text, &end, &at, why), len <= 107);
        snprintf(text, sizeof(text), "unix-listen:/%0*d,connect", len - 1, 0);
        ck_assert_int_eq(end_parse(text, &end, &at, why), len <= 107);
        ck_assert(len > 107 ? strstr(why, "at most 107") != NULL : end.hybrid);
        snprintf(text, sizeof(text), "unix:/%0*d,connect=9", len - 1, 0);
        ck_assert_int_eq(end_parse(text, &end, &at, why), len <= 107);
    }
}
END_TEST

START_TEST(too_long)
{
    struct end end;
    size_t at;
    char text[END_TEXT_MAX + 1], why[END_WHY_MAX];
    memset(text, 'a', sizeof(text));
    memcpy(text, "exec:", 5);
    text[END_TEXT_MAX] = '\0';
    ck_assert(!end_parse(text, &end, &at, why));
    text[END_TEXT_MAX - 1] = '\0';
    ck_assert(end_parse(text, &end, &at, why));
    ck_assert_uint_eq(strlen(end.where), END_TEXT_MAX - 6);
}
END_TEST

/* FROM, TO, and which one listens (-1: none; -2: they don't match). */
static const struct {
    const char *from, *to;
    int listening;
} pairs[] = {
    {"idc-listen:a", "unix:/a", 0},
    {"unix:/a", "idc-listen:a", 1},
    {"pty:/a", "idc-listen:a", 1},
    {"idc:1:a", "unix:/a", -1},
    {"stdio", "idc:1:a", -1},
    {"idc-listen:a", "unix-listen:/a", -2},
    {"file:/a", "idc:1:a", -2},
    {"idc:1:a", "file:/a", -1},
    {"stdio", "stdio", -2},
    {"unix-listen:/a", "idc:1:*", -2},
    {"unix-listen:/a,connect", "idc:1:*", 0},
    {"unix-listen:/a,connect", "vsock:3:*", 0},
    {"unix-listen:/a,connect", "unix:/b,connect=*", 0},
    {"idc-listen:a", "unix:/b,connect=*", -2},
    {"idc-listen:a", "unix:/b,connect=5", 0},
    {"idc:1:*", "unix:/a", -2},
    {"unix:/a", "idc:1:*", -2},
};

START_TEST(which_match)
{
    struct end from, to;
    const struct end *listening, *other;
    size_t at;
    char why[END_WHY_MAX] = "";
    ck_assert(end_parse(pairs[_i].from, &from, &at, why));
    ck_assert(end_parse(pairs[_i].to, &to, &at, why));
    bool match = end_match(&from, &to, &listening, &other, why);
    ck_assert_msg(match == (pairs[_i].listening != -2), "%s %s", pairs[_i].from, pairs[_i].to);
    ck_assert(match || why[0] != '\0');
    if (match)
        ck_assert_ptr_eq(listening, pairs[_i].listening == -1  ? NULL
                                    : pairs[_i].listening == 0 ? &from
                                                               : &to);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("end");
    tcase_add_loop_test(tests, what_is_right, 0, sizeof(good) / sizeof(good[0]));
    tcase_add_loop_test(tests, what_is_wrong, 0, sizeof(wrong) / sizeof(wrong[0]));
    tcase_add_test(tests, a_port_behind_a_unix_socket);
    tcase_add_test(tests, long_paths);
    tcase_add_test(tests, too_long);
    tcase_add_loop_test(tests, which_match, 0, sizeof(pairs) / sizeof(pairs[0]));
    Suite *suite = suite_create("end");
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
