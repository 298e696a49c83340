/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The platform of the simulation. The store is a list of nodes. Each subscription keeps a list of
 * changes that it has not got yet. They arrive one at a time, when the simulation says so. A
 * channel is a page and two rings in ordinary memory, shared by two sides. A notification sets a
 * flag at the other side, which stays until the simulation delivers it.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/ring.h"
#include "tests/sim/sim.h"

struct node {
    char *path, *value;
    LIST_ENTRY(node) list;
};

struct change {
    struct store_event event;
    TAILQ_ENTRY(change) list;
};

struct subscription {
    char *path;
    LIST_ENTRY(subscription) list;
};

/* What both sides share. */
struct wire {
    struct ring_page page;
    size_t size;
    int users;
    int domid[2];
    bool attached, dead;
    char path[PLATFORM_PATH_MAX + 1];
    struct channel *side[2]; /* 0: offering */
    uint8_t data[];          /* left, right */
};

struct channel {
    struct platform *platform;
    struct wire *wire;
    int number; /* 0: offering */
    bool event;
    void *token; /* the core's, from host->watch */
    LIST_ENTRY(channel) list;
};

struct platform {
    struct world *world;
    int domid;
    TAILQ_HEAD(, change) changes;
    LIST_HEAD(, subscription) subscriptions;
    LIST_HEAD(, channel) channels;
    LIST_ENTRY(platform) list;
};

struct world {
    struct sim *sim;
    LIST_HEAD(, node) nodes;
    LIST_HEAD(, platform) platforms;
    unsigned wires;
};

/* ---- store ---- */

static bool world_below(const char *path, const char *prefix)
{
    size_t length = strlen(prefix);
    return strncmp(path, prefix, length) == 0 && (path[length] == '\0' || path[length] == '/');
}

static void note_change(struct platform *platform, const char *path, const char *value)
{
    struct change *change = calloc(1, sizeof(*change));
    strcpy(change->event.path, path);
    change->event.present = value != NULL;
    if (value)
        strcpy(change->event.value, value);
    TAILQ_INSERT_TAIL(&platform->changes, change, list);
}

static void world_tell(struct world *world, const char *path, const char *value)
{
    struct platform *platform;
    struct subscription *subscription;
    LIST_FOREACH (platform, &world->platforms, list)
        LIST_FOREACH (subscription, &platform->subscriptions, list)
            if (world_below(path, subscription->path))
                note_change(platform, path, value);
}

static void set_node(struct world *world, const char *path, const char *value)
{
    struct node *node;
    LIST_FOREACH (node, &world->nodes, list)
        if (strcmp(node->path, path) == 0)
            break;
    if (!node) {
        node = calloc(1, sizeof(*node));
        node->path = strdup(path);
        LIST_INSERT_HEAD(&world->nodes, node, list);
    }
    free(node->value);
    node->value = strdup(value);
    world_tell(world, path, value);
}

static void remove_nodes(struct world *world, const char *path)
{
    struct node *node, *next;
    for (node = LIST_FIRST(&world->nodes); node; node = next) {
        next = LIST_NEXT(node, list);
        if (!world_below(node->path, path))
            continue;
        world_tell(world, node->path, NULL);
        LIST_REMOVE(node, list);
        free(node->path);
        free(node->value);
        free(node);
    }
}

static bool is_dead(const struct platform *platform)
{
    return platform->world == NULL;
}

static int ops_domid(struct platform *platform)
{
    return platform->domid;
}

static int ops_publish(struct platform *platform, const char *path, const char *value, int reader)
{
    (void)reader;
    if (!is_dead(platform))
        set_node(platform->world, path, value);
    return 0;
}

static int ops_retract(struct platform *platform, const char *path)
{
    if (!is_dead(platform))
        remove_nodes(platform->world, path);
    return 0;
}

static int ops_subscribe(struct platform *platform, const char *path)
{
    struct node *node;
    bool any = false;
    struct subscription *subscription;
    LIST_FOREACH (subscription, &platform->subscriptions, list)
        if (strcmp(subscription->path, path) == 0)
            break;
    if (!subscription) {
        subscription = calloc(1, sizeof(*subscription));
        subscription->path = strdup(path);
        LIST_INSERT_HEAD(&platform->subscriptions, subscription, list);
    }
    LIST_FOREACH (node, &platform->world->nodes, list) {
        if (world_below(node->path, path)) {
            note_change(platform, node->path, node->value);
            any = true;
        }
    }
    if (!any)
        note_change(platform, path, NULL);
    return 0;
}

static int ops_unsubscribe(struct platform *platform, const char *path)
{
    struct subscription *subscription;
    LIST_FOREACH (subscription, &platform->subscriptions, list)
        if (strcmp(subscription->path, path) == 0)
            break;
    assert(subscription);
    LIST_REMOVE(subscription, list);
    free(subscription->path);
    free(subscription);
    return 0;
}

