/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tell.c - see tell.h. */
#include "link_mgr/core/tell.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "link_mgr/core/core.h"

#define TELL_NUMBER_DIGITS 18

/* Connections that no rule tells apart, and how many they are. */
struct tell_kind {
    const struct conn *conn; /* one of them */
    uint32_t count;
};

struct tell_answer {
    struct tell_kind kinds[TELL_KINDS_MAX];
    size_t count;
    uint64_t left; /* connections of further kinds */
    char parts[TELL_PARTS][TELL_PART_MAX + 1];
    size_t lengths[TELL_PARTS];
    unsigned part_count;
};

/* ---- what there is ---- */

static uint32_t tell_port(const struct conn *conn)
{
    return conn->incoming ? conn->local_port : conn->peer_port;
}

static const char *tell_name(const struct conn *conn)
{
    return conn->incoming ? conn->service : conn->name;
}

static bool tell_is_same(const struct conn *one, const struct conn *other)
{
    return one->peer == other->peer && tell_port(one) == tell_port(other) &&
           one->uid == other->uid && one->incoming == other->incoming && one->type == other->type &&
           strcmp(tell_name(one), tell_name(other)) == 0;
}

/* The latest kind is looked at first: connections of one kind often come one after the other. */
static void tell_count(struct tell_answer *answer, const struct conn *conn)
{
    for (size_t i = answer->count; i > 0; i--)
        if (tell_is_same(answer->kinds[i - 1].conn, conn)) {
            answer->kinds[i - 1].count++;
            return;
        }
    if (answer->count == TELL_KINDS_MAX)
        answer->left++;
    else
        answer->kinds[answer->count++] = (struct tell_kind){.conn = conn, .count = 1};
}

static void tell_gather(const struct core *core, struct tell_answer *answer)
{
    const struct peer *peer;
    const struct conn *conn;
    TAILQ_FOREACH (peer, &core->peers, all)
        TAILQ_FOREACH (conn, &peer->conns, of_peer)
            if (conn->phase == CONN_OPEN)
                tell_count(answer, conn);
}

/* ---- as text ---- */

static bool tell_add_line(struct tell_answer *answer, const char *line, size_t length)
{
    unsigned part = answer->part_count == 0 ? 0 : answer->part_count - 1;
    if (answer->part_count == 0 || answer->lengths[part] + length > TELL_PART_MAX - 64) {
        if (answer->part_count == TELL_PARTS)
            return false;
        part = answer->part_count++;
    }
    memcpy(answer->parts[part] + answer->lengths[part], line, length + 1);
    answer->lengths[part] += length;
    return true;
}

static void tell_write(struct tell_answer *answer)
{
    char line[160];
    for (size_t i = 0; i < answer->count; i++) {
        const struct conn *conn = answer->kinds[i].conn;
        int length = snprintf(line, sizeof(line), "%d %s %u %s %u %u%s%s\n", conn->peer->domid,
                              conn->incoming ? "in" : "out", tell_port(conn),
                              conn->type == IDC_STREAM ? "stream" : "seqpacket", conn->uid,
                              answer->kinds[i].count, tell_name(conn)[0] == '\0' ? "" : " ",
                              tell_name(conn));
        if (!tell_add_line(answer, line, (size_t)length))
            answer->left += answer->kinds[i].count;
    }
}

/* ---- the store ---- */

static int tell_path(const struct core *core, char path[PLATFORM_PATH_MAX + 1], int part)
{
    const int length = snprintf(path, PLATFORM_PATH_MAX + 1, "/local/domain/%d/data/idc/%d/use",
                                core->domid, core->domid);
    return part < 0 ? length
                    : snprintf(path + length, PLATFORM_PATH_MAX + 1 - (size_t)length, "/%d", part);
}

/* The first part comes last: who sees it sees all. */
static void tell_publish(struct core *core, const struct tell_answer *answer)
{
    char path[PLATFORM_PATH_MAX + 1], value[TELL_PART_MAX + 80];
    const unsigned parts = answer->part_count == 0 ? 1 : answer->part_count;
    const struct host *host = core->host;
    for (unsigned part = parts; part-- > 0;) {
        tell_path(core, path, (int)part);
        snprintf(value, sizeof(value), "%" PRIu64 " %u %u %" PRIu64 "\n%s", core->tell.asked, part,
                 parts, answer->left, answer->parts[part]);
        if (host->ops->publish(host->platform, path, value, -1))
            return; /* whoever asked says that there was no answer */
    }
    core->tell.told = true;
}

static void tell_answer(struct core *core)
{
    struct tell_answer *answer = calloc(1, sizeof(*answer));
    if (!answer)
        return;
    tell_gather(core, answer);
    tell_write(answer);
    tell_publish(core, answer);
    free(answer);
}

static void tell_retract(struct core *core)
{
    char path[PLATFORM_PATH_MAX + 1];
    if (!core->tell.told)
        return;
    core->tell.told = false;
    tell_path(core, path, -1);
    core->host->ops->retract(core->host->platform, path);
}

/* ---- questions ---- */

/* 0: it is no number. */
static uint64_t tell_number(const char *text)
{
    uint64_t number = 0;
    unsigned digits = 0;
    for (; *text >= '0' && *text <= '9' && digits < TELL_NUMBER_DIGITS; text++, digits++)
        number = 10 * number + (uint64_t)(*text - '0');
    return *text == '\0' ? number : 0;
}

void tell_event(struct core *core, const char *value)
{
    const uint64_t number = value ? tell_number(value) : 0;
    if (number == 0) {
        core->tell.asked = 0;
        core->tell.due = false;
        tell_retract(core);
        return;
    }
    if (number == core->tell.asked)
        return;
    core->tell.asked = number;
    core->tell.due = true;
    if (core->tell.next < core->deadline)
        core->deadline = core->tell.next;
}

void tell_turn(struct core *core)
{
    struct tell *tell = &core->tell;
    if (!tell->due)
        return;
    const uint64_t now = core->host->now(core->host);
    if (now < tell->next)
        return;
    tell->due = false;
    tell->next = now + TELL_PAUSE_MS;
    tell_answer(core);
}

uint64_t tell_deadline(const struct core *core)
{
    return core->tell.due ? core->tell.next : UINT64_MAX;
}
