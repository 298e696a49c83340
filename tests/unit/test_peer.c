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
#include "link_mgr/core/link.h"
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

/* Puts HELLO into the ring. epoch, generation: of the offering side; wish: of the other. */
static void send_hello(uint64_t epoch, uint64_t generation, uint16_t domid, uint64_t wish)
{
    uint8_t hello[WIRE_HELLO], bytes[WIRE_HEADER + WIRE_HELLO];
    wire_put_hello(hello, &(struct wire_hello){.version_min = 1,
                                               .version_max = 1,
                                               .epoch = epoch,
                                               .generation = generation,
                                               .max_frame = WIRE_FRAME_MIN,
                                               .max_requests = 16,
                                               .domid = domid,
                                               .wish = wish});
    wire_put_frame(bytes, &(struct wire_frame){.type = WIRE_TYPE_HELLO, .length = WIRE_HELLO});
    memcpy(bytes + WIRE_HEADER, hello, sizeof(hello));
    ck_assert(lone_put(&lone, bytes, sizeof(bytes)));
    peer_channel_event(lone.core->by_domid[domid]);
    lone_run(&lone);
}

/* Domain 1 is the one that offers here. It has offered, domain 0 has attached, and HELLO is still
 * to come. */
static void greet_domain_0(void)
{
    enum reason reason;
    const struct core_request request = {
        .domid = 0, .port = 80, .name = "", .type = IDC_STREAM, .cookie = &lone};
    lone_begin(&lone);
    lone_store(&lone, "/local/domain/1/idc/policy/0", "in=* out=*");
    lone_store(&lone, "/local/domain/0/data/idc/1/alive", EPOCH);
    ck_assert_ptr_nonnull(core_connect(lone.core, &request, &reason));
    lone_run(&lone);
    ck_assert_str_eq(lone.last_published, "offer 0000000000001267 1 " EPOCH);
    ck_assert_int_eq(lone.core->by_domid[0]->state, PEER_GREETING);
}

/* Both sides wanted the link at once. The other one's wish is read only when it has attached to the
 * offer that came without it. */
START_TEST(a_wish_that_comes_late_is_answered_by_the_link_that_is_made)
{
    greet_domain_0();
    lone_store(&lone, "/local/domain/0/data/idc/1/want", EPOCH " 1");
    lone_run(&lone);
    send_hello(0x1267, 1, 0, 1);
    ck_assert_int_eq(lone.core->by_domid[0]->state, PEER_UP);
    ck_assert_uint_eq(lone.core->by_domid[0]->generation, 1);
    lone_stop(&lone);
}
END_TEST

/* It has lost the link before we noticed that the link was there. */
START_TEST(a_wish_later_than_the_link_makes_another)
{
    greet_domain_0();
    lone_store(&lone, "/local/domain/0/data/idc/1/want", EPOCH " 2");
    lone_run(&lone);
    send_hello(0x1267, 1, 0, 1);
    ck_assert_str_eq(lone.last_published, "offer 0000000000001267 2 " EPOCH);
    ck_assert_int_eq(lone.answers, 0);
    lone_stop(&lone);
}
END_TEST

/* The offer that was read is an old one. The nodes of the channel are those of its successor. */
START_TEST(a_hello_of_another_link_is_no_fault)
{
    lone_begin(&lone);
    peer_permit();
    lone_store(&lone, THEIRS "/alive", EPOCH);
    connect_to_2();
    lone_store(&lone, THEIRS "/offer", EPOCH " 1");
    lone_run(&lone);
    send_hello(_i == 0 ? 0xaa : 0xbb, _i == 0 ? 2 : 1, 2, 0);
    ck_assert(!lone.channel_open);
    ck_assert_uint_eq(lone.core->count.protocol_errors, 0);
    lone_pass(&lone, PEER_RETRY_MS);
    ck_assert_int_eq(lone.answers, 0);
    ck_assert_str_eq(lone.last_published, "want 0000000000001267 2");
    lone_stop(&lone);
}
END_TEST

