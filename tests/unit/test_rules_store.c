/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rules from the nodes of the store: put together in every order, kept until new ones are whole,
 * with a bound for what is kept. Then in a core: what they allow, revoke, and when they end.
 */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "link_mgr/core/judge.h"
#include "link_mgr/core/rules_force.h"
#include "link_mgr/core/rules_store.h"
#include "tests/lone/lone.h"
#include "tests/unit/suite.h"

/* ---- the assembler ---- */

static struct rules_store store;
static struct rules *rules;
static struct rules_problem problem;

static enum rules_news store_take(void)
{
    rules_free(rules);
    rules = NULL;
    problem = (struct rules_problem){.what = ""};
    return rules_store_take(&store, &rules, &problem);
}

static void store_begin(void)
{
    rules_store_init(&store);
    ck_assert_int_eq(store_take(), RULES_SAME);
}

static void store_finish(void)
{
    rules_store_clear(&store);
    ck_assert_uint_eq(store.kept, 0);
    rules_free(rules);
    rules = NULL;
}

static void put_node(const char *rest, const char *value)
{
    rules_store_event(&store, rest, value);
}

struct node {
    const char *rest, *value;
};

static const struct node whole[] = {
    {"/7/0", "version 1\nself na"},
    {"/7/1", "me="},
    {"/7/2", "seven\nend\n"},
    {"/now", "7 3"},
};
#define WHOLE 4

/* All 24 orders of these four. */
static void make_order(int number, int order[WHOLE])
{
    int left[WHOLE] = {0, 1, 2, 3};
    for (int i = 0; i < WHOLE; i++) {
        int which = number % (WHOLE - i);
        number /= WHOLE - i;
        order[i] = left[which];
        memmove(&left[which], &left[which + 1], sizeof(int) * (size_t)(WHOLE - 1 - which));
    }
}

START_TEST(every_order)
{
    int order[WHOLE];
    make_order(_i, order);
    store_begin();
    for (int i = 0; i < WHOLE; i++) {
        put_node(whole[order[i]].rest, whole[order[i]].value);
        ck_assert_int_eq(store_take(), i == WHOLE - 1 ? RULES_NEW : RULES_SAME);
    }
    ck_assert_str_eq(rules->name, "seven");
    /* told once more, in another order */
    for (int i = WHOLE - 1; i >= 0; i--)
        put_node(whole[order[i]].rest, whole[order[i]].value);
    ck_assert_int_eq(store_take(), RULES_SAME);
    ck_assert_uint_eq(store.kept, 0);
    store_finish();
}
END_TEST

static void put_text(const char *number, const char *text)
{
    char path[64], now[64];
    snprintf(path, sizeof(path), "/%s/0", number);
    snprintf(now, sizeof(now), "%s 1", number);
    put_node(path, text);
    put_node("/now", now);
}

#define NAMED(name) "version 1\nself name=" name "\nend\n"

START_TEST(switches)
{
    store_begin();
    put_text("1", NAMED("one"));
    ck_assert_int_eq(store_take(), RULES_NEW);
    put_node("/2/0", NAMED("two"));
    ck_assert_int_eq(store_take(), RULES_SAME);
    put_node("/now", "2 1");
    put_node("/1/0", NULL);
    ck_assert_int_eq(store_take(), RULES_NEW);
    ck_assert_str_eq(rules->name, "two");
    put_node("/now", NULL);
    put_node("/2/0", NULL);
    ck_assert_int_eq(store_take(), RULES_NEW);
    ck_assert_ptr_null(rules);
    ck_assert(!store.named);
    store_finish();
}
END_TEST

START_TEST(wrong_text)
{
    store_begin();
    put_text("1", "version 1\nfoo\nend\n");
    ck_assert_int_eq(store_take(), RULES_WRONG);
    ck_assert_uint_eq(problem.line, 2);
    ck_assert_int_eq(store_take(), RULES_SAME); /* told once */
    put_text("2", NAMED("two"));
    ck_assert_int_eq(store_take(), RULES_NEW);
    store_finish();
}
END_TEST

static const char *const bad_now[] = {
    "",     "1",    "1 ",  " 1 1", "1 0",    "0 1", "1 01",
    "01 1", "1 1 ", "1 x", "x 1",  "1 2049", "1,1", "1000000000000000000 1",
    "-1 1", "1 -1",
};

START_TEST(wrong_now)
{
    store_begin();
    put_node("/1/0", NAMED("one"));
    put_node("/now", bad_now[_i]);
    ck_assert_int_eq(store_take(), RULES_WRONG);
    ck_assert_uint_eq(problem.line, 0);
    ck_assert(store.named);
    put_node("/now", "1 1");
    ck_assert_int_eq(store_take(), RULES_NEW);
    store_finish();
}
END_TEST

static const char *const no_parts[] = {
    "/1",   "/1/", "/1/2048", "/1/x",     "/1/00", "/01/0",
    "/0/0", "//0", "/1/0/0",  "/nowhere", "",      "now",
};

START_TEST(other_nodes)
{
    store_begin();
    put_node(no_parts[_i], NAMED("one"));
    ck_assert_int_eq(store_take(), RULES_SAME);
    ck_assert_uint_eq(store.kept, 0);
    store_finish();
}
END_TEST

/* A part goes, and comes again with other text, before its generation is named. */
START_TEST(part_changes)
{
    store_begin();
    put_node("/5/0", "version 2\n");
    put_node("/5/1", "self name=a\nend\n");
    put_node("/5/0", NULL);
    put_node("/now", "5 2");
    ck_assert_int_eq(store_take(), RULES_SAME);
    put_node("/5/0", "version 1\n");
    put_node("/5/0", "version 1\n");
    ck_assert_int_eq(store_take(), RULES_NEW);
    store_finish();
}
END_TEST

/* One part more than `now` says is no part of the text. */
START_TEST(part_too_many)
{
    store_begin();
    put_node("/5/1", "more");
    put_node("/5/0", NAMED("five"));
    put_node("/now", "5 1");
    ck_assert_int_eq(store_take(), RULES_NEW);
    store_finish();
}
END_TEST

START_TEST(few_generations)
{
    char path[64];
    store_begin();
    put_node("/now", "2 2");
    put_node("/2/0", "version 1\n");
    for (int i = 1; i < 100; i++) {
        snprintf(path, sizeof(path), "/%d/1", i);
        put_node(path, "end\n");
        ck_assert_uint_le(store.kept, RULES_STORE_GENERATIONS);
    }
    /* the one that is named stays, and so do the highest */
    ck_assert_int_eq(store_take(), RULES_NEW);
    put_node("/99/0", "version 1\n");
    put_node("/now", "99 2");
    ck_assert_int_eq(store_take(), RULES_NEW);
    store_finish();
}
END_TEST

