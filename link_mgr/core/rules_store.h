/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * rules_store.h - puts the text of rules together from the nodes of the store
 * (docs/xenstore.md, "Rules"): policy/rules/now and policy/rules/GENERATION/N.
 *
 * Theory of operation
 *
 * Events come in any order, and a node may be told of more than once. They are only recorded.
 * rules_store_take looks whether all parts are there of the generation that `now` names, and reads
 * the text then. Until that, and if the text is wrong, the rules that are in force stay.
 *
 * Parts of a generation may come before `now` names it, so parts of RULES_STORE_GENERATIONS are
 * kept, each with at most RULES_TEXT_MAX bytes. Of more, the lowest number goes. When a generation
 * has been read, its parts and those of lower numbers are forgotten.
 */
#ifndef IDC_RULES_STORE_H
#define IDC_RULES_STORE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "link_mgr/core/rules.h"

#define RULES_STORE_PARTS_MAX 2048u
#define RULES_STORE_GENERATIONS 3u

struct rules_generation {
    LIST_ENTRY(rules_generation) all;
    uint64_t number;
    uint32_t space, have; /* places for parts, and parts that are there */
    uint32_t bytes;
    bool too_long;
    char **parts; /* NULL where one is missing */
};

struct rules_store {
    LIST_HEAD(, rules_generation) generations;
    uint32_t kept;
    bool named;      /* there is a `now` */
    bool named_well; /* it can be read, and names this: */
    uint64_t number;
    uint32_t parts;
    uint64_t done;      /* the generation that was read, right or wrong; 0: none */
    uint64_t forgotten; /* parts of generations up to this were forgotten */
    bool changed;       /* since the last rules_store_take */
    bool taken;         /* the latest RULES_NEW had rules */
    bool lost; /* parts are not here that the store may have: it must tell all nodes again */
};

void rules_store_init(struct rules_store *store);
/* Forgets everything, as if no node were there. */
void rules_store_clear(struct rules_store *store);

/* The store is about to tell all nodes again. */
void rules_store_relist(struct rules_store *store);

/* A node has changed. rest is its path after ".../policy/rules": "/now", "/5/0". value NULL: it is
 * gone. rest NULL: all are gone. */
void rules_store_event(struct rules_store *store, const char *rest, const char *value);

enum rules_news {
    RULES_SAME,
    RULES_NEW,    /* *rules are to be put in force, NULL: there are none */
    RULES_WRONG,  /* the text of the generation `done` can't be read: *problem; or line is 0 */
    RULES_MEMORY, /* there is no memory: ask again later */
};
enum rules_news rules_store_take(struct rules_store *store, struct rules **rules,
                                 struct rules_problem *problem);

#endif