/* The policy towards one other domain. */
static void note_policy(const struct platform *platform, const struct store_event *event)
{
    struct sim *sim = platform->world->sim;
    const char *name = strrchr(event->path, '/') + 1;
    if (name[0] < '0' || name[0] > '9' || strstr(event->path, "/rules/"))
        return;
    for (int i = 0; i < sim->domain_count; i++) {
        uint64_t *permitted = &sim->domains[i].permitted[atoi(name) / DOMID_STEP];
        if (sim->domains[i].platform == platform && (!event->present || !*permitted))
            *permitted = event->present ? sim->now : 0;
    }
}

bool world_deliver_store(struct platform *platform, struct core *core)
{
    struct change *change = TAILQ_FIRST(&platform->changes);
    if (!change)
        return false;
    TAILQ_REMOVE(&platform->changes, change, list);
    if (strstr(change->event.path, "/idc/policy")) {
        /* only now is it withdrawn here */
        program_excuse(platform->world->sim, platform->domid, -1);
        note_policy(platform, &change->event);
    }
    core_store_event(core, &change->event);
    free(change);
    return true;
}

/* ---- channels ---- */

static struct channel *add_side(struct platform *platform, struct wire *wire, int number)
{
    struct channel *channel = calloc(1, sizeof(*channel));
    *channel = (struct channel){.platform = platform, .wire = wire, .number = number};
    wire->side[number] = channel;
    wire->domid[number] = platform->domid;
    wire->users++;
    LIST_INSERT_HEAD(&platform->channels, channel, list);
    return channel;
}

static int ops_offer(struct platform *platform, int peer, const char *path, size_t ring_size,
                     struct channel **channel)
{
    struct wire *wire = calloc(1, sizeof(*wire) + 2 * ring_size);
    (void)peer;
    wire->size = ring_size;
    wire->page.cli_live = 2;
    wire->page.srv_live = 1;
    wire->page.cli_notify = wire->page.srv_notify = RING_WANT_DATA;
    strcpy(wire->path, path);
    *channel = add_side(platform, wire, 0);
    platform->world->wires++;
    set_node(platform->world, path, "offered");
    return 0;
}

static struct wire *find_offer(struct world *world, const char *path)
{
    struct platform *platform;
    struct channel *channel;
    LIST_FOREACH (platform, &world->platforms, list)
        LIST_FOREACH (channel, &platform->channels, list)
            if (channel->number == 0 && !channel->wire->attached &&
                strcmp(channel->wire->path, path) == 0)
                return channel->wire;
    return NULL;
}

static int ops_attach(struct platform *platform, int peer, const char *path,
                      struct channel **channel)
{
    struct wire *wire = find_offer(platform->world, path);
    (void)peer;
    if (!wire || wire->dead)
        return -ENOENT;
    wire->attached = true;
    *channel = add_side(platform, wire, 1);
    wire->side[0]->event = true;
    return 0;
}

static int ops_channel_fd(struct channel *channel)
{
    (void)channel;
    return 1;
}

static enum channel_state ops_channel_poll(struct channel *channel)
{
    channel->event = false;
    if (channel->wire->dead) {
        /* What has come about since it broke, unnoticed, is lost too. */
        if (!is_dead(channel->platform))
            program_excuse(channel->platform->world->sim, channel->wire->domid[0],
                           channel->wire->domid[1]);
        return CHANNEL_DEAD;
    }
    return channel->wire->attached ? CHANNEL_OPEN : CHANNEL_PENDING;
}

static void ops_channel_rings(struct channel *channel, struct ring_pair *rings)
{
    struct wire *wire = channel->wire;
    ring_pair_init(rings, channel->number == 0, &wire->page, wire->data, (uint32_t)wire->size,
                   wire->data + wire->size, (uint32_t)wire->size);
}

static void ops_channel_notify(struct channel *channel)
{
    struct channel *other = channel->wire->side[!channel->number];
    if (other)
        other->event = true;
}

static void kill_wire(struct wire *wire)
{
    wire->dead = true;
    for (int i = 0; i < 2; i++)
        if (wire->side[i])
            wire->side[i]->event = true;
}

static void ops_channel_close(struct channel *channel)
{
    struct wire *wire = channel->wire;
    struct platform *platform = channel->platform;
    kill_wire(wire);
    wire->side[channel->number] = NULL;
    if (channel->number == 0 && !is_dead(platform))
        remove_nodes(platform->world, wire->path);
    LIST_REMOVE(channel, list);
    free(channel);
    if (--wire->users == 0)
        free(wire);
}

bool world_deliver_channel(struct platform *platform, struct core *core)
{
    struct channel *channel;
    LIST_FOREACH (channel, &platform->channels, list) {
        if (channel->event && channel->token) {
            core_channel_event(core, channel->token);
            return true;
        }
    }
    return false;
}

/* Which peer the latest channel without a token belongs to. */
void world_watch(struct platform *platform, void *token, int fd)
{
    struct channel *channel;
    LIST_FOREACH (channel, &platform->channels, list) {
        if (fd >= 0 ? !channel->token : channel->token == token) {
            channel->token = fd >= 0 ? token : NULL;
            if (fd >= 0)
                return;
        }
    }
}

