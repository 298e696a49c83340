/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What hub_reason and hub_unsent answer from: a record for each connection that has, or had, a
 * program's socket, found by its serial number. A connection's record stays when it ends, until
 * HUB_REASONS others have ended after it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "link_mgr/hub/hub_private.h"

/* Serials are given out one after the other, so their last bits spread them evenly. */
static struct hub_record_list *record_bucket(struct hub *hub, uint64_t serial)
{
    return &hub->records[serial % HUB_BUCKETS];
}

static struct hub_record *record_find(struct hub *hub, uint64_t serial)
{
    struct hub_record *record;
    LIST_FOREACH (record, record_bucket(hub, serial), bucket)
        if (record->serial == serial)
            break;
    return record;
}

static void record_forget(struct hub_record *record)
{
    LIST_REMOVE(record, bucket);
    free(record);
}

void hub_records_init(struct hub *hub)
{
    for (unsigned i = 0; i < HUB_BUCKETS; i++)
        LIST_INIT(&hub->records[i]);
    TAILQ_INIT(&hub->ended);
}

void hub_records_free(struct hub *hub)
{
    for (unsigned i = 0; i < HUB_BUCKETS; i++)
        while (!LIST_EMPTY(&hub->records[i]))
            record_forget(LIST_FIRST(&hub->records[i]));
}

int hub_record_begin(struct hub *hub, const struct conn *conn)
{
    struct hub_record *record = malloc(sizeof(*record));
    if (!record)
        return -ENOMEM;
    *record = (struct hub_record){.serial = conn->serial, .conn = conn};
    LIST_INSERT_HEAD(record_bucket(hub, conn->serial), record, bucket);
    return 0;
}

void hub_record_cancel(struct hub *hub, uint64_t serial)
{
    record_forget(record_find(hub, serial));
}

void hub_record_end(struct hub *hub, uint64_t serial, enum reason reason)
{
    struct hub_record *record = record_find(hub, serial), *oldest;
    record->conn = NULL;
    record->reason = reason;
    TAILQ_INSERT_TAIL(&hub->ended, record, ended);
    if (++hub->ended_count <= HUB_REASONS)
        return;
    oldest = TAILQ_FIRST(&hub->ended);
    TAILQ_REMOVE(&hub->ended, oldest, ended);
    hub->ended_count--;
    record_forget(oldest);
}

int hub_reason(struct hub *hub, uint64_t serial, char why[HUB_WHY_MAX])
{
    const struct hub_record *record = record_find(hub, serial);
    if (!record) {
        snprintf(why, HUB_WHY_MAX, "nothing is known of that connection any more");
        return ENOENT;
    }
    /* One that is broken, but whose program has not taken everything yet, has a reason too. */
    enum reason reason = record->conn ? record->conn->end : record->reason;
    snprintf(why, HUB_WHY_MAX, "%s", reason_text(reason));
    return reason_errno(reason);
}

int64_t hub_unsent(struct hub *hub, uint64_t serial)
{
    const struct hub_record *record = record_find(hub, serial);
    if (!record)
        return -ENOENT;
    return record->conn && record->conn->ep ? endpoint_unsent(record->conn->ep) : 0;
}
