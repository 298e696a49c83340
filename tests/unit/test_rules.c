/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The text of rules that dom0 gives a domain: what is read, what is refused and where, which rule
 * decides. That both sides of the house agree is tested in test_rules_agree.c.
 */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "link_mgr/core/rules.h"
#include "tests/unit/suite.h"

#define UUID_TEXT "00112233-4455-6677-8899-aabbccddeeff"

static struct rules *rules;
static struct rules_problem problem;

static int read_text(const char *text)
{
    /* in memory of just its size, so that sanitizers see a byte too much */
    size_t length = strlen(text);
    char *copy = malloc(length + 1);
    memcpy(copy, text, length);
    problem = (struct rules_problem){.line = 77};
    int error = rules_new(&rules, copy, length, &problem);
    free(copy);
    if (error)
        rules = NULL;
    return error;
}

static void read_good(const char *text)
{
    ck_assert_msg(read_text(text) == 0, "line %u: %s: %s", problem.line,
                  problem.what ? problem.what : "", text);
}

/* ---- what is read ---- */

START_TEST(everything)
{
    read_good("version 1\n"
              "self name=my%20own uuid=" UUID_TEXT "\n"
              "commands 2\n"
              "rule 2 deny 1-3,org.*,x? uid=0,33-4294967294 type=seqpacket log=no at=p:1\n"
              "rule 7 allow * until=1798761599 connections=5 rate=1000000 "
              "bandwidth=1000000000000 log=yes at=/etc/a%20b.policy:12\n"
              "rule 4294967295 deny * at=p:3\n"
              "peer 0 name=dom0\n"
              "peer 3 name=%c3%A9 uuid=" UUID_TEXT " out=2,7 in=7\n"
              "peer 32751 in=4294967295\n"
              "other out=4294967295\n"
              "route org.example.sql 3,0 at=/etc/idc/policy:9\n"
              "route a 5 at=x\n"
              "end\n");
    ck_assert_str_eq(rules->name, "my own");
    ck_assert_str_eq(rules->uuid, UUID_TEXT);
    ck_assert_uint_eq(rules->commands, 2);
    ck_assert_uint_eq(rules->rule_count, 3);
    const struct rule *rule = rules_find_rule(rules, 2);
    ck_assert(!rule->allow && !rule->log && !rule->all && rule->type == IDC_SEQPACKET);
    ck_assert_uint_eq(rule->range_count, 1);
    ck_assert_uint_eq(rule->ranges[0].last, 3);
    ck_assert_uint_eq(rule->name_count, 2);
    ck_assert_str_eq(rule->names[1], "x?");
    ck_assert_uint_eq(rule->uid_count, 2);
    ck_assert_uint_eq(rule->uids[1].first, 33);
    ck_assert_uint_eq(rule->uids[1].last, 4294967294u);
    ck_assert(rule->until == RULES_FOREVER);
    rule = rules_find_rule(rules, 7);
    ck_assert(rule->allow && rule->log && rule->all && rule->type == 0);
    ck_assert_uint_eq(rule->connections, 5);
    ck_assert_uint_eq(rule->rate, 1000000);
    ck_assert(rule->bandwidth == 1000000000000u && rule->until == 1798761599);
    ck_assert_str_eq(rule->place, "/etc/a b.policy:12");
    ck_assert(rules_find_rule(rules, 4294967295u)->log); /* a deny rule's default */
    ck_assert_ptr_null(rules_find_rule(rules, 3));
    ck_assert_uint_eq(rules->peer_count, 3);
    const struct rules_peer *peer = rules_find_peer(rules, 3);
    ck_assert_str_eq(peer->name, "\xc3\xa9");
    ck_assert_uint_eq(peer->out.count, 2);
    ck_assert_uint_eq(peer->out.at[1], 1);
    ck_assert_ptr_null(rules_find_peer(rules, 1));
    ck_assert_ptr_null(rules_find_peer(rules, 32752));
    ck_assert_ptr_eq(rules_between(rules, 3, false), &peer->in);
    ck_assert_ptr_eq(rules_between(rules, 4, true), &rules->other_out);
    ck_assert_uint_eq(rules->other_in.count, 0);
    ck_assert_uint_eq(rules->routes[0].domid_count, 2);
    ck_assert_uint_eq(rules->routes[0].domids[0], 3);
    ck_assert_str_eq(rules->routes[1].place, "x");
    rules_free(rules);
}
END_TEST

