/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Policy files: what is read, what is wrong and where, and limits. Which rule decides is tested
 * against a plain reading in test_policy_reading.py.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/glob.h"
#include "policy/ruleset.h"
#include "tests/unit/suite.h"

static struct problem first; /* of the last text */
static char first_file[64];
static unsigned reported;

static void note_problem(void *arg, const char *file, const struct problem *problem)
{
    (void)arg;
    if (reported++ == 0) {
        first = *problem;
        snprintf(first_file, sizeof(first_file), "%s", file);
    }
}

static const struct ruleset_reporter reporter = {.report = note_problem};

static unsigned add_text(struct ruleset *ruleset, const char *file, const char *text)
{
    return ruleset_add(ruleset, file, text, strlen(text), &reporter);
}

/* The rules of one file; NULL if it has errors. */
static struct ruleset *read_text(const char *text, size_t length)
{
    struct ruleset *ruleset = ruleset_new();
    ck_assert_ptr_nonnull(ruleset);
    reported = 0;
    unsigned errors = ruleset_add(ruleset, "f", text, length, &reporter);
    if (errors == 0)
        errors = ruleset_finish(ruleset, &reporter);
    ck_assert_uint_eq(errors, reported);
    if (errors == 0)
        return ruleset;
    ruleset_free(ruleset);
    return NULL;
}

static struct ruleset *read_good(const char *text)
{
    struct ruleset *ruleset = read_text(text, strlen(text));
    if (ruleset == NULL)
        ck_abort_msg("%s: %u:%u: %s", text, first.line, first.column, first.text);
    return ruleset;
}

/* ---- errors ---- */

