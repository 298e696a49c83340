/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How long a connect waits for the other side before it says that nobody is there; which offers are
 * taken; and what is logged about peers. */
#include <assert.h>
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <syslog.h>
#include <unistd.h>

#include "link_mgr/hub/hub_private.h"
#include "link_mgr/base/clock.h"
#include "link_mgr/base/log.h"
#include "tests/lone/lone.h"
#include "tests/unit/suite.h"

#define POLICY "/local/domain/1/idc/policy/2"
#define THEIRS "/local/domain/2/data/idc/1"
#define EPOCH "00000000000000aa"
#define OTHER_EPOCH "00000000000000bb"

static struct lone lone;

static void connect_to_2(void)
{
    enum reason reason;
    const struct core_request request = {
        .domid = 2, .port = 80, .name = "", .type = IDC_STREAM, .cookie = &lone};
    lone.answers = 0;
    ck_assert_ptr_nonnull(core_connect(lone.core, &request, &reason));
    lone_run(&lone);
}

static void peer_permit(void)
{
    lone_store(&lone, POLICY, "in=* out=*");
    lone_run(&lone);
}

static void ck_unreachable(void)
{
    ck_assert_int_eq(lone.answers, 1);
    ck_assert_int_eq(lone.answer, REASON_UNREACHABLE);
}

/* The channel is dead from now on, as when the other side was killed. */
static void kill_peer(void)
{
    lone.channel_dead = true;
    peer_channel_event(lone.core->by_domid[2]);
    lone_run(&lone);
    lone.channel_dead = false;
}

START_TEST(a_new_permission_gives_the_peer_a_moment)
{
    lone_begin(&lone);
    peer_permit();
    /* the answer to the subscription: it has not heard of it yet */
    lone_store(&lone, THEIRS, NULL);
    connect_to_2();
    lone_pass(&lone, PEER_GRACE_MS - 1);
    ck_assert_int_eq(lone.answers, 0);
    lone_store(&lone, THEIRS "/alive", EPOCH);
    lone_run(&lone);
    ck_assert_int_eq(lone.answers, 0);
    ck_assert_str_eq(lone.last_published, "want 0000000000001267 1");
    lone_store(&lone, THEIRS "/offer", EPOCH " 1");
    lone_run(&lone);
    ck_assert(lone.channel_open);
    lone_stop(&lone);
}
END_TEST

START_TEST(but_only_a_moment)
{
    lone_begin(&lone);
    peer_permit();
    lone_store(&lone, THEIRS, NULL);
    lone_pass(&lone, 300);
    connect_to_2();
    lone_pass(&lone, PEER_GRACE_MS - 301);
    ck_assert_int_eq(lone.answers, 0);
    lone_pass(&lone, 1);
    ck_unreachable();
    connect_to_2(); /* and from now on at once */
    ck_unreachable();
    lone_stop(&lone);
}
END_TEST

START_TEST(a_permission_that_is_changed_is_not_a_new_one)
{
    lone_begin(&lone);
    peer_permit();
    lone_store(&lone, THEIRS, NULL);
    lone_pass(&lone, PEER_GRACE_MS);
    lone_store(&lone, POLICY, "out=*");
    connect_to_2();
    ck_unreachable();
    lone_store(&lone, POLICY, NULL);
    lone_run(&lone);
    peer_permit();
    lone_store(&lone, THEIRS, NULL);
    connect_to_2();
    ck_assert_int_eq(lone.answers, 0);
    lone_pass(&lone, PEER_GRACE_MS);
    ck_unreachable();
    lone_stop(&lone);
}
END_TEST

static_assert(PEER_SILENT_MS > PEER_BACKOFF_MS && PEER_SILENT_MS < PEER_SETUP_MS,
              "or it fails while the peer waits");

/* The platform knows that nobody runs there. A peer of which only `alive` is known gets the whole
 * time, one that has not used it gets less, and one with a new epoch gets all. */
START_TEST(one_that_did_not_answer_gets_less_time)
{
    lone_begin(&lone);
    lone.presence = PLATFORM_GONE;
    peer_permit();
    lone_store(&lone, THEIRS "/alive", EPOCH);
    connect_to_2();
    lone_pass(&lone, PEER_SETUP_MS - 1);
    ck_assert_int_eq(lone.answers, 0);
    lone_pass(&lone, 1);
    ck_unreachable();
    connect_to_2();
    lone_pass(&lone, PEER_SILENT_MS - 1);
    ck_assert_int_eq(lone.answers, 0);
    lone_pass(&lone, 1);
    ck_unreachable();
    lone_store(&lone, THEIRS "/alive", OTHER_EPOCH);
    lone_run(&lone);
    connect_to_2();
    lone_pass(&lone, PEER_SETUP_MS - 1);
    ck_assert_int_eq(lone.answers, 0);
    lone_pass(&lone, 1);
    ck_unreachable();
    lone_stop(&lone);
}
END_TEST

