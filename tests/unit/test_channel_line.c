/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lines of /etc/idc/channels (channels/channel_line.h). */
#include <stdio.h>

#include "channels/channel_line.h"
#include "tests/unit/suite.h"

#define TERMINALS "/dev/ptys"

static const struct {
    const char *text, *name, *from, *to;
    unsigned max;
    mode_t mode;
} good[] = {
    {"sql: unix-listen:/run/sql -> idc:db:org.example.sql", "sql", "unix-listen:/run/sql",
     "idc:db:org.example.sql", 0, 0},
    {"  a.b-c_9:\tidc-listen:80  ->\ttcp:[::1]:80 \t", "a.b-c_9", "idc-listen:80", "tcp:[::1]:80",
     0, 0},
    {"0: idc:any:log -> file:/var/log/x#1 # and so on", "0", "idc:any:log", "file:/var/log/x#1", 0,
     0},
    {"m: unix-listen:/a -> idc:web:5 mode=660 max=1000000", "m", "unix-listen:/a", "idc:web:5",
     1000000, 0660},
    {"m: idc:web:5 -> unix-listen:/a max=1 mode=0600 #", "m", "idc:web:5", "unix-listen:/a", 1,
     0600},
    {"q: idc-listen:up -> \"exec:tr a-z A-Z\" max=7", "q", "idc-listen:up", "exec:tr a-z A-Z", 7,
     0},
    {"q: idc-listen:up -> exec:\"a \\\"b\\\" \\\\ \\n# -> c\"", "q", "idc-listen:up",
     "exec:a \"b\" \\ \\n# -> c", 0, 0},
    {"q: idc-listen:up -> file:\"/a b\"/c", "q", "idc-listen:up", "file:/a b/c", 0, 0},
    {"h: unix-listen:/run/h,connect -> idc:web:*", "h", "unix-listen:/run/h,connect", "idc:web:*",
     0, 0},
    {"connection=socket,path=/run/agent.sock,name=org.example.agent", "org.example.agent",
     "idc-listen:org.example.agent", "unix:/run/agent.sock", 0, 0},
    {"connection=pty,name=org.example.agent", "org.example.agent", "idc-listen:org.example.agent",
     "pty:" TERMINALS "/org.example.agent", 0, 0},
    {" name = 80 , path = /run/a b , connection = socket , max = 9 # so", "80", "idc-listen:80",
     "unix:/run/a b", 9, 0},
    {"n: connection=socket,path=/a,name=.x,domain=uuid:00112233-4455-6677-8899-aabbccddeeff,"
     "mode=600",
     "n", "unix-listen:/a", "idc:uuid:00112233-4455-6677-8899-aabbccddeeff:.x", 0, 0600},
    {"connection=pty,name=a,domain=web", "a", "pty:" TERMINALS "/a", "idc:web:a", 0, 0},
};

START_TEST(what_is_right)
{
    struct channel_line line;
    struct channel_problem problem;
    enum channel_line_result result = channel_line_parse(good[_i].text, TERMINALS, &line, &problem);
    ck_assert_msg(result == CHANNEL_LINE_GOOD, "%s: %zu: %s", good[_i].text, problem.at,
                  problem.why);
    ck_assert_str_eq(line.name, good[_i].name);
    ck_assert_str_eq(line.from.text, good[_i].from);
    ck_assert_str_eq(line.to.text, good[_i].to);
    ck_assert_uint_eq(line.max, good[_i].max);
    ck_assert_uint_eq(line.mode, good[_i].mode);
}
END_TEST

