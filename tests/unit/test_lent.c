/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The memory that is shared with peers for links: which piece a link gets, what a peer may hold,
 * and when the kernel gets something back. The kernel here has so many pages, and hands out the
 * references that were given back last, as Linux does; a peer may hold some. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "link_mgr/core/platform.h"
#include "link_mgr/platform/lent.h"
#include "tests/unit/suite.h"

#define RING 8192u
#define PAGES 5u /* of such a piece */
#define HONEST 3
#define HOSTILE 4

struct piece {
    struct lent lent;
    enum lent_use use;
    uint32_t references[LENT_REFERENCES_MAX];
    uint8_t left[4 * RING], right[4 * RING];
};

static struct lender lender;
static uint32_t kernel_limit, kernel_used; /* pages */
static uint32_t free_list[65536], free_count, next_reference;
static int peer_that_holds, peer_that_is_gone;
static unsigned asked_whether_gone;
static bool peers_waver;   /* what a peer says is another thing each time */
static bool only_zeros_go; /* no data may be in what goes back */

static struct piece *piece_of(const struct lent *lent)
{
    return (struct piece *)(uintptr_t)lent; /* the first member */
}

static int kernel_make(void *arg, int peer, uint32_t ring_size, struct lent **lent)
{
    uint32_t pages = 1 + 2 * (ring_size / 4096);
    (void)arg, (void)peer;
    if (kernel_used + pages > kernel_limit)
        return -ENOSPC;
    struct piece *piece = calloc(1, sizeof(*piece));
    ck_assert_uint_le(ring_size, sizeof(piece->left));
    for (uint32_t i = 0; i < pages; i++)
        piece->references[i] = free_count > 0 ? free_list[--free_count] : next_reference++;
    piece->lent = (struct lent){.ring_size = ring_size,
                                .pages = pages,
                                .left = piece->left,
                                .right = piece->right,
                                .references = piece->references};
    piece->use = LENT_UNUSED;
    kernel_used += pages;
    *lent = &piece->lent;
    return 0;
}

/* As Linux 6.1: what the peer still has mapped does not count against the limit, and its references
 * are not handed out. */
static void kernel_end(struct lent *lent)
{
    const struct piece *piece = piece_of(lent);
    for (uint32_t i = 0; i < RING && only_zeros_go; i++)
        ck_assert_int_eq(piece->left[i] | piece->right[i], 0);
    for (uint32_t i = lent->pages; i-- > 0 && lent->peer != peer_that_holds;)
        free_list[free_count++] = lent->references[i];
    kernel_used -= lent->pages;
    free(piece_of(lent));
}

static enum lent_use kernel_use(const struct lent *lent)
{
    return peers_waver ? (enum lent_use)(rand() % 3) : piece_of(lent)->use;
}

static bool kernel_is_gone(void *arg, int peer)
{
    (void)arg;
    asked_whether_gone++;
    return peer == peer_that_is_gone;
}

static const struct lender_ops kernel = {
    .make = kernel_make, .end = kernel_end, .use = kernel_use, .is_gone = kernel_is_gone};

static void lent_setup(void)
{
    kernel_limit = 100000;
    kernel_used = free_count = 0;
    next_reference = 8;
    peer_that_holds = peer_that_is_gone = -2;
    asked_whether_gone = 0;
    peers_waver = only_zeros_go = false;
    lender_init(&lender, &kernel, NULL);
}

static void lent_teardown(void)
{
    lender_end(&lender);
    ck_assert(TAILQ_EMPTY(&lender.all));
    ck_assert_uint_eq(lender.pages, 0);
    ck_assert_uint_eq(kernel_used, 0);
}

static struct lent *lent_take(int peer)
{
    struct lent *lent = NULL;
    ck_assert_int_eq(lender_take(&lender, peer, RING, &lent), 0);
    ck_assert_int_eq(lent->peer, peer);
    ck_assert(!lent->kept);
    return lent;
}

static void lent_keep(struct lent *lent, enum lent_use use)
{
    piece_of(lent)->use = use;
    lender_keep(&lender, lent);
}

static int lent_refused(int peer)
{
    struct lent *lent = NULL;
    int error = lender_take(&lender, peer, RING, &lent);
    ck_assert(error != 0 && lent == NULL);
    return error;
}

static struct platform_lent lent_review(int peer)
{
    struct platform_lent count;
    lender_review(&lender, peer, &count);
    return count;
}

