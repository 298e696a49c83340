/* SPDX-License-Identifier: GPL-2.0-or-later */
/* policy_nodes.h - what follows when policy nodes were written or removed. */
#ifndef IDC_SETUP_POLICY_NODES_H
#define IDC_SETUP_POLICY_NODES_H

#include "idc-setup/rules.h"
#include "idc-setup/setup_platform.h"

/* The domains are told the names of those that the nodes join them with. What other rules say of
 * pairs among the domids is told as notes. Exit status. */
int policy_nodes_changed(const struct setup_platform *platform, const struct domids *domids);

#endif
