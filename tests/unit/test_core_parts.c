/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The rings: wrap-around, two sides, wishes, and indexes that lie. Also spans, the queue, the
 * budget and the listeners. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/ring.h"
#include "link_mgr/core/budget.h"
#include "link_mgr/core/listener.h"
#include "link_mgr/core/queue.h"
#include "link_mgr/core/spans.h"
#include "tests/unit/suite.h"

#define SIZE 4096u

static struct ring_page page;
static uint8_t left[SIZE], right[SIZE];
static struct ring_pair client, server;

static void core_parts_make(uint32_t start)
{
    memset(&page, 0, sizeof(page));
    page.left.cons = page.left.prod = page.right.cons = page.right.prod = start;
    ring_pair_init(&client, false, &page, left, SIZE, right, SIZE);
    ring_pair_init(&server, true, &page, left, SIZE, right, SIZE);
}

/* Starts of the indexes, so that they wrap at the ring's end and at 2^32. */
static const uint32_t starts[] = {0, 1, SIZE - 1, SIZE, 0xFFFFFFFF, 0xFFFFF001};

START_TEST(test_through)
{
    uint8_t sent[3000], got[3000];
    core_parts_make(starts[_i]);
    for (int round = 0; round < 100; round++) {
        uint32_t len = 1 + (uint32_t)(round * 37) % sizeof(sent);
        for (uint32_t k = 0; k < len; k++)
            sent[k] = (uint8_t)(k * 7 + (uint32_t)round);
        ck_assert_int_eq(ring_space(&client.out), SIZE);
        ring_put(&client.out, 0, sent, len);
        ck_assert_int_eq(ring_ready(&server.in), 0);
        ring_publish(&client.out, len);
        ck_assert_int_eq(ring_space(&client.out), SIZE - len);
        ck_assert_int_eq(ring_ready(&server.in), len);
        ring_get(&server.in, 0, got, len);
        ck_assert_int_eq(memcmp(sent, got, len), 0);
        ring_consume(&server.in, len);
    }
}
END_TEST

START_TEST(test_spans)
{
    struct iovec spans[2];
    core_parts_make(SIZE - 10);
    ck_assert_int_eq(ring_space_spans(&client.out, 0, 10, spans), 1);
    ck_assert_int_eq(ring_space_spans(&client.out, 0, 11, spans), 2);
    ck_assert(spans[0].iov_base == left + SIZE - 10 && spans[0].iov_len == 10);
    ck_assert(spans[1].iov_base == left && spans[1].iov_len == 1);
    ck_assert_int_eq(ring_space_spans(&client.out, 16, 100, spans), 1);
    ck_assert(spans[0].iov_base == left + 6 && spans[0].iov_len == 100);
}
END_TEST

START_TEST(test_full)
{
    core_parts_make(starts[_i]);
    ring_publish(&server.out, SIZE);
    ck_assert_int_eq(ring_space(&server.out), 0);
    ck_assert_int_eq(ring_ready(&client.in), SIZE);
    ring_consume(&client.in, 1);
    ck_assert_int_eq(ring_space(&server.out), 1);
}
END_TEST

START_TEST(test_lies)
{
    core_parts_make(starts[_i]);
    ring_publish(&client.out, 100);
    page.left.cons = starts[_i] - 1; /* behind what was consumed */
    ck_assert_int_eq(ring_space(&client.out), SIZE - 101);
    page.left.cons = starts[_i] + 101; /* ahead of what was written */
    ck_assert_int_eq(ring_space(&client.out), -EPROTO);
    page.left.cons = starts[_i];
    ck_assert_int_eq(ring_space(&client.out), -EPROTO); /* for ever after */
    page.left.prod = starts[_i] + SIZE + 1;             /* more than fits */
    ck_assert_int_eq(ring_ready(&server.in), -EPROTO);
    page.left.prod = starts[_i];
    ck_assert_int_eq(ring_ready(&server.in), -EPROTO);
}
END_TEST

/* The own index in the shared page is only ever written: the peer can't move it. */
START_TEST(test_own_index)
{
    core_parts_make(0);
    ring_publish(&client.out, 100);
    page.left.prod = 4000;
    ck_assert_int_eq(ring_space(&client.out), SIZE - 100);
    ring_publish(&client.out, 1);
    ck_assert_uint_eq(page.left.prod, 101);
}
END_TEST

