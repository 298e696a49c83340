/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_tell.c - what link_mgr tells the toolstack of its connections: only when asked, not more
 * often than it may, and no more than fits, however many kinds of connections there are.
 */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "link_mgr/core/tell.h"
#include "tests/lone/lone.h"
#include "tests/unit/suite.h"

#define ASK "/local/domain/1/idc/policy/ask"
#define ANSWER "/local/domain/1/data/idc/1/use"
#define CONNS 2000

static struct lone lone;
static struct platform_ops changed;
static struct conn conns[CONNS];
static int conn_count;
static char published[TELL_PARTS][PLATFORM_VALUE_MAX + 1];
static int publishings, retractions, publish_error;
static unsigned last_part;

static int tell_publish(struct platform *platform, const char *path, const char *value, int reader)
{
    unsigned part;
    (void)platform;
    if (strncmp(path, ANSWER "/", strlen(ANSWER) + 1) != 0)
        return 0;
    if (publish_error)
        return publish_error;
    ck_assert_int_eq(reader, -1);
    ck_assert_int_eq(sscanf(path + strlen(ANSWER), "/%u", &part), 1);
    ck_assert_uint_lt(part, TELL_PARTS);
    ck_assert_uint_lt(strlen(path) + strlen(value), 2048);
    strcpy(published[part], value);
    last_part = part;
    publishings++;
    return 0;
}

static int tell_retract(struct platform *platform, const char *path)
{
    (void)platform;
    retractions += strcmp(path, ANSWER) == 0;
    return 0;
}

static void tell_begin(void)
{
    publishings = retractions = publish_error = conn_count = 0;
    memset(published, 0, sizeof(published));
    lone_start(&lone);
    changed = *lone.host.ops;
    changed.publish = tell_publish;
    changed.retract = tell_retract;
    lone.host.ops = &changed;
}

/* As if it were open. */
static struct conn *tell_add(bool incoming, uint32_t port, uint32_t uid, const char *name)
{
    struct conn *conn = &conns[conn_count++];
    memset(conn, 0, sizeof(*conn));
    conn->peer = lone.core->by_domid[2];
    conn->phase = CONN_OPEN;
    conn->type = IDC_STREAM;
    conn->incoming = incoming;
    conn->uid = uid;
    *(incoming ? &conn->local_port : &conn->peer_port) = port;
    *(incoming ? &conn->peer_port : &conn->local_port) = 0x80000000u + (uint32_t)conn_count;
    strcpy(incoming ? conn->service : conn->name, name);
    TAILQ_INSERT_TAIL(&conn->peer->conns, conn, of_peer);
    return conn;
}

static void tell_end(void)
{
    for (int i = 0; i < conn_count; i++)
        TAILQ_REMOVE(&conns[i].peer->conns, &conns[i], of_peer);
    lone_stop(&lone);
}

static void tell_ask(const char *number)
{
    lone_store(&lone, ASK, number);
    lone_run(&lone);
}

START_TEST(kinds_are_counted_together)
{
    tell_begin();
    tell_add(false, 80, 1000, "");
    tell_add(false, 80, 1001, "");
    tell_add(false, 80, 1000, "");
    tell_add(true, 80, 1000, "");
    tell_add(false, 80, 1000, "org.example.x");
    tell_add(false, 80, 1000, "")->type = IDC_SEQPACKET;
    tell_add(false, 80, 1000, "")->phase = CONN_REQUESTED;
    tell_add(false, 80, 1000, "")->phase = CONN_ENDING;
    lone_run(&lone);
    ck_assert_int_eq(publishings, 0);
    tell_ask("77");
    ck_assert_str_eq(published[0], "77 0 1 0\n"
                                   "2 out 80 stream 1000 2\n"
                                   "2 out 80 stream 1001 1\n"
                                   "2 in 80 stream 1000 1\n"
                                   "2 out 80 stream 1000 1 org.example.x\n"
                                   "2 out 80 seqpacket 1000 1\n");
    ck_assert_int_eq(publishings, 1);
    tell_ask(NULL);
    ck_assert_int_eq(retractions, 1);
    tell_ask(NULL);
    ck_assert_int_eq(retractions, 1);
    tell_end();
}
END_TEST

