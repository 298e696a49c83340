/* SPDX-License-Identifier: GPL-2.0-or-later */
/* compile_private.h - what matching, resolving routes and writing share. */
#ifndef IDC_POLICY_COMPILE_PRIVATE_H
#define IDC_POLICY_COMPILE_PRIVATE_H

#include "policy/compile.h"

struct compile {
    struct compile_input input;
    uint8_t *parts;             /* for each rule and domain: is it FROM, is it TO */
    size_t *order;              /* domains by domid */
    struct compile_node *nodes; /* in order */
};

/* Adds its routes to the view, whose peers are there. groups: the domain's part in each. 0 or
 * -ENOMEM. */
int compile_view_routes(const struct compile *compile, struct compile_view *view);

#endif
