/* SPDX-License-Identifier: GPL-2.0-or-later */
/* requests.h has the theory. */
#include "link_mgr/core/requests.h"

#include "link_mgr/core/core.h"

void requests_init(struct requests *requests)
{
    for (int row = 0; row < REQUEST_ROWS; row++)
        for (int kind = 0; kind < REQUEST_KINDS; kind++)
            TAILQ_INIT(&requests->rows[row].waiting[kind]);
    for (int i = 0; i < REQUEST_PLACES; i++)
        requests->places[i].kind = REQUEST_UNKNOWN;
}

uint32_t requests_row(uint32_t uid)
{
    return uid * 2654435761u >> 28;
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
    struct request_row *row = &requests->rows[requests_row(conn->uid)];
    conn->request_kind = (uint8_t)requests_kind(requests, conn);
    TAILQ_INSERT_TAIL(&row->waiting[conn->request_kind], conn, control);
    requests->waiting++;
}

void requests_add(struct requests *requests, struct conn *conn)
{
    conn->request_key = requests_key(conn);
    requests_insert(requests, conn);
}

void requests_remove(struct requests *requests, struct conn *conn)
{
    struct request_row *row = &requests->rows[requests_row(conn->uid)];
    TAILQ_REMOVE(&row->waiting[conn->request_kind], conn, control);
    requests->waiting--;
}

/* The answers known by now may put the requests at the head of a list into another kind. Such
 * requests move to the list where they belong. */
static void requests_sort(struct requests *requests, struct request_row *row)
{
    struct conn *conn;
    for (unsigned kind = 0; kind < REQUEST_KINDS; kind++)
        while ((conn = TAILQ_FIRST(&row->waiting[kind])) && requests_kind(requests, conn) != kind) {
            requests_remove(requests, conn);
            requests_insert(requests, conn);
        }
}

/* May one more request of that kind be sent? Each kind may take half as many as the kind before
 * it. */
static bool requests_have_room(const struct requests *requests, const struct request_row *row,
                               unsigned kind, uint32_t max)
{
    uint32_t all = requests->unanswered[kind];
    if (kind == REQUEST_GRANTED)
        return all < max;
    max = max >> kind ? max >> kind : 1;
    return all < max && (row->unanswered[kind] == 0 || row->unanswered[kind] < max - all);
}

static struct conn *requests_of_row(struct requests *requests, struct request_row *row,
                                    uint32_t max)
{
    bool room = true;
    requests_sort(requests, row);
    for (unsigned kind = 0; kind < REQUEST_KINDS; kind++) {
        struct conn *conn = TAILQ_FIRST(&row->waiting[kind]);
        room = room && requests_have_room(requests, row, kind, max);
        if (conn && room)
            return conn;
    }
    return NULL;
}

struct conn *requests_next(struct requests *requests, uint32_t max)
{
    struct conn *conn = NULL;
    for (uint32_t i = 0; i < REQUEST_ROWS && requests->waiting > 0 && !conn; i++)
        conn = requests_of_row(requests, &requests->rows[(requests->next + i) % REQUEST_ROWS], max);
    return conn;
}

struct conn *requests_first(const struct requests *requests)
{
    struct conn *conn = NULL;
    for (int row = 0; row < REQUEST_ROWS && !conn; row++)
        for (int kind = 0; kind < REQUEST_KINDS && !conn; kind++)
            conn = TAILQ_FIRST(&requests->rows[row].waiting[kind]);
    return conn;
}

/* A request counts for its own kind, and for the kinds that may take more. */
void requests_sent(struct requests *requests, struct conn *conn)
{
    uint32_t row = requests_row(conn->uid);
    requests->next = (row + 1) % REQUEST_ROWS;
    for (unsigned kind = 0; kind <= conn->request_kind; kind++) {
        requests->unanswered[kind]++;
        requests->rows[row].unanswered[kind]++;
    }
}

void requests_answered(struct requests *requests, const struct conn *conn, bool granted)
{
    for (unsigned kind = 0; kind <= conn->request_kind; kind++) {
        requests->unanswered[kind]--;
        requests->rows[requests_row(conn->uid)].unanswered[kind]--;
    }
    requests_learn(requests, conn->request_key, granted);
}
