/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lent.h - the memory that this domain shares with others for links, and what becomes of it when a
 * link has ended. It is the same on every platform; how memory is shared is the platform's affair
 * (struct lender_ops).
 *
 * Theory of operation
 *
 * The offering side of a link shares memory with one peer: a page and two rings. When the link has
 * ended, the peer may keep it mapped for as long as it likes, and nobody here can tell. On Xen the
 * kernel then can't use the grants again. If each link had memory of its own, a peer that never
 * unmaps would use up all grants of this domain.
 *
 * So memory goes back to the kernel only when the peer's domain is gone. Until then it is kept, and
 * the next link with that peer gets it. A peer that has it mapped from before can do nothing to the
 * new link that it could not do anyway, since both ends of that link's memory are its own.
 *
 * An honest peer must not be disturbed: it may still read what came before the end. So memory is
 * used again when the peer has let go of it (LENT_LET_GO). A peer that lies about that disturbs
 * only its own link. What was offered and never attached to (LENT_UNUSED) is used again if nothing
 * else may be had, since the peer may be attaching just now.
 *
 * A peer may hold LENT_HELD_MAX such pieces. Then it gets no memory, and thus no link, until it
 * lets go of one. An honest one never gets there: it attaches to a second link only when it has let
 * go of the first.
 *
 * Memory is also given back when the platform has none left, or this domain shares LENT_PAGES_MAX.
 * Then that which was kept for longest is given back, if its peer has let go of it. That the peer
 * has unmapped it is its word only. So its references are remembered, and count as held, until the
 * kernel hands them out again, which shows that they were free, or until the domain is gone. When
 * LENT_BACK_MAX of one peer are remembered, its memory is given back no more. It still has its
 * links.
 *
 * A peer that no rule names any more gets no link (lender_part). So what it has let go of is given
 * back at once, and the rest when it lets go of it, or is gone. Whoever calls looks at it now and
 * then, as long as something is unwanted.
 *
 * A peer may change what it says at any time, also between two questions. So each call asks once
 * about each piece, notes the answer in `seen`, and decides by that.
 *
 * So one peer can use up LENT_HELD_MAX pieces and LENT_BACK_MAX pages, whatever it does.
 */
#ifndef IDC_LENT_H
#define IDC_LENT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct platform_lent;

#define LENT_HELD_MAX 2u
#define LENT_PAGES_MAX 8192u     /* of all peers: a quarter of a guest's 32,768 grants, */
#define LENT_BACK_MAX 1032u      /* pages of one peer: eight links with rings of 256 KiB */
#define LENT_BACK_ALL_MAX 2048u  /* ... and these besides, of all peers */
#define LENT_REFERENCES_MAX 513u /* a page, and two rings of 1 MiB */

enum lent_use {
    LENT_UNUSED, /* the peer has never attached to it */
    LENT_HELD,   /* it has, and has not let go of it */
    LENT_LET_GO,
};

/* The memory of one link. A platform embeds it. */
struct lent {
    TAILQ_ENTRY(lent) all; /* the kept ones in the order in which they were kept */
    int peer;
    uint32_t ring_size, pages;
    void *left, *right; /* the rings' data */
    /* Of all pages, in the order in which they were shared; NULL: what was given back can't be
     * held */
    const uint32_t *references;
    bool kept;          /* no link uses it */
    bool clean;         /* the rings have been wiped since */
    bool unwanted;      /* kept, and its peer gets no more links */
    enum lent_use seen; /* kept: what the peer said when it was last asked */
};

struct lender_ops {
    /* Shares zeroed memory. 0, or a negative errno; -ENOSPC: memory that is given back helps. Fills
     * in ring_size, pages, left, right and references. */
    int (*make)(void *arg, int peer, uint32_t ring_size, struct lent **lent);
    /* Gives it back to the kernel, and frees it. */
    void (*end)(struct lent *lent);
    enum lent_use (*use)(const struct lent *lent);
    /* Is it certain that the domain is gone, and maps nothing? */
    bool (*is_gone)(void *arg, int peer);
};

struct lender {
    const struct lender_ops *ops;
    void *arg;
    TAILQ_HEAD(, lent) all;
    uint32_t pages; /* of all, without those that were given back */
    struct lender_back {
        int peer;
        uint32_t reference;
        bool unwanted; /* its peer gets no more links */
    } back[LENT_BACK_ALL_MAX];
    uint32_t back_count;
};

void lender_init(struct lender *lender, const struct lender_ops *ops, void *arg);
/* Memory for a link with peer. 0, or a negative errno; -EDQUOT: it holds what it may; -ENOSPC: the
 * kernel has none; -ENOBUFS: LENT_PAGES_MAX is reached. The rings are zero. */
int lender_take(struct lender *lender, int peer, uint32_t ring_size, struct lent **taken);
/* The link has ended. */
void lender_keep(struct lender *lender, struct lent *lent);
/* The same, but the memory is of no use any more. */
void lender_drop(struct lender *lender, struct lent *lent);
/* The peer gets no more links, unless lender_take is called for it again. */
void lender_part(struct lender *lender, int peer);
/* Gives back what the peer had if its domain is gone, and what is unwanted, whoever has let go of
 * it. Wipes what the peer has let go of, and counts (platform.h). */
void lender_review(struct lender *lender, int peer, struct platform_lent *count);
/* Ends all that is kept: this domain was restored, or the process ends. */
void lender_end(struct lender *lender);

#endif
