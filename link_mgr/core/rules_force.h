/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * rules_force.h - which rules are in force in a core, and until when.
 *
 * Theory of operation
 *
 * Events of the store only record (rules_store.h). The next turn looks whether they make a new set
 * of rules. A new set is put in force as a whole: peers are made that it names, all connections are
 * judged again, and then the old set is freed.
 *
 * To judge many connections by many rules may take long, so a turn goes through no more than
 * RULES_JUDGE_TURN rules for that, and the next turns go on. Each peer's connections are in the
 * order in which they were judged last. So those that wait longest come first, also when more rules
 * come meanwhile. Until a connection is judged again, its rule is one of an older set, and these
 * sets stay. What is new, also a request of a program or of the other side, is judged by the new
 * rules at once. A limit of connections counts those that wait for the rule of the same place.
 *
 * Time is looked at when the next rule expires. The wall clock may be set, and nothing tells. So as
 * long as a rule has an end, we look every RULES_LOOK_MS. Connections are judged again only if one
 * has ended meanwhile, or has not ended any more. When the last end has passed, nobody looks any
 * more. If the clock is set back then, the rule is in force again for whoever asks. The first
 * connection that comes by it makes us look again, so it ends when the rule does.
 */
#ifndef IDC_RULES_FORCE_H
#define IDC_RULES_FORCE_H

#include <stdbool.h>
#include <stdint.h>

struct core;
struct rule;

#define RULES_LOOK_MS 60000
#define RULES_JUDGE_TURN 100000u /* 1 to 2 ms of a processor */
#define RULES_BEFORE_MAX 4       /* sets; when there are more, all is judged in one turn */
#define RULES_AGAIN_MS 1000      /* until what failed for lack of memory is tried again */

/* A node below ".../policy/rules" has changed, as in rules_store_event. */
void rules_event(struct core *core, const char *rest, const char *value);
/* The first of a turn: goes on with judging connections again. */
void rules_judge(struct core *core);
/* Puts new rules in force, if they have come. */
void rules_turn(struct core *core);
/* core->rules_due has passed. */
void rules_due(struct core *core);
/* No rule is in force any more; there must be no connection. */
void rules_end(struct core *core);

/* A connection has come by this rule (NULL: none). If the rule had ended when all was judged last,
 * the clock was set back, and all is judged again. */
void rules_used(struct core *core, const struct rule *rule);

/* Seconds since 1970. */
uint64_t rules_time(const struct core *core);
/* This link_mgr has found rules and has not read any yet, or does not know yet whether there are
 * any. Until then nothing is allowed, since they may deny what the policy node allows. */
bool rules_are_awaited(const struct core *core);

#endif