START_TEST(too_long)
{
    static char part[4096];
    char path[64];
    store_begin();
    memset(part, 'x', 4095);
    for (unsigned i = 0; i < RULES_STORE_PARTS_MAX; i++) {
        snprintf(path, sizeof(path), "/3/%u", i);
        put_node(path, part);
    }
    struct rules_generation *only = LIST_FIRST(&store.generations);
    ck_assert_uint_le(only->bytes, RULES_TEXT_MAX);
    put_node("/now", "3 2048");
    ck_assert_int_eq(store_take(), RULES_WRONG);
    ck_assert_str_eq(problem.what, "the text is too long");
    ck_assert_uint_eq(store.kept, 0);
    store_finish();
}
END_TEST

/* What was in force is named once more: its parts are not here, but the store may have them. */
START_TEST(named_again)
{
    store_begin();
    put_text("5", NAMED("five"));
    ck_assert_int_eq(store_take(), RULES_NEW);
    put_node("/now", NULL);
    ck_assert_int_eq(store_take(), RULES_NEW);
    put_node("/now", "5 1");
    ck_assert_int_eq(store_take(), RULES_MEMORY);
    rules_store_relist(&store);
    put_text("5", NAMED("five"));
    ck_assert_int_eq(store_take(), RULES_NEW);
    ck_assert_str_eq(rules->name, "five");
    store_finish();
}
END_TEST

START_TEST(all_gone)
{
    store_begin();
    put_text("5", NAMED("five"));
    put_node("/6/0", "x");
    ck_assert_int_eq(store_take(), RULES_NEW);
    put_node(NULL, NULL);
    ck_assert_int_eq(store_take(), RULES_NEW);
    ck_assert_ptr_null(rules);
    ck_assert_uint_eq(store.kept, 0);
    store_finish();
}
END_TEST

/* ---- in a core ---- */

#define POLICY "/local/domain/1/idc/policy/"

static struct lone lone;
static unsigned published;

static void put_rules(const char *text)
{
    char path[128], now[32];
    published++;
    snprintf(path, sizeof(path), POLICY "rules/%u/0", published);
    snprintf(now, sizeof(now), "%u 1", published);
    lone_store(&lone, path, text);
    lone_store(&lone, POLICY "rules/now", now);
    lone_run(&lone);
}

static bool may_connect(enum judge_direction direction, uint32_t domid, uint32_t port)
{
    const struct judge_question question = {.direction = direction,
                                            .domid = domid,
                                            .port = port,
                                            .name = "",
                                            .type = IDC_STREAM,
                                            .uid = 33};
    return judge_allows(lone.core, &question);
}

static bool is_peer(int domid)
{
    return lone.core->by_domid[domid] && lone.core->by_domid[domid]->allowed;
}

START_TEST(one_way)
{
    lone_begin(&lone);
    put_rules("version 1\nrule 1 allow 80 at=p:1\npeer 2 out=1\npeer 3 in=1\nend\n");
    ck_assert(may_connect(JUDGE_OUT, 2, 80) && !may_connect(JUDGE_IN, 2, 80));
    ck_assert(may_connect(JUDGE_IN, 3, 80) && !may_connect(JUDGE_OUT, 3, 80));
    ck_assert(!may_connect(JUDGE_OUT, 2, 81) && !may_connect(JUDGE_OUT, 4, 80));
    ck_assert(may_connect(JUDGE_OUT, 2, 1) && !may_connect(JUDGE_IN, 2, 1));
    ck_assert(is_peer(2) && is_peer(3) && !is_peer(4));
    put_rules("version 1\nrule 1 deny 80 at=p:1\npeer 2 out=1\npeer 3 in=1\nend\n");
    ck_assert(!may_connect(JUDGE_OUT, 2, 80) && !is_peer(2) && !is_peer(3));
    lone_stop(&lone);
}
END_TEST

/* Commands stand before the policy node, files after it. */
START_TEST(around_the_node)
{
    lone_begin(&lone);
    lone_store(&lone, POLICY "2", "out=80-81");
    put_rules("version 1\ncommands 5\nrule 5 deny 80 at=c\nrule 6 deny * at=p:1\npeer 2 out=5,6\n"
              "end\n");
    ck_assert(!may_connect(JUDGE_OUT, 2, 80) && may_connect(JUDGE_OUT, 2, 81) &&
              !may_connect(JUDGE_OUT, 2, 82));
    put_rules("version 1\nrule 5 deny 80 at=c\nrule 6 allow * at=p:1\npeer 2 out=5,6\nend\n");
    ck_assert(may_connect(JUDGE_OUT, 2, 80) && may_connect(JUDGE_OUT, 2, 82));
    put_rules("version 1\ncommands 4294967295\nrule 6 allow 82 at=p:1\npeer 2 out=6\nend\n");
    ck_assert(may_connect(JUDGE_OUT, 2, 80) && may_connect(JUDGE_OUT, 2, 82) &&
              !may_connect(JUDGE_OUT, 2, 83));
    lone_stop(&lone);
}
END_TEST

/* Rules that are there, and could not be read: nothing is allowed. */
START_TEST(awaited)
{
    lone_begin(&lone);
    lone_store(&lone, POLICY "rules/now", "1000 1");
    lone_store(&lone, POLICY "2", "out=80");
    lone_run(&lone);
    ck_assert(!may_connect(JUDGE_OUT, 2, 80));
    lone_store(&lone, POLICY "rules/1000/0", "rubbish\n");
    lone_run(&lone);
    ck_assert_ptr_nonnull(strstr(lone.last_log, "nothing is allowed: line 1: "));
    ck_assert(!may_connect(JUDGE_OUT, 2, 80));
    lone_store(&lone, POLICY "rules/now", NULL);
    lone_run(&lone);
    ck_assert(may_connect(JUDGE_OUT, 2, 80));
    /* From now on what was in force stays. */
    lone_store(&lone, POLICY "rules/now", "1001 1");
    lone_run(&lone);
    ck_assert(may_connect(JUDGE_OUT, 2, 80));
    lone_store(&lone, POLICY "rules/1001/0", "rubbish\n");
    lone_run(&lone);
    ck_assert_ptr_nonnull(strstr(lone.last_log, "the former ones stay: line 1: "));
    ck_assert(may_connect(JUDGE_OUT, 2, 80));
    lone_stop(&lone);
}
END_TEST

START_TEST(policy_gone)
{
    lone_begin(&lone);
    put_rules("version 1\nrule 1 allow 80 at=p:1\npeer 2 out=1\nend\n");
    ck_assert(is_peer(2));
    lone_store(&lone, "/local/domain/1/idc/policy", NULL);
    lone_run(&lone);
    ck_assert(!is_peer(2) && !lone.core->rules);
    lone_stop(&lone);
}
END_TEST