static const struct {
    const char *text;
    size_t at;
    const char *word; /* of the reason */
    const char *name; /* that could be read */
} wrong[] = {
    {"sql", 3, "colon", ""},
    {"  sql", 5, "colon", ""},
    {": unix:/a -> unix-listen:/b", 0, "letter or a digit", ""},
    {"-a: unix:/a -> unix-listen:/b", 0, "letter or a digit", ""},
    {"../a: unix:/a -> unix-listen:/b", 0, "letter or a digit", ""},
    {"a/b: unix:/a -> unix-listen:/b", 1, "colon", ""},
    {"a b: unix:/a -> unix-listen:/b", 1, "colon", ""},
    {"\xc3\xa4: unix:/a -> unix-listen:/b", 0, "letter or a digit", ""},
    {"unix:/a -> unix-listen:/b", 5, "NAME: and a blank", ""},
    {"a:", 2, "FROM is missing", "a"},
    {"a: # unix:/a -> unix-listen:/b", 3, "FROM is missing", "a"},
    {"a: unix:/a", 10, "-> TO is missing", "a"},
    {"a: unix:/a unix-listen:/b", 11, "where -> belongs", "a"},
    {"a: unix:/a->unix-listen:/b", 26, "-> TO is missing", "a"},
    {"a: unix:/a ->", 13, "TO is missing", "a"},
    {"a: unix:/a -> # unix-listen:/b", 14, "TO is missing", "a"},
    {"a: /a -> unix-listen:/b", 3, "is no end", "a"},
    {"a: -> unix-listen:/b", 3, "is no end", "a"},
    {"a: \"\" -> unix-listen:/b", 3, "is no end", "a"},
    {"a: idc:web -> unix-listen:/b", 7, "idc:DOMAIN:SERVICE", "a"},
    {"a: \"idc:web:\\\"\\\"!\" -> unix-listen:/b", 13, "neither a port", "a"},
    {"a: unix-listen:/b -> tcp:host:0", 30, "a port of TCP", "a"},
    {"a: unix-listen:/b -> \"exec:cat", 21, "the quote has no end", "a"},
    {"a: unix-listen:/b -> exec:cat\\\"", 30, "the quote has no end", "a"},
    {"a: unix-listen:/b -> \"exec:cat\\", 21, "the quote has no end", "a"},
    {"a: unix-listen:/b -> exec:tr a-z A-Z", 29, "is no option", "a"},
    {"a: stdio -> unix-listen:/b", 3, "idc forward only", "a"},
    {"a: unix-listen:/b -> fd:3", 21, "idc forward only", "a"},
    {"a: unix-listen:b -> exec:cat", 3, "begin with /", "a"},
    {"a: idc-listen:b -> file:b", 19, "begin with /", "a"},
    {"a: unix-listen:/b -> pty:b", 21, "begin with /", "a"},
    {"a: unix-listen:/b -> idc-listen:c", 3, "both ends listen", "a"},
    {"a: file:/b -> unix-listen:/c", 3, "only written to", "a"},
    {"a: unix-listen:/b -> idc:web:*", 3, "unix-listen:PATH,connect", "a"},
    {"a: unix-listen:/b -> unix:/b", 3, "joined to itself", "a"},
    {"a: unix-listen:/b,connect -> unix:/b,connect=5", 3, "joined to itself", "a"},
    {"a: tcp:127.0.0.1:5 -> tcp-listen:127.0.0.1:5", 3, "joined to itself", "a"},
    {"a: unix-listen:/b -> exec:cat max=0", 30, "1 to 1000000", "a"},
    {"a: unix-listen:/b -> exec:cat max=", 30, "1 to 1000000", "a"},
    {"a: unix-listen:/b -> exec:cat max=-1", 30, "1 to 1000000", "a"},
    {"a: unix-listen:/b -> exec:cat max=1x", 30, "1 to 1000000", "a"},
    {"a: unix-listen:/b -> exec:cat max=1000001", 30, "1 to 1000000", "a"},
    {"a: unix-listen:/b -> exec:cat max=18446744073709551617", 30, "1 to 1000000", "a"},
    {"a: unix-listen:/b -> exec:cat max=1 max=1", 36, "twice", "a"},
    {"a: unix-listen:/b -> exec:cat mode=0", 30, "001 to 777", "a"},
    {"a: unix-listen:/b -> exec:cat mode=8", 30, "001 to 777", "a"},
    {"a: unix-listen:/b -> exec:cat mode=1777", 30, "001 to 777", "a"},
    {"a: unix-listen:/b -> exec:cat mode=600 mode=600", 39, "twice", "a"},
    {"a: idc-listen:b -> exec:cat mode=600", 28, "there is none", "a"},
    {"a: unix-listen:/b -> exec:cat mode", 30, "is no option", "a"},
    {"a: unix-listen:/b -> exec:cat once=1", 30, "is no option", "a"},
    {"a: unix-listen:/b -> exec:cat\r", 29, "the byte 13", "a"},
    {"a: unix-listen:/b\x01 -> exec:cat", 17, "the byte 1 ", "a"},
    {"a: unix-listen:/b\x7f -> exec:cat", 17, "the byte 127", "a"},
    {"connection=socket", 0, "name= is missing", ""},
    {"connection=socket,name=a", 0, "needs path=", "a"},
    {"path=/a,name=a", 0, "is missing", "a"},
    {"connection=tty,name=a", 11, "socket or pty", "a"},
    {"connection=pty,name=a,path=/b", 27, "no path=", "a"},
    {"connection=pty,name=", 20, "has no value", ""},
    {"connection=,name=a", 11, "has no value", ""},
    {"connection=pty,,name=a", 15, "is no key", ""},
    {"connection=pty,name=a,", 22, "is no key", "a"},
    {"connection=pty,name=a,backend=5", 22, "is no key", "a"},
    {"connection=pty,name", 19, "= is missing", ""},
    {"connection=pty,name=a,name=a", 27, "twice", "a"},
    {"connection=pty,name=a/b", 20, "neither a port", ""},
    {"connection=pty,name=.a", 20, "put NAME: before", ""},
    {"connection=pty,name=a,domain=uuid:5", 29, "uuid", "a"},
    {"connection=socket,name=a,path=b", 30, "begin with /", "a"},
    {"connection=socket,name=a,path=/b,mode=600", 38, "there is none", "a"},
    {"connection=socket,name=a,path=/b,max=x", 37, "1 to 1000000", "a"},
    {"x: connection=pty", 3, "name= is missing", "x"},
    {"x:connection=pty,name=a", 2, "NAME: and a blank", ""},
};

