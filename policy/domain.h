/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * domain.h - a domain as a rule names it, a domain as it is, and whether the one fits the other.
 *
 * Of a domain somebody may know little: `explain web db 80` tells of two domains no more than
 * their names. A rule by UUID then fits perhaps. So the answer has three values, and the greatest
 * counts among the members of a group.
 */
#ifndef IDC_POLICY_DOMAIN_H
#define IDC_POLICY_DOMAIN_H

#include <stdbool.h>
#include <stdint.h>

#include "policy/arena.h"
#include "policy/lexer.h"

#define DOMAIN_NAME_MAX 255
#define DOMAIN_GROUP_MAX 63    /* of a group's name */
#define DOMAIN_DOMID_MAX 32751 /* 0x7FEF: the last one before Xen's special ones */
#define DOMAIN_UUID_SIZE 16
#define DOMAIN_UUID_TEXT 36

enum domain_kind { DOMAIN_ANY, DOMAIN_DOMID, DOMAIN_UUID, DOMAIN_NAME, DOMAIN_GROUP };

/* As a rule names it. */
struct domain_term {
    enum domain_kind kind;
    unsigned column;  /* where it stands in its line */
    uint32_t number;  /* the domid, or the index of the group when that is known */
    bool glob;        /* of DOMAIN_NAME: more than one name may fit */
    const char *name; /* DOMAIN_NAME: its pattern (glob.h); DOMAIN_GROUP: its name */
    uint8_t uuid[DOMAIN_UUID_SIZE];
};

/* As it is. */
struct ruleset_domain {
    int domid;        /* -1: not known */
    const char *name; /* NULL: not known, or it has none */
    bool has_uuid;
    uint8_t uuid[DOMAIN_UUID_SIZE];
    bool complete; /* what is not known is not there */
};

enum domain_fit { DOMAIN_NO, DOMAIN_PERHAPS, DOMAIN_YES };

/* Reads a word of a file. What the term points to is in the arena. False: problem says why. */
bool domain_parse(struct arena *arena, const struct slice *slice, struct domain_term *term,
                  struct problem *problem);
/* Is it a name that a group may have? */
bool domain_valid_group(const struct slice *slice);
/* Reads one domain that somebody asks about, where a name needs no quotes. The domain's name may
 * be in name. */
bool domain_parse_asked(const char *text, char name[DOMAIN_NAME_MAX + 1],
                        struct ruleset_domain *domain, struct problem *problem);
/* The domain that a term means, which is neither a glob nor a group: what the term tells of it. */
void domain_of_term(const struct domain_term *term, char name[DOMAIN_NAME_MAX + 1],
                    struct ruleset_domain *domain);

/* groups: the domain's part in each group, by its index. */
enum domain_fit domain_fits(const struct domain_term *term, const struct ruleset_domain *domain,
                            const uint8_t *groups);

/* Do both name the same one domain? Only for terms that are neither globs nor groups. */
bool domain_same(const struct domain_term *term, const struct domain_term *other);

#endif