static int subscribe_error;
static unsigned subscribes;

static int counted_subscribe(struct platform *platform, const char *path)
{
    (void)platform, (void)path;
    subscribes++;
    return subscribe_error;
}

static int never_unsubscribed(struct platform *platform, const char *path)
{
    (void)platform;
    ck_abort_msg("%s is not watched for a while", path);
}

/* The store must tell all nodes again, and has no memory or descriptor for that at first. The watch
 * stays meanwhile, or a node that goes would not be seen to go. */
START_TEST(all_is_told_again_later)
{
    static struct platform_ops changed;
    lone_begin(&lone);
    changed = *lone.host.ops;
    changed.subscribe = counted_subscribe;
    int (*const former)(struct platform *, const char *) = changed.unsubscribe;
    changed.unsubscribe = never_unsubscribed;
    put_rules("version 1\nrule 1 allow 80 at=p:1\npeer 2 out=1\nend\n");
    lone_store(&lone, POLICY "rules/now", NULL);
    lone_run(&lone);
    lone.host.ops = &changed;
    subscribe_error = -EMFILE;
    lone_store(&lone, POLICY "rules/now", "1 1");
    lone_run(&lone);
    for (unsigned i = 1; i < 4; i++) {
        lone_pass(&lone, 1000);
        ck_assert_uint_eq(subscribes, i);
        ck_assert(lone.core->rules_store.lost);
        ck_assert_int_eq(strstr(lone.last_log, "cannot read the policy again") != NULL, i == 1);
        lone.last_log[0] = '\0'; /* said once */
    }
    subscribe_error = 0;
    lone_pass(&lone, 1000);
    lone_pass(&lone, 10000);
    ck_assert_uint_eq(subscribes, 4);
    ck_assert(!lone.core->rules_store.lost);
    changed.unsubscribe = former;
    lone_stop(&lone);
}
END_TEST

/* ---- a store that tells many nodes ---- */

#define MANY_NODES (3 * CORE_STORE_EVENTS)

static int many_left; /* nodes that the store still has to tell; the last ones are the rules */
static bool many_rules;

static int many_next(struct platform *platform, struct store_event *event)
{
    (void)platform;
    *event = (struct store_event){.present = true};
    if (many_left == 0)
        return 0;
    many_left--;
    if (many_rules && many_left < 2) {
        strcpy(event->path, many_left == 1 ? POLICY "rules/1/0" : POLICY "rules/now");
        strcpy(event->value,
               many_left == 1
                   ? "version 1\ncommands 1\nrule 1 deny 80 at=p:1\npeer 2 in=1 out=1\nend\n"
                   : "1 1");
        return 1;
    }
    snprintf(event->path, sizeof(event->path), POLICY "%d", 2 + many_left);
    strcpy(event->value, "in=* out=*");
    if (many_left == MANY_NODES - 1) /* the first one */
        strcpy(event->path, POLICY "2");
    return 1;
}

static bool many_allowed(void)
{
    const struct judge_question question = {
        .direction = JUDGE_IN, .domid = 2, .port = 80, .name = "", .type = IDC_STREAM};
    return judge_allows(lone.core, &question);
}

/* More nodes than one turn takes. Whether there are rules beside them is known only at the end. Up
 * to then nothing is allowed, since rules may deny what a node allows. */
START_TEST(many_nodes_before_the_rules)
{
    static struct platform_ops changed;
    int turns = 0, more = 1;
    lone_begin(&lone);
    changed = *lone.host.ops;
    changed.next_event = many_next;
    lone.host.ops = &changed;
    many_rules = _i != 0;
    many_left = MANY_NODES;
    for (; more == 1; turns++) {
        more = core_take_store_events(lone.core);
        lone_run(&lone);
        ck_assert_msg(more == 0 || !many_allowed(), "after turn %d", turns);
    }
    ck_assert_int_eq(more, 0);
    ck_assert_int_eq(turns, 4); /* the last one finds nothing */
    ck_assert_int_eq(many_allowed(), !many_rules);
    lone_stop(&lone);
}
END_TEST

START_TEST(until)
{
    lone_begin(&lone);
    lone.wall_offset = 1000000 * 1000ull - lone.now;
    put_rules("version 1\nrule 1 allow 80 until=1000100 at=p:1\nrule 2 allow 81 until=1000090 "
              "at=p:2\npeer 2 out=1\npeer 3 out=2\nend\n");
    ck_assert(is_peer(2) && is_peer(3));
    ck_assert_uint_eq(core_deadline(lone.core), lone.now + 60000); /* somebody may set the clock */
    lone_pass(&lone, 60000);
    ck_assert_uint_eq(core_deadline(lone.core), lone.now + 30000);
    lone_pass(&lone, 29999);
    ck_assert(is_peer(3));
    lone_pass(&lone, 1);
    ck_assert(is_peer(2) && !is_peer(3));
    ck_assert_uint_eq(core_deadline(lone.core), lone.now + 10000);
    lone_pass(&lone, 10000);
    ck_assert(!is_peer(2));
    ck_assert_uint_eq(core_deadline(lone.core), UINT64_MAX); /* idle stays idle */
    lone_stop(&lone);
}
END_TEST

/* The clock was set. */
START_TEST(clock_set)
{
    lone_begin(&lone);
    put_rules("version 1\nrule 1 allow 80 until=1000000 at=p:1\npeer 2 out=1\nend\n");
    lone.wall_offset = 1000001 * 1000ull;
    lone_pass(&lone, 59999);
    ck_assert(is_peer(2));
    lone_pass(&lone, 1);
    ck_assert(!is_peer(2));
    lone_stop(&lone);
}
END_TEST

/* ---- connections ---- */

static struct conn *connect_in(uint32_t id, uint32_t port)
{
    uint8_t payload[WIRE_CONNECT_REQ + IDC_SERVICE_MAX];
    const struct wire_connect_req req = {
        .id = id, .source_port = 5, .port = port, .uid = 33, .type = IDC_STREAM};
    int before = lone.end_count;
    uint32_t length = wire_put_connect_req(payload, &req);
    ck_assert(lone_send(
        &lone,
        &(struct wire_frame){.type = WIRE_TYPE_CONNECT_REQ, .length = length, .credit = 4096},
        payload));
    lone_run(&lone);
    return lone.end_count > before ? lone.ends[before].conn : NULL;
}

#define THREE                                                                            \
    "version 1\nrule 3 allow 100 uid=33 at=/etc/idc/policy:3\nrule 4 allow 100 at=x:4\n" \
    "peer 2 in=3,4\nend\n"

