/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * local.c - the `local` platform. Domains are processes of one user on one machine, Xenstore is a
 * directory, and a channel is memory that two processes share.
 *
 * Theory of operation
 *
 * struct platform holds an epoll set, which is the event_fd. In it are inotify, the listening
 * socket, the sockets of hand-overs and of channels, and an eventfd (kick). kick is readable while
 * something waits in our own memory, so that the set is readable whenever next_event has something.
 * next_event first reports what waits. Then it looks at the set once, does what the sockets ask
 * for, and reports what that brought. The owners of channels learn of it from their channels'
 * descriptors.
 *
 * If a node cannot be looked at for lack of descriptors or memory, the set rests: kick and inotify
 * do not make it readable, and a timer does so in AGAIN_MS. Otherwise the loop would turn without
 * end.
 *
 * Only one process at a time may be a given domain on a store. A socket ensures that. Its abstract
 * name is made from the directory's identity and the domid, and the kernel releases it with the
 * process, however that ends. The platform notes the nodes that it has published, so that close can
 * retract them.
 */
#include "link_mgr/platform/local/local.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

#include "common/text_cut.h"
#include "link_mgr/platform/local/channel.h"
#include "link_mgr/platform/local/memory.h"
#include "link_mgr/platform/local/rendezvous.h"

#define EVENTS_AT_ONCE 32
#define LOG_LINES_A_SECOND 10
#define AGAIN_MS 20

/* ---- shared with the other files ---- */

int platform_poll(struct platform *platform, int fd, struct source *source)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = source};
    return epoll_ctl(platform->epoll, EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : -errno;
}

void platform_poll_end(struct platform *platform, int fd)
{
    epoll_ctl(platform->epoll, EPOLL_CTL_DEL, fd, NULL);
}

void platform_log_limited(struct platform *platform, int priority, const char *format, ...)
{
    char text[PLATFORM_PATH_MAX + 256];
    va_list arguments;
    time_t now = time(NULL);
    if (now != platform->log_second)
        platform->log_count = 0;
    platform->log_second = now;
    if (platform->log == NULL || platform->log_count++ >= LOG_LINES_A_SECOND)
        return;
    va_start(arguments, format);
    text_mark_cut(text, sizeof(text), vsnprintf(text, sizeof(text), format, arguments));
    va_end(arguments);
    platform->log(priority, text);
}

/* ---- opening ---- */

static int take_lock(struct platform *platform)
{
    struct stat status;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (fstat(platform->store.dir, &status) != 0)
        return -errno;
    int length = snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1,
                          "idc-link_mgr/%llx:%llx/%d", (unsigned long long)status.st_dev,
                          (unsigned long long)status.st_ino, platform->domid);
    platform->lock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (platform->lock < 0)
        return -errno;
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length);
    return bind(platform->lock, (struct sockaddr *)&address, size) == 0 ? 0 : -errno;
}

static int open_descriptors(struct platform *platform)
{
    platform->epoll = epoll_create1(EPOLL_CLOEXEC);
    platform->kick = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    platform->again = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (platform->epoll < 0 || platform->kick < 0 || platform->again < 0)
        return -errno;
    int result = platform_poll(platform, platform->kick, &platform->kick_source);
    return result != 0 ? result : platform_poll(platform, platform->again, &platform->again_source);
}

static void on_malformed(const struct watch *watch, const char *path)
{
    struct platform *platform =
        (struct platform *)((char *)(uintptr_t)watch - offsetof(struct platform, watch));
    platform_log_limited(platform, LOG_ERR,
                         "%s can't be read, and counts as missing: its file has no line of "
                         "permissions, or more than %d bytes",
                         path, PLATFORM_VALUE_MAX);
}

static int open_watch(struct platform *platform)
{
    char guard[RENDEZVOUS_NAME_MAX];
    local_rendezvous_name(platform->domid, guard);
    int result = local_watch_open(&platform->watch, &platform->store, guard);
    platform->watch.malformed = on_malformed;
    return result != 0 ? result
                       : platform_poll(platform, platform->watch.fd, &platform->watch_source);
}

/* EMFILE of inotify means its instances, unless the process has no descriptor left. */
static bool has_no_descriptor(void)
{
    int probe = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
    if (probe >= 0)
        close(probe);
    return probe < 0 && errno == EMFILE;
}

static int local_explain(int error, const struct platform_config *config, const char *step,
                         char *why, size_t size)
{
    if (error == -EADDRINUSE)
        snprintf(why, size,
                 "domain %d has a link_mgr already on the store %s; stop that one, or give another "
                 "--domid",
                 config->domid, config->store);
    else if (error == -EMFILE && has_no_descriptor())
        snprintf(why, size, "link_mgr has no descriptors left (LimitNOFILE of its service)");
    else if (error == -EMFILE)
        snprintf(why, size,
                 "no inotify instance is left for this user; raise fs.inotify.max_user_instances");
    else if (error == -ENOSPC && strcmp(step, "watch") == 0)
        snprintf(why, size,
                 "no inotify watch is left for this user; raise fs.inotify.max_user_watches");
    else
        snprintf(why, size, "cannot %s the store %s: %s", step, config->store, strerror(-error));
    return error;
}

