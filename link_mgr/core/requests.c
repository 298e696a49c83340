/* SPDX-License-Identifier: GPL-2.0-or-later */
/* requests.h has the theory. */
#include "link_mgr/core/requests.h"

#include <stdlib.h>

#include "link_mgr/core/core.h"

static void requester_init(struct requester *user, uint32_t uid)
{
    *user = (struct requester){.uid = uid};
    for (int kind = 0; kind < REQUEST_KINDS; kind++)
        TAILQ_INIT(&user->waiting[kind]);
}

void requests_init(struct requests *requests)
{
    requester_init(&requests->others, UINT32_MAX);
    for (int i = 0; i < REQUEST_BUCKETS; i++)
        LIST_INIT(&requests->users[i]);
    for (int kind = 0; kind < REQUEST_KINDS; kind++)
        TAILQ_INIT(&requests->turns[kind]);
    for (int i = 0; i < REQUEST_PLACES; i++)
        requests->places[i].kind = REQUEST_UNKNOWN;
}

static void requester_free(struct requester *user)
{
    LIST_REMOVE(user, bucket);
    free(user);
}

void requests_end(struct requests *requests)
{
    for (int i = 0; i < REQUEST_BUCKETS; i++)
        while (!LIST_EMPTY(&requests->users[i]))
            requester_free(LIST_FIRST(&requests->users[i]));
}

static struct requester *requests_user(struct requests *requests, uint32_t uid)
{
    struct requester_list *bucket = &requests->users[uid % REQUEST_BUCKETS];
    struct requester *user;
    LIST_FOREACH (user, bucket, bucket)
        if (user->uid == uid)
            return user;
    user = malloc(sizeof(*user));
    if (!user)
        return &requests->others;
    requester_init(user, uid);
    LIST_INSERT_HEAD(bucket, user, bucket);
    return user;
}

/* One of the user's requests is no longer one. */
static void requests_leave(struct requests *requests, struct requester *user)
{
    if (--user->count == 0 && user != &requests->others)
        requester_free(user);
}

/* The key of the uid and the place it connects to. */
static uint32_t requests_key(const struct conn *conn)
{
    uint32_t key = 2166136261u ^ conn->uid;
    for (const char *c = conn->name; *c; c++)
        key = (key ^ (uint8_t)*c) * 16777619u;
    if (!conn->name[0])
        key ^= conn->peer_port * 2654435761u;
    return (key ^ (key >> 15)) * 2246822519u;
}

static enum request_kind requests_kind(const struct requests *requests, const struct conn *conn)
{
    uint32_t key = conn->request_key;
    return requests->places[key % REQUEST_PLACES].key == key
               ? requests->places[key % REQUEST_PLACES].kind
               : REQUEST_UNKNOWN;
}

static void requests_learn(struct requests *requests, uint32_t key, bool granted)
{
    uint32_t place = key % REQUEST_PLACES;
    if (!granted && requests->places[place].kind == REQUEST_GRANTED &&
        requests->places[place].key != key)
        return;
    requests->places[place].key = key;
    requests->places[place].kind = granted ? REQUEST_GRANTED : REQUEST_REFUSED;
}

static void requests_insert(struct requests *requests, struct conn *conn)
{
    struct requester *user = conn->requester;
    unsigned kind = requests_kind(requests, conn);
    if (TAILQ_EMPTY(&user->waiting[kind]))
        TAILQ_INSERT_TAIL(&requests->turns[kind], user, turn[kind]);
    conn->request_kind = (uint8_t)kind;
    TAILQ_INSERT_TAIL(&user->waiting[kind], conn, control);
}

static void requests_withdraw(struct requests *requests, struct conn *conn)
{
    struct requester *user = conn->requester;
    unsigned kind = conn->request_kind;
    TAILQ_REMOVE(&user->waiting[kind], conn, control);
    if (TAILQ_EMPTY(&user->waiting[kind]))
        TAILQ_REMOVE(&requests->turns[kind], user, turn[kind]);
}

void requests_add(struct requests *requests, struct conn *conn)
{
    conn->request_key = requests_key(conn);
    conn->requester = requests_user(requests, conn->uid);
    conn->requester->count++;
    requests_insert(requests, conn);
}