static void ck_count(int peer, uint32_t shared, uint32_t kept, uint32_t held)
{
    struct platform_lent count = lent_review(peer);
    ck_assert_uint_eq(count.shared, shared);
    ck_assert_uint_eq(count.kept, kept);
    ck_assert_uint_eq(count.held, held);
}

START_TEST(an_honest_peer_gets_the_same_again)
{
    struct lent *first = lent_take(HONEST);
    ck_count(HONEST, PAGES, 0, 0);
    for (int i = 0; i < 1000; i++) {
        lent_keep(first, LENT_LET_GO);
        ck_count(HONEST, PAGES, PAGES, 0);
        ck_assert_ptr_eq(lent_take(HONEST), first);
    }
    ck_assert_uint_eq(kernel_used, PAGES);
    lent_keep(first, LENT_LET_GO);
}
END_TEST

/* It may read on while we make the next link. */
START_TEST(what_is_held_is_not_touched)
{
    struct lent *first = lent_take(HONEST), *second;
    memset(first->left, 'x', RING);
    lent_keep(first, LENT_HELD);
    second = lent_take(HONEST);
    ck_assert_ptr_ne(first, second);
    lent_review(HONEST);
    ck_assert_int_eq(((char *)first->left)[RING - 1], 'x');
    lent_keep(second, LENT_HELD);
    piece_of(first)->use = LENT_LET_GO;
    ck_assert_ptr_eq(lent_take(HONEST), first);
    ck_assert_int_eq(((char *)first->left)[RING - 1], 0);
    lent_keep(first, LENT_LET_GO);
}
END_TEST

/* A later domain of the same number finds nothing there, even if it guesses the references. */
START_TEST(what_was_let_go_of_is_wiped)
{
    struct lent *lent = lent_take(HONEST);
    memset(lent->right, 'x', RING);
    lent_keep(lent, _i == 0 ? LENT_LET_GO : LENT_HELD);
    if (_i == 1) {
        lent_review(HONEST);
        ck_assert_int_eq(((char *)lent->right)[0], 'x');
        piece_of(lent)->use = LENT_LET_GO;
        lent_review(HONEST);
    }
    for (uint32_t i = 0; i < RING; i++)
        ck_assert_int_eq(((char *)lent->right)[i], 0);
}
END_TEST

START_TEST(a_peer_that_holds_too_much_is_refused)
{
    struct lent *held[LENT_HELD_MAX], *honest = lent_take(HONEST);
    for (unsigned i = 0; i < LENT_HELD_MAX; i++)
        held[i] = lent_take(HOSTILE);
    for (unsigned i = 0; i < LENT_HELD_MAX; i++)
        lent_keep(held[i], LENT_HELD);
    for (int i = 0; i < 1000; i++)
        ck_assert_int_eq(lent_refused(HOSTILE), -EDQUOT);
    ck_count(HOSTILE, LENT_HELD_MAX * PAGES, LENT_HELD_MAX * PAGES, LENT_HELD_MAX * PAGES);
    ck_count(PLATFORM_LENT_ALL, (LENT_HELD_MAX + 1) * PAGES, LENT_HELD_MAX * PAGES,
             LENT_HELD_MAX * PAGES);
    ck_assert_uint_eq(kernel_used, (LENT_HELD_MAX + 1) * PAGES);
    lent_keep(honest, LENT_LET_GO);
    ck_assert_ptr_eq(lent_take(HONEST), honest);
    piece_of(held[1])->use = LENT_LET_GO;
    ck_assert_ptr_eq(lent_take(HOSTILE), held[1]);
    lent_keep(honest, LENT_LET_GO), lent_keep(held[1], LENT_LET_GO);
}
END_TEST

/* Hundreds of links, whatever the peer says: it never has more than the ceiling. */
START_TEST(churn)
{
    unsigned links = 0;
    peer_that_holds = HOSTILE;
    srand((unsigned)_i);
    for (int i = 0; i < 1000; i++) {
        struct lent *lent;
        int error = lender_take(&lender, HOSTILE, RING, &lent);
        ck_assert(error == 0 || error == -EDQUOT);
        ck_assert_uint_le(kernel_used, LENT_HELD_MAX * PAGES);
        if (error == 0)
            lent_keep(lent, (enum lent_use)(rand() % 3));
        links += error == 0;
        TAILQ_FOREACH (lent, &lender.all, all)
            if (rand() % 4 == 0)
                piece_of(lent)->use = LENT_LET_GO;
    }
    ck_assert_uint_gt(links, 100);
    ck_assert_uint_eq(lender.back_count, 0);
}
END_TEST

