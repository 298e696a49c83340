/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * services.h - the WHAT of a rule: ports, ranges, service names and globs of them.
 */
#ifndef IDC_POLICY_SERVICES_H
#define IDC_POLICY_SERVICES_H

#include <stdbool.h>
#include <stdint.h>

#include "policy/arena.h"
#include "policy/lexer.h"

struct services_range {
    uint32_t first, last; /* first <= last */
};

/* The items as they are written. Their number is limited by the length of a line. */
struct services {
    bool all; /* "*"; then the rest is empty */
    unsigned range_count, name_count;
    const struct services_range *ranges;
    const char *const *names; /* globs */
};

bool services_parse(struct arena *arena, const struct slice *slice, struct services *services,
                    struct problem *problem);
bool services_have_port(const struct services *services, uint32_t port);
bool services_have_name(const struct services *services, const char *name);

/* Comma-separated numbers and ranges, from least to most. what names them in an error. */
struct services_numbers {
    const char *what;
    uint64_t least, most;
};
bool services_parse_ranges(struct arena *arena, const struct slice *slice,
                           const struct services_numbers *numbers,
                           const struct services_range **ranges, unsigned *count,
                           struct problem *problem);
bool services_in_ranges(const struct services_range *ranges, unsigned count, uint32_t number);
/* Is every number from first to last in one of them? */
bool services_ranges_cover(const struct services_range *ranges, unsigned count, uint32_t first,
                           uint32_t last);

#endif