/* A | stands before the byte at which the error is, and is no part of the text. */
static const struct {
    const char *text, *says;
} wrong[] = {
    /* words */
    {"allow web db 80 |\x01", "control character, 0x01"},
    {"# a |\x7f", "control character, 0x7f"},
    {"allow w|\rb db 80", "control character, 0x0d"},
    {"allow \"a|\x02\" db 80", "control character, 0x02"},
    {"allow web db 80 |\\", "a backslash outside quotes"},
    {"allow web|#x db 80", "a # inside a word"},
    {"allow web db 80 note=|\"x", "the quote has no end"},
    {"allow web db 80 note=\"|\\n\"", "only \\\" and \\\\ may follow"},
    {"allow web db 80 note=\"|\\", "only \\\" and \\\\ may follow"},
    {"|Allow web db 80", "\"Allow\" is not an action"},
    {"\n\n  |permit web db 80\n", "\"permit\" is not an action"},
    {"|\xef\xbb\xbf"
     "allow a b 80",
     "\"\\xef\\xbb\\xbfallow\" is not an action"},
    /* missing and superfluous words */
    {"allow|", "FROM is missing"},
    {"allow web|", "TO is missing"},
    {"allow web db|", "WHAT is missing"},
    {"deny web db|  # all", "WHAT is missing"},
    {"allow web db |uid=33", "WHAT is missing before the options"},
    {"allow web db 80 |443", "\"443\" is not an option"},
    {"allow web db 80,| 443", "an item of the list is empty"},
    {"group|", "the group's name is missing"},
    {"group g|", "the = is missing"},
    {"group g |web", "there is no = here"},
    {"group |g= web", "no blank before or after the ="},
    {"route|", "FROM is missing"},
    {"route *|", "SERVICE is missing"},
    {"route * x|", "TO is missing"},
    {"route * x db |log=yes", "this word is too many"},
    {"route * x db,| web", "the domain's name is empty"},
    /* domains */
    {"allow web|,db dom0 80", "',' can't be in a domain's name without quotes"},
    {"allow we|!b dom0 80", "'!' can't be in"},
    {"allow a|[bc] dom0 80", "'[' can't be in"},
    {"allow |\"\" dom0 80", "the domain's name is empty"},
    {"allow |self dom0 80", "\"self\" has no meaning here"},
    {"allow web |any 80", "\"any\" has no meaning here"},
    {"allow web |32752 80", "\"32752\" is not a domid"},
    {"allow web |07 80", "\"07\" is not a domid"},
    {"allow web domid:|x 80", "\"x\" is not a domid"},
    {"allow web domid:| 80", "\"\" is not a domid"},
    {"allow web |UUID:x 80", "\"UUID:\" is not a kind of domain"},
    {"allow web |a:b 80", "\"a:\" is not a kind of domain"},
    {"allow web name:| 80", "the domain's name is empty"},
    {"allow web uuid:|123 80", "this is not a UUID"},
    {"allow web uuid:|00112233-4455-6677-8899-aabbccddeefg 80", "this is not a UUID"},
    {"allow web uuid:|00112233044550667708899-aabbccddeeff 80", "this is not a UUID"},
    {"allow web uuid:|00000000-0000-0000-0000-000000000000 80", "is no domain's"},
    {"allow |@ dom0 80", "\"@\" is not a group"},
    {"allow |@a/b dom0 80", "\"@a/b\" is not a group"},
    {"group g = web|, db", "',' can't be in"},
    {"group g = a |b:c", "\"b:\" is not a kind of domain"},
    /* groups */
    {"group |a/b = web", "\"a/b\" can't be a group's name"},
    {"group g = web\ngroup |g = db", "the group g is made a second time; the first is at f:1"},
    {"allow |@g dom0 80", "there is no group g"},
    {"allow dom0 |@g 80", "there is no group g"},
    {"group g = web |@h", "there is no group h"},
    {"route |@h x db", "there is no group h"},
    {"group g = |@g", "the group g contains itself"},
    {"group a = @b\ngroup b = web @c\ngroup c = |@a", "the group c contains itself by way of this"},
    /* services */
    {"allow web db |0", "out of range: \"0\""},
    {"allow web db |4294967296", "out of range"},
    {"allow web db |99999999999999999999999", "out of range"},
    {"allow web db |080", "not a number"},
    {"allow web db 80-|", "not a number: \"\""},
    {"allow web db |90-80", "a range that ends before it begins"},
    {"allow web db 80-|90-100", "not a number"},
    {"allow web db 80,|", "an item of the list is empty"},
    {"allow web db 80,|,90", "an item of the list is empty"},
    {"allow web db |,90", "an item of the list is empty"},
    {"allow web db 80,|*", "* in a list with others"},
    {"allow web db |80*", "neither a port nor a service name"},
    {"allow web db |-5", "neither a port nor a service name"},
    {"allow web db |a/b", "neither a port nor a service name"},
    {"allow web db \"|80\"", "quotes in a list of services"},
    {"route * |80 db", "\"80\" is not a service name"},
    {"route * |org.* db", "\"org.*\" is not a service name"},
    /* routes */
    {"route * x db,|mail-*", "not to a glob or a group"},
    {"route * x |*", "not to a glob or a group"},
    {"route * x |@g\ngroup g = web", "not to a glob or a group"},
    {"route * x db,web,|db", "in the list already"},
    {"route * x dom0,|0", "in the list already"},
    {"route * x db,|,web", "the domain's name is empty"},
    {"route * x 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,|17", "more than 16 domains"},
    /* options */
    {"allow web db 80 |connection=1", "unknown option \"connection\""},
    {"allow web db 80 |UID=1", "unknown option \"UID\""},
    {"allow web db 80 |=1", "unknown option \"\""},
    {"allow web db 80 uid=1 |uid=2", "uid= is given twice"},
    {"deny web db 80 |rate=1/s", "a deny line has nothing to limit by rate="},
    {"deny web db 80 |connections=1", "by connections="},
    {"deny web db 80 |bandwidth=1", "by bandwidth="},
    {"allow web db 80 uid=|root", "not a number: \"root\""},
    {"allow web db 80 uid=|", "an item of the list is empty"},
    {"allow web db 80 uid=1,|4294967295", "out of range"},
    {"allow web db 80 uid=|9-8", "a range that ends"},
    {"allow web db 80 type=|dgram", "\"dgram\" is not a value"},
    {"allow web db 80 until=|2026-12-31", "is not a value"},
    {"allow web db 80 until=|2026-12-31T23:59:59", "is not a value"},
    {"allow web db 80 until=|2026-02-29T00:00:00Z", "is not a value"},
    {"allow web db 80 until=|2100-02-29T00:00:00Z", "is not a value"},
    {"allow web db 80 until=|2026-13-01T00:00:00Z", "is not a value"},
    {"allow web db 80 until=|2026-00-01T00:00:00Z", "is not a value"},
    {"allow web db 80 until=|2026-01-00T00:00:00Z", "is not a value"},
    {"allow web db 80 until=|2026-01-01T24:00:00Z", "is not a value"},
    {"allow web db 80 until=|2026-01-01T00:60:00Z", "is not a value"},
    {"allow web db 80 until=|2026-01-01T00:00:60Z", "is not a value"},
    {"allow web db 80 until=|1969-12-31T23:59:59Z", "is not a value"},
    {"allow web db 80 connections=|0", "is not a value"},
    {"allow web db 80 connections=|1000001", "is not a value"},
    {"allow web db 80 rate=|50", "is not a value"},
    {"allow web db 80 rate=|50/m", "is not a value"},
    {"allow web db 80 rate=|0/s", "is not a value"},
    {"allow web db 80 rate=|1000001/s", "is not a value"},
    {"allow web db 80 bandwidth=|10K", "is not a value"},
    {"allow web db 80 bandwidth=|0", "is not a value"},
    {"allow web db 80 bandwidth=|k", "is not a value"},
    {"allow web db 80 bandwidth=|1001G", "is not a value"},
    {"allow web db 80 bandwidth=|1000000000001", "is not a value"},
    {"allow web db 80 log=|maybe", "is not a value"},
};

