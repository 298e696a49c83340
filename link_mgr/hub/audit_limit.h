/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * audit_limit.h - how many lines of the audit there may be.
 *
 * Theory of operation
 *
 * Others cause these lines: programs of other domains, and users of this one. None of them may fill
 * the log, or hide what the others do. So each peer domain has an account for what comes from it,
 * and each user of this domain one for what goes to a peer. Each kind of event has accounts of its
 * own. A line costs one. An account holds `burst` at most, and fills at `rate` in a second. One
 * more account is for all together.
 *
 * What an account can't pay is left out and counted. The counts are told every few seconds, also
 * when nothing follows that could carry them.
 *
 * There is a fixed number of accounts. A newcomer whose place is in use shares one account with all
 * others of that kind.
 */
#ifndef IDC_AUDIT_LIMIT_H
#define IDC_AUDIT_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

#define AUDIT_PLACES 256

enum audit_kind { AUDIT_REFUSED, AUDIT_ACCEPTED, AUDIT_REVOKED, AUDIT_KINDS };

struct audit_key {
    enum audit_kind kind;
    bool incoming;
    bool shared;    /* of several: what follows says nothing */
    uint32_t domid; /* of the peer */
    uint32_t uid;   /* of the program here; 0 for what comes in */
};

struct audit_account {
    struct audit_key key;
    uint64_t worth; /* thousandths of a line */
    uint64_t at_ms; /* when it was that; 0: the place is free */
    uint64_t left_out;
};

struct audit_limit {
    struct audit_account places[AUDIT_KINDS][AUDIT_PLACES];
    struct audit_account shared[AUDIT_KINDS][2]; /* out, in */
    struct audit_account all;
    bool untold; /* some lines were left out, and that was not told yet */
};

/* May there be a line for this at that time? Otherwise it is counted. limit was zeroed at first. */
bool audit_limit_admit(struct audit_limit *limit, const struct audit_key *key, uint64_t now_ms);
/* Tells each count that was not told, and then begins anew with those. */
void audit_limit_tell(struct audit_limit *limit,
                      void (*tell)(void *arg, const struct audit_key *key, uint64_t left_out),
                      void *arg);

#endif