/* Another rule allows it now: it stays, and the pointer is that of the new text. */
START_TEST(connection_stays)
{
    lone_start(&lone);
    put_rules(THREE);
    lone_store(&lone, POLICY "2", NULL);
    struct conn *conn = connect_in(7, LONE_PORT);
    ck_assert_ptr_nonnull(conn);
    ck_assert_str_eq(conn->rule->place, "/etc/idc/policy:3");
    put_rules("version 1\nrule 9 allow 100 at=y:1\npeer 2 in=9\nend\n");
    ck_assert_uint_eq(conn->rule->number, 9);
    ck_assert(lone.ends[0].open);
    lone_store(&lone, POLICY "2", "in=*");
    ck_assert_ptr_null(conn->rule);
    lone_run(&lone);
    ck_assert(lone.ends[0].open);
    lone_stop(&lone);
}
END_TEST

START_TEST(connection_revoked)
{
    lone_start(&lone);
    put_rules(THREE);
    lone_store(&lone, POLICY "2", NULL);
    ck_assert_ptr_nonnull(connect_in(7, LONE_PORT));
    put_rules("version 1\nrule 3 deny 100 uid=33 at=p:3\nrule 4 allow 100 at=p:4\npeer 2 in=3,4\n"
              "end\n");
    ck_assert(!lone.ends[0].open);
    ck_assert_int_eq(lone.ends[0].reason, REASON_REVOKED);
    ck_assert_ptr_null(connect_in(8, LONE_PORT));
    ck_assert(is_peer(2)); /* others may */
    lone_stop(&lone);
}
END_TEST

START_TEST(connection_expires)
{
    lone_start(&lone);
    put_rules("version 1\nrule 3 allow 100 until=5 at=p:3\nrule 4 allow 100 uid=34 at=p:4\n"
              "peer 2 in=3,4\nend\n");
    lone_store(&lone, POLICY "2", NULL);
    ck_assert_ptr_nonnull(connect_in(7, LONE_PORT));
    lone_pass(&lone, 5000 - lone.now - 1);
    ck_assert(lone.ends[0].open);
    lone_pass(&lone, 1);
    ck_assert(!lone.ends[0].open);
    ck_assert_int_eq(lone.ends[0].reason, REASON_REVOKED);
    lone_stop(&lone);
}
END_TEST

/* Between ends of rules, time passes without all connections being judged again by all rules. */
START_TEST(time_alone)
{
    lone_start(&lone);
    put_rules("version 1\nrule 3 allow 100 until=5000 at=p:3\npeer 2 in=3\nend\n");
    lone_store(&lone, POLICY "2", NULL);
    for (uint32_t i = 0; i < 10; i++)
        ck_assert_ptr_nonnull(connect_in(7 + i, LONE_PORT));
    lone.wall_reads = 0;
    lone_pass(&lone, 60000);
    ck_assert_uint_ge(lone.wall_reads, 1); /* it has looked whether a rule has ended */
    ck_assert_uint_lt(lone.wall_reads, 10);
    lone.wall_offset = 5000 * 1000;
    lone_pass(&lone, 60000);
    ck_assert(!lone.ends[0].open && !lone.ends[9].open);
    lone_stop(&lone);
}
END_TEST

/* New rules: connections of one user to one service are judged together, others by themselves. */
START_TEST(judged_together)
{
    lone_start(&lone);
    put_rules("version 1\nrule 3 allow 100 at=p:3\npeer 2 in=3\nend\n");
    lone_store(&lone, POLICY "2", NULL);
    for (uint32_t i = 0; i < 10; i++)
        ck_assert_ptr_nonnull(connect_in(7 + i, LONE_PORT));
    lone.ends[4].conn->uid = 34;
    lone.wall_reads = 0;
    put_rules("version 1\nrule 1 deny * uid=34 at=p:1\nrule 3 allow 100 at=p:3\npeer 2 in=1,3\n"
              "end\n");
    ck_assert_uint_lt(lone.wall_reads, 15);
    for (int i = 0; i < 10; i++) {
        ck_assert_int_eq(lone.ends[i].open, i != 4);
        if (i != 4)
            ck_assert_str_eq(lone.ends[i].conn->rule->place, "p:3");
    }
    lone_stop(&lone);
}
END_TEST

/* ---- more than one turn can judge ---- */

#define LONG_RULES 9999u
#define LONG_CONNS 40 /* of users 100 to 139 */

/* Denies that fit nothing, and then one rule that allows port 100 to users up to `last`. */
static char *make_long(unsigned last)
{
    char *text = NULL;
    size_t length = 0;
    FILE *file = open_memstream(&text, &length);
    fputs("version 1\n", file);
    for (unsigned i = 1; i < LONG_RULES; i++)
        fprintf(file, "rule %u deny 7 at=p:%u\n", i, i);
    fprintf(file, "rule %u allow 100 uid=0-%u at=p:%u\npeer 2 in=", LONG_RULES, last, LONG_RULES);
    for (unsigned i = 1; i <= LONG_RULES; i++)
        fprintf(file, "%s%u", i > 1 ? "," : "", i);
    fputs("\nend\n", file);
    fclose(file);
    return text;
}

/* As put_rules, but no turn is taken. */
static void put_long(unsigned last)
{
    char path[128], now[32], part[4001], *text = make_long(last);
    unsigned parts = 0;
    published++;
    for (const char *at = text; *at; at += strlen(part), parts++) {
        snprintf(part, sizeof(part), "%s", at);
        snprintf(path, sizeof(path), POLICY "rules/%u/%u", published, parts);
        lone_store(&lone, path, part);
    }
    snprintf(now, sizeof(now), "%u %u", published, parts);
    lone_store(&lone, POLICY "rules/now", now);
    free(text);
}

static int count_open(void)
{
    int count = 0;
    for (int i = 0; i < lone.end_count; i++)
        count += lone.ends[i].open;
    return count;
}

static bool is_in_force(const struct rule *rule)
{
    const struct rules *present = lone.core->rules;
    return rule >= present->rules && rule < present->rules + present->rule_count;
}

static void begin_long(void)
{
    lone_start(&lone);
    put_rules("version 1\nrule 3 allow 100 at=p:3\npeer 2 in=3\nend\n");
    lone_store(&lone, POLICY "2", NULL);
    for (uint32_t i = 0; i < LONG_CONNS; i++) {
        struct conn *conn = connect_in(7 + i, LONE_PORT);
        ck_assert_ptr_nonnull(conn);
        conn->uid = 100 + i;
    }
}

