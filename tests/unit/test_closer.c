/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Descriptors whose close takes for ever (link_mgr/base/closer.h). close of a number from QUICK on
 * is the test's. From SLOW on it waits until the test lets it go. */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "link_mgr/base/closer.h"
#include "tests/unit/count.h"
#include "tests/unit/suite.h"

#define QUICK 100000
#define SLOW 200000
#define LIMIT_S 60
#define EVIL 1000 /* a uid, and those that follow */
#define GOOD 999

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool stays; /* a slow close that has begun waits */
static int begun, ended, latest;
static int quick; /* closes that were quick */

/* Stands before the C library's. */
int close(int fd)
{
    if (fd < QUICK)
        return (int)syscall(SYS_close, fd);
    pthread_mutex_lock(&mutex);
    if (fd < SLOW) {
        quick++;
    } else {
        begun++;
        latest = fd;
    }
    pthread_cond_broadcast(&changed);
    while (stays && fd >= SLOW)
        pthread_cond_wait(&changed, &mutex);
    ended += fd >= SLOW;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&mutex);
    return 0;
}

static void set_stays(bool value)
{
    pthread_mutex_lock(&mutex);
    stays = value;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&mutex);
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* As the loop: it looks from time to time while something waits. With turns false it has looked
 * once, and does not come back. */
static void wait_until(const int *count, int wanted, bool turns)
{
    int64_t limit = now_ms() + LIMIT_S * 1000;
    closer_flush();
    for (;;) {
        if (turns)
            closer_flush();
        pthread_mutex_lock(&mutex);
        int64_t next = now_ms() + CLOSER_STUCK_MS;
        const struct timespec until = {.tv_sec = next / 1000, .tv_nsec = next % 1000 * 1000000};
        if (*count < wanted)
            pthread_cond_timedwait(&changed, &mutex, &until);
        bool there = *count >= wanted;
        pthread_mutex_unlock(&mutex);
        if (there)
            return;
        ck_assert(now_ms() < limit);
    }
}

static void turn_until(const int *count, int wanted)
{
    wait_until(count, wanted, true);
}

/* Time passes in which something could happen that must not. */
static void turn_for_a_while(void)
{
    for (int64_t end = now_ms() + 4 * CLOSER_STUCK_MS; now_ms() < end;)
        closer_flush();
}

/* Begins with one close that stays; nothing else waits. */
static void begin_with_one(void)
{
    ck_assert_int_eq(closer_start(), 0);
    set_stays(true);
    closer_close(SLOW, EVIL);
    turn_until(&begun, 1);
    ck_assert(!closer_is_full(EVIL));
}

static void let_go(int count)
{
    set_stays(false);
    turn_until(&ended, count);
    closer_stop(LIMIT_S * 1000);
    ck_assert_int_eq(ended, count);
}

START_TEST(without_threads)
{
    int fds[2];
    ck_assert_int_eq(pipe(fds), 0);
    closer_close(fds[0], EVIL);
    closer_close(-1, EVIL);
    ck_assert_int_eq(fcntl(fds[0], F_GETFD), -1);
    ck_assert(!closer_flush());
    close(fds[1]);
}
END_TEST

/* One thread is woken for all that came in a turn. (A thread that is just starting may begin
 * before.) */
START_TEST(begins_at_the_end_of_a_turn)
{
    ck_assert_int_eq(closer_start(), 0);
    for (int i = 0; i < 100; i++)
        closer_close(SLOW + i, EVIL);
    wait_until(&ended, 100, false);
    ck_assert_int_eq(latest, SLOW + 99);
    closer_stop(LIMIT_S * 1000);
}
END_TEST

START_TEST(many_are_too_many)
{
    begin_with_one();
    for (int i = 1; i < CLOSER_MANY; i++)
        closer_close(SLOW + i, EVIL);
    ck_assert(!closer_is_full(EVIL));
    closer_close(SLOW + CLOSER_MANY, EVIL);
    ck_assert(closer_is_full(EVIL));
    ck_assert(!closer_is_full(GOOD));
    set_stays(false);
    turn_until(&ended, 1 + CLOSER_MANY);
    ck_assert(!closer_is_full(EVIL));
    closer_stop(LIMIT_S * 1000);
}
END_TEST

