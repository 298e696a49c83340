/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The host and the platform of lone.h: as little as the core needs. */
#include "tests/lone/lone.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define EPOCH "00000000000000aa"

/* ---- host ---- */

static ssize_t the_end(const struct endpoint *end, ssize_t code)
{
    if (end->closed && end->closed_unread)
        return -ECONNRESET;
    return end->ended || end->closed ? code : -EAGAIN;
}

static ssize_t host_pull(struct endpoint *end, const struct iovec *spans, int count)
{
    ssize_t n = 0;
    if (end->conn->type == IDC_STREAM && end->readable == 0)
        end->readable = end->endless;
    if (end->conn->type == IDC_STREAM && end->readable == 0)
        return the_end(end, 0);
    for (int i = 0; i < count && end->readable > 0; i++) {
        size_t part = spans[i].iov_len < end->readable ? spans[i].iov_len : end->readable;
        memset(spans[i].iov_base, 'p', part);
        end->readable -= (uint32_t)part;
        n += (ssize_t)part;
    }
    return n;
}

static ssize_t host_message(struct endpoint *end)
{
    if (end->readable == 0)
        end->readable = end->endless;
    return end->readable ? (ssize_t)end->readable : the_end(end, -ENODATA);
}

static bool host_gone(struct endpoint *end)
{
    return end->closed;
}

static ssize_t host_push(struct endpoint *end, const struct iovec *spans, int count)
{
    ssize_t n = 0;
    if (!end->open || end->got_end)
        abort();
    if (end->closed)
        return -ECONNRESET;
    if (end->shut_rd)
        return -EPIPE;
    if (end->no_room)
        return -EAGAIN;
    for (int i = 0; i < count; i++)
        n += (ssize_t)spans[i].iov_len;
    end->pushed += (uint64_t)n;
    return end->lends ? PUSH_LENT : n;
}

static void host_shut(struct endpoint *end, int how)
{
    if (!end->open || (how == SHUT_WR && end->got_end))
        abort();
    if (how == SHUT_WR)
        end->got_end = true;
    else
        end->ended = true;
}

static void host_unlistened(struct host *host, const struct listener *listener)
{
    (void)host, (void)listener;
}

static void host_close(struct endpoint *end, enum reason reason)
{
    if (!end->open)
        abort();
    end->open = false;
    end->reason = reason;
    end->conn = NULL;
}

static bool make_end(struct lone *lone, struct conn *conn, struct endpoint **ep)
{
    if (lone->end_count == LONE_ENDS)
        return false;
    *ep = &lone->ends[lone->end_count++];
    **ep = (struct endpoint){.used = true, .open = true, .conn = conn};
    return true;
}

static bool host_connected(struct host *host, void *cookie, struct conn *conn, enum reason reason,
                           struct endpoint **ep)
{
    struct lone *lone = host->ctx;
    (void)cookie;
    lone->answers++;
    lone->answer = reason;
    return reason == REASON_OK && make_end(host->ctx, conn, ep);
}

static enum reason host_incoming(struct host *host, struct listener *listener, struct conn *conn,
                                 struct endpoint **ep)
{
    (void)listener;
    return make_end(host->ctx, conn, ep) ? REASON_OK : REASON_NO_RESOURCES;
}

static bool host_listening(struct host *host, struct listener *listener, bool offer)
{
    (void)listener, (void)offer;
    return !((struct lone *)host->ctx)->listeners_gone;
}

static int host_watch(struct host *host, void *token, int fd, void **watch)
{
    (void)host;
    *watch = fd >= 0 ? token : NULL;
    return 0;
}

static uint64_t host_now(struct host *host)
{
    return ((struct lone *)host->ctx)->now;
}

static uint64_t host_wall(struct host *host)
{
    struct lone *lone = host->ctx;
    lone->wall_reads++;
    return lone->now + lone->wall_offset;
}

static uint64_t host_random(struct host *host)
{
    (void)host;
    return 4711;
}

static void host_log(struct host *host, struct log_limit *limit, int priority, const char *text)
{
    struct lone *lone = host->ctx;
    limit->passed++;
    if (priority <= 5) /* LOG_NOTICE */
        snprintf(lone->last_log, sizeof(lone->last_log), "%s", text);
}