START_TEST(after_kill_9_a_connect_waits_for_a_new_start_only)
{
    lone_start(&lone);
    kill_peer();
    ck_assert(!lone.channel_open);
    connect_to_2();
    lone_pass(&lone, PEER_SILENT_MS - 1);
    ck_assert_int_eq(lone.answers, 0);
    lone_pass(&lone, 1);
    ck_unreachable();
    lone_stop(&lone);

    lone_start(&lone);
    kill_peer();
    connect_to_2();
    lone_pass(&lone, PEER_SILENT_MS - 1);
    /* it was restarted: the time begins again */
    lone_store(&lone, THEIRS "/alive", OTHER_EPOCH);
    lone_run(&lone);
    lone_pass(&lone, PEER_SETUP_MS - 1);
    ck_assert_int_eq(lone.answers, 0);
    lone_store(&lone, THEIRS "/offer", OTHER_EPOCH " 1");
    lone_run(&lone);
    ck_assert(lone.channel_open);
    lone_stop(&lone);
}
END_TEST

/* The other side takes minutes. The caller's limit, which is the hub's, is all that ends it. */
static void wait_long(void)
{
    for (int i = 0; i < 100; i++) {
        lone_pass(&lone, PEER_SETUP_MS);
        ck_assert_int_eq(lone.answers, 0);
    }
}

static void ck_link_after_all(const char *offer)
{
    lone_store(&lone, THEIRS "/offer", offer);
    lone_run(&lone);
    ck_assert(lone.channel_open);
    ck_assert_int_eq(lone.answers, 0);
}

START_TEST(a_slow_peer_is_waited_for)
{
    unsigned long long number = 0;
    lone_begin(&lone);
    lone.presence = _i ? PLATFORM_RUNS : PLATFORM_UNKNOWN;
    peer_permit();
    lone_store(&lone, THEIRS "/alive", EPOCH);
    connect_to_2();
    wait_long();
    /* the wish was repeated, more and more seldom */
    ck_assert_int_eq(sscanf(lone.last_published, "want 0000000000001267 %llu", &number), 1);
    ck_assert(number > 10 && number < 20);
    ck_link_after_all(EPOCH " 1");
    wait_long(); /* for HELLO, too */
    lone_stop(&lone);
}
END_TEST

/* Its link was lost without a word, but it was not killed. */
START_TEST(one_that_runs_is_not_dead)
{
    lone_start(&lone);
    lone.presence = PLATFORM_RUNS;
    kill_peer();
    connect_to_2();
    wait_long();
    ck_link_after_all(EPOCH " 2");
    lone_stop(&lone);
}
END_TEST

START_TEST(a_link_that_fails_is_made_again)
{
    char offer[64];
    lone_begin(&lone);
    peer_permit();
    lone_store(&lone, THEIRS "/alive", EPOCH);
    connect_to_2();
    for (unsigned i = 1; i <= 20; i++) {
        snprintf(offer, sizeof(offer), "%s %u", EPOCH, i);
        ck_link_after_all(offer);
        kill_peer();
        ck_assert(!lone.channel_open);
        lone_pass(&lone, i < 4 ? PEER_RETRY_MS << (i - 1) : PEER_BACKOFF_MS);
    }
    lone.presence = PLATFORM_GONE;
    ck_link_after_all(EPOCH " 21");
    kill_peer();
    ck_unreachable();
    lone_stop(&lone);
}
END_TEST

/* The other side is not at fault, and could not mend it. */
START_TEST(who_has_no_descriptor_left_is_told_so)
{
    lone_begin(&lone);
    peer_permit();
    lone_store(&lone, THEIRS "/alive", EPOCH);
    connect_to_2();
    lone.attach_error = -EMFILE;
    lone_store(&lone, THEIRS "/offer", EPOCH " 1");
    lone_run(&lone);
    ck_assert_int_eq(lone.answers, 1);
    ck_assert_int_eq(lone.answer, REASON_NO_RESOURCES);
    lone.attach_error = 0;
    connect_to_2();
    lone_pass(&lone, PEER_RETRY_MS);
    ck_link_after_all(EPOCH " 2");
    lone_stop(&lone);
}
END_TEST