/* The node that the toolstack would write. value NULL: removes it. */
static int write_as_toolstack(const struct platform *platform, const char *leaf, const char *value)
{
    char path[PLATFORM_PATH_MAX + 1];
    struct store_local store = {.dir = platform->store.dir, .domid = STORE_TOOLSTACK};
    snprintf(path, sizeof(path), "/local/domain/%d/%s", platform->domid, leaf);
    return value != NULL ? local_store_write(&store, path, value, platform->domid)
                         : local_store_remove_node(&store, path);
}

static int write_names(struct platform *platform, const struct platform_config *config)
{
    int result = 0;
    if (config->name != NULL)
        result = write_as_toolstack(platform, "name", config->name);
    platform->wrote_name = config->name != NULL && result == 0;
    if (config->uuid != NULL && result == 0) {
        result = write_as_toolstack(platform, "uuid", config->uuid);
        platform->wrote_uuid = result == 0;
    }
    return result;
}

static void remove_names(const struct platform *platform)
{
    if (platform->wrote_name)
        write_as_toolstack(platform, "name", NULL);
    if (platform->wrote_uuid)
        write_as_toolstack(platform, "uuid", NULL);
}

/* The socket comes before the watch, so that the watch does not report the removal of an older
 * socket. */
static int open_rest(struct platform *platform, const struct platform_config *config, char *why,
                     size_t why_size)
{
    int result = open_descriptors(platform);
    if (result == 0)
        result = take_lock(platform);
    if (result != 0)
        return local_explain(result, config, "lock", why, why_size);
    result = local_rendezvous_open(platform);
    if (result != 0)
        return local_explain(result, config, "make a socket in", why, why_size);
    local_store_sweep(&platform->store);
    result = write_names(platform, config);
    if (result != 0)
        return local_explain(result, config, "write the domain's name in", why, why_size);
    result = open_watch(platform);
    return result == 0 ? 0 : local_explain(result, config, "watch", why, why_size);
}

static struct platform *platform_new(const struct platform_config *config)
{
    struct platform *platform = calloc(1, sizeof(*platform));
    if (platform == NULL)
        return NULL;
    platform->domid = config->domid;
    platform->log = config->log;
    platform->epoll = platform->kick = platform->again = platform->lock = -1;
    platform->store.dir = platform->watch.fd = -1;
    platform->rendezvous.listener = platform->rendezvous.spare = -1;
    platform->rendezvous.source.kind = SOURCE_LISTENER;
    for (int i = 0; i < CALLERS_MAX; i++)
        platform->rendezvous.callers[i] = (struct caller){.source.kind = SOURCE_CALLER, .fd = -1};
    platform->watch_source.kind = SOURCE_WATCH;
    platform->kick_source.kind = SOURCE_KICK;
    platform->again_source.kind = SOURCE_AGAIN;
    TAILQ_INIT(&platform->channels);
    lender_init(&platform->lender, &local_memory, platform);
    return platform;
}

static void local_close(struct platform *platform)
{
    struct channel *channel;
    while ((channel = TAILQ_FIRST(&platform->channels)) != NULL)
        local_channel_close(channel);
    lender_end(&platform->lender);
    for (size_t i = 0; i < platform->published.count; i++)
        local_store_remove_node(&platform->store, platform->published.paths[i]);
    local_path_set_clear(&platform->published);
    remove_names(platform);
    local_watch_close(&platform->watch);
    local_rendezvous_close(platform);
    local_store_close(&platform->store);
    int fds[] = {platform->epoll, platform->kick, platform->again, platform->lock};
    for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
        if (fds[i] >= 0)
            close(fds[i]);
    }
    free(platform);
}

static int local_open(const struct platform_config *config, struct platform **opened, char *why,
                      size_t why_size)
{
    if (config->store == NULL || config->store[0] == '\0') {
        snprintf(why, why_size,
                 "there is no store; give its directory with --store, or set IDC_STORE");
        return -EINVAL;
    }
    if (config->domid < 0) {
        snprintf(why, why_size,
                 "it is not known which domain this is; give it with --domid, 0 to %d",
                 STORE_DOMID_MAX);
        return -EINVAL;
    }
    struct platform *platform = platform_new(config);
    if (platform == NULL) {
        snprintf(why, why_size, "out of memory");
        return -ENOMEM;
    }
    int result =
        local_store_open(&platform->store, config->store, config->domid, true, why, why_size);
    if (result == 0)
        result = open_rest(platform, config, why, why_size);
    if (result != 0) {
        local_close(platform);
        return result;
    }
    *opened = platform;
    return 0;
}

