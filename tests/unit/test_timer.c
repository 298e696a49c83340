/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Timers when there is no memory for them. libevent gets an allocator that can be told to fail. */
#include <check.h>
#include <event2/event_struct.h>
#include <stdbool.h>
#include <stdlib.h>

#include "link_mgr/base/timer.h"
#include "tests/unit/suite.h"

#define MANY 1000

static bool no_memory;
static int fired;

static void *test_malloc(size_t size)
{
    return no_memory ? NULL : malloc(size);
}

static void *test_realloc(void *at, size_t size)
{
    return no_memory ? NULL : realloc(at, size);
}

static void on_fire(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what, (void)arg;
    fired++;
}

/* Takes all the room that there is for timers. How many it took. */
static int fill_heap(struct event_base *base, struct event *timers)
{
    static const struct timeval hour = {.tv_sec = 3600};
    no_memory = true;
    for (int i = 0; i < MANY; i++) {
        evtimer_assign(&timers[i], base, on_fire, NULL);
        if (event_add(&timers[i], &hour) < 0)
            return i;
    }
    ck_abort_msg("there was memory");
}

static void free_heap(struct event_base *base, struct event *timers, int count)
{
    no_memory = false;
    for (int i = 0; i < count; i++)
        event_del(&timers[i]);
    timer_spares_end();
    event_base_free(base);
}

START_TEST(a_spare_gives_its_place)
{
    static struct event timers[MANY], own[TIMER_SPARES];
    struct event_base *base = event_base_new();
    ck_assert_int_eq(timer_spares_begin(base), 0);
    int count = fill_heap(base, timers);
    for (int i = 0; i < TIMER_SPARES; i++) {
        evtimer_assign(&own[i], base, on_fire, NULL);
        timer_set(&own[i], 3600 * 1000);
        ck_assert(evtimer_pending(&own[i], NULL));
    }
    fired = 0;
    event_base_loop(base, EVLOOP_NONBLOCK);
    ck_assert_int_eq(fired, 0);
    /* when it is set again, it needs no other place */
    timer_set(&own[0], 0);
    while (fired == 0)
        event_base_loop(base, EVLOOP_ONCE);
    ck_assert_int_eq(fired, 1);
    for (int i = 0; i < TIMER_SPARES; i++)
        event_del(&own[i]);
    free_heap(base, timers, count);
}
END_TEST

START_TEST(spares_come_back)
{
    static struct event timers[MANY], own[2 * TIMER_SPARES];
    struct event_base *base = event_base_new();
    ck_assert_int_eq(timer_spares_begin(base), 0);
    int count = fill_heap(base, timers);
    for (int i = 0; i < 2 * TIMER_SPARES; i++) {
        evtimer_assign(&own[i], base, on_fire, NULL);
        no_memory = i != TIMER_SPARES; /* for this one there is some again, and for the spares */
        if (i == TIMER_SPARES + 1)
            count += fill_heap(base, timers + count);
        timer_set(&own[i], 3600 * 1000);
        ck_assert(evtimer_pending(&own[i], NULL));
    }
    for (int i = 0; i < 2 * TIMER_SPARES; i++)
        event_del(&own[i]);
    free_heap(base, timers, count);
}
END_TEST

START_TEST(without_any_place_it_fires_at_once)
{
    static struct event timers[MANY];
    struct event own;
    struct event_base *base = event_base_new();
    int count = fill_heap(base, timers);
    evtimer_assign(&own, base, on_fire, NULL);
    fired = 0;
    timer_set(&own, 3600 * 1000);
    event_base_loop(base, EVLOOP_ONCE);
    ck_assert_int_eq(fired, 1);
    event_del(&own);
    free_heap(base, timers, count);
}
END_TEST

int main(void)
{
    event_set_mem_functions(test_malloc, test_realloc, free);
    Suite *suite = suite_create("timer");
    TCase *tests = tcase_create("all");
    tcase_add_test(tests, a_spare_gives_its_place);
    tcase_add_test(tests, spares_come_back);
    tcase_add_test(tests, without_any_place_it_fires_at_once);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
