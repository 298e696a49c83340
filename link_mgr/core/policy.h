/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * policy.h - what one domain may do with another: the value of /local/domain/D/idc/policy/P
 * (docs/xenstore.md, "Policy values"), parsed and asked.
 *
 * Theory of operation
 *
 *     value = [ "in=" LIST ] [ " " ] [ "out=" LIST ]     either order, each at most once, one space
 *     between
 *     LIST  = "*" | item { "," item }                    at most POLICY_ITEMS_MAX items
 *     item  = port | port "-" port | service name        ports 1..4294967295, decimal, without
 *           leading zeros
 *
 * A service name has a letter, so no item can be read in two ways. The empty value is good and
 * allows nothing. Any other value that does not fit is refused as a whole and allows nothing: half
 * a policy is not a policy.
 *
 * A parsed list is canonical. Ranges are in ascending order, and those that touch or overlap are
 * merged. Names are in ascending order, each once. policy_format writes this form, so two values
 * that mean the same are written the same.
 *
 * Pure functions on the caller's memory; struct policy owns nothing and may be copied.
 */
#ifndef IDC_POLICY_H
#define IDC_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "idc.h"

#define POLICY_ITEMS_MAX 64   /* items of one list, as they are written */
#define POLICY_VALUE_MAX 4095 /* bytes of a value, as Xenstore has it */

struct policy_range {
    uint32_t first, last; /* 1 <= first <= last */
};

struct policy_list {
    bool all; /* "*"; then the rest is empty */
    unsigned range_count, name_count;
    struct policy_range ranges[POLICY_ITEMS_MAX];
    char names[POLICY_ITEMS_MAX][IDC_SERVICE_MAX + 1];
};

struct policy {
    struct policy_list in, out;
};

/* 0, or -EINVAL. Then policy allows nothing and *why (unless why is NULL) is a constant text that
 * says what is wrong. */
int policy_parse(struct policy *policy, const char *value, const char **why);
/* Parses one LIST, as policy_parse does. */
int policy_parse_list(struct policy_list *list, const char *text, const char **why);

/* May the peer's programs connect to the port, or to the service name that is on that port? name
 * may be NULL or "". */
bool policy_allows_in(const struct policy *policy, uint32_t port, const char *name);
/* May our programs connect to the peer's port, or (name neither NULL nor "") to its service? The
 * service's port is 0 as long as it is not known. */
bool policy_allows_out(const struct policy *policy, uint32_t port, const char *name);

/* Canonical text, NUL-terminated. Its length, or -ENOSPC. A direction in which nothing is allowed
 * is left out. */
int policy_format(const struct policy *policy, char *out, size_t size);
int policy_format_list(const struct policy_list *list, char *out, size_t size);

/* Is it a name that a service may have? (common/service_name.h) */
bool policy_valid_service(const char *name);

#endif