/* ---- platform: one channel, which is the struct lone itself ---- */

static int ops_domid(struct platform *platform)
{
    (void)platform;
    return 1;
}

static enum platform_presence ops_presence(struct platform *platform, int domid)
{
    (void)domid;
    return ((struct lone *)platform)->presence;
}

static int ops_publish(struct platform *platform, const char *path, const char *value, int reader)
{
    struct lone *lone = (struct lone *)platform;
    (void)reader;
    if (lone->publish_error) {
        lone->publish_failures++;
        return lone->publish_error;
    }
    snprintf(lone->last_published, sizeof(lone->last_published), "%s %s", strrchr(path, '/') + 1,
             value);
    return 0;
}

static int ops_path(struct platform *platform, const char *path)
{
    (void)platform, (void)path;
    return 0;
}

static int ops_next(struct platform *platform, struct store_event *event)
{
    struct lone *lone = (struct lone *)platform;
    *event = (struct store_event){.path = "/local/domain/2/data/idc/1/x", .present = true};
    if (lone->store_events > 0)
        return lone->store_events--;
    return lone->store_error;
}

static int ops_attach(struct platform *platform, int peer, const char *path,
                      struct channel **channel)
{
    struct lone *lone = (struct lone *)platform;
    (void)peer, (void)path;
    if (lone->channel_open || lone->attach_error)
        return lone->attach_error ? lone->attach_error : -EBUSY;
    lone->channel_open = true;
    *channel = (struct channel *)lone;
    return 0;
}

static int ops_offer(struct platform *platform, int peer, const char *path, size_t ring_size,
                     struct channel **channel)
{
    (void)ring_size;
    return ops_attach(platform, peer, path, channel);
}

static int ops_fd(struct channel *channel)
{
    (void)channel;
    return 1;
}

static enum channel_state ops_poll(struct channel *channel)
{
    return ((struct lone *)channel)->channel_dead ? CHANNEL_DEAD : CHANNEL_OPEN;
}

static void ops_rings(struct channel *channel, struct ring_pair *rings)
{
    struct lone *lone = (struct lone *)channel;
    ring_pair_init(rings, false, &lone->page, lone->left, LONE_RING, lone->right, LONE_RING);
}

static void ops_notify(struct channel *channel)
{
    ((struct lone *)channel)->events++;
}

static void ops_close(struct channel *channel)
{
    ((struct lone *)channel)->channel_open = false;
}

static void ops_lent(struct platform *platform, int peer, struct platform_lent *lent)
{
    struct lone *lone = (struct lone *)platform;
    (void)peer;
    lone->lent_looks++;
    *lent = lone->lent;
}

static void ops_part(struct platform *platform, int peer)
{
    struct lone *lone = (struct lone *)platform;
    lone->parted_from = peer;
    lone->partings++;
}

static const struct platform_ops ops = {
    .name = "lone",
    .domid = ops_domid,
    .presence = ops_presence,
    .next_event = ops_next,
    .publish = ops_publish,
    .retract = ops_path,
    .subscribe = ops_path,
    .unsubscribe = ops_path,
    .offer = ops_offer,
    .attach = ops_attach,
    .channel_fd = ops_fd,
    .channel_poll = ops_poll,
    .channel_rings = ops_rings,
    .channel_notify = ops_notify,
    .channel_close = ops_close,
    .lent = ops_lent,
    .part = ops_part,
};

/* ---- the other side ---- */

bool lone_put(struct lone *lone, const void *bytes, uint32_t length)
{
    if (ring_space(&lone->theirs.out) < (int64_t)length)
        return false;
    ring_put(&lone->theirs.out, 0, bytes, length);
    ring_publish(&lone->theirs.out, length);
    return true;
}

bool lone_send(struct lone *lone, const struct wire_frame *frame, const void *payload)
{
    uint8_t bytes[WIRE_HEADER + 4096];
    wire_put_frame(bytes, frame);
    if (frame->length > 0)
        memcpy(bytes + WIRE_HEADER, payload, frame->length);
    bool sent = lone_put(lone, bytes, WIRE_HEADER + frame->length);
    peer_channel_event(lone->core->by_domid[2]);
    return sent;
}

