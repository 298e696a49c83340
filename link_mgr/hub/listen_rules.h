/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * listen_rules.h - who may listen on what: the text of idc-listen(5), parsed and asked. Pure
 * functions; listen_file.h reads the file.
 *
 * Theory of operation
 *
 *     line = [ ACTION WHO WHAT ] [ "#" anything ]     words between spaces and tabs
 *     ACTION = "allow" | "deny"
 *     WHO  = user { "," user }
 *     user = "*" | uid | uid "-" uid | "@" gid | "@" group's name | user's name
 *     WHAT = item { "," item }
 *     item = "*" | port | port "-" port | service name, with any number of "*"
 *
 * Numbers are decimal, without leading zeros. A name has a letter, so no item can be read in two
 * ways. The first line that fits decides. A text with something wrong in it makes no rules at all:
 * half of them would not be what was meant.
 *
 * Users, groups and services of all rules are in three arrays; a rule has a piece of each. Names of
 * users and groups become numbers when the text is parsed.
 */
#ifndef IDC_LISTEN_RULES_H
#define IDC_LISTEN_RULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "idc.h"
#include "link_mgr/base/groups.h"

#define LISTEN_RULES_MAX 1024
#define LISTEN_TEXT_MAX (64 * 1024) /* bytes */
#define LISTEN_WRONG_MAX 160

struct listen_rules;

/* Where something is wrong, counted from 1, and what. */
struct listen_wrong {
    unsigned line, column;
    char what[LISTEN_WRONG_MAX];
};

/* Finds the uid of a user, or the gid of a group. False: there is none. */
typedef bool listen_find_id(void *arg, bool group, const char *name, uint32_t *id);

/* 0; -EINVAL and *wrong; or -ENOMEM. *rules is freed by listen_rules_free. */
int listen_rules_parse(const char *text, size_t length, listen_find_id *find, void *arg,
                       struct listen_rules **rules, struct listen_wrong *wrong);
void listen_rules_free(struct listen_rules *rules);
unsigned listen_rules_count(const struct listen_rules *rules);

struct listen_question {
    uint32_t uid;
    const struct groups *groups;
    uint32_t port;    /* 0: it is about the name */
    const char *name; /* of a service */
};

/* May that user listen there? *line is the line that decides; 0: none fits. */
bool listen_rules_allow(const struct listen_rules *rules, const struct listen_question *question,
                        unsigned *line);

#endif
