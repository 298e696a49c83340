/* SPDX-License-Identifier: GPL-2.0-or-later */
/* lent.c - see lent.h. Lists are searched from end to end, since each peer has a few entries. */
#include "link_mgr/platform/lent.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "link_mgr/core/platform.h"

#define PAGE 4096u

void lender_init(struct lender *lender, const struct lender_ops *ops, void *arg)
{
    *lender = (struct lender){.ops = ops, .arg = arg};
    TAILQ_INIT(&lender->all);
}

/* ---- references of what was given back ---- */

static uint32_t back_of(const struct lender *lender, int peer)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < lender->back_count; i++)
        count += lender->back[i].peer == peer;
    return count;
}

static bool back_has_room(const struct lender *lender, const struct lent *lent)
{
    return !lent->references || (back_of(lender, lent->peer) + lent->pages <= LENT_BACK_MAX &&
                                 lender->back_count + lent->pages <= LENT_BACK_ALL_MAX);
}

static void back_note(struct lender *lender, const struct lent *lent)
{
    for (uint32_t i = 0; lent->references && i < lent->pages; i++)
        lender->back[lender->back_count++] = (struct lender_back){
            .peer = lent->peer, .reference = lent->references[i], .unwanted = lent->unwanted};
}

static void back_remove(struct lender *lender, uint32_t index)
{
    lender->back[index] = lender->back[--lender->back_count];
}

static void back_mark(struct lender *lender, int peer, bool unwanted)
{
    for (uint32_t i = 0; i < lender->back_count; i++)
        if (lender->back[i].peer == peer)
            lender->back[i].unwanted = unwanted;
}

static void back_forget_peer(struct lender *lender, int peer)
{
    for (uint32_t i = lender->back_count; i-- > 0;)
        if (lender->back[i].peer == peer)
            back_remove(lender, i);
}

/* The kernel has handed them out again, so they were free. */
static void back_seen_again(struct lender *lender, const struct lent *lent)
{
    for (uint32_t page = 0; lent->references && page < lent->pages; page++)
        for (uint32_t i = lender->back_count; i-- > 0;)
            if (lender->back[i].reference == lent->references[page])
                back_remove(lender, i);
}

/* ---- what peers say ---- */

static bool is_of(const struct lent *lent, int peer)
{
    return peer == PLATFORM_LENT_ALL || lent->peer == peer;
}

/* Asks about each piece once: the answer may be another at any time. */
static void lender_look(struct lender *lender, int peer)
{
    struct lent *lent;
    TAILQ_FOREACH (lent, &lender->all, all)
        if (lent->kept && (lent->unwanted || is_of(lent, peer)))
            lent->seen = lender->ops->use(lent);
}

static bool has_left(const struct lent *lent)
{
    return lent->kept && lent->seen != LENT_HELD;
}

static void lent_wipe(struct lent *lent)
{
    if (lent->clean)
        return;
    memset(lent->left, 0, lent->ring_size);
    memset(lent->right, 0, lent->ring_size);
    lent->clean = true;
}

/* ---- giving back ---- */

static void lent_end(struct lender *lender, struct lent *lent)
{
    TAILQ_REMOVE(&lender->all, lent, all);
    lender->pages -= lent->pages;
    lender->ops->end(lent);
}

/* Nothing of a domain that is gone is mapped any more. */
static bool give_back_of_gone(struct lender *lender, int peer)
{
    struct lent *lent, *next;
    bool any = false;
    if (!lender->ops->is_gone(lender->arg, peer))
        return false;
    for (lent = TAILQ_FIRST(&lender->all); lent; lent = next) {
        next = TAILQ_NEXT(lent, all);
        if (lent->peer != peer || !lent->kept)
            continue;
        lent_wipe(lent);
        lent_end(lender, lent);
        any = true;
    }
    back_forget_peer(lender, peer);
    return any;
}

