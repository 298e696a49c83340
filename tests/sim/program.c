/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Programs of the simulation, and what the core asks about them (struct host): models of sockets
 * that behave as link_mgr/core/host.h says, and compare every byte.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "tests/sim/sim.h"

/* bytes that a program may have written and the core not taken */
#define WRITTEN_MAX (450 * 1024)
#define MESSAGE_LENGTH_MAX (400 * 1024)

static uint8_t byte_at(const struct endpoint *from, uint64_t position)
{
    return (uint8_t)(position * 167 + (position >> 8) * 13 + from->pair->number * 31 +
                     (uint64_t)from->side * 97);
}

static struct endpoint *other_end(struct endpoint *end)
{
    return &end->pair->end[!end->side];
}

static struct sim *sim_of(const struct endpoint *end)
{
    return end->pair->sim;
}

/* ---- host: from the program ---- */

static ssize_t at_the_end(const struct endpoint *end, ssize_t end_code)
{
    if (end->closed && end->closed_unread)
        return -ECONNRESET;
    return end->shut_wr || end->closed || end->no_writes ? end_code : -EAGAIN;
}

static void drop_message(struct endpoint *end)
{
    end->message_offset = 0;
    end->first_message = (end->first_message + 1) % MESSAGES_MAX;
    end->message_count--;
}

static ssize_t host_message(struct endpoint *end)
{
    CHECK(sim_of(end), end->open && end->pair->type == IDC_SEQPACKET, "message");
    if (end->message_offset > 0) {
        end->pulled += end->messages[end->first_message] - end->message_offset;
        drop_message(end);
    }
    return end->message_count ? (ssize_t)end->messages[end->first_message]
                              : at_the_end(end, -ENODATA);
}

static void program_fill(struct endpoint *end, const struct iovec *spans, int count,
                         uint64_t position)
{
    for (int i = 0; i < count; i++)
        for (size_t k = 0; k < spans[i].iov_len; k++)
            ((uint8_t *)spans[i].iov_base)[k] = byte_at(end, position++);
}

static size_t spans_length(const struct iovec *spans, int count)
{
    size_t length = 0;
    for (int i = 0; i < count; i++)
        length += spans[i].iov_len;
    return length;
}

static ssize_t pull_message(struct endpoint *end, const struct iovec *spans, int count)
{
    size_t room = spans_length(spans, count);
    CHECK(sim_of(end), end->message_count > 0, "pull without a message");
    uint32_t length = end->messages[end->first_message];
    CHECK(sim_of(end), room <= length - end->message_offset, "pull beyond a message");
    program_fill(end, spans, count, end->pulled);
    end->pulled += room;
    end->message_offset += (uint32_t)room;
    if (end->message_offset == length)
        drop_message(end);
    return (ssize_t)room;
}

static ssize_t host_pull(struct endpoint *end, const struct iovec *spans, int count)
{
    CHECK(sim_of(end), end->open, "pull from a closed endpoint");
    if (end->pair->type == IDC_SEQPACKET)
        return pull_message(end, spans, count);
    uint64_t there = end->written - end->pulled;
    if (there == 0)
        return at_the_end(end, 0);
    uint64_t most = 1 + sim_below(sim_of(end), 32768); /* a read may yield less than there is */
    ssize_t n = 0;
    for (int i = 0; i < count && there > 0 && most > 0; i++) {
        struct iovec span = spans[i];
        span.iov_len = span.iov_len < there ? span.iov_len : there;
        span.iov_len = span.iov_len < most ? span.iov_len : most;
        program_fill(end, &span, 1, end->pulled);
        end->pulled += span.iov_len;
        there -= span.iov_len;
        most -= span.iov_len;
        n += (ssize_t)span.iov_len;
    }
    return n;
}

static bool host_gone(struct endpoint *end)
{
    return end->closed;
}

/* ---- host: to the program ---- */