/* Those of users up to `last` are open, by rules in force, and nothing of the past is kept. */
static void expect_long(unsigned last)
{
    for (unsigned i = 0; i < LONG_CONNS; i++)
        ck_assert_msg(lone.ends[i].open == (100 + i <= last), "user %u", 100 + i);
    for (int i = 0; i < lone.end_count; i++)
        if (lone.ends[i].open)
            ck_assert(is_in_force(lone.ends[i].conn->rule));
        else
            ck_assert_int_eq(lone.ends[i].reason, REASON_REVOKED);
    ck_assert_ptr_null(lone.core->rules_before);
    ck_assert(!lone.core->judging);
}

/* A turn judges few connections by many rules. What is new is judged by the new rules at once. */
START_TEST(judged_in_turns)
{
    int before, turns = 0;
    bool more = true;
    begin_long();
    put_long(115);
    for (; more; turns++) {
        before = count_open();
        more = core_turn(lone.core);
        ck_assert_int_le(before - count_open(), RULES_JUDGE_TURN / LONG_RULES + 1);
        ck_assert(!may_connect(JUDGE_IN, 2, 7));
        ck_assert_uint_eq(lone.core->rules->rule_count, LONG_RULES);
        ck_assert_msg(turns < 100, "it does not come to an end");
    }
    ck_assert_int_ge(turns, LONG_CONNS / (RULES_JUDGE_TURN / LONG_RULES + 1));
    expect_long(115);
    lone_stop(&lone);
}
END_TEST

/* A set of usual size is judged in the turn in which it comes. */
START_TEST(usual_rules_in_one_turn)
{
    char path[128], now[32];
    begin_long();
    snprintf(path, sizeof(path), POLICY "rules/%u/0", ++published);
    snprintf(now, sizeof(now), "%u 1", published);
    lone_store(&lone, path, "version 1\nrule 1 allow 100 uid=0-99 at=p:1\npeer 2 in=1\nend\n");
    lone_store(&lone, POLICY "rules/now", now);
    core_turn(lone.core);
    ck_assert_int_eq(count_open(), 0);
    lone_stop(&lone);
}
END_TEST

/* Meanwhile one connection ends and another begins, and rules come once more. */
START_TEST(judged_while_all_changes)
{
    begin_long();
    put_long(130);
    ck_assert(core_turn(lone.core));
    ck_assert(core_turn(lone.core));
    struct conn *ending = lone.ends[39].conn;
    conn_reset(ending, REASON_REVOKED);
    conn_settle(ending);
    ck_assert_ptr_nonnull(lone.core->rules_before);
    put_long(120);
    ck_assert(core_turn(lone.core));
    ck_assert_uint_eq(lone.core->rules->rules[LONG_RULES - 1].uids[0].last, 120);
    ck_assert_ptr_nonnull(connect_in(99, LONE_PORT)); /* of user 33 */
    expect_long(120);
    lone_stop(&lone);
}
END_TEST

/* Rules that come faster than all can be judged: each connection has its turn, and few sets are
 * kept. */
START_TEST(rules_come_in_each_turn)
{
    begin_long();
    for (int turn = 0; turn < 3 * RULES_BEFORE_MAX; turn++) {
        int kept = 0;
        put_long(115);
        core_turn(lone.core);
        for (const struct rules *before = lone.core->rules_before; before; before = before->before)
            kept++;
        ck_assert_int_le(kept, RULES_BEFORE_MAX);
        if (turn == LONG_CONNS / (RULES_JUDGE_TURN / LONG_RULES) - 1)
            ck_assert_int_eq(count_open(), 16);
    }
    lone_run(&lone);
    expect_long(115);
    lone_stop(&lone);
}
END_TEST

/* All goes while some are not judged yet. */
START_TEST(stopped_meanwhile)
{
    begin_long();
    put_long(115);
    ck_assert(core_turn(lone.core));
    ck_assert(lone.core->judging);
    lone_stop(&lone);
}
END_TEST

/* ---- accounts of many rules ---- */

/* So many rules with a limit, each with an account of its own; they come with these numbers and in
 * this order. */
static struct rules *make_limited(uint32_t count, bool backwards)
{
    struct rules *made;
    struct rules_problem wrong;
    char *text = NULL;
    size_t length = 0;
    FILE *file = open_memstream(&text, &length);
    fputs("version 1\n", file);
    for (uint32_t i = 1; i <= count; i++)
        fprintf(file, "rule %u allow 100 connections=2 rate=%u at=p:%u\n", i, backwards ? 1u : 9u,
                backwards ? count - i : i);
    fputs("peer 2 out=", file);
    for (uint32_t i = 1; i <= count; i++)
        fprintf(file, "%s%u", i > 1 ? "," : "", i);
    fputs("\nend\n", file);
    fclose(file);
    ck_assert_int_eq(rules_new(&made, text, strlen(text), &wrong), 0);
    free(text);
    return made;
}

/* The shortest of some times that it takes to follow rules, in ticks of the processor's clock. */
static clock_t follow_limited(uint32_t count)
{
    struct peer *peer = lone.core->by_domid[2];
    struct rules *first = make_limited(count, false), *second = make_limited(count, true);
    clock_t best = CLOCKS_PER_SEC * 100;
    for (uint32_t i = 0; i < count; i++)
        ck_assert_int_eq(rule_use_check(peer, &first->rules[i], 100, true), REASON_OK);
    for (int i = 0; i < 6; i++) {
        clock_t begun = clock();
        rule_use_follow(peer, i % 2 ? first : second);
        clock_t took = clock() - begun;
        best = took < best ? took : best;
        if (i == 0) { /* place 0 is new, and that of number `count` is no more */
            const struct rule_use *use;
            uint32_t left = 0;
            LIST_FOREACH (use, &peer->uses, all)
                left += use->rule == NULL;
            ck_assert_uint_eq(left, 1);
            rule_use_tidy(peer);
        }
    }
    rule_use_follow(peer, NULL);
    rule_use_tidy(peer);
    ck_assert(LIST_EMPTY(&peer->uses));
    rules_free(first);
    rules_free(second);
    return best;
}

/* An account goes on with the rule of its place, wherever that is among the new ones. */
START_TEST(accounts_follow_their_places)
{
    lone_start(&lone);
    struct peer *peer = lone.core->by_domid[2];
    struct rules *first = make_limited(100, false), *second = make_limited(100, true);
    for (uint32_t i = 0; i < 100; i++)
        ck_assert_int_eq(rule_use_check(peer, &first->rules[i], 100, true), REASON_OK);
    struct rule_use *use = LIST_FIRST(&peer->uses); /* of the last one */
    ck_assert_str_eq(use->rule->place, "p:100");
    rule_use_follow(peer, second);
    ck_assert_ptr_null(use->rule);
    for (uint32_t i = 99; (use = LIST_NEXT(use, all)); i--) {
        ck_assert_ptr_eq(use->rule, &second->rules[99 - i]);
        ck_assert_uint_eq(use->tokens, 1000); /* of a rate that is less now */
    }
    rule_use_follow(peer, NULL);
    rule_use_tidy(peer);
    rules_free(first);
    rules_free(second);
    lone_stop(&lone);
}
END_TEST