/* The other side has ended the idle link, as we proposed. It runs, and may take its time. */
START_TEST(a_connect_that_meets_the_end_of_an_idle_link)
{
    lone_start(&lone);
    lone_pass(&lone, lone.core->config.idle_ms);
    ck_assert(link_end_proposed(lone.core->by_domid[2]->link));
    connect_to_2();
    kill_peer();
    ck_assert_str_eq(lone.last_published, "want 0000000000001267 1");
    lone_pass(&lone, PEER_SETUP_MS);
    ck_assert_int_eq(lone.answers, 0);
    lone_stop(&lone);
}
END_TEST

/* ---- links that end soon ---- */

static uint64_t generation;

/* The other side offers, after what it has offered before. */
static void offer_next(void)
{
    char offer[64];
    memset(&lone.page, 0, sizeof(lone.page)); /* of another channel */
    snprintf(offer, sizeof(offer), EPOCH " %u", (unsigned)++generation);
    lone_store(&lone, THEIRS "/offer", offer);
    lone_run(&lone);
}

/* The other side offers, we attach, and it ends the link after so long. */
static void link_of(uint64_t ms)
{
    offer_next();
    ck_assert_msg(lone.channel_open, "link %u is not taken: %s", (unsigned)generation,
                  lone.core->by_domid[2]->last_error);
    lone_pass(&lone, ms);
    kill_peer();
    ck_assert(!lone.channel_open);
    /* what failed without HELLO is tried again after a while in any case */
    lone_pass(&lone, PEER_BACKOFF_MS);
}

static void short_begin(void)
{
    generation = 0;
    lone_begin(&lone);
    peer_permit();
    lone_store(&lone, THEIRS "/alive", EPOCH);
    lone_run(&lone);
}

/* The next offer is taken after so long, and not before. */
static void ck_next_after(uint64_t ms)
{
    offer_next();
    lone_pass(&lone, ms - PEER_BACKOFF_MS - 1);
    ck_assert(!lone.channel_open);
    ck_assert_str_eq(peer_state_name(lone.core->by_domid[2]), "backoff");
    lone_pass(&lone, 1);
    ck_assert(lone.channel_open);
    kill_peer();
    lone_pass(&lone, PEER_BACKOFF_MS);
}

START_TEST(links_that_end_soon_are_made_ever_less_often)
{
    short_begin();
    /* while they were made, one was forgotten every PEER_FORGET_MS */
    for (unsigned i = 0; lone.core->by_domid[2]->short_links < PEER_SHORT_FREE; i++) {
        ck_assert_uint_lt(i, 2 * PEER_SHORT_FREE);
        link_of(0);
    }
    lone.core->by_domid[2]->short_since = lone.now;
    offer_next();
    ck_assert(lone.channel_open); /* the last free one */
    kill_peer();
    ck_assert_ptr_nonnull(
        strstr(lone.core->by_domid[2]->last_error,
               "of the latest links 33 ended soon, so the next one waits for 1 s"));
    lone_pass(&lone, PEER_BACKOFF_MS);
    ck_assert(!lone.channel_open);
    offer_next();
    ck_assert(lone.channel_open);
    kill_peer();
    lone_pass(&lone, PEER_BACKOFF_MS);
    ck_next_after(2000);
    ck_next_after(4000);
    for (int i = 0; i < 20; i++) { /* it never waits for longer */
        offer_next();
        lone_pass(&lone, PEER_CALM_MAX_MS);
        ck_assert(lone.channel_open);
        kill_peer();
    }
    lone_pass(&lone, (PEER_SHORT_FREE + 10) * PEER_FORGET_MS); /* all are forgotten */
    for (int i = 0; i < PEER_SHORT_FREE; i++)
        link_of(0);
    lone_stop(&lone);
}
END_TEST

START_TEST(links_that_last_are_free)
{
    short_begin();
    for (int i = 0; i < 10 * PEER_SHORT_FREE; i++)
        link_of(PEER_SHORT_MS);
    ck_assert_uint_eq(lone.core->by_domid[2]->short_links, 0);
    lone_stop(&lone);
}
END_TEST