/* One question is decided by one answer, however soon the peer changes it. */
START_TEST(a_peer_that_changes_its_mind)
{
    struct lent *lent;
    unsigned links = 0;
    srand((unsigned)_i);
    peers_waver = true;
    for (int i = 0; i < 2000; i++) {
        if (lender_take(&lender, HOSTILE, RING, &lent) == 0) {
            lender_keep(&lender, lent);
            links++;
        }
        ck_assert_uint_le(kernel_used, LENT_HELD_MAX * PAGES);
    }
    ck_assert_uint_gt(links, 1000);
}
END_TEST

/* ---- peers that get no more links ---- */

/* What an honest one let go of goes back at once, or when it does. Then only the kernel can show
 * that the references are free. */
START_TEST(a_peer_that_gets_no_more_links)
{
    struct lent *honest = lent_take(HONEST), *other = lent_take(7);
    only_zeros_go = true;
    memset(honest->left, 'x', RING);
    lent_keep(other, LENT_LET_GO);
    lent_keep(honest, _i == 0 ? LENT_LET_GO : LENT_HELD);
    lender_part(&lender, HONEST);
    if (_i == 1) {
        ck_assert_uint_eq(lent_review(PLATFORM_LENT_ALL).unwanted, PAGES);
        ck_count(HONEST, PAGES, PAGES, PAGES);
        ck_assert_int_eq(((char *)honest->left)[0], 'x');
        piece_of(honest)->use = LENT_LET_GO;
        lent_review(8); /* whoever is asked about */
    }
    ck_assert_uint_eq(kernel_used, PAGES);
    ck_count(HONEST, PAGES, 0, PAGES);
    ck_assert_uint_eq(lent_review(PLATFORM_LENT_ALL).unwanted, PAGES);
    ck_assert_uint_eq(lent_review(7).unwanted, 0);
    lent_keep(lent_take(8), LENT_LET_GO); /* with the same references */
    ck_count(HONEST, 0, 0, 0);
    ck_assert_uint_eq(lent_review(PLATFORM_LENT_ALL).unwanted, 0);
    ck_count(7, PAGES, PAGES, 0);
}
END_TEST

START_TEST(one_that_is_gone_later)
{
    only_zeros_go = true;
    peer_that_holds = HOSTILE;
    for (int i = 0; i < 2; i++) {
        struct lent *lent = lent_take(HOSTILE);
        memset(lent->right, 'x', RING);
        lent_keep(lent, LENT_HELD);
    }
    lender_part(&lender, HOSTILE);
    if (_i == 1) { /* or all but the references has gone back */
        piece_of(TAILQ_FIRST(&lender.all))->use = LENT_LET_GO;
        piece_of(TAILQ_NEXT(TAILQ_FIRST(&lender.all), all))->use = LENT_LET_GO;
    }
    for (int i = 0; i < 100; i++)
        ck_assert_uint_eq(lent_review(PLATFORM_LENT_ALL).unwanted, 2 * PAGES);
    ck_assert_uint_eq(lent_review(HOSTILE).held, 2 * PAGES);
    peer_that_is_gone = HOSTILE;
    ck_count(PLATFORM_LENT_ALL, 0, 0, 0);
    ck_assert_uint_eq(lender.back_count, 0);
}
END_TEST

/* The rule comes again: what is kept is of use. */
START_TEST(one_that_gets_links_again)
{
    struct lent *held = lent_take(HONEST);
    lent_keep(held, LENT_HELD);
    lender_part(&lender, HONEST);
    lent_keep(lent_take(HONEST), LENT_HELD);
    ck_assert_uint_eq(lent_review(PLATFORM_LENT_ALL).unwanted, 0);
    piece_of(held)->use = LENT_LET_GO;
    lent_review(PLATFORM_LENT_ALL);
    ck_assert_ptr_eq(lent_take(HONEST), held);
    lent_keep(held, LENT_LET_GO);
}
END_TEST

/* Rules that come and go: not more is given back without a proof than otherwise. */
START_TEST(a_liar_and_a_rule_that_comes_and_goes)
{
    peer_that_holds = HOSTILE;
    for (int i = 0; i < 1000; i++) {
        struct lent *lent;
        if (lender_take(&lender, HOSTILE, RING, &lent) == 0)
            lent_keep(lent, LENT_LET_GO);
        lender_part(&lender, HOSTILE);
        ck_assert_uint_le(next_reference, 8 + LENT_BACK_MAX + LENT_HELD_MAX * PAGES);
    }
    ck_assert_uint_gt(lender.back_count, LENT_BACK_MAX - PAGES);
}
END_TEST