/* There is a place for each, and they are closed in the order of arrival. */
START_TEST(very_many)
{
    begin_with_one();
    for (int i = 1; i <= 50000; i++)
        closer_close(SLOW + i, EVIL);
    ck_assert_int_eq(begun, 1);
    set_stays(false);
    turn_until(&ended, 50001);
    ck_assert_int_eq(latest, SLOW + 50000);
    closer_stop(LIMIT_S * 1000);
}
END_TEST

static void assert_threads_at_most(int count)
{
#ifndef __SANITIZE_THREAD__ /* it starts one of its own, later */
    ck_assert_int_le(count_threads(), count);
#endif
    (void)count;
}

/* Each that gets stuck is replaced while others of that user wait, up to CLOSER_EACH. */
START_TEST(stuck_threads)
{
    int others = count_threads();
    begin_with_one();
    for (int i = 1; i < 3 * CLOSER_EACH; i++)
        closer_close(SLOW + i, EVIL);
    turn_until(&begun, CLOSER_EACH);
    turn_for_a_while();
    ck_assert_int_eq(begun, CLOSER_EACH);
    assert_threads_at_most(others + CLOSER_EACH + 2);
    set_stays(false);
    turn_until(&ended, 3 * CLOSER_EACH);
    for (int64_t limit = now_ms() + LIMIT_S * 1000; count_threads() > others + 3;)
        ck_assert(now_ms() < limit);
    closer_stop(LIMIT_S * 1000);
    ck_assert_int_eq(ended, 3 * CLOSER_EACH);
}
END_TEST

/* A slow close that has just begun holds up nobody else either: one look of the loop is enough. */
START_TEST(another_user_at_once)
{
    ck_assert_int_eq(closer_start(), 0);
    set_stays(true);
    for (int i = 0; i < 500; i++)
        closer_close(SLOW + i, EVIL);
    wait_until(&begun, 1, false);
    for (int round = 1; round <= 20; round++) {
        closer_close(QUICK + round, GOOD);
        wait_until(&quick, round, false);
    }
    turn_until(&begun, CLOSER_EACH);
    for (int round = 21; round <= 40; round++) {
        closer_close(QUICK + round, GOOD);
        wait_until(&quick, round, false);
    }
    turn_for_a_while();
    ck_assert_int_eq(begun, CLOSER_EACH);
    let_go(500);
}
END_TEST

/* In one turn, one after the other: the slow ones come first. */
START_TEST(another_user_in_the_same_turn)
{
    ck_assert_int_eq(closer_start(), 0);
    set_stays(true);
    for (int user = 0; user < 8; user++)
        closer_close(SLOW + user, EVIL + (uint32_t)user);
    closer_close(QUICK, GOOD);
    wait_until(&quick, 1, false);
    wait_until(&begun, 8, false);
    let_go(8);
}
END_TEST

/* Users that act together cannot have more than CLOSER_THREADS, and the first ones leave something
 * for those that come later. */
START_TEST(many_users)
{
    enum { USERS = 12, OF_EACH = 2 * CLOSER_EACH };
    int others = count_threads();
    ck_assert_int_eq(closer_start(), 0);
    set_stays(true);
    for (int user = 0; user < USERS; user++)
        for (int i = 0; i < OF_EACH; i++)
            closer_close(SLOW + user * OF_EACH + i, EVIL + (uint32_t)user);
    turn_until(&begun, CLOSER_THREADS - CLOSER_EACH);
    turn_for_a_while();
    pthread_mutex_lock(&mutex);
    int at_once = begun;
    pthread_mutex_unlock(&mutex);
    ck_assert_int_le(at_once, CLOSER_THREADS);
    assert_threads_at_most(others + CLOSER_THREADS);
    closer_close(SLOW + USERS * OF_EACH, EVIL);
    let_go(USERS * OF_EACH + 1);
}
END_TEST