/* A long pause hides nothing of what the store says. */
START_TEST(news_during_a_pause)
{
    short_begin();
    struct peer *peer = lone.core->by_domid[2];
    offer_next();
    peer->short_links = PEER_SHORT_FREE + 6;
    peer->short_since = lone.now;
    kill_peer();
    connect_to_2();
    lone_pass(&lone, PEER_BACKOFF_MS);
    ck_assert_int_eq(lone.answers, 0);
    lone_store(&lone, THEIRS "/alive", NULL);
    lone_run(&lone);
    ck_unreachable();
    lone_store(&lone, THEIRS "/alive", EPOCH);
    connect_to_2();
    ck_assert_int_eq(lone.answers, 0);
    lone_pass(&lone, PEER_CALM_MAX_MS); /* and then it goes on by itself */
    ck_assert_str_eq(lone.last_published, "want 0000000000001267 1");
    lone_stop(&lone);
}
END_TEST

START_TEST(revoked_during_a_pause)
{
    short_begin();
    struct peer *peer = lone.core->by_domid[2];
    offer_next();
    peer->short_links = PEER_SHORT_FREE + 6;
    peer->short_since = lone.now;
    kill_peer();
    connect_to_2();
    lone_store(&lone, POLICY, NULL);
    lone_run(&lone);
    ck_assert_int_eq(lone.answers, 1);
    ck_assert_int_eq(lone.answer, REASON_POLICY);
    lone_stop(&lone);
}
END_TEST

/* ---- the log ---- */

/* ---- memory that is shared with a peer ---- */

#define LOWER_POLICY "/local/domain/1/idc/policy/0"
#define LOWER "/local/domain/0/data/idc/1"

/* Domain 0, to which we offer, is there and has asked for a link. */
static void lower_peer_wants(void)
{
    lone_store(&lone, LOWER_POLICY, "in=* out=*");
    lone_store(&lone, LOWER "/alive", EPOCH);
    lone_store(&lone, LOWER "/want", EPOCH " 1");
    lone_run(&lone);
}

static void lower_peer_goes(void)
{
    lone_store(&lone, LOWER "/want", NULL);
    lone_store(&lone, LOWER "/alive", NULL);
    lone_run(&lone);
}

START_TEST(who_holds_too_much_gets_no_link)
{
    const char *text = "no link: domain 0 still holds 258 pages of links that have ended";
    enum reason reason;
    const struct core_request request = {
        .domid = 0, .port = 80, .name = "", .type = IDC_STREAM, .cookie = &lone};
    lone_begin(&lone);
    lone.attach_error = -EDQUOT;
    lone.lent = (struct platform_lent){.shared = 258, .kept = 258, .held = 258};
    lower_peer_wants();
    struct peer *peer = lone.core->by_domid[0];
    ck_assert(!lone.channel_open);
    ck_assert_str_eq(peer->last_error, text);
    ck_assert_str_eq(peer->own_error, text);
    ck_assert_ptr_nonnull(strstr(lone.last_log, text));
    lone_pass(&lone, PEER_BACKOFF_MS);
    lone.answers = 0;
    ck_assert_ptr_nonnull(core_connect(lone.core, &request, &reason));
    lone_run(&lone);
    ck_assert_int_eq(lone.answers, 1);
    ck_assert_int_eq(lone.answer, REASON_NO_RESOURCES);
    lone.attach_error = 0; /* it has let go */
    lone_pass(&lone, PEER_BACKOFF_MS);
    lone_store(&lone, LOWER "/want", EPOCH " 2");
    lone_run(&lone);
    ck_assert(lone.channel_open);
    lone_stop(&lone);
}
END_TEST

/* While its link_mgr is there, its domain is not gone. Afterwards it is looked at now and then, as
 * long as something is kept for it. */