START_TEST(test_wishes)
{
    core_parts_make(0);
    ck_assert(!ring_take_wish(&client, RING_WANT_DATA));
    ring_want(&server, RING_WANT_DATA);
    ck_assert_uint_eq(page.cli_notify, RING_WANT_DATA);
    ck_assert_uint_eq(page.srv_notify, 0);
    ck_assert(!ring_take_wish(&client, RING_WANT_SPACE));
    ck_assert(ring_take_wish(&client, RING_WANT_DATA));
    ck_assert(!ring_take_wish(&client, RING_WANT_DATA));
    ring_want(&client, RING_WANT_SPACE);
    ck_assert(!ring_take_wish(&client, RING_WANT_SPACE));
    ck_assert(ring_take_wish(&server, RING_WANT_SPACE));
}
END_TEST

/* ---- spans ---- */

#define SPANS_TEXT "0123456789"
#define SPANS_LENGTH 10u

/* The text in two pieces, of which the second begins at cut; in one if that is its end. */
static struct spans spans_cut(size_t cut)
{
    static char text[] = SPANS_TEXT;
    struct spans spans = {.at = {{text, cut}, {text + cut, SPANS_LENGTH - cut}}, .count = 2};
    spans.count = cut < SPANS_LENGTH ? 2 : 1;
    return spans;
}

static void spans_are(const struct spans *spans, const char *text, size_t length)
{
    size_t at = 0;
    for (int i = 0; i < spans->count; i++) {
        ck_assert_uint_gt(spans->at[i].iov_len, 0);
        ck_assert_uint_le(at + spans->at[i].iov_len, length);
        ck_assert_mem_eq(spans->at[i].iov_base, text + at, spans->at[i].iov_len);
        at += spans->at[i].iov_len;
    }
    ck_assert_uint_eq(at, length);
}

/* Every part of every cut; the loop's number is the cut. */
START_TEST(test_spans_kept_and_skipped)
{
    for (size_t skip = 0; skip <= SPANS_LENGTH; skip++) {
        for (size_t keep = 0; keep <= SPANS_LENGTH + 1; keep++) {
            size_t most = SPANS_LENGTH - skip;
            struct spans spans = spans_cut((size_t)_i);
            spans_skip(&spans, skip);
            spans_keep(&spans, keep);
            spans_are(&spans, &SPANS_TEXT[skip], keep < most ? keep : most);
            spans = spans_cut((size_t)_i);
            spans_keep(&spans, skip);
            spans_are(&spans, SPANS_TEXT, skip);
        }
    }
}
END_TEST

/* ---- queue ---- */

static struct iovec span_of(const void *bytes, size_t len)
{
    return (struct iovec){(void *)bytes, len};
}

START_TEST(test_queue_stream)
{
    struct queue queue = {0};
    struct iovec spans[QUEUE_SPANS];
    uint8_t in = 0, expected = 0;
    for (int i = 0; i < 5000; i++, in++) {
        struct iovec one = span_of(&in, 1);
        ck_assert(queue_append(&queue, &one, 1));
    }
    ck_assert_uint_eq(queue.bytes, 5000);
    while (!queue_empty(&queue)) {
        int count = queue_peek(&queue, spans);
        ck_assert_int_ge(count, 1);
        ck_assert_uint_eq(*(uint8_t *)spans[0].iov_base, expected);
        size_t part = queue.bytes < 7 ? queue.bytes : 7;
        queue_drop(&queue, part);
        expected = (uint8_t)(expected + part);
    }
    ck_assert_uint_eq(queue.bytes, 0);
}
END_TEST

START_TEST(test_queue_messages)
{
    struct queue queue = {0};
    struct iovec out, part = span_of("abcdefghij", 10);
    ck_assert(queue_begin_message(&queue, 0));
    queue_end_message(&queue);
    ck_assert(queue_begin_message(&queue, 10));
    for (int i = 0; i < 10; i++)
        ck_assert(queue_add_to_message(&queue, &part, 1, 100));
    ck_assert(queue_peek_message(&queue, &out) && out.iov_len == 0);
    queue_drop_message(&queue);
    ck_assert(!queue_peek_message(&queue, &out));
    queue_end_message(&queue);
    ck_assert(queue_peek_message(&queue, &out) && out.iov_len == 100);
    ck_assert_int_eq(memcmp((char *)out.iov_base + 90, "abcdefghij", 10), 0);
    queue_clear(&queue);
    ck_assert(queue_empty(&queue) && queue.bytes == 0);
}
END_TEST

