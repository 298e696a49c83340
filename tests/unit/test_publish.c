/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What idc-setup publishes, in a store in memory that fails, or whose writer is killed, at each of
 * its changes in turn. Whatever happens, each domain can read a whole text, and a failure leaves
 * the former ones.
 */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "idc-setup/publish.h"
#include "tests/unit/suite.h"

#define DOMAINS 3
#define NODES_MAX 64
#define LONG_TEXT 9001 /* three parts */

struct node {
    char path[SETUP_NODE_MAX], value[SETUP_VALUE_MAX + 1];
};

struct nodes {
    struct node list[NODES_MAX];
    size_t count;
};

static struct fake {
    struct setup_store base;
    struct nodes now, before; /* before: at the begin of the transaction */
    int changes, fail_at, kill_at, fail_with;
    int writes;     /* puts that were tried */
    size_t largest; /* nodes that a transaction may change; 0: any number */
    size_t in_transaction;
    int conflicts; /* so many transactions more end with EAGAIN */
    int gone;      /* a domain that is not there; -1: none */
} fake;

static bool fake_is_dead(void)
{
    return fake.kill_at != 0 && fake.changes >= fake.kill_at;
}

/* A change that may be the one that fails. After the kill, nothing has any effect. */
static int fake_change(void)
{
    fake.changes++;
    if (fake_is_dead())
        return -EIO;
    if (fake.fail_at != 0 && fake.changes == fake.fail_at)
        return fake.fail_with;
    if (fake.largest != 0 && ++fake.in_transaction > fake.largest)
        return -ENOSPC;
    return 0;
}

static struct node *fake_find(const char *path)
{
    for (size_t i = 0; i < fake.now.count; i++)
        if (strcmp(fake.now.list[i].path, path) == 0)
            return &fake.now.list[i];
    return NULL;
}

static int fake_begin(struct setup_store *store)
{
    (void)store;
    fake.before = fake.now;
    fake.in_transaction = 0;
    return 0;
}

static int fake_end(struct setup_store *store, bool keep)
{
    (void)store;
    fake.in_transaction = 0;
    bool conflict = keep && fake.conflicts > 0;
    fake.conflicts -= conflict;
    if (!keep || conflict || fake_is_dead())
        fake.now = fake.before;
    return conflict ? -EAGAIN : 0;
}

static int fake_get(struct setup_store *store, const char *path, char value[SETUP_VALUE_MAX + 1])
{
    (void)store;
    const struct node *node = fake_find(path);
    if (node == NULL)
        return -ENOENT;
    strcpy(value, node->value);
    return (int)strlen(value);
}

static int fake_put(struct setup_store *store, int domid, const char *path, const char *value)
{
    (void)store;
    fake.writes++;
    if (domid == fake.gone)
        return -ESRCH;
    int error = fake_change();
    if (error != 0)
        return error;
    struct node *node = fake_find(path);
    if (node == NULL) {
        ck_assert_uint_lt(fake.now.count, NODES_MAX);
        node = &fake.now.list[fake.now.count++];
    }
    snprintf(node->path, sizeof(node->path), "%s", path);
    snprintf(node->value, sizeof(node->value), "%s", value);
    return 0;
}

static int fake_drop(struct setup_store *store, const char *path)
{
    (void)store;
    size_t kept = 0, length = strlen(path);
    int error = fake_change();
    if (error != 0)
        return error;
    for (size_t i = 0; i < fake.now.count; i++) {
        const char *other = fake.now.list[i].path;
        if (strncmp(other, path, length) != 0 || (other[length] != '/' && other[length] != '\0'))
            fake.now.list[kept++] = fake.now.list[i];
    }
    fake.now.count = kept;
    return 0;
}

static int fake_below(struct setup_store *store, const char *path, setup_visit_name *visit,
                      void *arg)
{
    (void)store;
    size_t length = strlen(path);
    for (size_t i = 0; i < fake.now.count; i++) {
        const char *other = fake.now.list[i].path;
        char word[SETUP_NODE_MAX];
        if (strncmp(other, path, length) != 0 || other[length] != '/')
            continue;
        snprintf(word, sizeof(word), "%s", other + length + 1);
        word[strcspn(word, "/")] = '\0';
        int result = visit(arg, word);
        if (result != 0)
            return result;
    }
    return 0;
}

static struct setup_store_ops fake_ops = {
    .begin = fake_begin,
    .end = fake_end,
    .get = fake_get,
    .put = fake_put,
    .drop = fake_drop,
    .below = fake_below,
};

static void fake_reset(bool transactions)
{
    memset(&fake, 0, sizeof(fake));
    fake.gone = -1;
    fake.fail_with = -ENOSPC;
    fake.base.ops = &fake_ops;
    fake_ops.transactions = transactions;
}

/* ---- texts ---- */