static enum platform_presence ops_presence(struct platform *platform, int domid)
{
    struct platform *other;
    LIST_FOREACH (other, &platform->world->platforms, list)
        if (other->domid == domid)
            return PLATFORM_RUNS;
    return PLATFORM_GONE;
}

static void ops_lent(struct platform *platform, int peer, struct platform_lent *lent)
{
    (void)platform, (void)peer;
    *lent = (struct platform_lent){0};
}

static void ops_part(struct platform *platform, int peer)
{
    (void)platform, (void)peer;
}

const struct platform_ops sim_platform_ops = {
    .name = "sim",
    .domid = ops_domid,
    .presence = ops_presence,
    .publish = ops_publish,
    .retract = ops_retract,
    .subscribe = ops_subscribe,
    .unsubscribe = ops_unsubscribe,
    .offer = ops_offer,
    .attach = ops_attach,
    .channel_fd = ops_channel_fd,
    .channel_poll = ops_channel_poll,
    .channel_rings = ops_channel_rings,
    .channel_notify = ops_channel_notify,
    .channel_close = ops_channel_close,
    .lent = ops_lent,
    .part = ops_part,
};

bool world_break(struct world *world)
{
    struct platform *platform;
    struct channel *channel;
    LIST_FOREACH (platform, &world->platforms, list) {
        LIST_FOREACH (channel, &platform->channels, list) {
            if (channel->wire->dead || !channel->wire->attached || sim_chance(world->sim, 2))
                continue;
            program_excuse(world->sim, channel->wire->domid[0], channel->wire->domid[1]);
            kill_wire(channel->wire);
            return true;
        }
    }
    return false;
}

/* ---- life ---- */

struct world *world_new(struct sim *sim)
{
    struct world *world = calloc(1, sizeof(*world));
    world->sim = sim;
    return world;
}

struct platform *world_open(struct world *world, int domid)
{
    struct platform *platform = calloc(1, sizeof(*platform));
    platform->world = world;
    platform->domid = domid;
    TAILQ_INIT(&platform->changes);
    LIST_INSERT_HEAD(&world->platforms, platform, list);
    return platform;
}

/* Cuts it off from the world; the core that still has it may go on calling it while it is freed. */
void world_crash(struct platform *platform)
{
    struct change *change;
    struct channel *channel;
    LIST_FOREACH (channel, &platform->channels, list)
        kill_wire(channel->wire);
    LIST_REMOVE(platform, list);
    platform->world = NULL;
    while ((change = TAILQ_FIRST(&platform->changes))) {
        TAILQ_REMOVE(&platform->changes, change, list);
        free(change);
    }
}

void world_free(struct world *world)
{
    struct platform *platform;
    remove_nodes(world, "/local");
    while ((platform = LIST_FIRST(&world->platforms))) {
        world_crash(platform);
        free(platform);
    }
    free(world);
}

void world_set_rules(struct world *world, int domid, unsigned generation, const char *text)
{
    char path[64], now[32];
    snprintf(path, sizeof(path), "/local/domain/%d/idc/policy/rules", domid);
    if (!text) {
        remove_nodes(world, path);
        return;
    }
    snprintf(path, sizeof(path), "/local/domain/%d/idc/policy/rules/%u/0", domid, generation);
    set_node(world, path, text);
    snprintf(path, sizeof(path), "/local/domain/%d/idc/policy/rules/now", domid);
    snprintf(now, sizeof(now), "%u 1", generation);
    set_node(world, path, now);
    if (generation > 1) {
        snprintf(path, sizeof(path), "/local/domain/%d/idc/policy/rules/%u", domid, generation - 1);
        remove_nodes(world, path);
    }
}

void world_set_policy(struct world *world, int from, int to, const char *value)
{
    char path[64];
    snprintf(path, sizeof(path), "/local/domain/%d/idc/policy/%d", from, to);
    if (value)
        set_node(world, path, value);
    else
        remove_nodes(world, path);
}

unsigned world_nodes(const struct world *world)
{
    const struct node *node;
    unsigned count = 0;
    LIST_FOREACH (node, &world->nodes, list)
        count += strstr(node->path, "/data/") != NULL;
    return count;
}

unsigned world_channels(const struct world *world)
{
    const struct platform *platform;
    const struct channel *channel;
    unsigned count = 0;
    LIST_FOREACH (platform, &world->platforms, list)
        LIST_FOREACH (channel, &platform->channels, list)
            count++;
    return count;
}

unsigned world_channels_between(const struct world *world, int a, int b)
{
    const struct platform *platform;
    const struct channel *channel;
    unsigned count = 0;
    LIST_FOREACH (platform, &world->platforms, list)
        LIST_FOREACH (channel, &platform->channels, list) {
            const struct channel *other = channel->wire->side[!channel->number];
            count += channel->number == 0 && !channel->wire->dead && other &&
                     platform->domid == a && other->platform->domid == b;
        }
    return count;
}