START_TEST(nothing)
{
    read_good("version 1\nend\n");
    ck_assert_uint_eq(rules->rule_count + rules->peer_count + rules->route_count, 0);
    ck_assert_ptr_null(rules->name);
    rules_free(rules);
    rules_free(NULL);
}
END_TEST

/* ---- what is refused ---- */

#define RULE(rest) "version 1\nrule 1 " rest " at=p:1\nend\n"
#define TWO "version 1\nrule 1 deny * at=p:1\nrule 2 allow * at=p:2\n"

static const struct {
    const char *text, *what; /* a part of the message */
    unsigned line;
} bad[] = {
    {"", "end is missing", 0},
    {"version 1\n", "end is missing", 1},
    {"end\n", "not in its place", 1},
    {"version 2\nend\n", "version", 1},
    {"version\nend\n", "version", 1},
    {"version 1 \nend\n", "version", 1},
    {"version 1\nversion 1\nend\n", "not in its place", 2},
    {"version 1\n\nend\n", "not known", 2},
    {"version 1\nend", "newline", 1},
    {"version 1\nend \n", "after the end", 2},
    {"version 1\nend\n\n", "after the end", 2},
    {"version 1\nend\nend\n", "after the end", 2},
    {"version 1\r\nend\n", "version", 1},
    {"version 1\nfoo\nend\n", "not known", 2},
    {"version 1\nself name=a\nself name=a\nend\n", "not in its place", 3},
    {"version 1\nself name=a name=b\nend\n", "twice", 2},
    {"version 1\nself name=\nend\n", "empty", 2},
    {"version 1\nself  name=a\nend\n", "not known here", 2},
    {"version 1\nself name=a b\nend\n", "not known here", 2},
    {"version 1\nself name=a~\nend\n", "%", 2},
    {"version 1\nself name=%4\nend\n", "%", 2},
    {"version 1\nself name=%\nend\n", "%", 2},
    {"version 1\nself name=%4g\nend\n", "%", 2},
    {"version 1\nself name=%00\nend\n", "%", 2},
    {"version 1\nself out=1\nend\n", "not known here", 2},
    {"version 1\nself uuid=00112233-4455-6677-8899-aabbccddeef\nend\n", "UUID", 2},
    {"version 1\nself uuid=00112233-4455-6677-8899-aabbccddeefg\nend\n", "UUID", 2},
    {"version 1\nself uuid=001122334-455-6677-8899-aabbccddeeff\nend\n", "UUID", 2},
    {"version 1\ncommands\nend\n", "without a number", 2},
    {"version 1\ncommands x\nend\n", "without a number", 2},
    {"version 1\ncommands 4294967296\nend\n", "without a number", 2},
    {"version 1\ncommands 1\nself name=a\nend\n", "not in its place", 3},
    {RULE("permit *"), "neither allows nor denies", 2},
    {"version 1\nrule 0 deny * at=p\nend\n", "ascend", 2},
    {"version 1\nrule 01 deny * at=p\nend\n", "ascend", 2},
    {"version 1\nrule 4294967296 deny * at=p\nend\n", "ascend", 2},
    {"version 1\nrule 99999999999999999999 deny * at=p\nend\n", "ascend", 2},
    {"version 1\nrule x deny * at=p\nend\n", "ascend", 2},
    {"version 1\nrule 2 deny * at=p\nrule 2 deny * at=p\nend\n", "ascend", 3},
    {"version 1\nrule 2 deny * at=p\nrule 1 deny * at=p\nend\n", "ascend", 3},
    {"version 1\nrule\nend\n", "ascend", 2},
    {"version 1\nrule 1\nend\n", "without an action", 2},
    {"version 1\nrule 1 deny\nend\n", "without WHAT", 2},
    {"version 1\nrule 1 deny *\nend\n", "place", 2},
    {"version 1\nrule 1 deny * at=\nend\n", "empty", 2},
    {"version 1\nrule 1 deny * at=a b\nend\n", "place", 2},
    {"version 1\nrule 1 deny * at=a log=no\nend\n", "place", 2},
    {RULE("allow"), "WHAT", 2},
    {RULE("allow *,80"), "WHAT", 2},
    {RULE("allow 80,"), "WHAT", 2},
    {RULE("allow ,80"), "WHAT", 2},
    {RULE("allow 0"), "WHAT", 2},
    {RULE("allow 080"), "WHAT", 2},
    {RULE("allow 4294967296"), "WHAT", 2},
    {RULE("allow 81-80"), "WHAT", 2},
    {RULE("allow 80-"), "WHAT", 2},
    {RULE("allow -80"), "WHAT", 2},
    {RULE("allow 80-81-82"), "WHAT", 2},
    {RULE("allow -"), "WHAT", 2},
    {RULE("allow **"), "WHAT", 2},
    {RULE("allow ?"), "WHAT", 2},
    {RULE("allow a/b"), "WHAT", 2},
    {RULE("allow a%20b"), "WHAT", 2},
    {RULE("allow aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgggggggggghhhhhhhhhh"),
     "WHAT", 2},
    {RULE("allow *  log=no"), "not known", 2},
    {RULE("allow * colour=red"), "not known", 2},
    {RULE("allow * note=x"), "not known", 2},
    {RULE("allow * log"), "not known", 2},
    {RULE("allow * =x"), "not known", 2},
    {RULE("allow * log=no log=no"), "twice", 2},
    {RULE("allow * log=maybe"), "log=", 2},
    {RULE("allow * uid="), "uid=", 2},
    {RULE("allow * uid=root"), "uid=", 2},
    {RULE("allow * uid=4294967295"), "uid=", 2},
    {RULE("allow * uid=5-4"), "uid=", 2},
    {RULE("allow * uid=5,"), "uid=", 2},
    {RULE("allow * type=any"), "type=", 2},
    {RULE("allow * until=x"), "until=", 2},
    {RULE("allow * until=253402300800"), "until=", 2},
    {RULE("allow * connections=0"), "connections=", 2},
    {RULE("allow * connections=1000001"), "connections=", 2},
    {RULE("allow * rate=5/s"), "rate=", 2},
    {RULE("allow * bandwidth=0"), "bandwidth=", 2},
    {RULE("allow * bandwidth=1000000000001"), "bandwidth=", 2},
    {RULE("deny * connections=1"), "limit", 2},
    {RULE("deny * rate=1"), "limit", 2},
    {RULE("deny * bandwidth=1"), "limit", 2},
    {TWO "peer\nend\n", "domid", 4},
    {TWO "peer 32752\nend\n", "domid", 4},
    {TWO "peer 5\npeer 5\nend\n", "ascend", 5},
    {TWO "peer 5\npeer 4\nend\n", "ascend", 5},
    {TWO "peer 5 out=\nend\n", "not one of ascending", 4},
    {TWO "peer 5 out=1,1\nend\n", "not one of ascending", 4},
    {TWO "peer 5 out=2,1\nend\n", "not one of ascending", 4},
    {TWO "peer 5 out=3\nend\n", "not there", 4},
    {TWO "peer 5 in=1 in=1\nend\n", "twice", 4},
    {TWO "peer 5 via=1\nend\n", "not known here", 4},
    {TWO "peer 5\nrule 3 deny * at=p\nend\n", "not in its place", 5},
    {TWO "other out=2\nend\n", "allow rule for all", 4},
    {TWO "other in=1,2\nend\n", "allow rule for all", 4},
    {TWO "other name=a\nend\n", "not known here", 4},
    {TWO "other in=1\nother in=1\nend\n", "not in its place", 5},
    {TWO "other in=1\npeer 5\nend\n", "not in its place", 5},
    {TWO "route\nend\n", "without", 4},
    {TWO "route a\nend\n", "without", 4},
    {TWO "route a 1\nend\n", "without", 4},
    {TWO "route a 1 at=p b\nend\n", "%", 4},
    {TWO "route 80 1 at=p\nend\n", "no service name", 4},
    {TWO "route a* 1 at=p\nend\n", "no service name", 4},
    {TWO "route a 1, at=p\nend\n", "domid", 4},
    {TWO "route a 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17 at=p\nend\n", "too many", 4},
};