START_TEST(wrong_texts)
{
    char text[256];
    const char *marked = wrong[_i].text, *mark = strchr(marked, '|');
    size_t before = (size_t)(mark - marked);
    snprintf(text, sizeof(text), "%.*s%s", (int)before, marked, mark + 1);
    ck_assert_msg(read_text(text, strlen(text)) == NULL, "%s: no error", text);
    unsigned line = 1, column = 1;
    for (size_t i = 0; i < before; i++, column++)
        if (text[i] == '\n') {
            line++;
            column = 0;
        }
    ck_assert_msg(reported == 1, "%s: %u errors", text, reported);
    ck_assert_msg(strstr(first.text, wrong[_i].says) != NULL, "%s: %s", text, first.text);
    ck_assert_msg(first.line == line && first.column == column, "%s: at %u:%u, not %u:%u", text,
                  first.line, first.column, line, column);
    ck_assert_msg(first.hint[0] != '\0' && strchr(first.hint, '\n') == NULL, "%s: no hint", text);
    ck_assert_str_eq(first_file, "f");
}
END_TEST

/* Each wrong line is reported once, and the lines between them are read. */
START_TEST(each_error_once)
{
    ck_assert_ptr_null(read_text("allow\nallow a b 80\ndeny\n\nallow a b 0 x=\n", 39));
    ck_assert_uint_eq(reported, 3);
    ck_assert_uint_eq(first.line, 1);
}
END_TEST

START_TEST(nul_byte)
{
    ck_assert_ptr_null(read_text("allow a b 80\0x", 14));
    ck_assert_uint_eq(first.column, 13);
    ck_assert_ptr_nonnull(strstr(first.text, "0x00"));
}
END_TEST

/* A text from a file does no harm on a terminal, and is cut. */
START_TEST(shown_texts)
{
    char text[400];
    snprintf(text, sizeof(text), "allow web db 80 \"\xc2\x9b%0300d\"=1", 0);
    ck_assert_ptr_null(read_text(text, strlen(text)));
    ck_assert_ptr_nonnull(strstr(first.text, "\"\\xc2\\x9b000"));
    ck_assert_ptr_nonnull(strstr(first.text, "000...\""));
    for (const char *c = first.text; *c != '\0'; c++)
        ck_assert(*c >= 0x20 && *c < 0x7f);
}
END_TEST