void requests_remove(struct requests *requests, struct conn *conn)
{
    requests_withdraw(requests, conn);
    requests_leave(requests, conn->requester);
}

/* The answers known by now may put the requests at the head of a list into another kind. Such
 * requests move to the list where they belong. An answer says something about requests of its own
 * user only. */
static void requests_sort(struct requests *requests, struct requester *user)
{
    struct conn *conn;
    for (unsigned kind = 0; kind < REQUEST_KINDS; kind++)
        while ((conn = TAILQ_FIRST(&user->waiting[kind])) &&
               requests_kind(requests, conn) != kind) {
            requests_withdraw(requests, conn);
            requests_insert(requests, conn);
        }
}

/* How many of that kind may be unanswered: each kind may have half as many as the one before. */
static uint32_t requests_most(unsigned kind, uint32_t max)
{
    return max >> kind ? max >> kind : 1;
}

/* A request also counts for the kinds that may have more, and needs room there too. */
static bool requests_have_room(const struct requests *requests, unsigned kind, uint32_t max)
{
    bool room = requests->unanswered[REQUEST_GRANTED] < max;
    for (unsigned k = REQUEST_UNKNOWN; k <= kind; k++)
        room = room && requests->unanswered[k] < requests_most(k, max);
    return room;
}

static bool requester_has_room(const struct requests *requests, const struct requester *user,
                               unsigned kind, uint32_t max)
{
    bool room = true;
    for (unsigned k = REQUEST_UNKNOWN; k <= kind; k++)
        room = room && (user->unanswered[k] == 0 ||
                        user->unanswered[k] < requests_most(k, max) - requests->unanswered[k]);
    return room;
}

/* Passes over users who have requests unanswered, and so over no more than may be unanswered. */
static struct conn *requests_of_kind(const struct requests *requests, unsigned kind, uint32_t max)
{
    const struct requester *user;
    if (!requests_have_room(requests, kind, max))
        return NULL;
    TAILQ_FOREACH (user, &requests->turns[kind], turn[kind])
        if (requester_has_room(requests, user, kind, max))
            return TAILQ_FIRST(&user->waiting[kind]);
    return NULL;
}

struct conn *requests_next(struct requests *requests, uint32_t max)
{
    struct conn *conn = NULL;
    for (unsigned i = 0; i < REQUEST_KINDS && !conn; i++)
        conn = requests_of_kind(requests, (requests->next + i) % REQUEST_KINDS, max);
    return conn;
}

struct conn *requests_first(const struct requests *requests)
{
    for (int kind = 0; kind < REQUEST_KINDS; kind++)
        if (!TAILQ_EMPTY(&requests->turns[kind]))
            return TAILQ_FIRST(&TAILQ_FIRST(&requests->turns[kind])->waiting[kind]);
    return NULL;
}

/* A request counts for its own kind, and for the kinds that may take more. */
void requests_sent(struct requests *requests, struct conn *conn)
{
    struct requester *user = conn->requester;
    unsigned own = conn->request_kind;
    requests_withdraw(requests, conn);
    if (!TAILQ_EMPTY(&user->waiting[own])) {
        TAILQ_REMOVE(&requests->turns[own], user, turn[own]);
        TAILQ_INSERT_TAIL(&requests->turns[own], user, turn[own]);
    }
    requests->next = (own + 1) % REQUEST_KINDS;
    for (unsigned kind = 0; kind <= own; kind++) {
        requests->unanswered[kind]++;
        user->unanswered[kind]++;
    }
}

void requests_unsent(struct requests *requests, struct conn *conn)
{
    for (unsigned kind = 0; kind <= conn->request_kind; kind++) {
        requests->unanswered[kind]--;
        conn->requester->unanswered[kind]--;
    }
    requests_leave(requests, conn->requester);
    conn->requester = NULL;
}

void requests_answered(struct requests *requests, struct conn *conn, bool granted)
{
    requests_learn(requests, conn->request_key, granted);
    requests_sort(requests, conn->requester);
    requests_unsent(requests, conn);
}
