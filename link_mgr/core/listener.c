/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Two hash tables with chains, one by port and one by name. */
#include "link_mgr/core/listener.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct listener_list *port_bucket(struct listener_table *table, uint32_t port)
{
    return &table->ports[(port * 2654435761u) >> 24];
}

static struct listener_list *name_bucket(struct listener_table *table, const char *name)
{
    uint32_t hash = 2166136261u;
    for (; *name; name++)
        hash = (hash ^ (uint8_t)*name) * 16777619u;
    return &table->names[hash >> 24];
}

void listener_table_init(struct listener_table *table, uint32_t first_port)
{
    for (int i = 0; i < LISTENER_BUCKETS; i++) {
        LIST_INIT(&table->ports[i]);
        LIST_INIT(&table->names[i]);
    }
    table->next_port = first_port | IDC_PORT_EPHEMERAL_MIN;
}

struct listener *listener_by_port(struct listener_table *table, uint32_t port)
{
    struct listener *listener;
    LIST_FOREACH (listener, port_bucket(table, port), by_port)
        if (listener->port == port)
            return listener;
    return NULL;
}

struct listener *listener_by_name(struct listener_table *table, const char *name)
{
    struct listener *listener;
    LIST_FOREACH (listener, name_bucket(table, name), by_name)
        if (strcmp(listener->name, name) == 0)
            return listener;
    return NULL;
}

uint32_t listener_ephemeral_port(struct listener_table *table)
{
    uint32_t port;
    do {
        port = table->next_port;
        table->next_port = (port + 1) | IDC_PORT_EPHEMERAL_MIN;
    } while (port == UINT32_MAX || listener_by_port(table, port));
    return port;
}

int listener_add(struct listener_table *table, uint32_t port, const char *name,
                 struct listener **listener, struct listener **clash)
{
    if (strlen(name) > IDC_SERVICE_MAX)
        return -EINVAL;
    *clash = port ? listener_by_port(table, port) : NULL;
    if (!*clash && name[0])
        *clash = listener_by_name(table, name);
    if (*clash)
        return -EADDRINUSE;
    struct listener *new = calloc(1, sizeof(*new));
    if (!new)
        return -ENOMEM;
    new->port = port ? port : listener_ephemeral_port(table);
    strcpy(new->name, name);
    LIST_INSERT_HEAD(port_bucket(table, new->port), new, by_port);
    if (name[0])
        LIST_INSERT_HEAD(name_bucket(table, name), new, by_name);
    *listener = new;
    return 0;
}

void listener_remove(struct listener *listener)
{
    LIST_REMOVE(listener, by_port);
    if (listener->name[0])
        LIST_REMOVE(listener, by_name);
    free(listener);
}