START_TEST(what_is_kept_for_a_domain_is_looked_at)
{
    lone_begin(&lone);
    lone.lent = (struct platform_lent){.shared = 129, .kept = 129};
    lower_peer_wants();
    lone_pass(&lone, 100 * PEER_LENT_MS);
    lone.lent_looks = 0;
    lone_pass(&lone, 100 * PEER_LENT_MS);
    ck_assert_uint_eq(lone.lent_looks, 0);
    lower_peer_goes();
    unsigned looks = lone.lent_looks;
    for (unsigned i = 1; i <= 10; i++) {
        lone_pass(&lone, PEER_LENT_MS - 1);
        ck_assert_uint_eq(lone.lent_looks, looks + i - 1);
        lone_pass(&lone, 1);
        ck_assert_uint_eq(lone.lent_looks, looks + i);
    }
    if (_i == 0)
        lone.lent = (struct platform_lent){0}; /* it was gone */
    else
        lone_store(&lone, LOWER "/alive", OTHER_EPOCH); /* it is there again */
    lone_run(&lone);
    lone_pass(&lone, PEER_LENT_MS);
    looks = lone.lent_looks;
    lone_pass(&lone, 100 * PEER_LENT_MS);
    ck_assert_uint_eq(lone.lent_looks, looks);
    lone_stop(&lone);
}
END_TEST

/* No rule names the domain any more, and it still has the memory. Nobody else looks. */
START_TEST(what_a_domain_without_a_rule_holds_is_looked_at)
{
    lone_begin(&lone);
    lower_peer_wants();
    ck_assert(lone.channel_open);
    lone.lent = (struct platform_lent){.shared = 129, .kept = 129, .held = 129, .unwanted = 129};
    lone.partings = 0, lone.parted_from = -1;
    lone_store(&lone, LOWER_POLICY, NULL);
    lower_peer_goes();
    lone_pass(&lone, PEER_SETUP_MS); /* the link has ended by then */
    ck_assert(!lone.channel_open);
    ck_assert_ptr_null(lone.core->by_domid[0]);
    ck_assert_uint_eq(lone.partings, 1);
    ck_assert_int_eq(lone.parted_from, 0);
    for (int i = 0; i < 20; i++) /* the pause grows up to that */
        lone_pass(&lone, PEER_LENT_MS);
    unsigned looks = lone.lent_looks;
    for (unsigned i = 1; i <= 100; i++) {
        lone_pass(&lone, PEER_LENT_MS);
        ck_assert_uint_eq(lone.lent_looks, looks + i);
    }
    lone.lent = (struct platform_lent){.shared = 129};
    lone_pass(&lone, PEER_LENT_MS);
    looks = lone.lent_looks;
    lone_pass(&lone, 100 * PEER_LENT_MS);
    ck_assert_uint_eq(lone.lent_looks, looks);
    lone_stop(&lone);
}
END_TEST

START_TEST(an_honest_domain_without_a_rule_is_looked_at_soon)
{
    lone_begin(&lone);
    lower_peer_wants();
    lone.lent = (struct platform_lent){.shared = 129, .kept = 129, .held = 129, .unwanted = 129};
    lone.partings = 0;
    lone_store(&lone, LOWER_POLICY, NULL);
    for (int i = 0; i < 100 && lone.partings == 0; i++)
        lone_pass(&lone, 100);
    ck_assert_uint_eq(lone.partings, 1);
    unsigned looks = lone.lent_looks;
    lone_pass(&lone, PEER_PART_MS);
    ck_assert_uint_eq(lone.lent_looks, looks + 1);
    lone_pass(&lone, 2 * PEER_PART_MS);
    ck_assert_uint_eq(lone.lent_looks, looks + 2);
    lone_stop(&lone);
}
END_TEST

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