/* ---- what is right ---- */

static const char *const right[] = {
    "",
    "\n\n\t \n#\n  # x\n",
    "allow web db 80",
    "allow\tweb \t db\t80\t",
    "allow web db 80\r\nallow web db 80\r",
    "allow web db 80 # why",
    "allow web db 80 note=\"a # b, \\\"c\\\" \\\\\" log=yes",
    "allow \"my guest\" name:\"a#b\" 80",
    "allow name:self name:any 80",
    "allow name:7 name:dom0 80",
    "allow name:a:b name:uuid:x 80",
    "allow 0 32751 80",
    "allow domid:0 dom0 80",
    "allow uuid:00112233-4455-6677-8899-aAbBcCdDeEfF * 80",
    "allow caf\xc3\xa9 * 80",
    "allow a+b-c_d.e/f~g%h ?* 80",
    "allow web db 1,4294967295,1-4294967295,22-22",
    "allow web db org.example.sql,org.example.*,?b,-x,22-x,8080a",
    "allow web db * uid=0,4294967294,33-44 type=seqpacket",
    "allow web db * connections=1000000 rate=1000000/s bandwidth=1000G",
    "deny web db * uid=1 type=stream until=9999-12-31T23:59:59Z log=no note=x",
    "allow web db * until=1970-01-01T00:00:00Z",
    "allow web db * until=2000-02-29T00:00:00Z",
    "group g =",
    "allow @g * *\ngroup h = web @g\ngroup g = db mail-* uuid:00112233-4455-6677-8899-aabbccddeeff",
    "group g = @h @h\ngroup h = web\ngroup i = @g @h",
    "route @g x db,web,dom0,7,uuid:00112233-4455-6677-8899-aabbccddeeff\ngroup g = *",
    "route * x \"a*b\",name:\"c,d\"",
};

START_TEST(right_texts)
{
    ruleset_free(read_good(right[_i]));
}
END_TEST

/* begin, then `count` bytes c, then end. The caller frees it. */
static char *long_text(const char *begin, size_t count, char c, const char *end)
{
    size_t length = strlen(begin);
    char *text = malloc(length + count + strlen(end) + 1);
    ck_assert_ptr_nonnull(text);
    memcpy(text, begin, length);
    memset(text + length, c, count);
    memcpy(text + length + count, end, strlen(end) + 1);
    return text;
}

/* The last length that is right, and the first that is not. */
static const struct {
    const char *begin, *end, *says;
    size_t most;
    unsigned column;
} lengths[] = {
    {"allow web db 80 #", "", "the line has more than 4096 bytes", 4096 - 17, 4097},
    {"allow web db 80 #", "\r\n", "the line has more than 4096 bytes", 4096 - 17, 4097},
    {"allow ", " db 80", "a domain's name of more than 255 bytes", 255, 7 + 255},
    {"allow name:", " db 80", "a domain's name of more than 255 bytes", 255, 12 + 255},
    {"allow web db ", "", "neither a port nor a service name", 79, 14},
    {"route * ", " db", "is not a service name", 79, 9},
    {"allow web db 80 note=", "", "the note is too long", 200, 22 + 200},
    {"group ", " = web", "can't be a group's name", 63, 7},
};

START_TEST(longest_texts)
{
    char *text = long_text(lengths[_i].begin, lengths[_i].most, 'a', lengths[_i].end);
    ruleset_free(read_good(text));
    free(text);
    text = long_text(lengths[_i].begin, lengths[_i].most + 1, 'a', lengths[_i].end);
    ck_assert_ptr_null(read_text(text, strlen(text)));
    ck_assert_msg(strstr(first.text, lengths[_i].says) != NULL, "%s", first.text);
    ck_assert_uint_eq(first.column, lengths[_i].column);
    free(text);
}
END_TEST