START_TEST(no_connection_is_an_answer)
{
    tell_begin();
    tell_ask("1");
    ck_assert_str_eq(published[0], "1 0 1 0\n");
    tell_end();
}
END_TEST

START_TEST(not_more_often_than_that)
{
    tell_begin();
    tell_ask("1");
    tell_ask("1");
    ck_assert_int_eq(publishings, 1);
    tell_ask("2");
    tell_ask("3");
    ck_assert_int_eq(publishings, 1);
    ck_assert_uint_le(core_deadline(lone.core), lone.now + TELL_PAUSE_MS);
    lone_pass(&lone, TELL_PAUSE_MS);
    lone_run(&lone);
    ck_assert_int_eq(publishings, 2);
    ck_assert_str_eq(published[0], "3 0 1 0\n");
    /* taken back before it was answered */
    tell_ask("4");
    tell_ask(NULL);
    lone_pass(&lone, 2 * TELL_PAUSE_MS);
    lone_run(&lone);
    ck_assert_int_eq(publishings, 2);
    tell_end();
}
END_TEST

START_TEST(what_is_no_question)
{
    static const char *const texts[] = {"", "0", "x", "1x", " 1", "-1", "1234567890123456789"};
    tell_begin();
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        tell_ask(texts[i]);
        lone_pass(&lone, TELL_PAUSE_MS);
        ck_assert_msg(publishings == 0, "\"%s\" was answered", texts[i]);
    }
    tell_ask("123456789012345678");
    ck_assert_int_eq(publishings, 1);
    tell_end();
}
END_TEST

/* Each kind has the longest name, or a short line; there are more kinds than places. */
START_TEST(more_than_fits)
{
    char name[IDC_SERVICE_MAX + 1] = "";
    unsigned long long told = 0, left = 0;
    memset(name, 'n', _i == 0 ? 0 : IDC_SERVICE_MAX);
    tell_begin();
    for (int i = 0; i < CONNS; i++)
        tell_add(true, 4000000000u, (uint32_t)i, name);
    tell_ask("999999999999999999");
    ck_assert_int_le(publishings, TELL_PARTS);
    ck_assert_uint_eq(last_part, 0);
    for (int part = 0; part < publishings; part++) {
        unsigned long long number;
        int which, parts;
        ck_assert_int_eq(
            sscanf(published[part], "%llu %d %d %llu\n", &number, &which, &parts, &left), 4);
        ck_assert(number == 999999999999999999u && which == part && parts == publishings);
        for (const char *line = published[part]; (line = strchr(line + 1, '\n')) != NULL;)
            told += line[1] != '\0';
    }
    ck_assert_uint_eq(told + left, CONNS);
    ck_assert_uint_ge(told, _i == 0 ? 400 : 100);
    ck_assert_uint_le(told, TELL_KINDS_MAX);
    tell_end();
}
END_TEST

START_TEST(a_store_that_refuses)
{
    tell_begin();
    publish_error = -ENOSPC;
    tell_ask("1");
    tell_ask(NULL);
    ck_assert_int_eq(retractions, 0);
    publish_error = 0;
    lone_pass(&lone, TELL_PAUSE_MS);
    tell_ask("2");
    ck_assert_int_eq(publishings, 1);
    /* all of the policy goes */
    lone_store(&lone, "/local/domain/1/idc/policy", NULL);
    ck_assert_int_eq(retractions, 1);
    tell_end();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("tell");
    TCase *tell = tcase_create("tell");
    tcase_add_test(tell, kinds_are_counted_together);
    tcase_add_test(tell, no_connection_is_an_answer);
    tcase_add_test(tell, not_more_often_than_that);
    tcase_add_test(tell, what_is_no_question);
    tcase_add_loop_test(tell, more_than_fits, 0, 2);
    tcase_add_test(tell, a_store_that_refuses);
    suite_add_tcase(suite, tell);
    return run_suite(suite);
}