/* The peer may be attaching to it, so a fresh piece is better. But it is not the peer's fault. */
START_TEST(what_was_never_attached_to)
{
    struct lent *first = lent_take(HONEST);
    memset(first->left, 'x', RING); /* without attaching, as we know it */
    lent_keep(first, LENT_UNUSED);
    struct lent *second = lent_take(HONEST);
    ck_assert_ptr_ne(first, second);
    lent_keep(second, LENT_UNUSED);
    for (int i = 0; i < 100; i++) {
        ck_assert_ptr_eq(lent_take(HONEST), first);
        ck_assert_int_eq(((char *)first->left)[0], 0);
        lent_keep(first, LENT_UNUSED);
        ck_assert_ptr_eq(lent_take(HONEST), second);
        lent_keep(second, LENT_UNUSED);
    }
    ck_count(HONEST, 2 * PAGES, 2 * PAGES, 0);
    piece_of(first)->use = LENT_HELD;
    ck_assert_ptr_eq(lent_take(HONEST), second);
    lent_keep(second, LENT_LET_GO);
}
END_TEST

START_TEST(a_domain_that_is_gone_leaves_nothing)
{
    struct lent *link, *honest = lent_take(HONEST);
    lent_keep(honest, LENT_LET_GO);
    lent_keep(lent_take(HOSTILE), LENT_HELD);
    link = lent_take(HOSTILE);
    ck_count(HOSTILE, 2 * PAGES, PAGES, PAGES);
    peer_that_is_gone = HOSTILE;
    ck_count(HOSTILE, PAGES, 0, 0); /* the link is ended by whoever has it */
    lent_keep(link, LENT_HELD);
    ck_count(HOSTILE, 0, 0, 0);
    ck_assert_uint_eq(kernel_used, PAGES);
    ck_count(HONEST, PAGES, PAGES, 0);
}
END_TEST

/* As long as nothing is kept for it, there is no need to ask. */
START_TEST(nobody_is_asked_for_nothing)
{
    struct lent *lent = lent_take(HONEST);
    lent_review(HONEST), lent_review(HOSTILE), lent_review(PLATFORM_LENT_ALL);
    ck_assert_uint_eq(asked_whether_gone, 0);
    lent_keep(lent, LENT_LET_GO);
    lent_review(HONEST);
    ck_assert_uint_eq(asked_whether_gone, 1);
}
END_TEST

/* The kernel has room for one piece, and two honest peers have their links by turns. What the one
 * has let go of goes back, and as its references come again, nothing is left to count. */
START_TEST(the_kernels_limit_is_shared_by_turns)
{
    kernel_limit = PAGES;
    for (int i = 0; i < 2000; i++) {
        struct lent *lent = lent_take(i % 2 ? HONEST : 7);
        ck_assert_int_eq(lent_refused(8), -ENOSPC);
        lent_keep(lent, LENT_LET_GO);
        ck_assert_uint_eq(lender.back_count, 0);
    }
}
END_TEST

START_TEST(what_is_held_does_not_go_back)
{
    kernel_limit = PAGES;
    lent_keep(lent_take(HOSTILE), LENT_HELD);
    ck_assert_int_eq(lent_refused(HONEST), -ENOSPC);
    peer_that_is_gone = HOSTILE;
    lent_keep(lent_take(HONEST), LENT_LET_GO);
}
END_TEST

/* It says each time that it has let go, and never has. At most so much of it is believed. */
START_TEST(a_liar_and_the_kernels_limit)
{
    unsigned refusals = 0;
    kernel_limit = PAGES;
    peer_that_holds = HOSTILE;
    for (int i = 0; i < 1000; i++) {
        struct lent *lent;
        lent_keep(lent_take(HOSTILE), LENT_LET_GO);
        int error = lender_take(&lender, HONEST, RING, &lent);
        if (error == 0)
            lent_keep(lent, LENT_LET_GO);
        refusals += error != 0;
        ck_assert(error == 0 || error == -ENOSPC);
        ck_assert_uint_le(lender.back_count, LENT_BACK_MAX);
        ck_assert_uint_le(next_reference, 8 + LENT_BACK_MAX + 2 * PAGES);
    }
    ck_assert_uint_gt(refusals, 700);
    struct platform_lent count = lent_review(HOSTILE);
    ck_assert_uint_gt(count.held, LENT_BACK_MAX - PAGES);
    ck_assert_uint_eq(count.shared, count.held + count.kept);
    peer_that_is_gone = HOSTILE;
    ck_count(HOSTILE, 0, 0, 0);
    lent_keep(lent_take(HONEST), LENT_LET_GO);
}
END_TEST

