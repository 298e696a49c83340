/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The records from which hub_reason, hub_unsent and hub_watch_peer answer. There is one for each
 * connection that has, or had, a program's socket; the serial number finds it. When a connection
 * ends, its record moves to a ring, and stays there until HUB_REASONS others have ended after it.
 * If it stayed where it is in the heap, the freed memory around it could not go back to the system.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/guard.h"
#include "common/handover.h"
#include "link_mgr/core/life.h"
#include "link_mgr/hub/hub_private.h"

/* Serials are random, so their last bits spread them evenly. */
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

bool hub_record_exists(struct hub *hub, uint64_t serial)
{
    return record_find(hub, serial) != NULL;
}

static void record_forget(struct hub *hub, struct hub_record *record)
{
    quota_give(hub->users, record->uid, USER_CONNECTIONS, 1);
    if (record->conn->incoming)
        hub_share_give(hub, record->uid, record->conn);
    LIST_REMOVE(record, bucket);
    free(record);
}

void hub_records_init(struct hub *hub)
{
    for (unsigned i = 0; i < HUB_BUCKETS; i++)
        LIST_INIT(&hub->records[i]);
    hub->ended_count = 0;
    hub_shares_init(hub);
}

void hub_records_free(struct hub *hub)
{
    struct hub_record *record;
    for (unsigned i = 0; i < HUB_BUCKETS; i++) {
        while ((record = LIST_FIRST(&hub->records[i]))) {
            LIST_REMOVE(record, bucket);
            if (record->conn) /* the others are in the ring */
                free(record);
        }
    }
    hub_shares_end(hub);
}

int hub_record_begin(struct hub *hub, struct conn *conn, uint32_t uid)
{
    struct hub_record *record = malloc(sizeof(*record));
    if (!record)
        return -ENOMEM;
    if (!quota_take(hub->users, uid, USER_CONNECTIONS, 1)) {
        free(record);
        return -EDQUOT;
    }
    if (conn->incoming && !hub_share_take(hub, uid, conn)) {
        quota_give(hub->users, uid, USER_CONNECTIONS, 1);
        free(record);
        return -EUSERS;
    }
    *record = (struct hub_record){.serial = conn->serial, .uid = uid, .conn = conn};
    LIST_INSERT_HEAD(record_bucket(hub, conn->serial), record, bucket);
    return 0;
}

void hub_record_cancel(struct hub *hub, uint64_t serial)
{
    record_forget(hub, record_find(hub, serial));
}

void hub_record_end(struct hub *hub, uint64_t serial, enum reason reason)
{
    struct hub_record *record = record_find(hub, serial);
    struct hub_record *place = &hub->ended[hub->ended_count % HUB_REASONS];
    if (hub->ended_count++ >= HUB_REASONS)
        LIST_REMOVE(place, bucket);
    *place = (struct hub_record){.serial = serial, .uid = record->uid, .reason = reason};
    record_forget(hub, record);
    LIST_INSERT_HEAD(record_bucket(hub, serial), place, bucket);
}

/* Is it the program's end of the connection? Its name alone does not prove that: a program in
 * another network namespace can give the same name to a socket of its own. So the pair must be one
 * that we made. */
static bool record_is_shown(const struct hub_record *record, int fd)
{
    struct handover_name name;
    struct ucred maker;
    socklen_t len = sizeof(maker);
    return fd >= 0 && guard_is_unix(fd) && handover_name(fd, &name) == 0 && !name.listener &&
           name.serial == record->serial &&
           getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &maker, &len) == 0 && maker.pid == getpid();
}

static int record_ask(struct hub *hub, const struct hub_question *question,
                      const struct hub_record **record)
{
    uint32_t uid = question->caller.uid;
    *record = record_find(hub, question->serial);
    if (!*record)
        return -ENOENT;
    bool own = uid == 0 || (uid != HUB_NOBODY && uid == (*record)->uid);
    return own || record_is_shown(*record, question->shown) ? 0 : -EACCES;
}

int hub_reason(struct hub *hub, const struct hub_question *question, int *end,
               char why[HUB_WHY_MAX])
{
    const struct hub_record *record;
    int error = record_ask(hub, question, &record);
    if (error) {
        snprintf(why, HUB_WHY_MAX,
                 error == -ENOENT ? "that connection is no longer known"
                                  : "that connection belongs to another uid");
        return error;
    }
    /* A broken connection whose program has not taken everything yet has a reason too. */
    enum reason reason = record->conn ? record->conn->end : record->reason;
    bool open = record->conn && record->conn->phase == CONN_OPEN && reason == REASON_OK;
    snprintf(why, HUB_WHY_MAX, "%s", open ? "the connection is open" : reason_text(reason));
    *end = -reason_errno(reason);
    return 0;
}

int64_t hub_unsent(struct hub *hub, const struct hub_question *question)
{
    const struct hub_record *record;
    int error = record_ask(hub, question, &record);
    if (error)
        return error;
    return record->conn && record->conn->ep ? endpoint_unsent(record->conn->ep) : 0;
}

int hub_watch_peer(struct hub *hub, const struct hub_question *question, uint32_t ms)
{
    const struct hub_record *record;
    int error = record_ask(hub, question, &record);
    if (!error && record->conn)
        life_watch(record->conn, ms);
    return error;
}