static bool give_back(struct lender *lender, struct lent *lent)
{
    if (!back_has_room(lender, lent))
        return false;
    back_note(lender, lent);
    lent_wipe(lent); /* the grants may live on */
    lent_end(lender, lent);
    return true;
}

static bool has_anything(const struct lender *lender, int peer)
{
    const struct lent *lent;
    TAILQ_FOREACH (lent, &lender->all, all)
        if (lent->kept && lent->peer == peer)
            return true;
    return back_of(lender, peer) > 0;
}

static void give_back_if_gone(struct lender *lender, int peer)
{
    if (has_anything(lender, peer))
        give_back_of_gone(lender, peer);
}

/* The lowest domid above `after` of those that get no more links; -1: there is none. */
static int next_unwanted(const struct lender *lender, int after)
{
    const struct lent *lent;
    int lowest = -1;
    TAILQ_FOREACH (lent, &lender->all, all)
        if (lent->kept && lent->unwanted && lent->peer > after &&
            (lowest < 0 || lent->peer < lowest))
            lowest = lent->peer;
    for (uint32_t i = 0; i < lender->back_count; i++) {
        const struct lender_back *back = &lender->back[i];
        if (back->unwanted && back->peer > after && (lowest < 0 || back->peer < lowest))
            lowest = back->peer;
    }
    return lowest;
}

static void give_back_unwanted(struct lender *lender)
{
    struct lent *lent, *next;
    for (int peer = -1; (peer = next_unwanted(lender, peer)) >= 0;)
        give_back_of_gone(lender, peer);
    for (lent = TAILQ_FIRST(&lender->all); lent; lent = next) {
        next = TAILQ_NEXT(lent, all);
        if (lent->unwanted && has_left(lent))
            give_back(lender, lent);
    }
}

static bool give_back_oldest(struct lender *lender)
{
    struct lent *lent;
    TAILQ_FOREACH (lent, &lender->all, all)
        if (lent->kept && give_back_of_gone(lender, lent->peer))
            return true;
    TAILQ_FOREACH (lent, &lender->all, all)
        if (has_left(lent) && give_back(lender, lent))
            return true;
    return false;
}

/* ---- taking ---- */

static struct lent *kept_with(const struct lender *lender, int peer, uint32_t ring_size,
                              enum lent_use use)
{
    struct lent *lent;
    TAILQ_FOREACH (lent, &lender->all, all)
        if (lent->kept && lent->peer == peer && lent->ring_size == ring_size && lent->seen == use)
            return lent;
    return NULL;
}

/* How many the peer has not let go of. */
static unsigned held_by(const struct lender *lender, int peer)
{
    const struct lent *lent;
    unsigned count = 0;
    TAILQ_FOREACH (lent, &lender->all, all)
        count += lent->kept && lent->peer == peer && lent->seen != LENT_LET_GO;
    return count;
}

/* With rings of another size it is of no use. */
static void give_back_other_sizes(struct lender *lender, int peer, uint32_t ring_size)
{
    struct lent *lent, *next;
    for (lent = TAILQ_FIRST(&lender->all); lent; lent = next) {
        next = TAILQ_NEXT(lent, all);
        if (lent->peer == peer && lent->ring_size != ring_size && has_left(lent))
            give_back(lender, lent);
    }
}

static int lender_try(struct lender *lender, int peer, uint32_t ring_size, struct lent **made)
{
    uint32_t pages = 1 + 2 * (ring_size / PAGE);
    if (lender->pages + pages > LENT_PAGES_MAX)
        return -ENOBUFS;
    int error = lender->ops->make(lender->arg, peer, ring_size, made);
    if (error)
        return error;
    struct lent *lent = *made;
    lent->peer = peer;
    lent->clean = true;
    TAILQ_INSERT_TAIL(&lender->all, lent, all);
    lender->pages += lent->pages;
    back_seen_again(lender, lent);
    return 0;
}

