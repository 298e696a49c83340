/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The socket for hand-overs; rendezvous.h has the theory.
 */
#include "link_mgr/platform/local/rendezvous.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

#include "common/handover.h"
#include "link_mgr/platform/local/channel.h"

#define ACCEPTS_AT_ONCE 16

void local_rendezvous_name(int domid, char name[RENDEZVOUS_NAME_MAX])
{
    snprintf(name, RENDEZVOUS_NAME_MAX, ".link-%d", domid);
}

/* The address goes through /proc/self/fd, because the path of the store may be longer than an
 * address can be. */
static struct sockaddr_un address_of(const struct store_local *store, int domid)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/.link-%d", store->dir,
             domid);
    return address;
}

static int new_socket(void)
{
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    return fd < 0 ? -errno : fd;
}

int local_rendezvous_connect(const struct store_local *store, int domid)
{
    struct sockaddr_un address = address_of(store, domid);
    int fd = new_socket();
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        int error = errno;
        close(fd);
        return -error;
    }
    return fd;
}

enum platform_presence local_rendezvous_presence(const struct store_local *store, int domid)
{
    int fd = local_rendezvous_connect(store, domid);
    if (fd >= 0)
        close(fd);
    if (fd == -ECONNREFUSED || fd == -ENOENT)
        return PLATFORM_GONE;
    return fd >= 0 || fd == -EAGAIN ? PLATFORM_RUNS : PLATFORM_UNKNOWN;
}

bool local_rendezvous_is_eventfd(int fd)
{
    static const char expected[] = "anon_inode:[eventfd]";
    char link[32], target[64];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, target, sizeof(target));
    int flags = fcntl(fd, F_GETFL);
    return length == sizeof(expected) - 1 && memcmp(target, expected, sizeof(expected) - 1) == 0 &&
           flags >= 0 && (flags & O_NONBLOCK) && (flags & O_ACCMODE) == O_RDWR;
}

/* ---- listening ---- */

static void remove_socket(struct platform *platform)
{
    char name[RENDEZVOUS_NAME_MAX];
    local_rendezvous_name(platform->domid, name);
    unlinkat(platform->store.dir, name, 0);
}

/* Removes a socket on which nobody listens; -EADDRINUSE if somebody does. */
static int remove_stale(struct platform *platform)
{
    int fd = local_rendezvous_connect(&platform->store, platform->domid);
    if (fd == -ECONNREFUSED)
        remove_socket(platform);
    if (fd == -ECONNREFUSED || fd == -ENOENT)
        return 0;
    if (fd >= 0)
        close(fd);
    return fd >= 0 || fd == -EAGAIN ? -EADDRINUSE : fd;
}

static int bind_at(struct platform *platform, int fd)
{
    struct sockaddr_un address = address_of(&platform->store, platform->domid);
    return bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 ? 0 : -errno;
}

static int start_listening(struct platform *platform)
{
    struct rendezvous *rendezvous = &platform->rendezvous;
    if (listen(rendezvous->listener, SOMAXCONN) != 0)
        return -errno;
    return platform_poll(platform, rendezvous->listener, &rendezvous->source);
}

static int open_spare(void)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

int local_rendezvous_open(struct platform *platform)
{
    struct rendezvous *rendezvous = &platform->rendezvous;
    int result = remove_stale(platform);
    if (result != 0)
        return result;
    int fd = new_socket();
    if (fd < 0)
        return fd;
    result = bind_at(platform, fd);
    if (result != 0) {
        close(fd);
        return result;
    }
    rendezvous->listener = fd;
    rendezvous->spare = open_spare();
    return start_listening(platform);
}

static void hang_up(struct platform *platform, struct caller *caller)
{
    platform_poll_end(platform, caller->fd);
    close(caller->fd);
    caller->fd = -1;
}

void local_rendezvous_close(struct platform *platform)
{
    struct rendezvous *rendezvous = &platform->rendezvous;
    for (int i = 0; i < CALLERS_MAX; i++) {
        if (rendezvous->callers[i].fd >= 0)
            hang_up(platform, &rendezvous->callers[i]);
    }
    if (rendezvous->listener >= 0) {
        remove_socket(platform);
        close(rendezvous->listener);
    }
    if (rendezvous->spare >= 0)
        close(rendezvous->spare);
    rendezvous->listener = rendezvous->spare = -1;
}

