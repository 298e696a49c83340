/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * rules.h - what idc-setup does with rules: allow pairs of domains, forbid them again, and collect
 * them for listing.
 */
#ifndef IDC_SETUP_RULES_H
#define IDC_SETUP_RULES_H

#include "idc-setup/setup_store.h"
#include "link_mgr/core/policy.h"

/* The DOMIDs of the command line, each once. */
struct domids {
    int *list;
    size_t count;
    bool has[SETUP_DOMID_MAX + 1];
};

struct rule {
    int domid, peer;
    bool mutual;       /* the peer has a rule for domid too */
    bool readable;     /* in and out are good */
    char *value;       /* as it was found, even in an unreadable rule; NULL: it is not even text */
    char *in, *out;    /* canonical lists; NULL: nothing is allowed in that direction */
    const char *wrong; /* why it is not readable */
};

struct rules {
    struct rule *list;
    size_t count, room;
};

/* Each of the domids may connect to the services in ports of each other one. A rule that exists is
 * extended (add) or replaced. When it is replaced, a note says for each pair what the rule was, and
 * what it no longer allows. */
struct rules_allowing {
    const struct domids *domids;
    const struct policy_list *ports;
    bool add;
    void (*note)(const char *text);
};

int rules_allow(struct setup_store *store, const struct rules_allowing *allowing,
                char why[SETUP_WHY_MAX]);
/* Removes the rules among the domids. For a single domid it removes all its rules, on both sides.
 * Returns how many there were. */
int rules_forbid(struct setup_store *store, const struct domids *domids, char why[SETUP_WHY_MAX]);

/* Collects the rules among the domids. For a single domid it collects its rules on both sides, for
 * none all rules. They are ordered by domid and peer. */
int rules_collect(struct setup_store *store, const struct domids *domids, struct rules *rules,
                  char why[SETUP_WHY_MAX]);
void rules_collected_free(struct rules *rules);

#endif
