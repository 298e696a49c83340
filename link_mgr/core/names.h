/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * names.h - what this domain may know of names, UUIDs and routes: only what the toolstack has told
 * it in its rules (docs/xenstore.md, "Rules"). No question here can tell more than that.
 */
#ifndef IDC_NAMES_H
#define IDC_NAMES_H

#include <stdbool.h>
#include <stdint.h>

struct core;

#define NAMES_ROUTE_MAX 16 /* domains of one route, as idc-policy(5) has it */

struct names_domain {
    uint32_t domid;
    const char *name, *uuid; /* NULL: not told. They are the rules', until these change */
};

/* The next of the domains that are told of, the own one first. *at is 0 for the
 * first. False: there are no more. */
bool names_next(const struct core *core, unsigned *at, struct names_domain *domain);
/* Who serves the service for this domain, in the order in which they are tried: how many domids.
 * 0: there is no route. */
unsigned names_route(const struct core *core, const char *service,
                     uint32_t domids[NAMES_ROUTE_MAX]);

#endif
