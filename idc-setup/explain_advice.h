/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * explain_advice.h - the commands that allow what explain says is refused.
 *
 * Theory of operation
 *
 * Each command is right as it is printed, in a shell. Carried out in their order, they allow what
 * was asked for:
 *
 *   a rule of deny refuses it      idc-setup retract, with the words of the command that made it
 *   a line of a file refuses it    no command: somebody wrote that on purpose
 *   nothing allows it              idc-setup allow FROM TO WHAT
 *
 * A retract takes away all rules of commands in these words: the others of them are shown. What is
 * left is judged again, until the answer is another one. All rules count in that, also those that
 * FROM is not told of while nothing joins the two: the commands may join them.
 *
 * The allow line is for one direction and one service. If a line allows or denies it to others, by
 * uid or type, it is for this uid or type only. If a line may deny it to this uid, which is not
 * known, there is no command: it could open what that line denies.
 *
 * The domains are named as they were asked for. The domid stands in the place of what an allow line
 * would take for a glob. A name that may only stand in quotes, as one with a comma, has those of a
 * file. Of several domains with one name, one must be asked for by its domid: for them there is no
 * advice.
 */
#ifndef IDC_SETUP_EXPLAIN_ADVICE_H
#define IDC_SETUP_EXPLAIN_ADVICE_H

#include <stdio.h>

#include "idc-setup/policy_load.h"
#include "policy/verdict.h"

/* A domain of the question. */
struct advice_domain {
    const char *asked; /* as the command line has it */
    int domid;         /* -1: not known */
};

struct advice {
    const struct policy_rules *rules; /* in force */
    const struct verdict_fit *fits;   /* of each rule, also those that FROM is not told of */
    const struct ruleset_question *question;
    struct advice_domain from, to;
    bool node; /* policy nodes allow it, where no rule of a command decides */
};

/* About a connection that is refused. 0 or -ENOMEM. */
int explain_advice_print(FILE *out, const struct advice *advice);

#endif
