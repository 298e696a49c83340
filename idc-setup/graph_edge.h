/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * graph_edge.h - what idc-setup graph says at its edges, and which edges there are.
 *
 * Of the rules in force: an edge for each ordered pair of domains that are there now, if one may
 * reach anything in the other. What a line above takes away as a whole is not shown
 * (policy/reach.h).
 *
 * Of files: an edge for each allow line, between what it names. Which domains there will be is not
 * known. So a line is left out only if lines above it deny all of it to every domain that it is
 * for.
 */
#ifndef IDC_SETUP_GRAPH_EDGE_H
#define IDC_SETUP_GRAPH_EDGE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "idc-setup/policy_load.h"
#include "idc-setup/uses_show.h"
#include "policy/reach.h"

struct graph {
    const struct policy_rules *rules;
    const struct uses_show *uses;
    int64_t now;
    bool dot, connected; /* connected: only what is */
};

/* Names may have any bytes. */
void graph_text(const struct graph *graph, FILE *out, const char *text);
void graph_label(const struct graph *graph, FILE *out, const struct ruleset_rule *rule,
                 enum reach reach);

/* What one domain may reach in another; "" if nothing. NULL: no memory. The caller frees it. */
char *graph_edge(const struct graph *graph, const struct compile_peer *peer, int from, int to);

/* What the rule with that index of files reaches. above has room for all rules. 0 or -ENOMEM. */
int graph_files_reach(const struct graph *graph, size_t index, uint32_t *above, enum reach *reach);

#endif
