/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * judge.h - who may connect to what. Only this module asks the policy. It also decides whether a
 * listener admits a connection, wherever the connection comes from.
 *
 * A question carries everything that a rule may depend on. First come the rules of dom0's commands,
 * then the policy node, then the rules of the files (docs/xenstore.md, "Who decides"). The own
 * domain needs no permission.
 */
#ifndef IDC_JUDGE_H
#define IDC_JUDGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "idc.h"
#include "link_mgr/core/reason.h"
#include "link_mgr/core/rules.h"

struct conn;
struct core;
struct listener;

enum judge_direction {
    JUDGE_IN,  /* a program of domain domid connects to one of ours */
    JUDGE_OUT, /* one of ours connects to a program of domain domid */
};

struct judge_question {
    enum judge_direction direction;
    uint32_t domid; /* the other domain, or the own one */
    uint32_t port;  /* 0: not known, only the name is */
    /* of the service; "": JUDGE_IN: it has none; JUDGE_OUT: it is not known */
    const char *name;
    enum idc_type type;
    uint32_t uid; /* of the connecting program */
};

enum judge_by {
    JUDGE_BY_NONE, /* nothing fits; or it is the own domain */
    JUDGE_BY_NODE, /* the policy node allows it */
    JUDGE_BY_RULE,
};

struct judge_verdict {
    bool allowed;
    enum judge_by by;
    /* Of rules: the one that decides, what may change that, and whom to tell of what. Valid until
     * the rules change. */
    struct rules_verdict rules;
};

/* What does the policy of this domain say? (The other domain's policy must allow it too.) */
void judge_ask(const struct core *core, const struct judge_question *question,
               struct judge_verdict *verdict);
bool judge_allows(const struct core *core, const struct judge_question *question);
/* Does the policy allow anything between the two domains, in one direction or the other? Then each
 * of them may know that the other one is there. */
bool judge_joins(const struct core *core, uint32_t domid);
/* May that user of that domain know of the listener? Only if it may connect to it, and somebody
 * listens. */
bool judge_shows(const struct core *core, uint32_t domid, uint32_t uid, struct listener *listener);
/* Judges a connection (JUDGE_IN) to a port, or to a name when the port is 0. REASON_OK: *listener
 * takes it. */
enum reason judge_admits(struct core *core, const struct judge_question *question,
                         struct listener **listener, struct judge_verdict *verdict);
/* Why a connect (JUDGE_OUT) that failed for this reason was refused: " (FILE:LINE denies it)", or
 * the like, or "". theirs is the rule that the other side named, or NULL. */
void judge_explain(const struct core *core, const struct judge_question *question,
                   enum reason reason, const struct rule *theirs, char *out, size_t size);
/* The latest question and its verdict. Most connections of a peer are to few services, by few
 * users, so the next question is often the same. All zero at first. */
struct judge_memo {
    bool is_set;
    char name[IDC_SERVICE_MAX + 1];
    struct judge_question question;
    struct judge_verdict verdict;
    uint32_t looks; /* rules that were gone through, at most; it only grows */
};

/* Judges a connection that there is once more, by what is known of it now. It remembers what allows
 * it. If nothing does, it still has what did, and the caller must end it before the rules go.
 * Whoever judges many one after the other, by the same rules, hands over the same memo. */
bool judge_keeps(struct conn *conn, struct judge_memo *memo);

#endif