/* The kernel's limit, or that of all peers. */
static bool is_used_up(int error)
{
    return error == -ENOSPC || error == -ENOBUFS;
}

static int lender_make(struct lender *lender, int peer, uint32_t ring_size, struct lent **made)
{
    give_back_other_sizes(lender, peer, ring_size);
    int error = lender_try(lender, peer, ring_size, made);
    while (is_used_up(error) && give_back_oldest(lender))
        error = lender_try(lender, peer, ring_size, made);
    return error;
}

/* Marks what is kept for the peer. */
static void mark_unwanted(struct lender *lender, int peer, bool unwanted)
{
    struct lent *lent;
    TAILQ_FOREACH (lent, &lender->all, all)
        if (lent->kept && lent->peer == peer)
            lent->unwanted = unwanted;
    back_mark(lender, peer, unwanted);
}

int lender_take(struct lender *lender, int peer, uint32_t ring_size, struct lent **taken)
{
    int error = 0;
    mark_unwanted(lender, peer, false);
    give_back_if_gone(lender, peer);
    lender_look(lender, PLATFORM_LENT_ALL);
    struct lent *lent = kept_with(lender, peer, ring_size, LENT_LET_GO);
    bool may_have_more = held_by(lender, peer) < LENT_HELD_MAX;
    if (!lent)
        error = may_have_more ? lender_make(lender, peer, ring_size, &lent) : -EDQUOT;
    if (is_used_up(error) || error == -EDQUOT)
        lent = kept_with(lender, peer, ring_size, LENT_UNUSED);
    if (!lent)
        return error;
    lent->kept = false;
    lent_wipe(lent);
    *taken = lent;
    return 0;
}

/* ---- afterwards ---- */

void lender_keep(struct lender *lender, struct lent *lent)
{
    lent->kept = true;
    lent->clean = false;
    TAILQ_REMOVE(&lender->all, lent, all);
    TAILQ_INSERT_TAIL(&lender->all, lent, all);
    lent->seen = lender->ops->use(lent);
    if (lent->seen == LENT_LET_GO)
        lent_wipe(lent);
}

void lender_drop(struct lender *lender, struct lent *lent)
{
    lent_end(lender, lent);
}

static void review_one(struct lent *lent, struct platform_lent *count)
{
    count->shared += lent->pages;
    if (!lent->kept)
        return;
    count->kept += lent->pages;
    if (lent->unwanted)
        count->unwanted += lent->pages;
    if (lent->seen == LENT_HELD)
        count->held += lent->pages;
    if (lent->seen == LENT_LET_GO)
        lent_wipe(lent);
}

static uint32_t back_unwanted(const struct lender *lender, int peer)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < lender->back_count; i++)
        count +=
            lender->back[i].unwanted && (peer == PLATFORM_LENT_ALL || lender->back[i].peer == peer);
    return count;
}

void lender_review(struct lender *lender, int peer, struct platform_lent *count)
{
    struct lent *lent;
    give_back_if_gone(lender, peer);
    lender_look(lender, peer);
    give_back_unwanted(lender);
    uint32_t back = peer == PLATFORM_LENT_ALL ? lender->back_count : back_of(lender, peer);
    *count = (struct platform_lent){
        .shared = back, .held = back, .unwanted = back_unwanted(lender, peer)};
    TAILQ_FOREACH (lent, &lender->all, all)
        if (is_of(lent, peer))
            review_one(lent, count);
}

void lender_part(struct lender *lender, int peer)
{
    struct platform_lent ignored;
    mark_unwanted(lender, peer, true);
    lender_review(lender, peer, &ignored);
}

void lender_end(struct lender *lender)
{
    struct lent *lent, *next;
    for (lent = TAILQ_FIRST(&lender->all); lent; lent = next) {
        next = TAILQ_NEXT(lent, all);
        if (lent->kept)
            lent_end(lender, lent);
    }
    lender->back_count = 0;
}