/* Eight times as many take about eight times as long, and not 64 times. */
START_TEST(many_accounts_follow)
{
    lone_start(&lone);
    clock_t few = follow_limited(1000), many = follow_limited(8000);
    ck_assert_msg(many < 32 * (few + 20), "%ld ticks for 1000 rules, %ld for 8000", (long)few,
                  (long)many);
    lone_stop(&lone);
}
END_TEST

static struct conn *connect_out(uint32_t port, const char *name)
{
    enum reason reason;
    const struct core_request request = {
        .domid = 2, .port = port, .name = name, .type = IDC_STREAM, .uid = 33, .cookie = &lone};
    struct conn *conn = core_connect(lone.core, &request, &reason);
    if (!conn)
        ck_assert_int_eq(reason, REASON_POLICY);
    lone_run(&lone);
    return conn;
}

/* The clock was set back, or is ahead of our timer: a rule is in force of which no timer has told.
 * Its domain is a peer as soon as a program asks for it. */
START_TEST(clock_set_back)
{
    lone_begin(&lone);
    lone.wall_offset = 1000001 * 1000ull;
    put_rules("version 1\nrule 1 allow 80 until=1000000 at=p:1\npeer 2 out=1\nend\n");
    ck_assert_ptr_null(lone.core->by_domid[2]);
    lone.wall_offset = 0;
    ck_assert_ptr_nonnull(connect_out(80, ""));
    ck_assert(is_peer(2));
    lone_stop(&lone);
}
END_TEST

static void answer_out(const struct conn *conn, uint32_t port)
{
    uint8_t payload[WIRE_CONNECT_RSP_RULE];
    const struct wire_connect_rsp rsp = {.id = 99, .port = port};
    uint32_t length = wire_put_connect_rsp(payload, 0, &rsp);
    ck_assert(lone_send(&lone,
                        &(struct wire_frame){.type = WIRE_TYPE_CONNECT_RSP,
                                             .length = length,
                                             .connection = conn->id,
                                             .credit = 4096},
                        payload));
    lone_run(&lone);
}

/* It is set back when all ends have passed, and nobody looks at it any more. Whoever connects then
 * is let through, and is cut off when the rule ends again. From either side. */
START_TEST(clock_set_back_after_all)
{
    const uint64_t end = 1000000;
    lone_start(&lone);
    lone.wall_offset = (end - 5) * 1000 - lone.now;
    put_rules("version 1\nrule 1 allow 100 until=1000000 at=p:1\nrule 2 allow 81 at=p:2\n"
              "peer 2 in=1,2 out=1,2\nend\n");
    lone_store(&lone, POLICY "2", NULL);
    lone_pass(&lone, 5000);
    ck_assert_uint_eq(lone.core->rules_due, UINT64_MAX);
    ck_assert(!may_connect(JUDGE_IN, 2, LONE_PORT));
    lone.wall_offset = (end - 3) * 1000 - lone.now; /* it ends before the next look */
    struct conn *conn = _i ? connect_out(LONE_PORT, "") : connect_in(7, LONE_PORT);
    ck_assert_ptr_nonnull(conn);
    if (_i)
        answer_out(conn, LONE_PORT);
    lone_pass(&lone, 0);
    ck_assert_uint_eq(lone.core->rules_due, lone.now + 3000);
    lone_pass(&lone, 2999);
    ck_assert(lone.ends[0].open);
    lone_pass(&lone, 1);
    ck_assert(!lone.ends[0].open);
    ck_assert_int_eq(lone.ends[0].reason, REASON_REVOKED);
    lone_stop(&lone);
}
END_TEST

/* A rule that fits perhaps lets the request through. The answer brings the port. */
START_TEST(port_comes_back)
{
    lone_start(&lone);
    put_rules("version 1\nrule 1 allow 80-90 at=p:1\nrule 2 deny * at=p:2\npeer 2 out=1,2\nend\n");
    lone_store(&lone, POLICY "2", NULL);
    ck_assert_ptr_null(connect_out(79, ""));
    struct conn *conn = connect_out(0, "x");
    ck_assert_ptr_nonnull(conn);
    answer_out(conn, 85);
    ck_assert_int_eq(lone.answer, REASON_OK);
    ck_assert_uint_eq(conn->rule->number, 1);
    conn = connect_out(0, "x");
    ck_assert_ptr_nonnull(conn);
    answer_out(conn, 95);
    ck_assert_int_eq(lone.answers, 2);
    ck_assert_int_eq(lone.answer, REASON_POLICY);
    ck_assert_int_eq(lone.end_count, 1);
    lone_stop(&lone);
}
END_TEST

/* The same for the policy node. */
START_TEST(port_comes_back_to_the_node)
{
    lone_start(&lone);
    lone_store(&lone, POLICY "2", "out=80,y");
    struct conn *conn = connect_out(0, "x");
    answer_out(conn, 81);
    ck_assert_int_eq(lone.answer, REASON_POLICY);
    conn = connect_out(0, "y");
    answer_out(conn, 81);
    ck_assert_int_eq(lone.answer, REASON_OK);
    lone_stop(&lone);
}
END_TEST

/* ---- limits ---- */

/* The status of the latest CONNECT_rsp, and the place of the rule. */
static uint32_t latest_status(uint32_t *rule)
{
    struct wire_frame frame;
    struct wire_connect_rsp rsp = {.status = UINT32_MAX};
    uint8_t payload[WIRE_FRAME_MIN];
    while (lone_receive(&lone, &frame, payload, sizeof(payload)))
        if (frame.type == WIRE_TYPE_CONNECT_RSP)
            ck_assert_ptr_null(wire_get_connect_rsp(payload, frame.length, WIRE_FEATURES, &rsp));
    *rule = rsp.rule;
    return rsp.status;
}

static void start_with_rules(const char *text)
{
    lone_start_with(&lone, WIRE_FEATURES);
    put_rules(text);
    lone_store(&lone, POLICY "2", NULL);
    lone_run(&lone);
}

static void expect_in(uint32_t id, uint32_t port, uint32_t status, uint32_t rule)
{
    uint32_t named;
    connect_in(id, port);
    ck_assert_uint_eq(latest_status(&named), status);
    ck_assert_uint_eq(named, rule);
}

/* A refusal names the place of its rule in the list, not its number. */
START_TEST(refusal_names_rule)
{
    start_with_rules("version 1\nrule 5 allow 7 at=p:5\nrule 6 deny 100 at=p:6\npeer 2 in=5,6\n"
                     "end\n");
    expect_in(1, LONE_PORT, REASON_POLICY, 2);
    expect_in(2, LONE_PORT + 1, REASON_POLICY, 0);
    lone_stop(&lone);
}
END_TEST

