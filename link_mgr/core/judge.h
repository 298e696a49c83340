/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * judge.h - who may connect to what. Only this module asks the policy. It also decides whether a
 * listener admits a connection, wherever the connection comes from.
 *
 * A question carries everything that a rule may depend on, including what today's rules do not look
 * at (type, uid). The own domain needs no permission.
 */
#ifndef IDC_JUDGE_H
#define IDC_JUDGE_H

#include <stdbool.h>
#include <stdint.h>

#include "idc.h"
#include "link_mgr/core/reason.h"

struct core;
struct listener;

enum judge_direction {
    JUDGE_IN,  /* a program of domain domid connects to one of ours */
    JUDGE_OUT, /* one of ours connects to a program of domain domid */
};

struct judge_question {
    enum judge_direction direction;
    uint32_t domid;   /* the other domain, or the own one */
    uint32_t port;    /* 0: not known, only the name is */
    const char *name; /* of the service; "": none */
    enum idc_type type;
    uint32_t uid; /* of the connecting program */
};

/* Does the policy of this domain allow that? (The other domain's policy must allow it too.) */
bool judge_allows(const struct core *core, const struct judge_question *question);
/* May that domain know of the listener? Only if it may connect to it, and somebody listens. */
bool judge_shows(const struct core *core, uint32_t domid, struct listener *listener);
/* Judges a connection (JUDGE_IN) to a port, or to a name when the port is 0. REASON_OK: *listener
 * takes it. */
enum reason judge_admits(struct core *core, const struct judge_question *question,
                         struct listener **listener);

#endif
