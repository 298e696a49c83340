/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lists.h - what two lists of services have in common, for rules that are added to and replaced.
 */
#ifndef IDC_SETUP_LISTS_H
#define IDC_SETUP_LISTS_H

#include "link_mgr/core/policy.h"

/* Room for what a list allows and another does not: each range may be cut in two. */
#define LISTS_TEXT_MAX (2 * POLICY_ITEMS_MAX * (IDC_SERVICE_MAX + 2))

/* What list allows and other does not, as a LIST ("all but ..." where there is none for it); "" if
 * nothing. */
void lists_missing(const struct policy_list *list, const struct policy_list *other,
                   char text[LISTS_TEXT_MAX]);
/* list allows from now on what more allows too. 0, or -EINVAL and why: it would have too many
 * items.
 */
int lists_join(struct policy_list *list, const struct policy_list *more, const char **why);

#endif