static void close_end(int number)
{
    struct endpoint *end = &lone.ends[number];
    lone_send(&lone,
              &(struct wire_frame){.type = WIRE_TYPE_DISCONNECT,
                                   .flags = WIRE_NO_MORE_DATA | WIRE_NO_MORE_WANTED,
                                   .connection = end->conn->id,
                                   .credit = 4096},
              NULL);
    lone_run(&lone);
    if (!end->open)
        return;
    end->ended = end->closed = true;
    conn_readable(end->conn);
    conn_settle(end->conn);
    lone_run(&lone);
    ck_assert(!end->open);
}

#define LIMITED(limits) "version 1\nrule 5 allow 100 " limits " at=p:5\npeer 2 in=5 out=5\nend\n"

START_TEST(connections_in)
{
    start_with_rules(LIMITED("connections=2"));
    expect_in(1, LONE_PORT, 0, 0);
    expect_in(2, LONE_PORT, 0, 0);
    expect_in(3, LONE_PORT, REASON_RULE_CONNECTIONS, 1);
    close_end(0);
    expect_in(4, LONE_PORT, 0, 0);
    expect_in(5, LONE_PORT, REASON_RULE_CONNECTIONS, 1);
    /* the same line comes again, under another number: what was used stays used */
    put_rules("version 1\nrule 8 allow 100 connections=2 at=p:5\npeer 2 in=8\nend\n");
    expect_in(6, LONE_PORT, REASON_RULE_CONNECTIONS, 1);
    /* it moved to another line: the connections count for the rule that allows them now */
    put_rules("version 1\nrule 8 allow 100 connections=2 at=p:6\npeer 2 in=8\nend\n");
    expect_in(7, LONE_PORT, REASON_RULE_CONNECTIONS, 1);
    put_rules(LIMITED("connections=1")); /* ends none */
    ck_assert(lone.ends[1].open && lone.ends[2].open);
    lone_stop(&lone);
}
END_TEST

START_TEST(rate_in)
{
    start_with_rules(LIMITED("rate=10"));
    for (uint32_t i = 1; i <= 10; i++)
        expect_in(i, LONE_PORT, 0, 0);
    expect_in(11, LONE_PORT, REASON_RULE_RATE, 1);
    put_rules(LIMITED("rate=10"));
    expect_in(12, LONE_PORT, REASON_RULE_RATE, 1);
    lone_pass(&lone, 99);
    expect_in(13, LONE_PORT, REASON_RULE_RATE, 1);
    lone_pass(&lone, 1);
    expect_in(14, LONE_PORT, 0, 0);
    expect_in(15, LONE_PORT, REASON_RULE_RATE, 1);
    lone_pass(&lone, 1000000);
    for (uint32_t i = 21; i <= 30; i++)
        expect_in(i, LONE_PORT, 0, 0);
    expect_in(31, LONE_PORT, REASON_RULE_RATE, 1);
    lone_stop(&lone);
}
END_TEST

/* An old peer does not know these reasons. */
/* A tool that asks what there is takes nothing from those who use it. */
START_TEST(port_1_does_not_count)
{
    start_with_rules(LIMITED("connections=1 rate=1"));
    ck_assert_ptr_nonnull(connect_out(1, ""));
    ck_assert_ptr_nonnull(connect_out(1, ""));
    ck_assert_ptr_nonnull(connect_out(100, ""));
    ck_assert_ptr_nonnull(connect_out(1, ""));
    put_rules(LIMITED("connections=1"));
    ck_assert_uint_eq(LIST_FIRST(&lone.core->by_domid[2]->uses)->open, 1);
    lone_stop(&lone);
}
END_TEST

START_TEST(limits_of_an_old_peer)
{
    struct wire_frame frame;
    uint8_t payload[WIRE_FRAME_MIN];
    lone_start(&lone);
    put_rules(LIMITED("connections=1"));
    lone_store(&lone, POLICY "2", NULL);
    connect_in(1, LONE_PORT);
    connect_in(2, LONE_PORT);
    while (lone_receive(&lone, &frame, payload, sizeof(payload)) && frame.connection != 2)
        ;
    ck_assert_uint_eq(frame.length, WIRE_CONNECT_RSP);
    ck_assert_uint_eq(wire_get_u32(payload), REASON_SHARE);
    lone_stop(&lone);
}
END_TEST

static enum reason try_out(void)
{
    enum reason reason = REASON_OK;
    const struct core_request request = {
        .domid = 2, .port = 100, .name = "", .type = IDC_STREAM, .uid = 33, .cookie = &lone};
    if (core_connect(lone.core, &request, &reason))
        reason = REASON_OK;
    lone_run(&lone);
    return reason;
}

START_TEST(limits_out)
{
    start_with_rules(LIMITED("connections=1"));
    ck_assert_int_eq(try_out(), REASON_OK);
    ck_assert_int_eq(try_out(), REASON_RULE_CONNECTIONS);
    /* it does not count for connections in the other direction */
    expect_in(3, LONE_PORT, 0, 0);
    lone_stop(&lone);
}
END_TEST

static void accept_out(const struct conn *conn, uint32_t id)
{
    uint8_t payload[WIRE_CONNECT_RSP_RULE];
    const struct wire_connect_rsp rsp = {.id = id, .port = 100, .uid = 0};
    uint32_t length = wire_put_connect_rsp(payload, WIRE_FEATURES, &rsp);
    lone_send(&lone,
              &(struct wire_frame){.type = WIRE_TYPE_CONNECT_RSP,
                                   .length = length,
                                   .connection = conn->id,
                                   .credit = 4096},
              payload);
    lone_run(&lone);
}

/* The program has closed, and the core has not been told yet. */
START_TEST(closed_out_does_not_count)
{
    start_with_rules(LIMITED("connections=1"));
    accept_out(connect_out(100, ""), 99);
    ck_assert_int_eq(try_out(), REASON_RULE_CONNECTIONS);
    lone.ends[0].closed = true;
    ck_assert_int_eq(try_out(), REASON_OK);
    lone_stop(&lone);
}
END_TEST

static unsigned gone_asked;

static bool counted_gone(struct endpoint *ep)
{
    gone_asked++;
    return ep->closed;
}

