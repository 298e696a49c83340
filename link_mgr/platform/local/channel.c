/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Channels of the local platform; channel.h has the theory.
 */
#include "link_mgr/platform/local/channel.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <syslog.h>
#include <unistd.h>

#include "common/handover.h"
#include "link_mgr/platform/local/memory.h"
#include "link_mgr/platform/local/rendezvous.h"
#include "link_mgr/platform/local/shared.h"

struct channel {
    struct source source; /* of socket */
    struct platform *platform;
    TAILQ_ENTRY(channel) entry;
    enum channel_state state;
    bool server; /* this side offered */
    int peer;
    int socket;           /* -1: not handed over yet, or the peer is gone */
    int rx, tx;           /* eventfds: we are told, we tell (-1: not known yet) */
    bool handed_over;     /* the memory, to the peer */
    struct lent *lent;    /* offering side */
    struct shared shared; /* attaching side: its own; offering side: that of lent */
    char path[PLATFORM_PATH_MAX + 1];
};

static struct channel *channel_of(struct source *source)
{
    return (struct channel *)((char *)source - offsetof(struct channel, source));
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* A full counter has already notified, so it does not matter if adding fails. */
static void local_channel_tell(int eventfd)
{
    uint64_t one = 1;
    ssize_t ignored = write(eventfd, &one, sizeof(one));
    (void)ignored;
}

static void set_state(struct channel *channel, enum channel_state state)
{
    if (channel->state == CHANNEL_DEAD)
        return;
    channel->state = state;
    local_channel_tell(channel->rx);
}

static void drop_socket(struct channel *channel)
{
    if (channel->socket >= 0)
        platform_poll_end(channel->platform, channel->socket);
    close_fd(&channel->socket);
}

/* The attaching side's socket says to the other that the memory is held: it stays until the memory
 * has been given up. */
static void local_channel_die(struct channel *channel)
{
    if (channel->server)
        drop_socket(channel);
    else if (channel->socket >= 0)
        platform_poll_end(channel->platform, channel->socket);
    set_state(channel, CHANNEL_DEAD);
}

static int local_channel_refuse(struct channel *channel, int error, const char *why)
{
    platform_log_limited(channel->platform, LOG_WARNING, "link with domain %d: %s", channel->peer,
                         why);
    return error;
}

/* ---- making and ending ---- */

static struct channel *channel_new(struct platform *platform, int peer, const char *path,
                                   bool server)
{
    struct channel *channel = calloc(1, sizeof(*channel));
    if (channel == NULL)
        return NULL;
    channel->source.kind = SOURCE_CHANNEL;
    channel->platform = platform;
    channel->state = CHANNEL_PENDING;
    channel->server = server;
    channel->peer = peer;
    channel->socket = channel->rx = channel->tx = -1;
    strcpy(channel->path, path);
    TAILQ_INSERT_TAIL(&platform->channels, channel, entry);
    return channel;
}

/* A node below path, where libxenvchan has ring-ref and event-channel. */
static bool node_path(const char *path, char node[PLATFORM_PATH_MAX + 1])
{
    int length = snprintf(node, PLATFORM_PATH_MAX + 1, "%s/socket", path);
    return length <= PLATFORM_PATH_MAX && local_layout_valid_path(node);
}

static int publish_socket(struct channel *channel)
{
    char node[PLATFORM_PATH_MAX + 1], name[RENDEZVOUS_NAME_MAX];
    node_path(channel->path, node);
    local_rendezvous_name(channel->platform->domid, name);
    return local_store_write(&channel->platform->store, node, name, channel->peer);
}

static void retract_socket(struct channel *channel)
{
    char node[PLATFORM_PATH_MAX + 1];
    node_path(channel->path, node);
    local_store_remove_node(&channel->platform->store, node);
}

/* It shows whether the peer still holds the memory. */
static void leave_socket(struct channel *channel)
{
    if (channel->socket < 0 || channel->lent == NULL)
        return;
    platform_poll_end(channel->platform, channel->socket);
    local_memory_leave_socket(channel->lent, channel->socket);
    channel->socket = -1;
}

static void channel_free(struct channel *channel)
{
    leave_socket(channel);
    if (!channel->server)
        local_shared_unmap(&channel->shared);
    drop_socket(channel);
    close_fd(&channel->rx);
    close_fd(&channel->tx);
    if (channel->lent)
        lender_keep(&channel->platform->lender, channel->lent);
    TAILQ_REMOVE(&channel->platform->channels, channel, entry);
    free(channel);
}

void local_channel_close(struct channel *channel)
{
    struct ring_page *page = channel->shared.page;
    if (channel->server)
        retract_socket(channel);
    if (page != NULL)
        local_shared_set_live(channel->server ? &page->srv_live : &page->cli_live, SHARED_GONE);
    local_channel_notify(channel);
    channel_free(channel);
}

/* ---- the offering side ---- */

static int make_offer(struct channel *channel, size_t ring_size)
{
    if (ring_size > 1u << SHARED_ORDER_MAX)
        return -EINVAL;
    channel->rx = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (channel->rx < 0)
        return -errno;
    int result =
        lender_take(&channel->platform->lender, channel->peer, (uint32_t)ring_size, &channel->lent);
    if (result != 0)
        return result;
    channel->shared = *local_memory_shared(channel->lent);
    local_shared_begin(&channel->shared);
    return publish_socket(channel);
}

/* Two offers to one peer at one path would share the node, and nobody could distinguish them. */
static bool is_offered(const struct platform *platform, const char *path)
{
    const struct channel *channel;
    TAILQ_FOREACH (channel, &platform->channels, entry) {
        if (channel->server && strcmp(channel->path, path) == 0)
            return true;
    }
    return false;
}

int local_channel_offer(struct platform *platform, int peer, const char *path, size_t ring_size,
                        struct channel **channel)
{
    char node[PLATFORM_PATH_MAX + 1];
    if (!node_path(path, node) || peer < 0 || peer > STORE_DOMID_MAX || peer == platform->domid)
        return -EINVAL;
    if (is_offered(platform, path))
        return -EEXIST;
    struct channel *offer = channel_new(platform, peer, path, true);
    if (offer == NULL)
        return -ENOMEM;
    int result = make_offer(offer, ring_size);
    if (result < 0) {
        channel_free(offer);
        return result;
    }
    *channel = offer;
    return 0;
}

struct channel *local_channel_find_offer(struct platform *platform, int peer, const char *path)
{
    struct channel *channel;
    TAILQ_FOREACH (channel, &platform->channels, entry) {
        if (channel->server && !channel->handed_over && channel->peer == peer &&
            strcmp(channel->path, path) == 0)
            return channel;
    }
    return NULL;
}

int local_channel_hand_over(struct channel *channel, int socket, int eventfd)
{
    struct channel_reply reply = {.magic = CHANNEL_MAGIC, .version = CHANNEL_VERSION};
    int fds[2] = {local_memory_fd(channel->lent), channel->rx};
    int result = platform_poll(channel->platform, socket, &channel->source);
    if (result != 0)
        return result;
    ssize_t sent = handover_send(socket, &reply, sizeof(reply), fds, 2, MSG_DONTWAIT);
    if (sent != sizeof(reply)) {
        platform_poll_end(channel->platform, socket);
        return sent < 0 ? (int)sent : -EIO;
    }
    channel->socket = socket;
    channel->tx = eventfd;
    channel->handed_over = true;
    return 0;
}

/* The ack has arrived, or something else in its place. local_channel_poll checks that cli_live is
 * set too. */
static int take_ack(struct channel *channel)
{
    struct channel_ack ack, expected = {.magic = CHANNEL_MAGIC};
    ssize_t got = recv(channel->socket, &ack, sizeof(ack), MSG_DONTWAIT | MSG_TRUNC);
    if (got < 0)
        return -errno;
    if (got == 0)
        return -EPIPE;
    if (got != sizeof(ack) || memcmp(&ack, &expected, sizeof(ack)) != 0)
        return local_channel_refuse(channel, -EPROTO,
                                    "it sent something other than its acknowledgement");
    return 0;
}

/* ---- the attaching side ---- */

static int send_hello(struct channel *channel)
{
    struct channel_hello hello = {
        .magic = CHANNEL_MAGIC, .version = CHANNEL_VERSION, .domid = channel->platform->domid};
    strcpy(hello.path, channel->path);
    ssize_t sent =
        handover_send(channel->socket, &hello, sizeof(hello), &channel->rx, 1, MSG_DONTWAIT);
    return sent == sizeof(hello) ? 0 : sent < 0 ? (int)sent : -EIO;
}

static int make_attach(struct channel *channel)
{
    channel->rx = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (channel->rx < 0)
        return -errno;
    int socket = local_rendezvous_connect(&channel->platform->store, channel->peer);
    if (socket < 0)
        return socket;
    int result = platform_poll(channel->platform, socket, &channel->source);
    if (result != 0) {
        close(socket);
        return result;
    }
    channel->socket = socket;
    return send_hello(channel);
}

/* 0 if the node is there, is readable for us, and has the right value. */
static int check_offer(struct platform *platform, int peer, const char *path)
{
    char node[PLATFORM_PATH_MAX + 1], value[PLATFORM_VALUE_MAX + 1], name[RENDEZVOUS_NAME_MAX];
    if (!node_path(path, node) || peer < 0 || peer > STORE_DOMID_MAX || peer == platform->domid)
        return -EINVAL;
    int length = local_store_read(&platform->store, node, value);
    if (length < 0)
        return length;
    local_rendezvous_name(peer, name);
    return strcmp(value, name) == 0 ? 0 : -EPROTO;
}

int local_channel_attach(struct platform *platform, int peer, const char *path,
                         struct channel **channel)
{
    int result = check_offer(platform, peer, path);
    if (result != 0)
        return result;
    struct channel *attached = channel_new(platform, peer, path, false);
    if (attached == NULL)
        return -ENOMEM;
    result = make_attach(attached);
    if (result != 0) {
        channel_free(attached);
        return result;
    }
    *channel = attached;
    return 0;
}

static int check_reply(struct channel *channel, const struct channel_reply *reply, ssize_t length)
{
    if (length == 0)
        return local_channel_refuse(channel, -EPIPE,
                                    "it closed the socket instead of handing over the rings");
    if (length != sizeof(*reply) || memcmp(reply->magic, CHANNEL_MAGIC, sizeof(reply->magic)) != 0)
        return local_channel_refuse(channel, -EPROTO, "its answer on the socket is not link_mgr's");
    if (reply->version != CHANNEL_VERSION)
        return local_channel_refuse(channel, -EPROTO,
                                    "it hands rings over as another version does");
    if (reply->status != 0)
        return local_channel_refuse(channel, -ENOENT,
                                    "it does not offer that channel to this domain");
    return 0;
}

/* Either may be -1, if it was not handed over. */
static int take_rings(struct channel *channel, int memory, int eventfd)
{
    const char *why = "";
    struct channel_ack ack = {.magic = CHANNEL_MAGIC};
    if (!local_rendezvous_is_eventfd(eventfd))
        return local_channel_refuse(channel, -EPROTO, "it did not hand over an eventfd");
    int result = local_shared_accept(&channel->shared, memory, &why);
    if (result != 0) {
        platform_log_limited(channel->platform, LOG_WARNING,
                             "link with domain %d: memory not taken: %s", channel->peer,
                             result == -EPROTO ? why : strerror(-result));
        return result;
    }
    local_shared_set_live(&channel->shared.page->cli_live, SHARED_LIVE);
    channel->tx = eventfd;
    ssize_t sent = handover_send(channel->socket, &ack, sizeof(ack), NULL, 0, MSG_DONTWAIT);
    return sent == sizeof(ack) ? 0 : -EPIPE;
}

static int take_reply(struct channel *channel)
{
    union {
        struct channel_reply reply;
        char room[sizeof(struct channel_reply) + 1]; /* one byte more, to notice a longer message */
    } in = {0};
    int fds[2] = {-1, -1}, count = 2;
    ssize_t length = handover_recv(channel->socket, &in, sizeof(in), fds, &count, MSG_DONTWAIT);
    if (length < 0)
        return (int)length;
    int result = check_reply(channel, &in.reply, length);
    if (result == 0)
        result = take_rings(channel, fds[0], fds[1]);
    close_fd(&fds[0]);
    if (fds[1] != channel->tx)
        close_fd(&fds[1]);
    return result;
}

/* ---- both ---- */

void local_channel_socket_event(struct source *source)
{
    struct channel *channel = channel_of(source);
    int result = -EPIPE; /* nothing may come on an open channel */
    if (channel->state == CHANNEL_PENDING)
        result = channel->server ? take_ack(channel) : take_reply(channel);
    if (result == 0)
        set_state(channel, CHANNEL_OPEN);
    else if (result != -EAGAIN && result != -EINTR)
        local_channel_die(channel);
}

int local_channel_fd(struct channel *channel)
{
    return channel->rx;
}

enum channel_state local_channel_poll(struct channel *channel)
{
    uint64_t count;
    const struct ring_page *page = channel->shared.page;
    ssize_t ignored = read(channel->rx, &count, sizeof(count));
    (void)ignored;
    if (channel->state == CHANNEL_OPEN &&
        local_shared_live(channel->server ? &page->cli_live : &page->srv_live) != SHARED_LIVE)
        local_channel_die(channel);
    return channel->state;
}

void local_channel_rings(struct channel *channel, struct ring_pair *rings)
{
    local_shared_rings(&channel->shared, channel->server, rings);
}

void local_channel_notify(struct channel *channel)
{
    if (channel->tx >= 0)
        local_channel_tell(channel->tx);
}