START_TEST(refused)
{
    ck_assert_msg(read_text(bad[_i].text) == -EINVAL, "taken: %s", bad[_i].text);
    ck_assert_msg(strstr(problem.what, bad[_i].what), "%s: %s", bad[_i].text, problem.what);
    ck_assert_msg(problem.line == bad[_i].line, "%s: line %u", bad[_i].text, problem.line);
}
END_TEST

/* Each byte of a good text is needed, and none may be a NUL. */
START_TEST(cut)
{
    static const char text[] = TWO "peer 5 name=a out=1,2 in=2\nother in=1\nroute a 1 at=p\nend\n";
    char copy[sizeof(text)];
    read_good(text);
    rules_free(rules);
    for (size_t length = 0; length < sizeof(text) - 1; length++) {
        ck_assert_int_eq(rules_new(&rules, text, length, &problem), -EINVAL);
        memcpy(copy, text, sizeof(text));
        copy[length] = '\0';
        ck_assert_int_eq(rules_new(&rules, copy, sizeof(text) - 1, &problem), -EINVAL);
    }
}
END_TEST

/* Lines of a kind, each with its number. */
static char *many_lines(bool routes, unsigned count, size_t *length)
{
    char *text = malloc((size_t)count * 64 + 64), *at = text;
    at += sprintf(at, "version 1\n");
    for (unsigned i = 1; i <= count; i++)
        at +=
            routes ? sprintf(at, "route a%u 1 at=p\n", i) : sprintf(at, "rule %u deny * at=p\n", i);
    at += sprintf(at, "end\n");
    *length = (size_t)(at - text);
    return text;
}