/* A program that connects again and again costs few questions to the kernel. */
START_TEST(few_are_asked)
{
    start_with_rules(LIMITED("connections=64"));
    lone.host.gone = counted_gone;
    for (uint32_t i = 0; i < 64; i++)
        accept_out(connect_out(100, ""), 99 + i);
    for (int i = 0; i < 100; i++)
        ck_assert_int_eq(try_out(), REASON_RULE_CONNECTIONS);
    ck_assert_uint_eq(gone_asked, 64);
    lone.ends[5].closed = true;
    ck_assert_int_eq(try_out(), REASON_RULE_CONNECTIONS);
    lone_pass(&lone, 1);
    ck_assert_int_eq(try_out(), REASON_OK);
    ck_assert_uint_eq(gone_asked, 128);
    lone_stop(&lone);
}
END_TEST

/* ---- what people are told ---- */

static const struct {
    const char *rules, *text;
} told[] = {
    {"rule 1 deny * at=p:7\n", " (p:7 denies it)"},
    {"rule 1 allow 81 at=p:7\n", " (no rule allows it)"},
    {"rule 1 allow 80 uid=34 at=p:3\n", " (p:3 allows it to uid 34 only)"},
    {"rule 1 allow 80 uid=1,5-9,12,13 at=p:3\n", " (p:3 allows it to uid 1,5-9,12,... only)"},
    {"rule 1 allow 80 type=seqpacket at=p:3\n", " (p:3 allows it with type seqpacket only)"},
    {"rule 1 allow 80 until=0 at=p:3\n", " (p:3 allows it until 1970-01-01T00:00:00Z)"},
    {"rule 1 allow 80 until=1000 at=p:3\nrule 2 deny * at=p:4\n",
     " (p:4 denies it; p:3 allows it until 1970-01-01T00:16:40Z)"},
    {"rule 1 allow 80 at=p:3\n", " (no rule of domain 2 allows it)"},
};

START_TEST(tells)
{
    char text[512], out[384];
    const struct judge_question question = {
        .direction = JUDGE_OUT, .domid = 2, .port = 80, .name = "", .type = IDC_STREAM, .uid = 33};
    lone_begin(&lone);
    lone.wall_offset = 1000000;
    snprintf(text, sizeof(text), "version 1\n%speer 2 out=1%s\nend\n", told[_i].rules,
             strstr(told[_i].rules, "rule 2") ? ",2" : "");
    put_rules(text);
    judge_explain(lone.core, &question, REASON_POLICY, NULL, out, sizeof(out));
    ck_assert_str_eq(out, told[_i].text);
    judge_explain(lone.core, &question, REASON_NO_LISTENER, NULL, out, sizeof(out));
    ck_assert_str_eq(out, "");
    lone_stop(&lone);
}
END_TEST

/* Seconds since 1970, and the date. */
static const struct {
    uint64_t until;
    const char *date;
} dates[] = {
    {951782399, "2000-02-28T23:59:59Z"},  {951782400, "2000-02-29T00:00:00Z"},
    {951868800, "2000-03-01T00:00:00Z"},  {1798761599, "2026-12-31T23:59:59Z"},
    {4107542400, "2100-03-01T00:00:00Z"}, {253402300799, "9999-12-31T23:59:59Z"},
    {1709164800, "2024-02-29T00:00:00Z"}, {1704067200, "2024-01-01T00:00:00Z"},
};

START_TEST(tells_dates)
{
    char text[256], out[384];
    const struct judge_question question = {
        .direction = JUDGE_OUT, .domid = 2, .port = 80, .name = "", .type = IDC_STREAM, .uid = 33};
    lone_begin(&lone);
    lone.wall_offset = 300000000000000ull;
    snprintf(text, sizeof(text), "version 1\nrule 1 allow 80 until=%llu at=p\npeer 2 out=1\nend\n",
             (unsigned long long)dates[_i].until);
    put_rules(text);
    judge_explain(lone.core, &question, REASON_POLICY, NULL, out, sizeof(out));
    ck_assert_ptr_nonnull(strstr(out, dates[_i].date));
    lone_stop(&lone);
}
END_TEST

#define COUNT(table) (int)(sizeof(table) / sizeof((table)[0]))

int main(void)
{
    Suite *suite = suite_create("rules_store");
    TCase *nodes = tcase_create("nodes"), *core = tcase_create("core"),
          *limits = tcase_create("limits");
    tcase_add_loop_test(nodes, every_order, 0, 24);
    tcase_add_test(nodes, switches);
    tcase_add_test(nodes, wrong_text);
    tcase_add_loop_test(nodes, wrong_now, 0, COUNT(bad_now));
    tcase_add_loop_test(nodes, other_nodes, 0, COUNT(no_parts));
    tcase_add_test(nodes, part_changes);
    tcase_add_test(nodes, part_too_many);
    tcase_add_test(nodes, few_generations);
    tcase_add_test(nodes, too_long);
    tcase_add_test(nodes, named_again);
    tcase_add_test(nodes, all_gone);
    tcase_add_test(core, one_way);
    tcase_add_test(core, around_the_node);
    tcase_add_test(core, awaited);
    tcase_add_test(core, policy_gone);
    tcase_add_test(core, all_is_told_again_later);
    tcase_add_loop_test(core, many_nodes_before_the_rules, 0, 2);
    tcase_add_test(core, until);
    tcase_add_test(core, clock_set);
    tcase_add_loop_test(core, clock_set_back_after_all, 0, 2);
    tcase_add_test(core, clock_set_back);
    tcase_add_test(core, connection_stays);
    tcase_add_test(core, connection_revoked);
    tcase_add_test(core, connection_expires);
    tcase_add_test(core, time_alone);
    tcase_add_test(core, judged_together);
    tcase_add_test(core, port_comes_back);
    tcase_add_test(core, port_comes_back_to_the_node);
    tcase_add_test(limits, refusal_names_rule);
    tcase_add_test(limits, connections_in);
    tcase_add_test(limits, rate_in);
    tcase_add_test(limits, limits_of_an_old_peer);
    tcase_add_test(limits, limits_out);
    tcase_add_test(limits, port_1_does_not_count);
    tcase_add_test(limits, closed_out_does_not_count);
    tcase_add_test(limits, few_are_asked);
    tcase_add_loop_test(limits, tells, 0, COUNT(told));
    tcase_add_loop_test(limits, tells_dates, 0, COUNT(dates));
    suite_add_tcase(suite, limits);
    suite_add_tcase(suite, nodes);
    suite_add_tcase(suite, core);
    TCase *many = tcase_create("many");
    tcase_set_timeout(many, 120); /* thousands of rules, perhaps with sanitizers */
    tcase_add_test(many, judged_in_turns);
    tcase_add_test(many, usual_rules_in_one_turn);
    tcase_add_test(many, judged_while_all_changes);
    tcase_add_test(many, rules_come_in_each_turn);
    tcase_add_test(many, stopped_meanwhile);
    tcase_add_test(many, accounts_follow_their_places);
    tcase_add_test(many, many_accounts_follow);
    suite_add_tcase(suite, many);
    return run_suite(suite);
}