/* ---- budget ---- */

START_TEST(test_budget_never_exceeded)
{
    struct budget budget;
    uint64_t outstanding[40000];
    unsigned count = 0;
    budget_init(&budget, BUDGET_CEILING_DEFAULT);
    while (budget_open(&budget)) {
        uint64_t window = budget_window(&budget, 0, false);
        outstanding[count] = budget_change(&budget, 0, window) ? window : BUDGET_WINDOW_MIN;
        ck_assert_uint_ge(outstanding[count], BUDGET_WINDOW_MIN);
        ck_assert_uint_le(budget.charged, budget.ceiling);
        count++;
    }
    ck_assert_uint_ge(count, 10000); /* so many connections fit */
    for (unsigned i = 0; i < count; i++) {
        ck_assert(budget_change(&budget, outstanding[i], 0));
        budget_close(&budget);
    }
    ck_assert_uint_eq(budget.charged, 0);
}
END_TEST

START_TEST(test_budget_busy_leaves_room)
{
    struct budget budget;
    budget_init(&budget, BUDGET_CEILING_DEFAULT);
    for (int i = 0; i < 500; i++) {
        ck_assert(budget_open(&budget));
        ck_assert(budget_change(&budget, 0, budget_window(&budget, 0, true)));
    }
    ck_assert_uint_le(budget.charged, budget.ceiling - budget.ceiling / 5);
    ck_assert(budget_open(&budget));
}
END_TEST

/* ---- listeners ---- */

START_TEST(test_listeners)
{
    struct listener_table table;
    struct listener *a, *b, *c, *clash;
    listener_table_init(&table, 0);
    ck_assert_int_eq(listener_add(&table, 80, "", &a, &clash), 0);
    ck_assert_int_eq(listener_add(&table, 80, "web", &b, &clash), -EADDRINUSE);
    ck_assert_ptr_eq(clash, a);
    ck_assert_int_eq(listener_add(&table, 0, "web", &b, &clash), 0);
    ck_assert_uint_eq(b->port, IDC_PORT_EPHEMERAL_MIN);
    ck_assert_int_eq(listener_add(&table, 0, "web", &c, &clash), -EADDRINUSE);
    ck_assert_ptr_eq(clash, b);
    ck_assert_ptr_eq(listener_by_port(&table, 80), a);
    ck_assert_ptr_eq(listener_by_name(&table, "web"), b);
    ck_assert_ptr_null(listener_by_name(&table, "we"));
    ck_assert_uint_eq(listener_ephemeral_port(&table), IDC_PORT_EPHEMERAL_MIN + 1);
    table.next_port = UINT32_MAX;
    /* wraps, and passes over b's */
    ck_assert_uint_eq(listener_ephemeral_port(&table), IDC_PORT_EPHEMERAL_MIN + 1);
    listener_remove(a);
    ck_assert_ptr_null(listener_by_port(&table, 80));
    listener_remove(b);
    ck_assert_ptr_null(listener_by_name(&table, "web"));
}
END_TEST

int main(void)
{
    const int count = sizeof(starts) / sizeof(starts[0]);
    Suite *suite = suite_create("ring, spans, queue, budget, listeners");
    TCase *tcase = tcase_create("all");
    tcase_add_loop_test(tcase, test_through, 0, count);
    tcase_add_test(tcase, test_spans);
    tcase_add_loop_test(tcase, test_full, 0, count);
    tcase_add_loop_test(tcase, test_lies, 0, count);
    tcase_add_test(tcase, test_own_index);
    tcase_add_test(tcase, test_wishes);
    tcase_add_loop_test(tcase, test_spans_kept_and_skipped, 1, SPANS_LENGTH + 1);
    tcase_add_test(tcase, test_queue_stream);
    tcase_add_test(tcase, test_queue_messages);
    tcase_add_test(tcase, test_budget_never_exceeded);
    tcase_add_test(tcase, test_budget_busy_leaves_room);
    tcase_add_test(tcase, test_listeners);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