/* A step that nobody waits for any more is given up. */
START_TEST(a_wish_of_nobody_is_given_up)
{
    const struct peer *peer;
    lone_begin(&lone);
    peer_permit();
    lone_store(&lone, THEIRS "/alive", EPOCH);
    connect_to_2();
    peer = lone.core->by_domid[2];
    ck_assert_int_eq(peer->state, PEER_WAITING);
    conn_abandon(TAILQ_FIRST(&peer->waiting));
    lone_pass(&lone, PEER_SETUP_MS);
    ck_assert_int_eq(peer->state, PEER_DOWN);
    ck_assert(peer->deadline == PEER_NO_DEADLINE && !peer->want_published);
    lone_stop(&lone);
}
END_TEST

/* To the link_mgr that was here before: taken, the link would end when the peer learns that there
 * is a new one. */
START_TEST(an_offer_to_another_epoch_is_not_taken)
{
    lone_begin(&lone);
    peer_permit();
    lone_store(&lone, THEIRS "/alive", EPOCH);
    lone_store(&lone, THEIRS "/offer", EPOCH " 1 " OTHER_EPOCH);
    lone_run(&lone);
    ck_assert(!lone.channel_open);
    lone_store(&lone, THEIRS "/offer", EPOCH " 2 0000000000001267");
    lone_run(&lone);
    ck_assert(lone.channel_open);
    lone_stop(&lone);
}
END_TEST

/* ---- the log ---- */

START_TEST(lines_about_two_peers_are_counted_apart)
{
    lone_begin(&lone);
    peer_permit();
    lone_store(&lone, "/local/domain/1/idc/policy/3", "in=* out=*");
    const struct log_limit *of_2 = &lone.core->by_domid[2]->log_limit,
                           *of_3 = &lone.core->by_domid[3]->log_limit;
    ck_assert_uint_eq(of_2->passed + of_3->passed, 0);
    for (unsigned i = 1; i <= 20; i++) {
        lone_store(&lone, POLICY, "in=rubbish!");
        ck_assert_str_eq(
            lone.last_log,
            "domain 2: its policy allows nothing, because it can't be read: "
            "an item is neither a port (1-4294967295), a range of ports, nor a service name");
        ck_assert_uint_eq(of_2->passed, i);
    }
    ck_assert_uint_eq(of_3->passed + lone.core->log_limit.passed, 0);
    lone_stop(&lone);
}
END_TEST

/* Says so many lines with each of the limits, as the core would, and returns how often what is
 * said. */
static int count_said(struct log_limit *limits, int limit_count, int lines, const char *what)
{
    static char said[1 << 20];
    struct hub *hub = calloc(1, sizeof(*hub));
    int file = memfd_create("said", 0), before = dup(STDERR_FILENO), count = 0;
    hub_fill_host(hub);
    dup2(file, STDERR_FILENO);
    for (int i = 0; i < limit_count; i++)
        for (int k = 0; k < lines; k++)
            hub->host.log(&hub->host, &limits[i], LOG_NOTICE, what);
    dup2(before, STDERR_FILENO);
    ssize_t length = pread(file, said, sizeof(said) - 1, 0);
    ck_assert_int_ge(length, 0);
    said[length] = '\0';
    for (const char *at = said; (at = strstr(at, what)); at++)
        count++;
    close(file);
    close(before);
    free(hub);
    return count;
}

/* From the first call of clock_now_ms() at `begin` on: seconds in which lines are counted that can
 * have begun since. */
static int windows_since(uint64_t begin)
{
    return 1 + (int)((clock_now_ms() - begin) / 1000);
}

/* The second in which lines are counted may end meanwhile, on a busy machine several may: then
 * there are as many times more. */
START_TEST(one_peer_does_not_hide_lines_about_others)
{
    static struct log_limit limits[1002];
    uint64_t begin = clock_now_ms();
    int said = count_said(&limits[0], 1, 2000, "domain 2: noise");
    ck_assert(said >= 10 && said <= 10 * windows_since(begin));
    ck_assert_int_eq(count_said(&limits[1], 1, 1, "domain 3: news"), 1);
    usleep(1100 * 1000);
    /* its own text: nothing was kept back */
    ck_assert_int_eq(count_said(&limits[1], 1, 1, "left out"), 1);
    /* once by the log */
    ck_assert_int_eq(count_said(&limits[0], 1, 1, "lines like the next one were left out"), 2);
    begin = clock_now_ms();
    said = count_said(&limits[2], 1000, 10, "noise");
    ck_assert(said >= 90 && said <= 100 * (1 + windows_since(begin))); /* one was under way */
}
END_TEST

/* The other side, which wants nothing, proposes the end at once; HELLO and BYE are in the ring
 * together. */