static void program_compare(struct endpoint *end, const struct iovec *spans, int count,
                            size_t length)
{
    const struct endpoint *from = other_end(end);
    CHECK(sim_of(end), end->pushed + length <= from->written, "more arrived than was sent");
    for (int i = 0; i < count && length > 0; i++) {
        for (size_t k = 0; k < spans[i].iov_len && length > 0; k++, length--) {
            uint8_t byte = ((const uint8_t *)spans[i].iov_base)[k];
            CHECK(sim_of(end), byte == byte_at(from, end->pushed),
                  "pair %llu side %d byte %llu is wrong", (unsigned long long)end->pair->number,
                  end->side, (unsigned long long)end->pushed);
            end->pushed++;
            sim_of(end)->count.bytes++;
        }
    }
}

static ssize_t push_message(struct endpoint *end, const struct iovec *spans, int count,
                            size_t length)
{
    struct pair *pair = end->pair;
    CHECK(sim_of(end), end->pushed_messages < pair->sent_messages[!end->side],
          "a message that nobody sent");
    uint32_t sent = pair->sent_lengths[!end->side][end->pushed_messages % 4096];
    CHECK(sim_of(end), length == sent, "message %u of pair %llu has %zu bytes instead of %u",
          end->pushed_messages, (unsigned long long)pair->number, length, sent);
    program_compare(end, spans, count, length);
    end->pushed_messages++;
    sim_of(end)->count.messages++;
    if (length == 0 || !sim_chance(sim_of(end), 2))
        return (ssize_t)length;
    end->lent = end->wants_write = true;
    return PUSH_LENT;
}

static ssize_t host_push(struct endpoint *end, const struct iovec *spans, int count)
{
    size_t length = spans_length(spans, count);
    uint64_t unread = end->pushed - end->read;
    CHECK(sim_of(end), end->open, "push to a closed endpoint");
    CHECK(sim_of(end), !end->eof, "push after the end");
    if (end->closed)
        return -ECONNRESET;
    if (end->shut_rd)
        return -EPIPE;
    CHECK(sim_of(end), !end->lent, "push although a message is lent");
    uint64_t room = unread < end->capacity ? end->capacity - unread : 0;
    if (room == 0 || (end->pair->type == IDC_SEQPACKET && unread > 0 && length > room)) {
        end->wants_write = true;
        return -EAGAIN;
    }
    if (end->pair->type == IDC_SEQPACKET)
        return push_message(end, spans, count, length);
    length = length < room ? length : room;
    program_compare(end, spans, count, length);
    return (ssize_t)length;
}

static bool all_arrived(struct endpoint *end)
{
    return end->pushed == other_end(end)->written &&
           end->pushed_messages == end->pair->sent_messages[!end->side];
}

static void host_shut(struct endpoint *end, int how)
{
    const struct endpoint *other = other_end(end);
    if (how == SHUT_RD) {
        end->no_writes = true;
        end->readable_event = true;
        return;
    }
    CHECK(sim_of(end), !end->eof, "a second end");
    CHECK(sim_of(end), other->shut_wr || other->closed || other->no_writes,
          "an end that nobody made");
    CHECK(sim_of(end), all_arrived(end) || end->shut_rd || end->closed,
          "an end before everything arrived");
    end->eof = true;
}

static void host_close(struct endpoint *end, enum reason reason)
{
    struct sim *sim = sim_of(end);
    CHECK(sim, end->open, "a second close");
    end->open = false;
    end->ended = true;
    end->reason = reason;
    end->conn = NULL;
    if (sim->domains[end->pair->domain[end->side]].crashing)
        return;
    if (reason == REASON_OK) {
        sim->count.clean++;
        if (!end->eof && !end->closed)
            host_shut(end, SHUT_WR); /* the program sees the same */
        CHECK(sim, end->pair->excused || (all_arrived(end) && end->pulled == end->written),
              "a clean close with something lost");
    } else {
        sim->count.resets++;
        CHECK(sim, end->pair->excused, "pair %llu: a reset (%s) without a cause",
              (unsigned long long)end->pair->number, reason_text(reason));
    }
}

/* ---- host: connections come about ---- */

static void open_end(struct endpoint *end, struct conn *conn, struct endpoint **ep)
{
    end->open = true;
    end->conn = conn;
    end->capacity = 1 + sim_below(end->pair->sim, sim_chance(end->pair->sim, 2) ? 200 : 40000);
    *ep = end;
}

