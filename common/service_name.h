/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * service_name.h - what may be a service name: 1..IDC_SERVICE_MAX of A-Z a-z 0-9 . _ - with at
 * least one letter. The letter distinguishes a name from a port, or a range of ports.
 */
#ifndef IDC_SERVICE_NAME_H
#define IDC_SERVICE_NAME_H

#include <stdbool.h>
#include <stddef.h>

bool service_name_valid(const char *name, size_t len);

/* What an item of a list of services is: in a policy file (policy/services.c), in what a domain is
 * told of it (link_mgr/core/rules_rule.c), and in a file of who may listen
 * (link_mgr/hub/listen_rules.c).
 *
 * The lists are read in these three places all the same. They share what decides, and hardly
 * anything of the rest. The first keeps quotes and columns, tells a hint, and copies into an arena.
 * The second reads what dom0 has written. It counts items beforehand, in memory that is measured,
 * has one constant text for all mistakes, and must do without a C library. The third has users in
 * its lists too, looks names up, and has arrays that grow. One reader for all would be told all of
 * this by its caller, and would be longer than the three. */
enum service_item {
    SERVICE_ITEM_WRONG,
    SERVICE_ITEM_PORTS, /* meant as a port or a range, right or wrong: only digits and dashes */
    SERVICE_ITEM_NAME,  /* a name, or a glob of names */
};

/* wildcards: characters that stand for others. With letters in their place, a glob is a name. "*"
 * alone is no item. */
enum service_item service_item(const char *item, size_t len, const char *wildcards);

#endif