/* ---- callers ---- */

/* Reads what a caller said, if it is what a link_mgr says. */
static bool valid_hello(const struct channel_hello *hello, ssize_t length, int count)
{
    return length == sizeof(*hello) && count == 1 &&
           memcmp(hello->magic, CHANNEL_MAGIC, sizeof(hello->magic)) == 0 &&
           memchr(hello->path, '\0', sizeof(hello->path)) != NULL;
}

static void reply_status(int fd, int status)
{
    struct channel_reply reply = {
        .magic = CHANNEL_MAGIC, .version = CHANNEL_VERSION, .status = status};
    handover_send(fd, &reply, sizeof(reply), NULL, 0, MSG_DONTWAIT);
}

/* Hands over what the caller asks for. 0: the channel has taken over the caller's socket and the
 * eventfd. */
static int rendezvous_answer(struct platform *platform, int fd, const struct channel_hello *hello,
                             int eventfd)
{
    if (hello->version != CHANNEL_VERSION) {
        reply_status(fd, EPROTO);
        return -EPROTO;
    }
    struct channel *offer = local_channel_find_offer(platform, hello->domid, hello->path);
    if (offer == NULL || !local_rendezvous_is_eventfd(eventfd)) {
        reply_status(fd, ENOENT);
        return -ENOENT;
    }
    return local_channel_hand_over(offer, fd, eventfd);
}

void local_rendezvous_caller_event(struct platform *platform, struct source *source)
{
    struct caller *caller = (struct caller *)((char *)source - offsetof(struct caller, source));
    union {
        struct channel_hello hello;
        char room[sizeof(struct channel_hello) + 1]; /* one byte more, to notice a longer message */
    } in = {0};
    int eventfd = -1, count = 1, result = -EPROTO;
    if (caller->fd < 0)
        return;
    ssize_t length = handover_recv(caller->fd, &in, sizeof(in), &eventfd, &count, MSG_DONTWAIT);
    if (length == -EAGAIN || length == -EINTR)
        return;
    int fd = caller->fd;
    platform_poll_end(platform, fd);
    caller->fd = -1;
    if (valid_hello(&in.hello, length, count))
        result = rendezvous_answer(platform, fd, &in.hello, eventfd);
    if (result == 0)
        return;
    if (length > 0)
        platform_log_limited(platform, LOG_NOTICE, "hand-over of a link refused: %s",
                             result == -ENOENT ? "it is not offered to the caller that asked"
                                               : strerror(-result));
    close(fd);
    if (eventfd >= 0)
        close(eventfd);
}

/* A free place, or else that of the oldest caller. */
static struct caller *take_place(struct platform *platform)
{
    struct rendezvous *rendezvous = &platform->rendezvous;
    struct caller *oldest = &rendezvous->callers[0];
    for (int i = 0; i < CALLERS_MAX; i++) {
        struct caller *caller = &rendezvous->callers[i];
        if (caller->fd < 0)
            return caller;
        if ((int)(caller->number - oldest->number) < 0)
            oldest = caller;
    }
    hang_up(platform, oldest);
    return oldest;
}

static void rendezvous_admit(struct platform *platform, int fd)
{
    struct caller *caller = take_place(platform);
    if (platform_poll(platform, fd, &caller->source) != 0) {
        close(fd);
        return;
    }
    caller->fd = fd;
    caller->number = platform->rendezvous.next_number++;
    local_rendezvous_caller_event(platform, &caller->source);
}

/* False: nobody was waiting. */
static bool refuse_one(struct rendezvous *rendezvous)
{
    if (rendezvous->spare >= 0)
        close(rendezvous->spare);
    int fd = accept4(rendezvous->listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0)
        close(fd);
    rendezvous->spare = open_spare();
    return fd >= 0;
}

void local_rendezvous_accept(struct platform *platform)
{
    struct rendezvous *rendezvous = &platform->rendezvous;
    for (int i = 0; i < ACCEPTS_AT_ONCE; i++) {
        int fd = accept4(rendezvous->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0)
            rendezvous_admit(platform, fd);
        else if ((errno != EMFILE && errno != ENFILE) || !refuse_one(rendezvous))
            return;
    }
}