START_TEST(too_many)
{
    for (unsigned extra = 0; extra < 2; extra++) {
        size_t length;
        char *text = many_lines(_i, (_i ? RULES_ROUTES_MAX : RULES_MAX) + extra, &length);
        int error = rules_new(&rules, text, length, &problem);
        free(text);
        ck_assert_int_eq(error, extra ? -EINVAL : 0);
        if (!error)
            rules_free(rules);
    }
}
END_TEST

START_TEST(too_long)
{
    static char text[RULES_TEXT_MAX + 2];
    memset(text, 'x', sizeof(text));
    ck_assert_int_eq(rules_new(&rules, text, RULES_TEXT_MAX + 1, &problem), -EINVAL);
    ck_assert_ptr_nonnull(strstr(problem.what, "too long"));
    /* a text of words may be as long as the text, but a TEXT may not */
    int start = sprintf(text, "version 1\nself name=");
    text[start] = 'x';
    memcpy(text + start + RULES_WORD_MAX, "\nend\n", 5);
    ck_assert_int_eq(rules_new(&rules, text, (size_t)start + RULES_WORD_MAX + 5, &problem), 0);
    rules_free(rules);
    memcpy(text + start + RULES_WORD_MAX, "x\nend\n", 6);
    ck_assert_int_eq(rules_new(&rules, text, (size_t)start + RULES_WORD_MAX + 6, &problem),
                     -EINVAL);
}
END_TEST

/* ---- which rule decides ---- */

static const struct {
    const char *what;
    uint32_t port;
    const char *name;
    bool name_known;
    unsigned missed, unknown; /* of "allow" */
    bool deny_differs;        /* a deny rule with this WHAT does not fit */
} fits[] = {
    {"*", 80, "", true, 0, 0, false},
    {"*", 0, "x", true, 0, 0, false},
    {"80", 80, "", true, 0, 0, false},
    {"80", 81, "", true, RULES_WHAT, 0, false},
    {"80", 81, "x", true, RULES_WHAT, 0, false},
    {"80", 0, "x", true, 0, RULES_WHAT, false},
    {"70-90", 80, "", false, 0, 0, false},
    {"x", 0, "x", true, 0, 0, false},
    {"x", 0, "y", true, RULES_WHAT, 0, false},
    {"x*", 0, "xyz", true, 0, 0, false},
    {"x", 80, "", false, 0, RULES_WHAT, false},
    {"x", 80, "", true, RULES_WHAT, 0, false},
    {"x", 80, "x", true, 0, 0, false},
    {"x,80", 0, "y", true, 0, RULES_WHAT, false},
    {"80", 1, "", true, 0, 0, true},
    {"x", 1, "", false, 0, 0, true},
    {"1-80", 1, "", false, 0, 0, false},
};