static void check_unreachable(const struct pair *pair, const struct conn *conn)
{
    const struct sim *sim = pair->sim;
    const struct core *other = sim->domains[pair->domain[1]].core;
    CHECK(sim, !other || conn->peer->alive != other->epoch,
          "pair %llu: nobody there, though its link_mgr runs, and this side knows it",
          (unsigned long long)pair->number);
    uint64_t since = sim->domains[pair->domain[0]].permitted[pair->domain[1]];
    /* Rules permit without a node. */
    CHECK(sim, since || sim->ruled, "pair %llu: nobody there, without permission",
          (unsigned long long)pair->number);
    /* An `alive` that is still known was left behind: the platform knows that nobody runs there. */
    CHECK(sim,
          sim->ruled || pair->excused || conn->peer->alive != 0 ||
              sim->now - pair->asked >= PEER_GRACE_MS || sim->now - since >= PEER_GRACE_MS,
          "pair %llu: nobody there, %llu ms after the permission", (unsigned long long)pair->number,
          (unsigned long long)(sim->now - since));
}

static bool host_connected(struct host *host, void *cookie, struct conn *conn, enum reason reason,
                           struct endpoint **ep)
{
    struct pair *pair = cookie;
    struct sim *sim = pair->sim;
    (void)host;
    CHECK(sim, pair->waiting && pair->conn == conn, "an answer to nothing");
    pair->waiting = false;
    pair->conn = NULL;
    if (reason != REASON_OK) {
        if (reason == REASON_UNREACHABLE)
            check_unreachable(pair, conn);
        sim->count.refused++;
        pair->failed = true;
        return false;
    }
    CHECK(sim,
          pair->incoming_seen && conn->peer_port == pair->port[1] &&
              conn->listener_uid == SIM_LISTENER_UID(pair->domain[1], pair->port[1]),
          "connected to somewhere else");
    if (sim_chance(sim, 200)) { /* as if descriptors were used up */
        pair->failed = pair->excused = true;
        return false;
    }
    sim->count.connected++;
    open_end(&pair->end[0], conn, ep);
    return true;
}

static struct pair *find_asked(struct sim *sim, const struct conn *conn, int to)
{
    struct pair *pair;
    LIST_FOREACH (pair, &sim->pairs, list)
        if ((uint32_t)pair->number == conn->uid &&
            sim->domains[pair->domain[0]].domid == conn->peer->domid && pair->domain[1] == to)
            return pair;
    return NULL;
}

static enum reason host_incoming(struct host *host, struct listener *listener, struct conn *conn,
                                 struct endpoint **ep)
{
    struct domain *domain = host->ctx;
    struct sim *sim = domain->sim;
    struct pair *pair = find_asked(sim, conn, domain->index);
    CHECK(sim, pair, "a connection that nobody asked for");
    CHECK(sim, !pair->incoming_seen, "a connection that arrives twice");
    CHECK(sim,
          conn->type == pair->type && listener->type == pair->type &&
              listener->port == pair->port[1],
          "a connection to the wrong place");
    CHECK(sim, listener->waiting < listener->backlog, "a connection beyond the backlog");
    if (sim_chance(sim, 200))
        return REASON_NO_RESOURCES;
    pair->incoming_seen = true;
    listener->waiting++;
    open_end(&pair->end[1], conn, ep);
    return REASON_OK;
}

/* Programs' closing of listeners is told at once here. */
static void host_unlistened(struct host *host, const struct listener *listener)
{
    (void)host, (void)listener;
}

static bool host_listening(struct host *host, struct listener *listener, bool offer)
{
    (void)host, (void)listener, (void)offer;
    return true;
}

static uint64_t host_now(struct host *host)
{
    return ((struct domain *)host->ctx)->sim->now;
}

static uint64_t host_random(struct host *host)
{
    return sim_random(((struct domain *)host->ctx)->sim);
}

static void host_log(struct host *host, struct log_limit *limit, int priority, const char *text)
{
    const struct domain *domain = host->ctx;
    (void)limit, (void)priority;
    if (sim_verbose)
        fprintf(stderr, "%lu dom%d: %s\n", domain->sim->steps, domain->domid, text);
}

