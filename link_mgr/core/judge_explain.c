/* SPDX-License-Identifier: GPL-2.0-or-later */
/* judge_explain.c - tells people why a connect was refused (judge.h). */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "link_mgr/core/core.h"
#include "link_mgr/core/judge.h"
#include "link_mgr/core/rules_force.h"

#define PLACE_SHOWN 80u /* bytes of a place; of a longer one the end */
#define UIDS_SHOWN 3u

struct explained {
    char *at;
    size_t size, length; /* length < size */
};

static void __attribute__((format(printf, 2, 3)))
explain_add(struct explained *text, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int length = vsnprintf(text->at + text->length, text->size - text->length, format, args);
    va_end(args);
    if (length > 0)
        text->length += (size_t)length < text->size - text->length ? (size_t)length
                                                                   : text->size - text->length - 1;
}

static void explain_place(struct explained *text, const struct rule *rule)
{
    size_t length = strlen(rule->place);
    if (length > PLACE_SHOWN)
        explain_add(text, "...%s", rule->place + length - PLACE_SHOWN);
    else
        explain_add(text, "%s", rule->place);
}

/* ---- time ---- */

/* Days since 1970 as a date (days of 400 years have the same calendar; a year begins in March). */
static void explain_time(struct explained *text, uint64_t seconds)
{
    uint64_t days = seconds / 86400 + 719468, rest = seconds % 86400;
    uint64_t era = days / 146097, day = days % 146097;
    uint64_t year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
    uint64_t of_year = day - (365 * year + year / 4 - year / 100);
    uint64_t month = (5 * of_year + 2) / 153;
    unsigned mday = (unsigned)(of_year - (153 * month + 2) / 5 + 1);
    unsigned shown = (unsigned)(month < 10 ? month + 3 : month - 9);
    year += era * 400 + (shown <= 2);
    explain_add(text, " until %04u-%02u-%02uT%02u:%02u:%02uZ", (unsigned)year, shown, mday,
                (unsigned)(rest / 3600), (unsigned)(rest / 60 % 60), (unsigned)(rest % 60));
}

/* ---- rules ---- */

static void explain_uids(struct explained *text, const struct rule *rule)
{
    explain_add(text, " to uid ");
    for (uint32_t i = 0; i < rule->uid_count && i < UIDS_SHOWN; i++) {
        explain_add(text, "%s%u", i ? "," : "", rule->uids[i].first);
        if (rule->uids[i].last != rule->uids[i].first)
            explain_add(text, "-%u", rule->uids[i].last);
    }
    explain_add(text, "%s only", rule->uid_count > UIDS_SHOWN ? ",..." : "");
}

static void explain_near(struct explained *text, const struct rules_verdict *verdict)
{
    const struct rule *rule = verdict->near;
    explain_place(text, rule);
    explain_add(text, " allows it");
    if (verdict->near_missed & RULES_UID)
        explain_uids(text, rule);
    if (verdict->near_missed & RULES_TYPE)
        explain_add(text, " with type %s only", rule->type == IDC_STREAM ? "stream" : "seqpacket");
    if (verdict->near_missed & RULES_UNTIL)
        explain_time(text, rule->until);
}

static void explain_limit(struct explained *text, enum reason reason, const struct rule *rule)
{
    explain_add(text, " (");
    explain_place(text, rule);
    if (reason == REASON_RULE_CONNECTIONS)
        explain_add(text, " allows %u at a time)", rule->connections);
    else
        explain_add(text, " allows %u in a second)", rule->rate);
}

/* The own rules refuse it. */
static void explain_own(struct explained *text, const struct core *core,
                        const struct rules_verdict *verdict)
{
    if (rules_are_awaited(core))
        explain_add(text, " (the rules of this domain can't be read)");
    else if (!core->rules)
        explain_add(text, " (the rule of this domain)");
    if (!core->rules)
        return;
    explain_add(text, " (");
    if (verdict->rule) {
        explain_place(text, verdict->rule);
        explain_add(text, " denies it%s", verdict->near ? "; " : "");
    } else if (!verdict->near) {
        explain_add(text, "no rule allows it");
    }
    if (verdict->near)
        explain_near(text, verdict);
    explain_add(text, ")");
}

static void explain_theirs(struct explained *text, const struct core *core,
                           const struct judge_question *question, const struct rule *rule)
{
    explain_add(text, " (");
    if (rule) {
        explain_place(text, rule);
        explain_add(text, " denies it, says domain %u)", question->domid);
    } else if (core->rules) {
        explain_add(text, "no rule of domain %u allows it)", question->domid);
    } else {
        explain_add(text, "the rule of domain %u)", question->domid);
    }
}

void judge_explain(const struct core *core, const struct judge_question *question,
                   enum reason reason, const struct rule *theirs, char *out, size_t size)
{
    struct explained text = {.at = out, .size = size};
    struct judge_verdict verdict;
    const bool limit = reason == REASON_RULE_CONNECTIONS || reason == REASON_RULE_RATE;
    out[0] = '\0';
    if (reason != REASON_POLICY && !limit)
        return;
    judge_ask(core, question, &verdict);
    const struct rule *rule = theirs ? theirs : verdict.rules.rule;
    if (limit && rule && (reason == REASON_RULE_RATE ? rule->rate : rule->connections))
        explain_limit(&text, reason, rule);
    else if (!limit && !verdict.allowed)
        explain_own(&text, core, &verdict.rules);
    else if (!limit)
        explain_theirs(&text, core, question, theirs && !theirs->allow ? theirs : NULL);
}