static struct rule_question rule_asked(uint32_t port, const char *name, bool name_known)
{
    return (struct rule_question){
        .port = port, .name = name, .name_known = name_known, .type = IDC_STREAM, .uid = 33};
}

START_TEST(what_fits)
{
    char text[256];
    struct rule_question asked = rule_asked(fits[_i].port, fits[_i].name, fits[_i].name_known);
    snprintf(text, sizeof(text), "version 1\nrule 1 allow %s at=p\nrule 2 deny %s at=p\nend\n",
             fits[_i].what, fits[_i].what);
    read_good(text);
    struct rule_fit fit = rule_fits(&rules->rules[0], &asked);
    ck_assert_uint_eq(fit.missed, fits[_i].missed);
    ck_assert_uint_eq(fit.unknown, fits[_i].unknown);
    fit = rule_fits(&rules->rules[1], &asked);
    ck_assert_uint_eq(fit.missed, fits[_i].deny_differs ? RULES_WHAT : fits[_i].missed);
    ck_assert_uint_eq(fit.unknown, fits[_i].unknown);
    rules_free(rules);
}
END_TEST

START_TEST(other_aspects)
{
    struct rule_question asked = rule_asked(80, "", true);
    asked.now = 99;
    read_good("version 1\nrule 1 allow * uid=30-32,34 at=p\nrule 2 allow * type=seqpacket at=p\n"
              "rule 3 allow * until=99 at=p\nrule 4 deny 1 type=seqpacket at=p\nend\n");
    ck_assert_uint_eq(rule_fits(&rules->rules[0], &asked).missed, RULES_UID);
    ck_assert_uint_eq(rule_fits(&rules->rules[1], &asked).missed, RULES_TYPE);
    ck_assert_uint_eq(rule_fits(&rules->rules[2], &asked).missed, RULES_UNTIL);
    asked.uid = 34;
    asked.now = 98;
    asked.port = 1;
    ck_assert_uint_eq(rule_fits(&rules->rules[0], &asked).missed, 0);
    ck_assert_uint_eq(rule_fits(&rules->rules[1], &asked).missed,
                      0); /* port 1, whatever the type */
    ck_assert_uint_eq(rule_fits(&rules->rules[2], &asked).missed, 0);
    ck_assert_uint_eq(rule_fits(&rules->rules[3], &asked).missed, RULES_TYPE);
    rules_free(rules);
}
END_TEST

/* Rules 1 to 5 of a pair; the question is about port 80, whose name is not known. */
static const struct {
    const char *rules[5];
    unsigned decides; /* 0: none */
    bool perhaps;
    unsigned near;
} orders[] = {
    {{"allow 80", "deny *"}, 1, false, 0},
    {{"deny *", "allow 80"}, 1, false, 0},
    {{"deny 81", "allow *"}, 2, false, 0},
    {{"deny x", "allow *"}, 2, true, 0},   /* the deny rule is passed over */
    {{"allow x", "deny *"}, 1, true, 0},   /* the allow rule lets it through */
    {{"deny 80", "allow x"}, 1, false, 0}, /* a rule before it decides */
    {{"allow 80 uid=34", "deny *"}, 2, false, 1},
    {{"deny 80", "allow 80 uid=34"}, 1, false, 0},
    {{"allow 80 uid=34", "allow 80 type=seqpacket", "allow 80"}, 3, false, 1},
    {{"allow 81 uid=34"}, 0, false, 0},
    {{"allow 81"}, 0, false, 0},
    {{"allow 80 until=5"}, 0, false, 1},
    {{"deny 80 until=5", "allow 80"}, 2, false, 0},
    {{"deny 80 uid=34", "allow 80"}, 2, false, 0},
};