static int host_watch(struct host *host, void *token, int fd, void **watch)
{
    (void)watch;
    world_watch(host->platform, token, fd);
    return 0;
}

void program_fill_host(struct host *host)
{
    host->pull = host_pull;
    host->message = host_message;
    host->gone = host_gone;
    host->push = host_push;
    host->shut = host_shut;
    host->close = host_close;
    host->connected = host_connected;
    host->incoming = host_incoming;
    host->listening = host_listening;
    host->unlistened = host_unlistened;
    host->watch = host_watch;
    host->now = host_now;
    host->wall = host_now;
    host->random64 = host_random;
    host->log = host_log;
}

/* ---- what programs do ---- */

void program_excuse(struct sim *sim, int domain, int other)
{
    struct pair *pair;
    LIST_FOREACH (pair, &sim->pairs, list) {
        int a = sim->domains[pair->domain[0]].domid, b = sim->domains[pair->domain[1]].domid;
        if ((a == domain && (other < 0 || b == other)) ||
            (b == domain && (other < 0 || a == other)))
            pair->excused = true;
    }
}

void program_connect(struct sim *sim)
{
    int from = (int)sim_below(sim, (uint32_t)sim->domain_count),
        to = (int)sim_below(sim, (uint32_t)sim->domain_count);
    if (from == to || !sim->domains[from].core)
        return;
    enum idc_type type = sim_chance(sim, 3) ? IDC_SEQPACKET : IDC_STREAM;
    program_connect_to(sim, from, to, PORT_BASE + sim_below(sim, PORTS), type);
}

void program_connect_to(struct sim *sim, int from, int to, uint32_t port, enum idc_type type)
{
    struct domain *domain = &sim->domains[from];
    enum reason reason;
    struct pair *pair = calloc(1, sizeof(*pair));
    *pair = (struct pair){.sim = sim,
                          .number = ++sim->next_pair,
                          .domain = {from, to},
                          .asked = sim->now,
                          .waiting = true};
    pair->type = type;
    pair->port[1] = port;
    for (int side = 0; side < 2; side++) {
        pair->end[side].pair = pair;
        pair->end[side].side = side;
    }
    sim->count.connects++;
    const struct core_request request = {.domid = (uint32_t)sim->domains[to].domid,
                                         .port = pair->port[1],
                                         .name = "",
                                         .type = pair->type,
                                         .uid = (uint32_t)pair->number,
                                         .cookie = pair};
    pair->conn = core_connect(domain->core, &request, &reason);
    if (!pair->conn) {
        CHECK(sim, reason == REASON_POLICY || reason == REASON_NO_RESOURCES, "refused at once: %s",
              reason_text(reason));
        free(pair);
        return;
    }
    LIST_INSERT_HEAD(&sim->pairs, pair, list);
    sim->pair_count++;
}

void program_write(struct sim *sim, struct endpoint *end)
{
    uint64_t room = WRITTEN_MAX - (end->written - end->pulled);
    if (end->shut_wr || end->no_writes || end->closed)
        return;
    if (other_end(end)->closed)
        end->pair->excused = true; /* what is sent now will be lost */
    if (end->pair->type == IDC_STREAM) {
        end->written += sim_below(sim, sim_chance(sim, 3) && room > 3
                                           ? 3
                                           : (uint32_t)(sim_chance(sim, 4) ? room : room / 64) + 1);
    } else {
        uint32_t length = sim_below(sim, sim_chance(sim, 3)   ? 3
                                         : sim_chance(sim, 3) ? MESSAGE_LENGTH_MAX
                                                              : 2000);
        if (end->message_count == MESSAGES_MAX || length > room)
            return;
        end->messages[(end->first_message + end->message_count++) % MESSAGES_MAX] = length;
        end->pair->sent_lengths[end->side][end->pair->sent_messages[end->side]++ % 4096] = length;
        end->written += length;
    }
    end->readable_event = true;
}

