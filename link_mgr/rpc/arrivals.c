/* SPDX-License-Identifier: GPL-2.0-or-later */
/* arrivals.h has the theory. */
#include "link_mgr/rpc/arrivals.h"

#include <stdlib.h>

void arrivals_init(struct arrivals *arrivals)
{
    *arrivals = (struct arrivals){.count = 0};
    TAILQ_INIT(&arrivals->turns);
    for (int i = 0; i < ARRIVALS_BUCKETS; i++)
        LIST_INIT(&arrivals->lines[i]);
}

static struct arrivals_line *arrivals_find(struct arrivals *arrivals, uint32_t uid)
{
    struct arrivals_line *line;
    LIST_FOREACH (line, &arrivals->lines[uid % ARRIVALS_BUCKETS], bucket)
        if (line->uid == uid)
            return line;
    return NULL;
}

static struct arrivals_line *arrivals_line_new(struct arrivals *arrivals, uint32_t uid)
{
    struct arrivals_line *line = malloc(sizeof(*line));
    if (line == NULL)
        return NULL;
    line->uid = uid;
    STAILQ_INIT(&line->waiting);
    LIST_INSERT_HEAD(&arrivals->lines[uid % ARRIVALS_BUCKETS], line, bucket);
    TAILQ_INSERT_TAIL(&arrivals->turns, line, turn);
    arrivals->users++;
    return line;
}

bool arrivals_add(struct arrivals *arrivals, uint32_t uid, int fd)
{
    struct arrival *arrival = malloc(sizeof(*arrival));
    struct arrivals_line *line = arrivals_find(arrivals, uid);
    if (arrival != NULL && line == NULL)
        line = arrivals_line_new(arrivals, uid);
    if (arrival == NULL || line == NULL) {
        free(arrival);
        return false;
    }
    arrival->fd = fd;
    STAILQ_INSERT_TAIL(&line->waiting, arrival, next);
    arrivals->count++;
    return true;
}

int arrivals_next(struct arrivals *arrivals, uint32_t *uid)
{
    struct arrivals_line *line = TAILQ_FIRST(&arrivals->turns);
    if (line == NULL)
        return -1;
    struct arrival *arrival = STAILQ_FIRST(&line->waiting);
    int fd = arrival->fd;
    *uid = line->uid;
    STAILQ_REMOVE_HEAD(&line->waiting, next);
    free(arrival);
    arrivals->count--;
    TAILQ_REMOVE(&arrivals->turns, line, turn);
    if (!STAILQ_EMPTY(&line->waiting)) {
        TAILQ_INSERT_TAIL(&arrivals->turns, line, turn);
        return fd;
    }
    LIST_REMOVE(line, bucket);
    free(line);
    arrivals->users--;
    return fd;
}