START_TEST(a_link_that_is_waited_for_does_not_end_idle)
{
    uint8_t hello[WIRE_HELLO], bye[4], payload[128];
    struct wire_frame frame = {0};
    lone_begin(&lone);
    peer_permit();
    lone_store(&lone, THEIRS "/alive", EPOCH);
    connect_to_2();
    lone_store(&lone, THEIRS "/offer", EPOCH " 1");
    lone_run(&lone);
    ck_assert(lone.channel_open);
    wire_put_hello(hello, &(struct wire_hello){.version_min = 1,
                                               .version_max = 1,
                                               .epoch = 0xaa,
                                               .generation = 1,
                                               .max_frame = WIRE_FRAME_MIN,
                                               .max_requests = 16,
                                               .domid = 2,
                                               .wish = 1});
    wire_put_u32(bye, REASON_OK);
    ck_assert(lone_send(&lone, &(struct wire_frame){.type = WIRE_TYPE_HELLO, .length = WIRE_HELLO},
                        hello));
    ck_assert(
        lone_send(&lone, &(struct wire_frame){.type = WIRE_TYPE_BYE, .length = sizeof(bye)}, bye));
    lone_run(&lone);
    ck_assert(lone.channel_open);
    while (frame.type != WIRE_TYPE_CONNECT_REQ)
        ck_assert(lone_receive(&lone, &frame, payload, sizeof(payload)));
    lone_stop(&lone);
}
END_TEST

/* What an `offer` may say, and what is understood. */
static const struct {
    const char *value;
    uint64_t epoch, generation, reader;
} offers[] = {
    {"00000000000000aa 1 00000000000000bb", 0xaa, 1, 0xbb},
    {"00000000000000aa 1", 0xaa, 1, 0},
    {"00000000000000aa 1 ", 0xaa, 1, 0},
    {"00000000000000aa 12 bb of a later version", 0xaa, 12, 0xbb},
    {"FFFFFFFFFFFFFFFF 18446744073709551615 FfFfFfFfFfFfFfFf", UINT64_MAX, UINT64_MAX, UINT64_MAX},
    {"00000000000000aa 18446744073709551616", 0, 0, 0},
    {"10000000000000000 1", 0, 0, 0},
    {"00000000000000aa", 0, 0, 0},
    {"00000000000000aa x", 0, 0, 0},
    {"g 1", 0, 0, 0},
    {" ", 0, 0, 0},
    {"", 0, 0, 0},
    {NULL, 0, 0, 0},
};

START_TEST(what_an_offer_says)
{
    lone_begin(&lone);
    peer_permit();
    struct peer *peer = lone.core->by_domid[2];
    lone_store(&lone, THEIRS "/offer", "1 1 1"); /* nothing of it stays */
    lone_store(&lone, THEIRS "/offer", offers[_i].value);
    ck_assert_msg(peer->offer_epoch == offers[_i].epoch &&
                      peer->offer_generation == offers[_i].generation &&
                      peer->offer_reader == offers[_i].reader,
                  "\"%s\"", offers[_i].value);
    lone_stop(&lone);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("peer");
    TCase *waiting = tcase_create("waiting");
    tcase_add_test(waiting, a_new_permission_gives_the_peer_a_moment);
    tcase_add_test(waiting, but_only_a_moment);
    tcase_add_test(waiting, a_permission_that_is_changed_is_not_a_new_one);
    tcase_add_test(waiting, one_that_did_not_answer_gets_less_time);
    tcase_add_test(waiting, after_kill_9_a_connect_waits_for_a_new_start_only);
    tcase_add_loop_test(waiting, a_slow_peer_is_waited_for, 0, 2);
    tcase_add_test(waiting, one_that_runs_is_not_dead);
    tcase_add_test(waiting, a_link_that_fails_is_made_again);
    tcase_add_test(waiting, who_has_no_descriptor_left_is_told_so);
    tcase_add_test(waiting, a_wish_of_nobody_is_given_up);
    tcase_add_test(waiting, an_offer_to_another_epoch_is_not_taken);
    tcase_add_test(waiting, a_link_that_is_waited_for_does_not_end_idle);
    suite_add_tcase(suite, waiting);
    TCase *store = tcase_create("store");
    tcase_add_loop_test(store, what_an_offer_says, 0, sizeof(offers) / sizeof(offers[0]));
    suite_add_tcase(suite, store);
    TCase *lines = tcase_create("log");
    tcase_add_test(lines, lines_about_two_peers_are_counted_apart);
    tcase_add_test(lines, one_peer_does_not_hide_lines_about_others);
    suite_add_tcase(suite, lines);
    return run_suite(suite);
}