/* The store was full, and has room again. */
START_TEST(an_alive_that_is_missing_comes_by_itself)
{
    lone_begin(&lone);
    lone.publish_error = -ENOSPC;
    peer_permit();
    lone_store(&lone, THEIRS, NULL);
    lone_run(&lone);
    ck_assert_str_eq(lone.last_log, "domain 2: cannot write /local/domain/1/data/idc/2/alive: "
                                    "No space left on device");
    ck_assert_str_eq(lone.core->by_domid[2]->own_error,
                     "this domain's link_mgr cannot write /local/domain/1/data/idc/2/alive: "
                     "No space left on device");
    lone.last_log[0] = '\0';
    lone.publish_failures = 0;
    for (int i = 0; i < 1000; i++)
        lone_pass(&lone, 10);
    ck_assert_uint_eq(lone.publish_failures, 10);
    ck_assert_str_eq(lone.last_log, "");
    lone.publish_error = 0;
    lone_pass(&lone, 1000);
    ck_assert_str_eq(lone.last_published, "alive 0000000000001267");
    ck_assert_str_eq(lone.last_log, "domain 2: /local/domain/1/data/idc/2/alive is written now");
    ck_assert_str_eq(lone.core->by_domid[2]->own_error, "");
    lone.last_published[0] = '\0';
    lone_pass(&lone, 10000);
    ck_assert_str_eq(lone.last_published, "");
    ck_assert(core_deadline(lone.core) == PEER_NO_DEADLINE);
    lone_stop(&lone);
}
END_TEST

/* The time of another step, which a connect waits for, is kept. */
START_TEST(an_alive_that_is_missing_beside_a_deadline)
{
    lone_begin(&lone);
    lone.publish_error = -ENOSPC;
    peer_permit();
    lone_store(&lone, THEIRS, NULL);
    lone_run(&lone);
    connect_to_2(); /* it waits for the other side's `alive`, until PEER_GRACE_MS have passed */
    lone_pass(&lone, PEER_GRACE_MS - 1);
    ck_assert_int_eq(lone.answers, 0);
    lone_pass(&lone, 1);
    ck_unreachable();
    lone.publish_error = 0;
    lone_pass(&lone, 1000);
    ck_assert_str_eq(lone.last_published, "alive 0000000000001267");
    lone_stop(&lone);
}
END_TEST

/* A domain that may not speak with this one is told nothing. */
/* Nobody tells link_mgr that its node was deleted. Whoever allows the peer again mends that. */
START_TEST(an_alive_that_was_deleted_comes_with_the_policy)
{
    lone_begin(&lone);
    peer_permit();
    ck_assert_str_eq(lone.last_published, "alive 0000000000001267");
    lone.last_published[0] = '\0';
    peer_permit();
    ck_assert_str_eq(lone.last_published, "alive 0000000000001267");
    lone.last_published[0] = '\0';
    lone_store(&lone, POLICY, NULL);
    lone_run(&lone);
    ck_assert_str_eq(lone.last_published, "");
    lone_stop(&lone);
}
END_TEST

START_TEST(an_alive_that_is_missing_is_not_for_a_stranger)
{
    lone_begin(&lone);
    lone.publish_error = -ENOSPC;
    peer_permit();
    lone_store(&lone, THEIRS, NULL);
    lone_store(&lone, POLICY, NULL);
    lone.publish_error = 0;
    lone_pass(&lone, 1000);
    ck_assert_str_eq(lone.last_published, "");
    ck_assert(core_deadline(lone.core) == PEER_NO_DEADLINE);
    lone_stop(&lone);
}
END_TEST

/* ---- counters ---- */

static void ck_counted(uint64_t connects, uint64_t connected, uint64_t refused)
{
    ck_assert_uint_eq(lone.core->count.connects, connects);
    ck_assert_uint_eq(lone.core->count.connected, connected);
    ck_assert_uint_eq(lone.core->count.refused, refused);
}

