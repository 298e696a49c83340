/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * rule_options.h - the OPTION=VALUE words of a rule.
 */
#ifndef IDC_POLICY_RULE_OPTIONS_H
#define IDC_POLICY_RULE_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "policy/arena.h"
#include "policy/lexer.h"
#include "policy/services.h"

#define RULE_NOTE_MAX 200
#define RULE_UID_MAX 4294967294u /* the last one that is not "none" */

enum rule_type { RULE_TYPE_ANY, RULE_TYPE_STREAM, RULE_TYPE_SEQPACKET };

enum rule_option {
    RULE_UID,
    RULE_TYPE,
    RULE_UNTIL,
    RULE_CONNECTIONS,
    RULE_RATE,
    RULE_BANDWIDTH,
    RULE_LOG,
    RULE_NOTE,
    RULE_OPTION_COUNT
};

struct rule_options {
    unsigned given; /* a bit, 1 << enum rule_option, for each that was given */
    const struct services_range *uids;
    unsigned uid_count;
    enum rule_type type;
    int64_t until;              /* seconds since 1970 */
    uint32_t connections, rate; /* 0: no limit */
    uint64_t bandwidth;         /* bytes in a second; 0: no limit */
    bool log;                   /* the default is the caller's */
    const char *note;           /* or NULL */
};

/* Reads one word into options. limits: limits may be given, as in an allow line. */
bool rule_options_add(struct arena *arena, const struct slice *word, bool limits,
                      struct rule_options *options, struct problem *problem);
bool rule_options_has(const struct rule_options *options, enum rule_option option);

/* YYYY-MM-DDTHH:MM:SSZ in seconds since 1970, and back. */
bool rule_time_parse(const char *text, size_t length, int64_t *seconds);
#define RULE_TIME_TEXT 64
void rule_time_format(int64_t seconds, char text[RULE_TIME_TEXT]);

#endif
