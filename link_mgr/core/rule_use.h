/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * rule_use.h - what the connections between this domain and one other use of a rule that has
 * limits: how many there are, and how many may still come in this second.
 *
 * Each pair of domains and direction has limits of its own. The account belongs to the rule's
 * place, FILE:LINE: when the same line comes with new rules, what was used stays used. Connections
 * that there are count for the rule that allows them now, even if that makes them too many.
 *
 * A rate of N lets N new connections through at once, and then N a second.
 */
#ifndef IDC_RULE_USE_H
#define IDC_RULE_USE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "link_mgr/core/places.h"
#include "link_mgr/core/reason.h"
#include "link_mgr/core/rules.h"

struct conn;
struct peer;

struct rule_use {
    struct place by_place; /* in the peer's table as long as there is a rule */
    LIST_ENTRY(rule_use) all;
    const struct rule *rule; /* NULL: it is no more; then connections will leave */
    bool out;
    uint32_t open;
    uint64_t tokens;    /* thousandths of a connection */
    uint64_t tokens_at; /* ms */
    uint64_t look_at;   /* ms: not before it are programs asked again whether they have closed */
    const struct rule *follows; /* while new rules come: the one of the same place */
};
LIST_HEAD(rule_use_list, rule_use);

/* Connections to port 1 have no limits: by them tools ask what there is, and every allow rule
 * includes it. None of the calls counts them. */

/* May one more connection to that port (0: not known) come by this rule? REASON_OK,
 * REASON_RULE_CONNECTIONS, REASON_RULE_RATE, or REASON_NO_RESOURCES. */
enum reason rule_use_check(struct peer *peer, const struct rule *rule, uint32_t port, bool out);
/* It has come: counts it. */
void rule_use_enter(struct conn *conn);
/* Another rule, or none, allows a connection that there is. */
void rule_use_move(struct conn *conn);
/* The connection has ended; a second call does nothing. undone: it did not come about. */
void rule_use_leave(struct conn *conn, bool undone);

/* These are the peer's rules now; those of before are still there. It takes time for each rule and
 * each account. */
void rule_use_follow(struct peer *peer, const struct rules *rules);
/* Forgets accounts of which nothing depends. */
void rule_use_tidy(struct peer *peer);

#endif
