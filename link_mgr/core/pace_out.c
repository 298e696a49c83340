/* SPDX-License-Identifier: GPL-2.0-or-later */
/* pace_out.c - see pace.h: what this side sends, in turns. */
#include "link_mgr/core/core.h"
#include "link_mgr/core/link.h"
#include "link_mgr/core/pace_private.h"
#include "link_mgr/core/peer.h"

/* So much must have come before sending goes on after it was used up. */
static uint64_t pace_pause_bytes(const struct pace *pace)
{
    uint64_t bytes = pace->bandwidth / PACE_PAUSE;
    return bytes ? bytes : 1;
}

static uint64_t pace_turn_bytes(const struct pace *pace)
{
    uint64_t bytes = pace->bandwidth / PACE_TURN;
    if (bytes < PACE_TURN_MIN)
        bytes = PACE_TURN_MIN;
    if (bytes > PACE_TURN_MAX)
        bytes = PACE_TURN_MAX;
    return bytes < pace_pause_bytes(pace) ? bytes : pace_pause_bytes(pace);
}

/* Is there enough for a turn? */
static bool pace_is_open(struct pace *pace, uint64_t now)
{
    bucket_earn(&pace->out, now);
    uint64_t there = bucket_bytes(&pace->out);
    if (there < pace_turn_bytes(pace))
        pace->pause = true;
    if (there >= pace_pause_bytes(pace))
        pace->pause = false;
    return !pace->pause;
}

/* The next one has its turn, if nobody has. */
static void pace_next(struct pace *pace, uint64_t now)
{
    struct conn *conn = TAILQ_FIRST(&pace->line);
    if (pace->turn || !conn)
        return;
    if (!pace_is_open(pace, now)) {
        pace_plan(pace->peer, bucket_when(&pace->out, pace_pause_bytes(pace)));
        return;
    }
    TAILQ_REMOVE(&pace->line, conn, ready);
    conn->paced.in_line = conn->on_ready = false;
    conn->paced.left = pace_turn_bytes(pace);
    pace->turn = conn;
    link_line_up(conn->link, conn);
}

bool pace_may_send(struct conn *conn, uint64_t now)
{
    struct pace *pace = conn->pace;
    if (pace->turn == conn || conn->phase != CONN_OPEN || conn->out != OUT_OPEN)
        return true;
    if (!pace->turn && TAILQ_EMPTY(&pace->line) && pace_is_open(pace, now)) {
        pace->turn = conn;
        conn->paced.left = pace_turn_bytes(pace);
        return true;
    }
    conn->on_ready = conn->paced.in_line = true;
    TAILQ_INSERT_TAIL(&pace->line, conn, ready);
    pace_next(pace, now);
    return false;
}

void pace_sent(struct conn *conn, uint64_t bytes, bool filled)
{
    struct pace *pace = conn->pace;
    bucket_take(&pace->out, (int64_t)bytes);
    if (pace->turn != conn)
        return;
    conn->paced.left -= bytes < conn->paced.left ? bytes : conn->paced.left;
    /* An empty message takes a turn, too: there may be any number of them. */
    if (filled && bytes > 0 && conn->paced.left > 0)
        return;
    pace->turn = NULL;
    pace_next(pace, pace->out.at);
}

void pace_pass_out(struct pace *pace, uint64_t now)
{
    pace_next(pace, now);
}