/* As many items as a line can have; today's policy nodes hold 64. */
START_TEST(many_services)
{
    char text[4200] = "allow * * 1";
    for (size_t used = strlen(text); used < 4095; used += 2)
        memcpy(text + used, ",1", 3);
    struct ruleset *ruleset = read_good(text);
    ck_assert_uint_eq(ruleset->rules[0].what.range_count, 2043);
    ruleset_free(ruleset);
}
END_TEST

static const struct rule_options *options_of(const struct ruleset *ruleset, size_t rule)
{
    return &ruleset->rules[rule].options;
}

START_TEST(option_values)
{
    struct ruleset *ruleset =
        read_good("allow a b * bandwidth=10M rate=50/s connections=7 note=\"a \\\" b\"\n"
                  "allow a b * bandwidth=3k type=seqpacket\n"
                  "deny a b 80 until=2026-12-31T23:59:59Z  uid=1,3-4");
    ck_assert_uint_eq(options_of(ruleset, 0)->bandwidth, 10000000);
    ck_assert_uint_eq(options_of(ruleset, 0)->rate, 50);
    ck_assert_uint_eq(options_of(ruleset, 0)->connections, 7);
    ck_assert_str_eq(options_of(ruleset, 0)->note, "a \" b");
    ck_assert(!options_of(ruleset, 0)->log);
    ck_assert_uint_eq(options_of(ruleset, 1)->bandwidth, 3000);
    ck_assert_int_eq(options_of(ruleset, 1)->type, RULE_TYPE_SEQPACKET);
    ck_assert_int_eq(options_of(ruleset, 2)->until, 1798761599);
    ck_assert_uint_eq(options_of(ruleset, 2)->uid_count, 2);
    ck_assert(options_of(ruleset, 2)->log);
    ck_assert_str_eq(ruleset->rules[2].options_text, "until=2026-12-31T23:59:59Z  uid=1,3-4");
    ck_assert_uint_eq(ruleset->rules[2].place.line, 3);
    ruleset_free(ruleset);
}
END_TEST

/* ---- several files, and limits ---- */

START_TEST(several_files)
{
    struct ruleset *ruleset = ruleset_new();
    reported = 0;
    ck_assert_uint_eq(add_text(ruleset, "one", "allow @late * 80\ngroup g = web\n"), 0);
    ck_assert_uint_eq(add_text(ruleset, "two", "# x\nallow @g db 81\ngroup late = @g db"), 0);
    ck_assert_uint_eq(ruleset_finish(ruleset, &reporter), 0);
    ck_assert_uint_eq(ruleset->rule_count, 2);
    ck_assert_str_eq(ruleset->rules[1].place.file, "two");
    ck_assert_uint_eq(ruleset->rules[1].place.line, 2);
    ck_assert_uint_eq(add_text(ruleset, "three", "\ngroup g = x"), 1);
    ck_assert_str_eq(first_file, "three");
    ck_assert_ptr_nonnull(strstr(first.text, "the first is at one:2"));
    ruleset_free(ruleset);
}
END_TEST

/* One line is too many. A number stands between begin and end. */
static const struct line_limit {
    const char *begin, *end, *says;
    unsigned most;
} limits[] = {
    {"allow a", " b 80", "more than 10000 allow and deny lines", RULESET_RULES_MAX},
    {"group g", " = web", "more than 1000 groups", RULESET_GROUPS_MAX},
    {"route a", " x b", "more than 1000 route lines", RULESET_ROUTES_MAX},
};

/* The errors of `count` lines, in files of a hundred. */
static unsigned add_lines(struct ruleset *ruleset, const struct line_limit *limit, unsigned count)
{
    unsigned errors = 0;
    for (unsigned i = 0; i < count; i += 100) {
        char text[100 * 40] = "";
        for (unsigned n = i; n < i + 100 && n < count; n++)
            snprintf(text + strlen(text), 40, "%s%u%s\n", limit->begin, n, limit->end);
        errors += add_text(ruleset, "f", text);
    }
    return errors;
}