START_TEST(many_liars)
{
    kernel_limit = PAGES;
    for (int i = 0; i < 5000; i++) {
        struct lent *lent;
        peer_that_holds = lender.all.tqh_first ? TAILQ_FIRST(&lender.all)->peer : -2;
        if (lender_take(&lender, 10 + i % 100, RING, &lent) == 0)
            lent_keep(lent, LENT_LET_GO);
        ck_assert_uint_le(lender.back_count, LENT_BACK_ALL_MAX);
    }
    ck_assert_uint_le(next_reference, 8 + LENT_BACK_ALL_MAX + 2 * PAGES);
    ck_assert_uint_gt(lender.back_count, LENT_BACK_ALL_MAX - PAGES);
    lender.back_count = 0;
}
END_TEST

START_TEST(the_ceiling_of_all)
{
    unsigned peers = 0;
    struct lent *lent;
    int error;
    while ((error = lender_take(&lender, 10 + (int)peers, RING, &lent)) == 0)
        peers++;
    ck_assert_int_eq(error, -ENOBUFS);
    ck_assert_uint_eq(peers, LENT_PAGES_MAX / PAGES);
    ck_assert_uint_eq(lent_review(PLATFORM_LENT_ALL).shared, peers * PAGES);
    /* One that was let go of is for whoever comes next. */
    lent_keep(TAILQ_FIRST(&lender.all), LENT_LET_GO);
    lent_take(HONEST);
    ck_assert_int_eq(lent_refused(10), -ENOBUFS);
    TAILQ_FOREACH (lent, &lender.all, all)
        lent->kept = true;
}
END_TEST

/* link_mgr has one size; others have several. */
START_TEST(rings_of_another_size)
{
    struct lent *small = lent_take(HONEST), *large;
    uint32_t small_pages = small->pages;
    lent_keep(small, LENT_LET_GO);
    ck_assert_int_eq(lender_take(&lender, HONEST, 2 * RING, &large), 0);
    ck_assert_uint_gt(large->pages, small_pages);
    ck_count(HONEST, large->pages, 0, 0); /* the references came again */
    lent_keep(large, LENT_HELD);
    lent_keep(lent_take(HONEST), LENT_HELD);
    ck_assert_int_eq(lent_refused(HONEST), -EDQUOT);
}
END_TEST

START_TEST(restored)
{
    struct lent *link = lent_take(HONEST);
    kernel_limit = 2 * PAGES;
    peer_that_holds = HOSTILE;
    lent_keep(lent_take(HOSTILE), LENT_LET_GO);
    lent_keep(lent_take(5), LENT_HELD);
    ck_assert_uint_eq(lender.back_count, PAGES);
    lender_end(&lender);
    ck_count(PLATFORM_LENT_ALL, PAGES, 0, 0);
    lender_drop(&lender, link);
    ck_count(PLATFORM_LENT_ALL, 0, 0, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("lent memory");
    TCase *lent = tcase_create("lent");
    tcase_add_checked_fixture(lent, lent_setup, lent_teardown);
    tcase_add_test(lent, an_honest_peer_gets_the_same_again);
    tcase_add_test(lent, what_is_held_is_not_touched);
    tcase_add_loop_test(lent, what_was_let_go_of_is_wiped, 0, 2);
    tcase_add_test(lent, a_peer_that_holds_too_much_is_refused);
    tcase_add_loop_test(lent, churn, 0, 10);
    tcase_add_loop_test(lent, a_peer_that_changes_its_mind, 0, 10);
    tcase_add_loop_test(lent, a_peer_that_gets_no_more_links, 0, 2);
    tcase_add_loop_test(lent, one_that_is_gone_later, 0, 2);
    tcase_add_test(lent, one_that_gets_links_again);
    tcase_add_test(lent, a_liar_and_a_rule_that_comes_and_goes);
    tcase_add_test(lent, what_was_never_attached_to);
    tcase_add_test(lent, a_domain_that_is_gone_leaves_nothing);
    tcase_add_test(lent, nobody_is_asked_for_nothing);
    tcase_add_test(lent, the_kernels_limit_is_shared_by_turns);
    tcase_add_test(lent, what_is_held_does_not_go_back);
    tcase_add_test(lent, a_liar_and_the_kernels_limit);
    tcase_add_test(lent, many_liars);
    tcase_add_test(lent, the_ceiling_of_all);
    tcase_add_test(lent, rings_of_another_size);
    tcase_add_test(lent, restored);
    suite_add_tcase(suite, lent);
    return run_suite(suite);
}
