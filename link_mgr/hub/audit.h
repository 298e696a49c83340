/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * audit.h - who was refused, who was let in where a rule asks for that (log=yes), and whose
 * connection a rule has ended: a line of the log for each, with fields for the journal
 * (link_mgr(8), "AUDIT").
 *
 * Nothing waits for a line. What a line costs is paid only when there is one: the program's name is
 * read here, and not when it connects. Others cause these lines, so they are limited
 * (audit_limit.h), and all text that is not our own is made plain (common/shown.h).
 */
#ifndef IDC_AUDIT_H
#define IDC_AUDIT_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdbool.h>
#include <stdint.h>

#include "idc.h"
#include "link_mgr/hub/audit_limit.h"

#define AUDIT_TELL_MS 10000 /* how often what was left out is told */

struct audit {
    int domid; /* of this domain */
    struct event tick;
    struct audit_limit limit;
};

/* What is not known is 0, "" or NULL, and UINT32_MAX for a uid. */
struct audit_event {
    enum audit_kind kind;
    bool incoming;        /* the program here listens; otherwise it connects */
    uint32_t domid;       /* of the other domain */
    const char *own_name; /* of this domain */
    const char *name;     /* of the other domain */
    uint32_t port;        /* that is listened on */
    const char *service;  /* its name */
    enum idc_type type;
    uint32_t uid, peer_uid; /* of the program here, of the one there */
    int pid;                /* of the program here */
    uint64_t serial;        /* of the connection, as idc status shows it */
    const char *rule;       /* the place of the rule that decided */
    const char *near_rule;  /* of one that would allow it, but for the uid, the type or the time */
    bool by_peer;           /* the other domain's link_mgr has decided, by its rules */
    const char *reason;     /* one line */
};

/* The caller sets the domid as soon as it is known. */
void audit_begin(struct audit *audit, struct event_base *base);
/* Tells what was left out. */
void audit_end(struct audit *audit);
void audit_note(struct audit *audit, const struct audit_event *event);

#endif
