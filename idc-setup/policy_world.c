/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * policy_world.c - see policy_world.h. Names and UUIDs are where the toolstack has them: in `name`,
 * and in `vm`, which is /vm/UUID; on the local platform in `uuid`.
 */
#include "idc-setup/policy_world.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A domain without rules needs no nodes. */
#define WORLD_NOTHING "version 1\nend\n"

/* ---- domains ---- */

struct world_reading {
    struct policy_world *world;
    struct setup_store *store;
    size_t room, node_room;
};

static int world_add_domain(void *arg, int domid)
{
    struct world_reading *reading = arg;
    struct policy_world *world = reading->world;
    if (world->domain_count == reading->room) {
        size_t room = reading->room == 0 ? 64 : 2 * reading->room;
        struct ruleset_domain *list = reallocarray(world->domains, room, sizeof(*list));
        if (list == NULL)
            return -ENOMEM;
        world->domains = list;
        reading->room = room;
    }
    world->domains[world->domain_count++] =
        (struct ruleset_domain){.domid = domid, .complete = true};
    return 0;
}

static int world_compare(const void *a, const void *b)
{
    const struct ruleset_domain *one = a, *other = b;
    return (one->domid > other->domid) - (one->domid < other->domid);
}

static int world_compare_nodes(const void *a, const void *b)
{
    const struct compile_node *one = a, *other = b;
    if (one->domid != other->domid)
        return one->domid < other->domid ? -1 : 1;
    return (one->peer > other->peer) - (one->peer < other->peer);
}

static int world_get(struct setup_store *store, int domid, const char *node,
                     char value[SETUP_VALUE_MAX + 1])
{
    char path[SETUP_NODE_MAX];
    snprintf(path, sizeof(path), "/local/domain/%d/%s", domid, node);
    return store->ops->get(store, path, value);
}

/* The UUID of zeros is none. */
static void world_take_uuid(struct ruleset_domain *domain, const char *text)
{
    static const uint8_t none[DOMAIN_UUID_SIZE];
    char term[64], name[DOMAIN_NAME_MAX + 1];
    struct ruleset_domain read;
    struct problem problem;
    if (strlen(text) != DOMAIN_UUID_TEXT)
        return;
    snprintf(term, sizeof(term), "uuid:%s", text);
    if (!domain_parse_asked(term, name, &read, &problem) || !read.has_uuid ||
        memcmp(read.uuid, none, sizeof(none)) == 0)
        return;
    domain->has_uuid = true;
    memcpy(domain->uuid, read.uuid, sizeof(domain->uuid));
}

/* What can't be read, or is no name, is not there. */
static int world_read_domain(struct setup_store *store, struct ruleset_domain *domain)
{
    char value[SETUP_VALUE_MAX + 1];
    int length = world_get(store, domain->domid, "name", value);
    if (length == -ENOMEM || length == -EIO)
        return length;
    if (length > 0 && length <= DOMAIN_NAME_MAX && (domain->name = strdup(value)) == NULL)
        return -ENOMEM;
    if (world_get(store, domain->domid, "uuid", value) > 0)
        world_take_uuid(domain, value);
    else if (world_get(store, domain->domid, "vm", value) > 0 && strncmp(value, "/vm/", 4) == 0)
        world_take_uuid(domain, value + 4);
    return 0;
}

static int world_read_domains(struct world_reading *reading)
{
    struct policy_world *world = reading->world;
    int result = reading->store->ops->domains(reading->store, world_add_domain, reading);
    if (result == 0 && world->domain_count > 1)
        qsort(world->domains, world->domain_count, sizeof(world->domains[0]), world_compare);
    for (size_t i = 0; result == 0 && i < world->domain_count; i++)
        result = world_read_domain(reading->store, &world->domains[i]);
    return result;
}