START_TEST(what_is_wrong)
{
    struct channel_line line;
    struct channel_problem problem;
    enum channel_line_result result =
        channel_line_parse(wrong[_i].text, TERMINALS, &line, &problem);
    ck_assert_msg(result == CHANNEL_LINE_WRONG, "%s is taken", wrong[_i].text);
    ck_assert_msg(problem.at == wrong[_i].at, "%s: %zu: %s", wrong[_i].text, problem.at,
                  problem.why);
    ck_assert_msg(problem.why[0] != '\0' && strstr(problem.why, wrong[_i].word) != NULL, "%s: %s",
                  wrong[_i].text, problem.why);
    ck_assert_str_eq(line.name, wrong[_i].name);
}
END_TEST

START_TEST(nothing)
{
    static const char *const empty[] = {"", "  \t ", "#", "  # a: unix:/a", "#\x01"};
    struct channel_line line;
    struct channel_problem problem;
    for (size_t i = 0; i < sizeof(empty) / sizeof(empty[0]); i++)
        ck_assert_int_eq(channel_line_parse(empty[i], TERMINALS, &line, &problem),
                         CHANNEL_LINE_EMPTY);
}
END_TEST

static char long_text[2 * CHANNEL_LINE_MAX];

/* before, as many of c as are asked for, and behind. */
static enum channel_line_result parse_long(const char *before, char c, int count,
                                           const char *behind, struct channel_line *line,
                                           struct channel_problem *problem)
{
    int len = snprintf(long_text, sizeof(long_text), "%s", before);
    memset(long_text + len, c, (size_t)count);
    snprintf(long_text + len + count, sizeof(long_text) - (size_t)(len + count), "%s", behind);
    return channel_line_parse(long_text, TERMINALS, line, problem);
}

START_TEST(lengths)
{
    static const char rest[] = ": unix-listen:/b -> exec:cat";
    struct channel_line line;
    struct channel_problem problem;
    ck_assert_int_eq(parse_long("", 'n', CHANNEL_NAME_MAX, rest, &line, &problem),
                     CHANNEL_LINE_GOOD);
    ck_assert_int_eq(parse_long("", 'n', CHANNEL_NAME_MAX + 1, rest, &line, &problem),
                     CHANNEL_LINE_WRONG);
    ck_assert_int_eq(
        parse_long("a: unix-listen:/b -> exec:", 'x', END_TEXT_MAX - 6, "", &line, &problem),
        CHANNEL_LINE_GOOD);
    ck_assert_int_eq(
        parse_long("a: unix-listen:/b -> exec:", 'x', END_TEXT_MAX - 5, "", &line, &problem),
        CHANNEL_LINE_WRONG);
    ck_assert_uint_eq(problem.at, 21);
    ck_assert_int_eq(parse_long("a: unix-listen:/b -> exec:cat", ' ', CHANNEL_LINE_MAX - 29, "",
                                &line, &problem),
                     CHANNEL_LINE_GOOD);
    ck_assert_int_eq(parse_long("a: unix-listen:/b -> exec:cat", ' ', CHANNEL_LINE_MAX - 28, "",
                                &line, &problem),
                     CHANNEL_LINE_WRONG);
    ck_assert_str_eq(line.name, "a");
    ck_assert_int_eq(
        parse_long("connection=socket,name=a,path=/", 'x', END_TEXT_MAX, "", &line, &problem),
        CHANNEL_LINE_WRONG);
    ck_assert_int_eq(
        parse_long("connection=pty,name=", 'n', IDC_SERVICE_MAX + 1, "", &line, &problem),
        CHANNEL_LINE_WRONG);
}
END_TEST