static int local_domid(struct platform *platform)
{
    return platform->domid;
}

/* ---- the store ---- */

static int local_publish(struct platform *platform, const char *path, const char *value, int reader)
{
    if (!local_layout_valid_path(path))
        return -EINVAL;
    int result = local_path_set_add(&platform->published, path);
    return result != 0 ? result : local_store_write(&platform->store, path, value, reader);
}

static bool not_below(void *arg, const char *path)
{
    return !local_layout_is_below(path, arg);
}

static int local_retract(struct platform *platform, const char *path)
{
    char prefix[PLATFORM_PATH_MAX + 1];
    int result = local_store_remove(&platform->store, path);
    if (result != 0)
        return result;
    strcpy(prefix, path);
    local_path_set_filter(&platform->published, not_below, prefix);
    return 0;
}

/* While a node cannot be looked at, the timer makes the set readable, and inotify does not. */
static void update_rest(struct platform *platform)
{
    bool stuck = platform->watch.stuck;
    const struct itimerspec time = {.it_value.tv_nsec = stuck ? AGAIN_MS * 1000000 : 0};
    struct epoll_event event = {.events = stuck ? 0 : EPOLLIN, .data.ptr = &platform->watch_source};
    if (stuck || platform->resting) /* set again, the timer is not readable any more */
        timerfd_settime(platform->again, 0, &time, NULL);
    if (stuck != platform->resting)
        epoll_ctl(platform->epoll, EPOLL_CTL_MOD, platform->watch.fd, &event);
    platform->resting = stuck;
}

/* Makes kick readable exactly while something waits that can be told. */
static void update_kick(struct platform *platform)
{
    uint64_t count = 1;
    bool pending = local_watch_pending(&platform->watch) && !platform->watch.stuck;
    update_rest(platform);
    if (pending == platform->kicked)
        return;
    ssize_t ignored = pending ? write(platform->kick, &count, sizeof(count))
                              : read(platform->kick, &count, sizeof(count));
    (void)ignored;
    platform->kicked = pending;
}

static int local_subscribe(struct platform *platform, const char *path)
{
    int result = local_watch_subscribe(&platform->watch, path);
    update_kick(platform);
    return result;
}

static int local_unsubscribe(struct platform *platform, const char *path)
{
    int result = local_watch_unsubscribe(&platform->watch, path);
    update_kick(platform);
    return result;
}

/* ---- events ---- */

static int local_event_fd(struct platform *platform)
{
    return platform->epoll;
}

static void local_handle(struct platform *platform, struct source *source)
{
    switch (source->kind) {
    case SOURCE_WATCH:
        local_watch_fill(&platform->watch);
        break;
    case SOURCE_LISTENER:
        local_rendezvous_accept(platform);
        break;
    case SOURCE_CALLER:
        local_rendezvous_caller_event(platform, source);
        break;
    case SOURCE_CHANNEL:
        local_channel_socket_event(source);
        break;
    case SOURCE_KICK:
    case SOURCE_AGAIN:
        break;
    }
}

/* No handler frees a source, so that the events of one look stay valid. Callers have fixed places,
 * and only a call from above ends a channel. */
static void look_at_descriptors(struct platform *platform)
{
    struct epoll_event events[EVENTS_AT_ONCE];
    int count = epoll_wait(platform->epoll, events, EVENTS_AT_ONCE, 0);
    for (int i = 0; i < count; i++)
        local_handle(platform, events[i].data.ptr);
}

static int local_next_event(struct platform *platform, struct store_event *event)
{
    int told = local_watch_next(&platform->watch, event);
    if (told == 0) {
        look_at_descriptors(platform);
        told = local_watch_next(&platform->watch, event);
    }
    update_kick(platform);
    return told;
}

static enum platform_presence local_presence(struct platform *platform, int domid)
{
    return local_rendezvous_presence(&platform->store, domid);
}

static void local_lent(struct platform *platform, int peer, struct platform_lent *lent)
{
    lender_review(&platform->lender, peer, lent);
}

static void local_part(struct platform *platform, int peer)
{
    lender_part(&platform->lender, peer);
}

const struct platform_ops platform_local = {
    .name = "local",
    .open = local_open,
    .close = local_close,
    .domid = local_domid,
    .publish = local_publish,
    .retract = local_retract,
    .subscribe = local_subscribe,
    .unsubscribe = local_unsubscribe,
    .event_fd = local_event_fd,
    .next_event = local_next_event,
    .presence = local_presence,
    .offer = local_channel_offer,
    .attach = local_channel_attach,
    .channel_fd = local_channel_fd,
    .channel_poll = local_channel_poll,
    .channel_rings = local_channel_rings,
    .channel_notify = local_channel_notify,
    .channel_close = local_channel_close,
    .lent = local_lent,
    .part = local_part,
};
