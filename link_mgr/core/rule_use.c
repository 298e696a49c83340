/* SPDX-License-Identifier: GPL-2.0-or-later */
/* rule_use.c - see rule_use.h. */
#include "link_mgr/core/rule_use.h"

#include <stdlib.h>
#include <string.h>

#include "link_mgr/core/core.h"

#define TOKEN 1000u /* one connection; a rate of N earns N tokens' thousandths in a ms */
/* Each look asks the kernel. A program that is refused again and again must not keep the loop busy
 * with that. */
#define LOOKS_IN_A_MS 64

static bool rule_has_limits(const struct rule *rule)
{
    return rule->connections || rule->rate || rule->bandwidth;
}

static struct rule_use *rule_use_of(struct place *place)
{
    return (struct rule_use *)place; /* it is the first member */
}

static struct rule_use *rule_use_find(const struct peer *peer, const struct rule *rule, bool out,
                                      uint32_t hash)
{
    struct place *place;
    for (place = places_first(&peer->use_places, hash); place; place = places_next(place)) {
        const struct rule_use *use = rule_use_of(place);
        if (use->rule == rule && use->out == out)
            break;
    }
    return place ? rule_use_of(place) : NULL;
}

static struct rule_use *rule_use_get(struct peer *peer, const struct rule *rule, bool out)
{
    const uint32_t hash = places_hash(rule->place);
    struct rule_use *use = rule_use_find(peer, rule, out, hash);
    if (use)
        return use;
    use = calloc(1, sizeof(*use));
    if (!use)
        return NULL;
    use->rule = rule;
    use->out = out;
    use->tokens = (uint64_t)rule->rate * TOKEN;
    use->tokens_at = peer->core->host->now(peer->core->host);
    LIST_INSERT_HEAD(&peer->uses, use, all);
    places_add(&peer->use_places, &use->by_place, hash);
    return use;
}

static void rule_use_earn(struct rule_use *use, uint64_t now)
{
    const uint64_t rate = use->rule->rate, most = rate * TOKEN;
    const uint64_t passed = now - use->tokens_at;
    use->tokens_at = now;
    if (passed >= TOKEN || use->tokens + passed * rate > most)
        use->tokens = most;
    else
        use->tokens += passed * rate;
}

/* A program may have closed without its daemon knowing yet. The next connect must not be refused
 * because of that. If many were looked at in vain, it may be, for as long as that is worth. */
static uint32_t rule_use_open(const struct peer *peer, struct rule_use *use)
{
    const struct conn *conn;
    const uint64_t now = peer->core->host->now(peer->core->host);
    uint32_t open = use->open, looks = 0;
    if (!use->out || open < use->rule->connections || now < use->look_at)
        return open;
    TAILQ_FOREACH (conn, &peer->conns, of_peer)
        if (conn->use == use && conn->ep && open > 0) {
            open -= peer->core->host->gone(conn->ep);
            looks++;
        }
    use->look_at = open < use->rule->connections ? 0 : now + looks / LOOKS_IN_A_MS;
    return open;
}

enum reason rule_use_check(struct peer *peer, const struct rule *rule, uint32_t port, bool out)
{
    if (!rule || !rule_has_limits(rule) || port == IDC_PORT_MANAGER)
        return REASON_OK;
    struct rule_use *use = rule_use_get(peer, rule, out);
    if (!use)
        return REASON_NO_RESOURCES;
    if (rule->connections && rule_use_open(peer, use) >= rule->connections)
        return REASON_RULE_CONNECTIONS;
    if (!rule->rate)
        return REASON_OK;
    rule_use_earn(use, peer->core->host->now(peer->core->host));
    return use->tokens >= TOKEN ? REASON_OK : REASON_RULE_RATE;
}

void rule_use_move(struct conn *conn)
{
    const struct rule *rule = conn->rule;
    const uint32_t port = conn->incoming ? conn->local_port : conn->peer_port;
    if (conn->use && conn->use->rule == rule)
        return;
    rule_use_leave(conn, false);
    if (!rule || !rule_has_limits(rule) || port == IDC_PORT_MANAGER)
        return;
    /* Without memory it is not counted. */
    conn->use = rule_use_get(conn->peer, rule, !conn->incoming);
    if (conn->use)
        conn->use->open++;
}

void rule_use_enter(struct conn *conn)
{
    rule_use_move(conn);
    if (conn->use && conn->use->rule->rate)
        conn->use->tokens -= conn->use->tokens < TOKEN ? conn->use->tokens : TOKEN;
}

void rule_use_leave(struct conn *conn, bool undone)
{
    struct rule_use *use = conn->use;
    if (!use)
        return;
    conn->use = NULL;
    use->open--;
    if (undone && use->rule && use->tokens + TOKEN <= (uint64_t)use->rule->rate * TOKEN)
        use->tokens += TOKEN;
}

/* ---- new rules ---- */

/* Whoever looks for this rule has found it, and leaves the table. So each account is found once,
 * and the first rule of a place is the one. */
static void rule_use_offer(struct peer *peer, const struct rule *rule, bool out)
{
    const uint32_t hash = places_hash(rule->place);
    struct place *place, *next;
    for (place = places_first(&peer->use_places, hash); place; place = next) {
        struct rule_use *use = rule_use_of(place);
        next = places_next(place);
        if (use->out != out || strcmp(use->rule->place, rule->place) != 0)
            continue;
        use->follows = rule;
        places_remove(&peer->use_places, place);
    }
}

static void rule_use_offer_all(struct peer *peer, const struct rules *rules, bool out)
{
    const struct rules_list *list = rules_between(rules, (uint32_t)peer->domid, out);
    for (uint32_t i = 0; i < list->count; i++)
        if (rules->rules[list->at[i]].allow)
            rule_use_offer(peer, &rules->rules[list->at[i]], out);
}

/* It has its new rule, and is in the table again; or it has none, and leaves it. */
static void rule_use_change(struct peer *peer, struct rule_use *use)
{
    if (use->follows)
        places_add(&peer->use_places, &use->by_place, use->by_place.hash);
    else if (use->rule)
        places_remove(&peer->use_places, &use->by_place);
    use->rule = use->follows;
    if (use->rule && use->tokens > (uint64_t)use->rule->rate * TOKEN)
        use->tokens = (uint64_t)use->rule->rate * TOKEN;
}

void rule_use_follow(struct peer *peer, const struct rules *rules)
{
    struct rule_use *use;
    if (LIST_EMPTY(&peer->uses))
        return;
    LIST_FOREACH (use, &peer->uses, all)
        use->follows = NULL;
    for (int out = 0; rules && out <= 1; out++)
        rule_use_offer_all(peer, rules, out != 0);
    LIST_FOREACH (use, &peer->uses, all)
        rule_use_change(peer, use);
}

void rule_use_tidy(struct peer *peer)
{
    struct rule_use *use, *next;
    for (use = LIST_FIRST(&peer->uses); use; use = next) {
        next = LIST_NEXT(use, all);
        if (use->rule || use->open > 0)
            continue;
        LIST_REMOVE(use, all);
        free(use);
    }
}