/* More users than there are lanes: the others share one, and all is closed. Which one it is changes
 * when a thread begins with another lane, and each thread does so once. */
START_TEST(more_users_than_lanes)
{
    int count = CLOSER_LANES + 50;
    begin_with_one();
    for (int user = 1; user < CLOSER_LANES + 50; user++)
        closer_close(SLOW + user, EVIL + (uint32_t)user);
    const uint32_t last = EVIL + CLOSER_LANES + 49;
    ck_assert(!closer_is_full(last));
    for (int i = 0; i < CLOSER_MANY * (CLOSER_THREADS + 1) && !closer_is_full(last); i++)
        closer_close(SLOW + count++, last);
    ck_assert(closer_is_full(last));
    let_go(count);
}
END_TEST

static void count_note(void *arg)
{
    (*(int *)arg)++;
}

static void tell_when_due(void)
{
    struct pollfd due = {.fd = closer_event_fd(), .events = POLLIN};
    ck_assert_int_eq(poll(&due, 1, LIMIT_S * 1000), 1);
    closer_tell();
}

START_TEST(notes)
{
    int told = 0, forgotten = 0;
    struct pollfd due = {.fd = closer_event_fd(), .events = POLLIN};
    ck_assert_int_eq(closer_start(), 0);
    set_stays(true);
    ck_assert_ptr_nonnull(closer_close_then(SLOW, EVIL, count_note, &told));
    closer_forget(closer_close_then(SLOW + 1, EVIL, count_note, &forgotten));
    closer_forget(NULL);
    turn_until(&begun, 2);
    ck_assert_int_eq(poll(&due, 1, 0), 0);
    ck_assert_int_eq(told, 0);
    set_stays(false);
    int64_t limit = now_ms() + LIMIT_S * 1000;
    while (told == 0) {
        ck_assert(now_ms() < limit);
        tell_when_due();
    }
    closer_stop(LIMIT_S * 1000);
    closer_tell();
    ck_assert_int_eq(ended, 2);
    ck_assert_int_eq(told, 1);
    ck_assert_int_eq(forgotten, 0);
}
END_TEST

START_TEST(notes_without_threads)
{
    int fds[2], told = 0;
    ck_assert_int_eq(pipe(fds), 0);
    ck_assert_ptr_nonnull(closer_close_then(fds[0], EVIL, count_note, &told));
    ck_assert_int_eq(fcntl(fds[0], F_GETFD), -1);
    ck_assert_int_eq(told, 0); /* never from inside the call */
    tell_when_due();
    ck_assert_int_eq(told, 1);
    close(fds[1]);
    close(closer_event_fd());
}
END_TEST

/* What common/ closes is charged as the loop has said. */
START_TEST(charged)
{
    begin_with_one();
    closer_charge(GOOD);
    closer_close_charged(QUICK);
    wait_until(&quick, 1, false);
    let_go(1);
}
END_TEST

/* Those that are stuck do not keep it from ending. */
START_TEST(the_end)
{
    begin_with_one();
    closer_close(SLOW + 1, EVIL);
    turn_until(&begun, 2);
    closer_close(QUICK, GOOD);
    closer_stop(4 * CLOSER_STUCK_MS);
    ck_assert_int_eq(ended, 0);
    ck_assert_int_eq(quick, 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("closer");
    TCase *tcase = tcase_create("closer");
    tcase_set_timeout(tcase, 3 * LIMIT_S);
    tcase_add_test(tcase, without_threads);
    tcase_add_test(tcase, begins_at_the_end_of_a_turn);
    tcase_add_test(tcase, many_are_too_many);
    tcase_add_test(tcase, very_many);
    tcase_add_test(tcase, stuck_threads);
    tcase_add_test(tcase, another_user_at_once);
    tcase_add_test(tcase, another_user_in_the_same_turn);
    tcase_add_test(tcase, many_users);
    tcase_add_test(tcase, more_users_than_lanes);
    tcase_add_test(tcase, notes);
    tcase_add_test(tcase, notes_without_threads);
    tcase_add_test(tcase, charged);
    tcase_add_test(tcase, the_end);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