static void program_read(struct endpoint *end, uint64_t most)
{
    uint64_t unread = end->pushed - end->read;
    uint64_t n = unread < most ? unread : most;
    end->read += n;
    if (n > 0 && end->wants_write) {
        end->wants_write = end->lent && end->read < end->pushed;
        end->writable_event |= !end->wants_write;
    }
}

bool program_read_all(struct sim *sim, struct endpoint *end)
{
    bool any = end->pushed > end->read;
    (void)sim;
    end->capacity = WRITTEN_MAX; /* one with room for a byte or two would take its time */
    program_read(end, UINT64_MAX);
    if (end->side == 1 && end->conn && end->conn->listener) {
        end->conn->listener->waiting--;
        conn_taken(end->conn);
    }
    return any;
}

void program_close(struct sim *sim, struct endpoint *end)
{
    const struct endpoint *other = other_end(end);
    (void)sim;
    if (end->closed)
        return;
    bool other_done = (other->shut_wr || other->closed) && end->read == other->written &&
                      end->pushed_messages == end->pair->sent_messages[!end->side];
    if (!other_done && !(end->read == other->written && !end->shut_rd &&
                         end->pushed_messages == end->pair->sent_messages[!end->side]))
        end->pair->excused = true;
    end->closed = true;
    end->closed_unread = end->pushed > end->read;
    end->readable_event = end->writable_event = true;
}

void program_end(struct sim *sim, struct endpoint *end)
{
    (void)sim;
    end->shut_wr = true;
    end->readable_event = true;
}

static void program_shut(struct sim *sim, struct endpoint *end)
{
    if (sim_chance(sim, 8)) {
        end->shut_rd = end->pair->excused = true;
        end->writable_event = true;
        return;
    }
    program_end(sim, end);
}

void program_act(struct sim *sim, struct endpoint *end)
{
    uint32_t what = sim_below(sim, 100);
    if (end->closed)
        return;
    if (what < 45)
        program_write(sim, end);
    else if (what < 85)
        program_read(end, 1 + sim_below(sim, 20000));
    else if (what < 93)
        program_read_all(sim, end);
    else if (what < 97)
        program_shut(sim, end);
    else
        program_close(sim, end);
}

void program_abandon(struct sim *sim)
{
    struct pair *pair;
    LIST_FOREACH (pair, &sim->pairs, list) {
        if (!pair->waiting || sim_chance(sim, 2))
            continue;
        pair->excused = pair->failed = true;
        pair->waiting = false;
        conn_abandon(pair->conn);
        pair->conn = NULL;
        return;
    }
}

struct endpoint *program_pick(struct sim *sim)
{
    struct pair *pair;
    if (sim->pair_count == 0)
        return NULL;
    uint64_t skip = sim_below(sim, (uint32_t)sim->pair_count);
    LIST_FOREACH (pair, &sim->pairs, list)
        if (skip-- == 0)
            break;
    struct endpoint *end = &pair->end[sim_below(sim, 2)];
    return end->open ? end : NULL;
}

static void deliver_events(struct endpoint *end)
{
    struct conn *conn = end->conn;
    bool readable = end->readable_event, writable = end->writable_event;
    end->readable_event = end->writable_event = false;
    end->lent = end->lent && !writable;
    if (readable)
        conn_readable(conn);
    if (writable)
        conn_writable(conn);
    if (readable || writable)
        conn_settle(conn);
}

void program_deliver_events(struct sim *sim, struct domain *domain)
{
    struct pair *pair;
    LIST_FOREACH (pair, &sim->pairs, list)
        for (int side = 0; side < 2; side++)
            if (pair->domain[side] == domain->index && pair->end[side].open)
                deliver_events(&pair->end[side]);
}

void program_free_finished(struct sim *sim)
{
    struct pair *pair, *next;
    for (pair = LIST_FIRST(&sim->pairs); pair; pair = next) {
        next = LIST_NEXT(pair, list);
        if (pair->waiting || pair->end[0].open || pair->end[1].open)
            continue;
        /* One that failed may still arrive at the other side, as long as the request is under way.
         */
        if (pair->failed && !pair->incoming_seen && pair->excused && sim->steps != 0)
            continue;
        LIST_REMOVE(pair, list);
        sim->pair_count--;
        free(pair);
    }
}
