/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * policy_nodes.c - see policy_nodes.h. A policy node is one of several things that decide about a
 * pair: rules of commands stand before it, and those of files after it. Who writes or removes one
 * should know.
 */
#include "idc-setup/policy_nodes.h"

#include <stdio.h>

#include "idc-setup/policy_change.h"
#include "idc-setup/policy_list.h"

#define NODES_NOTES_MAX 8

static void nodes_note(const struct policy_rules *rules, size_t index, int from, int to)
{
    const struct ruleset_rule *rule = &rules->ruleset->rules[index];
    fprintf(stderr, "idc-setup: note: domain %d to %d: %s stands ", from, to,
            rule->allow ? "what allows" : "what denies");
    fputs(index < rules->commands ? "before the policy node: " : "after the policy node: ", stderr);
    policy_print_rule(stderr, rule);
    fputc('\n', stderr);
}

/* Returns how many notes there were, of at most that many. A deny rule after a node, and an allow
 * rule before it, change nothing that a node says. An allow rule matters when the node is gone. */
static int nodes_tell_pair(const struct policy_rules *rules, const struct compile_peer *peer,
                           int from, int most)
{
    int told = 0, to = rules->world.domains[peer->domain].domid;
    for (size_t i = 0; told < most && i < peer->out.count; i++) {
        size_t index = peer->out.rules[i];
        if (rules->ruleset->rules[index].allow || index < rules->commands) {
            nodes_note(rules, index, from, to);
            told++;
        }
    }
    return told;
}

static bool nodes_concern(const struct domids *domids, int domid, int peer)
{
    if (domids->count == 1)
        return domids->has[domid] || domids->has[peer];
    return domids->has[domid] && domids->has[peer];
}

static void nodes_tell(const struct policy_rules *rules, const struct domids *domids)
{
    const struct policy_world *world = &rules->world;
    int left = NODES_NOTES_MAX;
    for (size_t i = 0; left > 0 && i < world->domain_count; i++) {
        struct compile_view view;
        if (compile_view(world->compile, i, &view) != 0)
            return;
        for (size_t k = 0; left > 0 && k < view.count; k++)
            if (nodes_concern(domids, world->domains[i].domid,
                              world->domains[view.peers[k].domain].domid))
                left -= nodes_tell_pair(rules, &view.peers[k], world->domains[i].domid, left);
        compile_view_free(&view);
    }
    if (left == 0)
        fputs("idc-setup: note: there may be more such rules; see idc-setup list\n", stderr);
}

int policy_nodes_changed(const struct setup_platform *platform, const struct domids *domids)
{
    struct policy_rules rules;
    int status = policy_publish_again(platform, &rules);
    if (status != 0)
        return status;
    nodes_tell(&rules, domids);
    policy_rules_free(&rules);
    return 0;
}