static char long_text[2][LONG_TEXT + 1];
/* Of three domains: one grows, one comes, one loses its rules. */
static const char *const first[DOMAINS] = {"one\n", NULL, "three\n"};
static const char *second[DOMAINS];

static void prepare_texts(void)
{
    for (int i = 0; i < 2; i++) {
        memset(long_text[i], 'a' + i, LONG_TEXT);
        long_text[i][LONG_TEXT] = '\0';
    }
    second[0] = long_text[0];
    second[1] = "two\n";
    second[2] = NULL;
}

static int publish_all(const char *const texts[DOMAINS], struct publish_result *result)
{
    struct publish_text list[DOMAINS];
    char why[SETUP_WHY_MAX] = "";
    for (int i = 0; i < DOMAINS; i++)
        list[i] = (struct publish_text){
            .domid = i, .text = texts[i], .length = texts[i] == NULL ? 0 : strlen(texts[i])};
    int error = publish_texts(&fake.base, list, DOMAINS, result, why);
    ck_assert((error != 0) == (why[0] != '\0'));
    return error;
}

static bool has_text(int domid, const char *text)
{
    char *is = NULL;
    size_t length;
    int got = publish_read(&fake.base, domid, &is, &length);
    bool same = text == NULL ? got == -ENOENT : got == 0 && strcmp(is, text) == 0;
    free(is);
    return same;
}

static bool has_all(const char *const texts[DOMAINS])
{
    for (int i = 0; i < DOMAINS; i++)
        if (!has_text(i, texts[i]))
            return false;
    return true;
}

/* Nothing but `now` and the parts that it names. */
static void expect_no_leftovers(const char *const texts[DOMAINS])
{
    size_t expected = 0;
    for (int i = 0; i < DOMAINS; i++)
        expected += texts[i] == NULL ? 0 : 1 + (strlen(texts[i]) + 3999) / 4000;
    ck_assert_uint_eq(fake.now.count, expected);
}

/* The first texts are there, and what comes is counted from here. */
static void begin_first(bool transactions)
{
    struct publish_result result;
    fake_reset(transactions);
    ck_assert_int_eq(publish_all(first, &result), 0);
    fake.changes = 0;
}

/* ---- tests ---- */

static void check_publishing(bool transactions)
{
    struct publish_result result;
    begin_first(transactions);
    ck_assert(has_all(first));
    ck_assert_int_eq(publish_all(second, &result), 0);
    ck_assert(has_all(second));
    expect_no_leftovers(second);
    ck_assert_uint_eq(result.written, 2);
    ck_assert_uint_eq(result.removed, 1);
    fake.changes = 0;
    ck_assert_int_eq(publish_all(second, &result), 0);
    ck_assert_int_eq(fake.changes, 0); /* nothing is written when nothing has changed */
    ck_assert_uint_eq(result.unchanged, 3);
    second[0] = long_text[1]; /* as long as before */
    ck_assert_int_eq(publish_all(second, &result), 0);
    ck_assert(has_all(second));
    ck_assert_uint_eq(result.written, 1);
    second[0] = long_text[0];
}

START_TEST(publishing)
{
    check_publishing(false);
    check_publishing(true);
}
END_TEST

/* A generation's parts never change, so no number may come again. */
START_TEST(numbers_grow)
{
    char value[SETUP_VALUE_MAX + 1];
    struct publish_result result;
    static const char now[] = "/local/domain/0/idc/policy/rules/now";
    begin_first(false);
    ck_assert_int_eq(publish_all(second, &result), 0);
    ck_assert_int_gt(fake_get(NULL, now, value), 0);
    ck_assert_str_eq(value, "2 3");
    /* left by somebody who was killed */
    fake_put(NULL, 0, "/local/domain/0/idc/policy/rules/7/0", "half");
    ck_assert_int_eq(publish_all(first, &result), 0);
    ck_assert_int_gt(fake_get(NULL, now, value), 0);
    ck_assert_str_eq(value, "8 1");
    expect_no_leftovers(first);
    /* and such is removed even if nothing else is to be done */
    fake_put(NULL, 0, "/local/domain/0/idc/policy/rules/9/0", "half");
    ck_assert_int_eq(publish_all(first, &result), 0);
    ck_assert_uint_eq(result.unchanged, 3);
    expect_no_leftovers(first);
}
END_TEST

/* A damaged `now` is mended. */
START_TEST(damaged)
{
    static const char *const values[] = {"", "1", "1 ", "x 1", "1 9999", "01 1", "1 1 1", "-1 1"};
    struct publish_result result;
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        begin_first(false);
        fake_put(NULL, 0, "/local/domain/0/idc/policy/rules/now", values[i]);
        ck_assert_int_eq(publish_all(first, &result), 0);
        ck_assert_uint_eq(result.written, 1);
        ck_assert(has_all(first));
        expect_no_leftovers(first);
    }
}
END_TEST