static void read_orders(const char *const list[5])
{
    char text[512];
    int at = sprintf(text, "version 1\n"), count = 0;
    for (; count < 5 && list[count]; count++)
        at += sprintf(text + at, "rule %d %s at=p:%d\n", count + 1, list[count], count + 1);
    at += sprintf(text + at, "peer 5 out=");
    for (int i = 0; i < count; i++)
        at += sprintf(text + at, "%s%d", i ? "," : "", i + 1);
    sprintf(text + at, "\nend\n");
    read_good(text);
}

START_TEST(first_that_fits)
{
    struct rules_verdict verdict = {0};
    struct rule_question asked = rule_asked(80, "", false);
    asked.now = 5;
    read_orders(orders[_i].rules);
    bool decided =
        rules_decide(rules, rules_between(rules, 5, true), 1, UINT32_MAX, &asked, &verdict);
    ck_assert(decided == (orders[_i].decides != 0));
    ck_assert_uint_eq(verdict.rule ? verdict.rule->number : 0, orders[_i].decides);
    ck_assert(verdict.perhaps == orders[_i].perhaps);
    ck_assert_uint_eq(verdict.near ? verdict.near->number : 0, orders[_i].near);
    rules_free(rules);
}
END_TEST

START_TEST(some_numbers)
{
    static const char *const list[5] = {"allow 80", "deny 80", "allow 80"};
    struct rules_verdict verdict = {0};
    const struct rule_question asked = rule_asked(80, "", false);
    read_orders(list);
    const struct rules_list *all = rules_between(rules, 5, true);
    ck_assert(rules_decide(rules, all, 2, 3, &asked, &verdict));
    ck_assert_uint_eq(verdict.rule->number, 2);
    ck_assert(rules_decide(rules, all, 3, 3, &asked, &verdict));
    ck_assert_uint_eq(verdict.rule->number, 3);
    ck_assert(!rules_decide(rules, all, 4, UINT32_MAX, &asked, &verdict));
    rules_free(rules);
}
END_TEST

static const struct {
    const char *rules[5];
    bool something;
} somethings[] = {
    {{"allow 80"}, true},
    {{"deny 80"}, false},
    {{"deny 80", "allow 80"}, true},
    {{"deny *", "allow 80"}, false},
    {{"deny * uid=3", "allow 80"}, true},
    {{"deny * type=stream", "allow 80"}, true},
    {{"deny * until=5", "allow 80"}, true},
    {{"allow 80 until=5"}, false},
    {{"allow 80 until=6"}, true},
};

START_TEST(something_allowed)
{
    read_orders(somethings[_i].rules);
    ck_assert(rules_allow_something(rules, rules_between(rules, 5, true), 5) ==
              somethings[_i].something);
    ck_assert(!rules_allow_something(rules, rules_between(rules, 5, false), 5));
    rules_free(rules);
}
END_TEST

START_TEST(next_end)
{
    read_good("version 1\nrule 1 deny * until=50 at=p\nrule 2 allow * until=40 at=p\n"
              "rule 3 allow * at=p\nend\n");
    ck_assert_uint_eq(rules_next_end(rules, 0), 40);
    ck_assert_uint_eq(rules_next_end(rules, 40), 50);
    ck_assert(rules_next_end(rules, 50) == RULES_FOREVER);
    rules_free(rules);
}
END_TEST

static int count_of(size_t size, size_t one)
{
    return (int)(size / one);
}
#define COUNT(table) count_of(sizeof(table), sizeof((table)[0]))

int main(void)
{
    Suite *suite = suite_create("rules");
    TCase *text = tcase_create("text"), *judging = tcase_create("judging");
    tcase_add_test(text, everything);
    tcase_add_test(text, nothing);
    tcase_add_loop_test(text, refused, 0, COUNT(bad));
    tcase_add_test(text, cut);
    tcase_add_loop_test(text, too_many, 0, 2);
    tcase_add_test(text, too_long);
    tcase_add_loop_test(judging, what_fits, 0, COUNT(fits));
    tcase_add_test(judging, other_aspects);
    tcase_add_loop_test(judging, first_that_fits, 0, COUNT(orders));
    tcase_add_test(judging, some_numbers);
    tcase_add_loop_test(judging, something_allowed, 0, COUNT(somethings));
    tcase_add_test(judging, next_end);
    suite_add_tcase(suite, text);
    suite_add_tcase(suite, judging);
    return run_suite(suite);
}