/* The core must send nothing that is wrong. */
static void lone_fail(const char *wrong, const struct wire_frame *frame)
{
    fprintf(stderr, "the core sent %s: type %u, length %u\n", wrong, frame->type, frame->length);
    abort();
}

bool lone_receive(struct lone *lone, struct wire_frame *frame, uint8_t *payload,
                  uint32_t payload_size)
{
    uint8_t header[WIRE_HEADER];
    if (ring_ready(&lone->theirs.in) < (int64_t)WIRE_HEADER)
        return false;
    ring_get(&lone->theirs.in, 0, header, sizeof(header));
    const char *wrong = wire_get_frame(header, WIRE_FRAME_MIN, frame);
    if (wrong)
        lone_fail(wrong, frame);
    ring_get(&lone->theirs.in, WIRE_HEADER, payload,
             frame->length < payload_size ? frame->length : payload_size);
    ring_consume(&lone->theirs.in, WIRE_HEADER + frame->length);
    return true;
}

void lone_store(struct lone *lone, const char *path, const char *value)
{
    struct store_event event = {.present = value != NULL};
    strcpy(event.path, path);
    strcpy(event.value, value ? value : "");
    core_store_event(lone->core, &event);
}

static void listen_on(struct lone *lone, uint32_t port, enum idc_type type)
{
    struct listener *listener, *clash;
    if (listener_add(&lone->core->listeners, port, "", &listener, &clash))
        abort();
    listener->type = type;
    listener->backlog = LONE_ENDS;
}

void lone_run(struct lone *lone)
{
    while (core_turn(lone->core))
        ;
}

void lone_pass(struct lone *lone, uint64_t ms)
{
    lone->now += ms;
    lone_run(lone);
}

void lone_begin(struct lone *lone)
{
    struct core_config config = CORE_CONFIG_DEFAULT;
    *lone = (struct lone){.now = 1000};
    lone->host = (struct host){.ctx = lone,
                               .ops = &ops,
                               .platform = (struct platform *)lone,
                               .pull = host_pull,
                               .message = host_message,
                               .gone = host_gone,
                               .push = host_push,
                               .shut = host_shut,
                               .close = host_close,
                               .connected = host_connected,
                               .incoming = host_incoming,
                               .listening = host_listening,
                               .unlistened = host_unlistened,
                               .watch = host_watch,
                               .now = host_now,
                               .wall = host_wall,
                               .random64 = host_random,
                               .log = host_log};
    ring_pair_init(&lone->theirs, true, &lone->page, lone->left, LONE_RING, lone->right, LONE_RING);
    lone->core = core_new(&lone->host, &config);
    listen_on(lone, LONE_PORT, IDC_STREAM);
    listen_on(lone, LONE_PORT + 1, IDC_SEQPACKET);
}

void lone_start_with(struct lone *lone, uint64_t features)
{
    uint8_t hello[WIRE_HELLO];
    lone_begin(lone);
    lone_store(lone, "/local/domain/1/idc/policy/2", "in=* out=*");
    lone_store(lone, "/local/domain/2/data/idc/1/alive", EPOCH);
    lone_store(lone, "/local/domain/2/data/idc/1/offer", EPOCH " 1");
    lone_run(lone);
    wire_put_hello(hello, &(struct wire_hello){.version_min = 1,
                                               .version_max = 1,
                                               .features = features,
                                               .epoch = 0xaa,
                                               .generation = 1,
                                               .max_frame = WIRE_FRAME_MIN,
                                               .max_requests = 16,
                                               .domid = 2});
    if (!lone_send(lone, &(struct wire_frame){.type = WIRE_TYPE_HELLO, .length = WIRE_HELLO},
                   hello))
        abort();
    lone_run(lone);
}

void lone_start(struct lone *lone)
{
    lone_start_with(lone, 0);
}

void lone_stop(struct lone *lone)
{
    core_unlisten(lone->core, listener_by_port(&lone->core->listeners, LONE_PORT));
    core_unlisten(lone->core, listener_by_port(&lone->core->listeners, LONE_PORT + 1));
    core_free(lone->core); /* asserts that no connection and no charge is left */
    for (int i = 0; i < lone->end_count; i++)
        if (lone->ends[i].open)
            abort();
    if (lone->channel_open)
        abort();
}