static int count_changes(bool transactions)
{
    struct publish_result result;
    begin_first(transactions);
    ck_assert_int_eq(publish_all(second, &result), 0);
    return fake.changes;
}

/* Each change fails in turn. Those after the last `now` are of no account. */
static void check_failures(bool transactions, int error)
{
    struct publish_result result;
    int failures = 0, changes = count_changes(transactions);
    for (int i = 1; i <= changes; i++) {
        begin_first(transactions);
        fake.fail_at = i;
        fake.fail_with = error;
        int got = publish_all(second, &result);
        failures += got != 0;
        ck_assert_msg(got == 0 || got == error, "change %d: %d", i, got);
        ck_assert_msg(has_all(got == 0 ? second : first), "change %d fails: texts are mixed", i);
        fake.fail_at = 0;
        ck_assert_int_eq(publish_all(second, &result), 0);
        ck_assert(has_all(second));
        expect_no_leftovers(second);
    }
    ck_assert_int_ge(failures, transactions && error == -ENOSPC ? 0 : 7);
}

START_TEST(a_failure_changes_nothing)
{
    check_failures(false, -ENOSPC);
    check_failures(false, -EACCES);
    check_failures(true, -EACCES);
    check_failures(true, -ENOSPC); /* it may have been the transaction's size */
}
END_TEST

/* The writer is killed before each change in turn. */
static void check_kills(bool transactions)
{
    struct publish_result result;
    int changes = count_changes(transactions), mixed = 0;
    for (int i = 1; i <= changes; i++) {
        begin_first(transactions);
        fake.kill_at = i;
        publish_all(second, &result);
        for (int domid = 0; domid < DOMAINS; domid++)
            ck_assert_msg(has_text(domid, first[domid]) || has_text(domid, second[domid]),
                          "change %d: domain %d has neither text", i, domid);
        mixed += !has_all(first) && !has_all(second);
        fake.kill_at = 0;
        ck_assert_int_eq(publish_all(second, &result), 0);
        ck_assert(has_all(second));
        expect_no_leftovers(second);
    }
    ck_assert_msg(!transactions || mixed == 0, "a transaction was made in part");
}

START_TEST(a_kill_leaves_whole_texts)
{
    check_kills(false);
    check_kills(true);
}
END_TEST

START_TEST(conflicts_are_tried_again)
{
    struct publish_result result;
    begin_first(true);
    fake.conflicts = 5;
    ck_assert_int_eq(publish_all(second, &result), 0);
    ck_assert(has_all(second));
    begin_first(true);
    fake.conflicts = 1000;
    ck_assert_int_eq(publish_all(second, &result), -EAGAIN);
    ck_assert(has_all(first));
}
END_TEST

/* What is too large for one transaction becomes several, the last of which switches all. */
START_TEST(too_large_for_a_transaction)
{
    struct publish_result result;
    begin_first(true);
    fake.largest = 3;
    ck_assert_int_eq(publish_all(second, &result), 0);
    ck_assert(has_all(second));
    expect_no_leftovers(second);
    begin_first(true);
    fake.largest = 2; /* not even one domain's */
    ck_assert_int_eq(publish_all(second, &result), -ENOSPC);
    ck_assert(has_all(first));
}
END_TEST

START_TEST(a_domain_goes_meanwhile)
{
    struct publish_result result;
    for (int transactions = 0; transactions < 2; transactions++) {
        begin_first(transactions);
        fake.gone = 1;
        ck_assert_int_eq(publish_all(second, &result), 0);
        ck_assert_uint_eq(result.gone, 1);
        ck_assert_uint_eq(result.written, 1);
        ck_assert(has_text(0, second[0]) && has_text(1, NULL) && has_text(2, NULL));
    }
}
END_TEST

START_TEST(too_long)
{
    struct publish_result result;
    size_t length = 4194305;
    char *text = malloc(length + 1);
    ck_assert_ptr_nonnull(text);
    memset(text, 'x', length);
    text[length] = '\0';
    const char *const texts[DOMAINS] = {text, NULL, NULL};
    begin_first(false);
    ck_assert_int_eq(publish_all(texts, &result), -E2BIG);
    ck_assert_int_eq(fake.changes, 0);
    ck_assert(has_all(first));
    free(text);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("publish");
    TCase *all = tcase_create("publish");
    prepare_texts();
    tcase_set_timeout(all, 60);
    tcase_add_test(all, publishing);
    tcase_add_test(all, numbers_grow);
    tcase_add_test(all, damaged);
    tcase_add_test(all, a_failure_changes_nothing);
    tcase_add_test(all, a_kill_leaves_whole_texts);
    tcase_add_test(all, conflicts_are_tried_again);
    tcase_add_test(all, too_large_for_a_transaction);
    tcase_add_test(all, a_domain_goes_meanwhile);
    tcase_add_test(all, too_long);
    suite_add_tcase(suite, all);
    return run_suite(suite);
}