/* Each connect comes about or is refused, once. */
START_TEST(whatever_the_reason)
{
    enum reason reason;
    const struct core_request request = {
        .domid = 2, .port = 80, .name = "", .type = IDC_STREAM, .cookie = &lone};
    lone_begin(&lone);
    ck_assert_ptr_null(core_connect(lone.core, &request, &reason)); /* no policy names it */
    ck_counted(1, 0, 1);
    peer_permit();
    lone_store(&lone, THEIRS, NULL);
    connect_to_2();
    ck_counted(2, 0, 1);
    lone_pass(&lone, PEER_GRACE_MS);
    ck_unreachable();
    ck_counted(2, 0, 2);
    lone_store(&lone, THEIRS "/alive", EPOCH);
    connect_to_2();
    struct conn *conn = TAILQ_FIRST(&lone.core->by_domid[2]->waiting);
    ck_counted(3, 0, 2);
    conn_abandon(conn); /* its time is up, or its program has ended */
    ck_counted(3, 0, 3);
    connect_to_2();
    lone_store(&lone, POLICY, NULL);
    lone_run(&lone);
    ck_counted(4, 0, 4);
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

/* Whoever writes the store has more and more of it. Others have a turn in between. */
START_TEST(the_store_leaves_turns)
{
    lone_begin(&lone);
    lone.store_events = 1000000;
    ck_assert_int_eq(core_take_store_events(lone.core), 1);
    ck_assert_int_eq(lone.store_events, 1000000 - CORE_STORE_EVENTS);
    lone.store_events = 1;
    ck_assert_int_eq(core_take_store_events(lone.core), 0);
    ck_assert_int_eq(lone.store_events, 0);
    lone.store_events = 1;
    lone.store_error = -EIO;
    ck_assert_int_eq(core_take_store_events(lone.core), -EIO);
    lone_stop(&lone);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("peer");
    TCase *waiting = tcase_create("waiting");
    tcase_add_test(waiting, a_new_permission_gives_the_peer_a_moment);
    tcase_add_test(waiting, the_store_leaves_turns);
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
    tcase_add_test(waiting, a_wish_that_comes_late_is_answered_by_the_link_that_is_made);
    tcase_add_test(waiting, a_wish_later_than_the_link_makes_another);
    tcase_add_loop_test(waiting, a_hello_of_another_link_is_no_fault, 0, 2);
    tcase_add_test(waiting, a_connect_that_meets_the_end_of_an_idle_link);
    tcase_add_test(waiting, a_link_that_is_waited_for_does_not_end_idle);
    suite_add_tcase(suite, waiting);
    TCase *often = tcase_create("often");
    tcase_add_test(often, links_that_end_soon_are_made_ever_less_often);
    tcase_add_test(often, links_that_last_are_free);
    tcase_add_test(often, news_during_a_pause);
    tcase_add_test(often, revoked_during_a_pause);
    suite_add_tcase(suite, often);
    TCase *lent = tcase_create("lent");
    tcase_add_test(lent, who_holds_too_much_gets_no_link);
    tcase_add_loop_test(lent, what_is_kept_for_a_domain_is_looked_at, 0, 2);
    tcase_add_test(lent, what_a_domain_without_a_rule_holds_is_looked_at);
    tcase_add_test(lent, an_honest_domain_without_a_rule_is_looked_at_soon);
    suite_add_tcase(suite, lent);
    TCase *store = tcase_create("store");
    tcase_add_test(store, an_alive_that_is_missing_comes_by_itself);
    tcase_add_test(store, an_alive_that_is_missing_beside_a_deadline);
    tcase_add_test(store, an_alive_that_was_deleted_comes_with_the_policy);
    tcase_add_test(store, an_alive_that_is_missing_is_not_for_a_stranger);
    tcase_add_loop_test(store, what_an_offer_says, 0, sizeof(offers) / sizeof(offers[0]));
    suite_add_tcase(suite, store);
    TCase *counters = tcase_create("counters");
    tcase_add_test(counters, whatever_the_reason);
    suite_add_tcase(suite, counters);
    TCase *lines = tcase_create("log");
    tcase_add_test(lines, lines_about_two_peers_are_counted_apart);
    tcase_add_test(lines, one_peer_does_not_hide_lines_about_others);
    suite_add_tcase(suite, lines);
    return run_suite(suite);
}