START_TEST(most_lines)
{
    struct ruleset *ruleset = ruleset_new();
    reported = 0;
    ck_assert_uint_eq(add_lines(ruleset, &limits[_i], limits[_i].most), 0);
    ruleset_free(ruleset);
    ruleset = ruleset_new();
    ck_assert_uint_eq(add_lines(ruleset, &limits[_i], limits[_i].most + 1), 1);
    ck_assert_msg(strstr(first.text, limits[_i].says) != NULL, "%s", first.text);
    ruleset_free(ruleset);
}
END_TEST

START_TEST(most_bytes)
{
    struct ruleset *ruleset = ruleset_new();
    char *text = long_text("", RULESET_FILE_MAX + 1, '\n', "");
    reported = 0;
    ck_assert_uint_eq(ruleset_add(ruleset, "f", text, RULESET_FILE_MAX + 1, &reporter), 1);
    ck_assert_ptr_nonnull(strstr(first.text, "more than 1048576 bytes"));
    for (unsigned i = 0; i < RULESET_TOTAL_MAX / RULESET_FILE_MAX; i++)
        ck_assert_uint_eq(ruleset_add(ruleset, "f", text, RULESET_FILE_MAX, &reporter), 0);
    ck_assert_uint_eq(ruleset_add(ruleset, "f", text, 1, &reporter), 1);
    ck_assert_uint_eq(reported, 2);
    free(text);
    ruleset_free(ruleset);
}
END_TEST

START_TEST(most_files)
{
    struct ruleset *ruleset = ruleset_new();
    reported = 0;
    for (unsigned i = 0; i < RULESET_FILES_MAX; i++)
        ck_assert_uint_eq(add_text(ruleset, "f", "# x\n"), 0);
    ck_assert_uint_eq(add_text(ruleset, "f", ""), 1);
    ruleset_free(ruleset);
}
END_TEST

/* ---- globs and groups cost no more than they should ---- */

static const struct {
    const char *pattern, *name;
    bool fits;
} globs[] = {
    {"", "", true},           {"", "a", false},          {"a", "", false},
    {"*", "", true},          {"*", "abc", true},        {"?", "", false},
    {"?", "a", true},         {"?", "ab", false},        {"a*", "a", true},
    {"a*c", "abcbc", true},   {"a*c", "abcb", false},    {"*b*", "abc", true},
    {"**", "x", true},        {"*?*", "", false},        {"*?*", "x", true},
    {"a**b", "ab", true},     {"\\*", "*", true},        {"\\*", "a", false},
    {"a\\?", "a?", true},     {"a\\?", "ab", false},     {"\\\\", "\\", true},
    {"*\\*", "ab*", true},    {"*\\*", "ab", false},     {"*aab", "aaaab", true},
    {"*a?b", "aacab", false}, {"mail-*", "mail-", true}, {"mail-*", "mail", false},
};

START_TEST(glob_fitting)
{
    ck_assert_msg(glob_fits(globs[_i].pattern, globs[_i].name) == globs[_i].fits, "%s on %s",
                  globs[_i].pattern, globs[_i].name);
}
END_TEST

/* With each * tried again for each other one this would take longer than the universe is old. */
START_TEST(glob_steps)
{
    char pattern[256] = "", name[256];
    for (size_t i = 0; i < 254; i += 2)
        memcpy(pattern + i, "*a", 3);
    memset(name, 'a', 255);
    name[255] = '\0';
    name[254] = 'b';
    unsigned long steps = 0;
    ck_assert(!glob_fits_counted(pattern, name, &steps));
    ck_assert_uint_le(steps, 256 * 256);
    steps = 0;
    ck_assert(!glob_fits_counted("*aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaac", name, &steps));
    ck_assert_uint_le(steps, 256 * 256);
}
END_TEST

