/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * policy_world.h - rules, the domains that there are, and what follows for each of these.
 */
#ifndef IDC_SETUP_POLICY_WORLD_H
#define IDC_SETUP_POLICY_WORLD_H

#include "idc-setup/publish.h"
#include "policy/compile.h"

struct policy_world {
    const struct ruleset *ruleset;
    size_t commands;                /* so many rules were made by commands */
    struct ruleset_domain *domains; /* with names of their own; ascending by domid */
    size_t domain_count;
    struct compile_node *nodes; /* policy nodes */
    size_t node_count;
    struct compile *compile;
};

/* The rules must stay as long as the world. 0, or negative errno and a why. */
int policy_world_make(struct policy_world *world, const struct ruleset *ruleset, size_t commands,
                      struct setup_store *store, char why[SETUP_WHY_MAX]);
void policy_world_free(struct policy_world *world);

/* Gives each domain its rules; dry: only counts what would be done. */
int policy_world_publish(const struct policy_world *world, struct setup_store *store, bool dry,
                         struct publish_result *result, char why[SETUP_WHY_MAX]);

/* The index of the domain with that domid, or domain_count. */
size_t policy_world_find(const struct policy_world *world, int domid);

#endif