static const struct {
    const char *one, *other;
    bool same, collides;
} pairs[] = {
    {"a: unix-listen:/b -> exec:cat", "a:  unix-listen:/b  ->  exec:cat # c", true, true},
    {"a: unix-listen:/b -> exec:cat", "c: unix-listen:/b -> exec:cat", false, true},
    {"a: unix-listen:/b -> exec:cat", "a: unix-listen:/b -> exec:cat max=5", false, true},
    {"a: unix-listen:/b -> exec:cat", "a: unix-listen:/b -> exec:cat mode=600", false, true},
    {"a: unix-listen:/b -> exec:cat", "a: unix-listen:/c -> exec:cat", false, false},
    {"a: unix-listen:/b -> exec:cat", "a: idc:w:5 -> unix-listen:/b", false, true},
    {"a: unix-listen:/b -> exec:cat", "c: unix-listen:/b,connect -> idc:w:*", false, true},
    {"a: unix-listen:/b -> exec:cat", "c: pty:/b -> exec:cat", false, true},
    {"a: unix-listen:/b -> exec:cat", "c: idc-listen:5 -> unix:/b", false, false},
    {"a: idc-listen:5 -> exec:cat", "c: idc-listen:6 -> exec:cat", false, false},
    {"a: idc-listen:5 -> exec:cat", "c: idc-listen:5 -> unix:/b", false, true},
    {"a: idc-listen:x -> exec:cat", "c: idc-listen:x -> unix:/b", false, true},
    {"a: idc-listen:x -> exec:cat", "c: idc-listen:y -> unix:/b", false, false},
    {"a: tcp-listen:127.0.0.1:5 -> exec:cat", "c: tcp-listen:127.0.0.1:5 -> unix:/b", false, true},
    {"a: tcp-listen:127.0.0.1:5 -> exec:cat", "c: tcp-listen:127.0.0.2:5 -> unix:/b", false, false},
    {"a: idc-listen:x -> file:/l", "c: idc-listen:y -> file:/l", false, false},
    {"connection=pty,name=a", "a: idc-listen:a -> pty:" TERMINALS "/a", true, true},
};

START_TEST(two_lines)
{
    struct channel_line one, other;
    struct channel_problem problem;
    ck_assert_int_eq(channel_line_parse(pairs[_i].one, TERMINALS, &one, &problem),
                     CHANNEL_LINE_GOOD);
    ck_assert_int_eq(channel_line_parse(pairs[_i].other, TERMINALS, &other, &problem),
                     CHANNEL_LINE_GOOD);
    ck_assert_msg(channel_line_is_same(&one, &other) == pairs[_i].same, "%s, %s", pairs[_i].one,
                  pairs[_i].other);
    ck_assert_msg(channel_line_collides(&one, &other) == pairs[_i].collides, "%s, %s",
                  pairs[_i].one, pairs[_i].other);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("channel_line");
    tcase_add_loop_test(tests, what_is_right, 0, sizeof(good) / sizeof(good[0]));
    tcase_add_loop_test(tests, what_is_wrong, 0, sizeof(wrong) / sizeof(wrong[0]));
    tcase_add_test(tests, nothing);
    tcase_add_test(tests, lengths);
    tcase_add_loop_test(tests, two_lines, 0, sizeof(pairs) / sizeof(pairs[0]));
    Suite *suite = suite_create("channel_line");
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