/* Each group contains the next one twice: 2^300 ways, of which none may be walked. */
START_TEST(groups_in_groups)
{
    char text[300 * 40] = "allow @g0 * 80\ngroup g300 = web\n";
    for (unsigned i = 0; i < 300; i++)
        snprintf(text + strlen(text), 40, "group g%u = @g%u @g%u\n", i, i + 1, i + 1);
    struct ruleset *ruleset = read_good(text);
    uint8_t groups[301];
    const struct ruleset_domain web = {.domid = 1, .name = "web", .complete = true};
    const struct ruleset_domain db = {.domid = 2, .name = "db", .complete = true};
    const struct ruleset_domain unknown = {.domid = -1};
    ruleset_membership(ruleset, &web, groups);
    ck_assert_int_eq(domain_fits(&ruleset->rules[0].from, &web, groups), DOMAIN_YES);
    ruleset_membership(ruleset, &db, groups);
    ck_assert_int_eq(domain_fits(&ruleset->rules[0].from, &db, groups), DOMAIN_NO);
    ruleset_membership(ruleset, &unknown, groups);
    ck_assert_int_eq(domain_fits(&ruleset->rules[0].from, &unknown, groups), DOMAIN_PERHAPS);
    ruleset_free(ruleset);
}
END_TEST

/* A thousand groups, each of which contains the next: the walk is as deep as it can be. */
START_TEST(deepest_groups)
{
    struct ruleset *ruleset = ruleset_new();
    char text[40];
    reported = 0;
    for (unsigned i = 0; i < RULESET_GROUPS_MAX; i++) {
        snprintf(text, sizeof(text), "group g%u = @g%u\n", i, (i + 1) % RULESET_GROUPS_MAX);
        ck_assert_uint_eq(add_text(ruleset, "f", text), 0);
    }
    ck_assert_uint_eq(ruleset_finish(ruleset, &reporter), 1);
    ck_assert_ptr_nonnull(strstr(first.text, "contains itself"));
    ruleset_free(ruleset);
}
END_TEST

START_TEST(two_cycles)
{
    ck_assert_ptr_null(read_text("group a = @a\ngroup b = @b\n", 26));
    ck_assert_uint_eq(reported, 2);
}
END_TEST

/* ---- time ---- */

START_TEST(times)
{
    char text[RULE_TIME_TEXT];
    int64_t seconds;
    /* some days of each year, up to the end of the year 9999 */
    for (int64_t day = 0; day < 2932897; day += 131) {
        rule_time_format(day * 86400 + day % 86400, text);
        ck_assert(rule_time_parse(text, strlen(text), &seconds));
        ck_assert_int_eq(seconds, day * 86400 + day % 86400);
    }
    ck_assert(rule_time_parse("2000-02-29T12:34:56Z", 20, &seconds));
    ck_assert_int_eq(seconds, 951827696);
    ck_assert(rule_time_parse("9999-12-31T23:59:59Z", 20, &seconds));
    ck_assert_int_eq(seconds, 253402300799);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ruleset");
    TCase *parsing = tcase_create("parsing");
    tcase_add_loop_test(parsing, wrong_texts, 0, sizeof(wrong) / sizeof(wrong[0]));
    tcase_add_loop_test(parsing, right_texts, 0, sizeof(right) / sizeof(right[0]));
    tcase_add_loop_test(parsing, longest_texts, 0, sizeof(lengths) / sizeof(lengths[0]));
    tcase_add_test(parsing, each_error_once);
    tcase_add_test(parsing, nul_byte);
    tcase_add_test(parsing, shown_texts);
    tcase_add_test(parsing, many_services);
    tcase_add_test(parsing, option_values);
    suite_add_tcase(suite, parsing);
    TCase *large = tcase_create("large");
    tcase_set_timeout(large, 60);
    tcase_add_test(large, several_files);
    tcase_add_loop_test(large, most_lines, 0, sizeof(limits) / sizeof(limits[0]));
    tcase_add_test(large, most_bytes);
    tcase_add_test(large, most_files);
    tcase_add_loop_test(large, glob_fitting, 0, sizeof(globs) / sizeof(globs[0]));
    tcase_add_test(large, glob_steps);
    tcase_add_test(large, groups_in_groups);
    tcase_add_test(large, deepest_groups);
    tcase_add_test(large, two_cycles);
    tcase_add_test(large, times);
    suite_add_tcase(suite, large);
    return run_suite(suite);
}