static int world_add_node(void *arg, int domid, int peer)
{
    struct world_reading *reading = arg;
    struct policy_world *world = reading->world;
    if (world->node_count == reading->node_room) {
        size_t room = reading->node_room == 0 ? 64 : 2 * reading->node_room;
        struct compile_node *list = reallocarray(world->nodes, room, sizeof(*list));
        if (list == NULL)
            return -ENOMEM;
        world->nodes = list;
        reading->node_room = room;
    }
    world->nodes[world->node_count++] = (struct compile_node){.domid = domid, .peer = peer};
    return 0;
}

int policy_world_make(struct policy_world *world, const struct ruleset *ruleset, size_t commands,
                      struct setup_store *store, char why[SETUP_WHY_MAX])
{
    *world = (struct policy_world){.ruleset = ruleset, .commands = commands};
    struct world_reading reading = {.world = world, .store = store};
    int result = world_read_domains(&reading);
    if (result == 0)
        result = store->ops->walk(store, world_add_node, &reading);
    if (result == 0 && world->node_count > 1)
        qsort(world->nodes, world->node_count, sizeof(world->nodes[0]), world_compare_nodes);
    const struct compile_input input = {.ruleset = ruleset,
                                        .domains = world->domains,
                                        .count = world->domain_count,
                                        .commands = commands,
                                        .nodes = world->nodes,
                                        .node_count = world->node_count};
    if (result == 0)
        result = compile_new(&world->compile, &input);
    if (result == 0)
        return 0;
    snprintf(why, SETUP_WHY_MAX, "cannot read which domains there are: %s", strerror(-result));
    policy_world_free(world);
    return result;
}

void policy_world_free(struct policy_world *world)
{
    compile_free(world->compile);
    for (size_t i = 0; i < world->domain_count; i++)
        free((void *)(uintptr_t)world->domains[i].name);
    free(world->domains);
    free(world->nodes);
    *world = (struct policy_world){0};
}

size_t policy_world_find(const struct policy_world *world, int domid)
{
    size_t i = 0;
    while (i < world->domain_count && world->domains[i].domid != domid)
        i++;
    return i;
}

/* ---- publishing ---- */

static int world_text(const struct policy_world *world, size_t domain, struct publish_text *text)
{
    struct compile_view view;
    int result = compile_view(world->compile, domain, &view);
    if (result != 0)
        return result;
    char *made = compile_text(world->compile, &view, &text->length);
    compile_view_free(&view);
    if (made == NULL)
        return -ENOMEM;
    text->domid = world->domains[domain].domid;
    text->text = made;
    if (strcmp(made, WORLD_NOTHING) == 0) {
        free(made);
        text->text = NULL;
    }
    return 0;
}

/* Which texts are other than those that are published. */
static int world_compare_texts(struct setup_store *store, const struct publish_text *texts,
                               size_t count, struct publish_result *result)
{
    *result = (struct publish_result){0};
    for (size_t i = 0; i < count; i++) {
        char *text = NULL;
        size_t length = 0;
        int got = publish_read(store, texts[i].domid, &text, &length);
        if (got == -ENOMEM)
            return got;
        if (texts[i].text == NULL)
            *(got == -ENOENT ? &result->unchanged : &result->removed) += 1;
        else if (got == 0 && length == texts[i].length && memcmp(text, texts[i].text, length) == 0)
            result->unchanged++;
        else
            result->written++;
        free(text);
    }
    return 0;
}

int policy_world_publish(const struct policy_world *world, struct setup_store *store, bool dry,
                         struct publish_result *result, char why[SETUP_WHY_MAX])
{
    struct publish_text *texts = calloc(world->domain_count + 1, sizeof(*texts));
    int error = texts == NULL ? -ENOMEM : 0;
    snprintf(why, SETUP_WHY_MAX, "out of memory");
    for (size_t i = 0; error == 0 && i < world->domain_count; i++)
        error = world_text(world, i, &texts[i]);
    if (error == 0)
        error = dry ? world_compare_texts(store, texts, world->domain_count, result)
                    : publish_texts(store, texts, world->domain_count, result, why);
    for (size_t i = 0; texts != NULL && i < world->domain_count; i++)
        free((void *)(uintptr_t)texts[i].text);
    free(texts);
    return error;
}
