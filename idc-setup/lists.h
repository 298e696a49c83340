/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lists.h - comparing and joining two lists of services, for rules that are extended or replaced.
 */
#ifndef IDC_SETUP_LISTS_H
#define IDC_SETUP_LISTS_H

#include "link_mgr/core/policy.h"

/* Room for what one list allows and another does not. Each range may be cut in two. */
#define LISTS_TEXT_MAX (2 * POLICY_ITEMS_MAX * (IDC_SERVICE_MAX + 2))

/* Writes what wanted allows and present does not, as a LIST, or as "all but ..." where no LIST can
 * say it; "" if there is nothing. */
void lists_missing(const struct policy_list *wanted, const struct policy_list *present,
                   char text[LISTS_TEXT_MAX]);
/* Adds everything that more allows to list. 0, or -EINVAL and why: it would have too many items.
 */
int lists_join(struct policy_list *list, const struct policy_list *more, const char **why);

#endif
