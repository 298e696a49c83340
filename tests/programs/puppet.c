/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * puppet: a program in a domain that does on its sockets what the test tells it to, line by line.
 *
 * Theory of operation
 *
 * A line on standard input is a command. A thread of its own carries it out, so that any number of
 * them may block at the same time. The answer is one line, written when the command has ended. The
 * test decides the order of everything by waiting for an answer before it gives the next command,
 * so nothing here sleeps or guesses.
 *
 *     TAG VERB [SOCKET] [key=value]...
 *     TAG ok us=MICROSECONDS key=value...
 *     TAG error us=MICROSECONDS errno=ENAME key=value... text=WORDS TO THE END OF THE LINE
 *
 * SOCKET is a number below SOCKETS that the test chooses: the place where a descriptor is kept. The
 * verbs are in the table at the end. With unix=PATH listen and connect make ordinary AF_UNIX
 * sockets, on which the same script can be played; raw=1 makes send and recv use the plain system
 * calls on IDC's descriptors; nowait=1 makes connect the one that does not wait, and is waited for
 * otherwise, and makes a listener that does not block; keep=1 makes one that outlives its link_mgr;
 * oob=1 makes the last byte of send urgent; with=1 makes recv idc_recv_with, with the flags peek,
 * trunc and waitall; hang=MS says how long the peer may hang. The end of standard input ends the
 * program.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "idc.h"
#include "tests/programs/feed.h"
#include "tests/programs/pattern.h"

#define SOCKETS 8192
#define WORDS 16
#define ANSWER 4096
#define PART (1u << 20)

struct command {
    char *line;
    char *words[WORDS];
    int count;
    struct timespec start;
    char out[ANSWER]; /* what the answer has to say */
    size_t out_length;
};

struct verb {
    const char *name;
    bool inline_run;                     /* never blocks: no thread */
    int (*run)(struct command *command); /* 0, or an errno */
};

static struct {
    int fd;
    bool plain; /* AF_UNIX without IDC */
} sockets[SOCKETS];

/* ---- arguments and answers ---- */

static const char *text_of(const struct command *command, const char *key, const char *otherwise)
{
    size_t length = strlen(key);
    for (int i = 2; i < command->count; i++)
        if (strncmp(command->words[i], key, length) == 0 && command->words[i][length] == '=')
            return command->words[i] + length + 1;
    return otherwise;
}

static long long number_of(const struct command *command, const char *key, long long otherwise)
{
    const char *text = text_of(command, key, NULL);
    return text ? strtoll(text, NULL, 0) : otherwise;
}

static int place_of(const struct command *command, int word)
{
    long place = word < command->count ? strtol(command->words[word], NULL, 10) : -1;
    if (place < 0 || place >= SOCKETS) {
        fprintf(stderr, "puppet: no socket number in: %s\n", command->words[1]);
        exit(2);
    }
    return (int)place;
}

static void __attribute__((format(printf, 2, 3)))
say(struct command *command, const char *format, ...)
{
    va_list args;
    size_t room = sizeof(command->out) - command->out_length;
    va_start(args, format);
    int n = vsnprintf(command->out + command->out_length, room, format, args);
    va_end(args);
    command->out_length += n < 0 ? 0 : (size_t)n < room ? (size_t)n : room - 1;
}

static void say_bytes(struct command *command, const uint8_t *bytes, size_t length)
{
    say(command, " hex=");
    for (size_t i = 0; i < length && i < 1024; i++)
        say(command, "%02x", bytes[i]);
}

static long long elapsed_us(const struct command *command)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (now.tv_sec - command->start.tv_sec) * 1000000ll +
           (now.tv_nsec - command->start.tv_nsec) / 1000;
}

static void puppet_answer(struct command *command, int error)
{
    const char *why = error && !text_of(command, "unix", NULL) ? idc_last_error() : "";
    const char *name = strerrorname_np(error);
    char head[128];
    if (error)
        snprintf(head, sizeof(head), "error us=%lld errno=%s", elapsed_us(command),
                 name ? name : "?");
    else
        snprintf(head, sizeof(head), "ok us=%lld", elapsed_us(command));
    flockfile(stdout);
    printf("%s %s%s%s%s\n", command->words[0], head, command->out, error ? " text=" : "", why);
    fflush(stdout);
    funlockfile(stdout);
}

/* ---- making sockets ---- */

static int type_of(const struct command *command)
{
    return strcmp(text_of(command, "type", "stream"), "seqpacket") == 0 ? IDC_SEQPACKET
                                                                        : IDC_STREAM;
}

static int puppet_keep(int place, int fd, bool plain)
{
    if (fd < 0)
        return errno;
    sockets[place].plain = plain;
    sockets[place].fd = fd;
    return 0;
}

static int unix_socket(const struct command *command, struct sockaddr_un *address)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    snprintf(address->sun_path, sizeof(address->sun_path), "%s", text_of(command, "unix", ""));
    return socket(
        AF_UNIX, (type_of(command) == IDC_STREAM ? SOCK_STREAM : SOCK_SEQPACKET) | SOCK_CLOEXEC, 0);
}

static int listen_unix(struct command *command)
{
    struct sockaddr_un address;
    int fd = unix_socket(command, &address);
    if (fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
        listen(fd, 128) == 0)
        return puppet_keep(place_of(command, 2), fd, true);
    return errno;
}

static int run_listen(struct command *command)
{
    struct idc_options options = IDC_OPTIONS_INIT;
    struct idc_addr own = {0};
    if (text_of(command, "unix", NULL))
        return listen_unix(command);
    options.type = type_of(command);
    options.wait = (int)number_of(command, "wait", 0);
    options.keep = (int)number_of(command, "keep", 0);
    options.peer_timeout_ms = (int)number_of(command, "hang", 0);
    int fd =
        idc_listen_with((uint32_t)number_of(command, "port", 0), text_of(command, "name", NULL),
                        (int)number_of(command, "backlog", 128), &options);
    int error = puppet_keep(place_of(command, 2), fd, false);
    if (!error && number_of(command, "nowait", 0))
        fcntl(fd, F_SETFL, O_NONBLOCK);
    if (!error && idc_getsockname(fd, &own) == 0)
        say(command, " port=%u domid=%u service=%s", own.port, own.domid, own.service);
    return error;
}

static int run_accept(struct command *command)
{
    int listener = place_of(command, 2), place = place_of(command, 3);
    struct idc_addr peer;
    if (sockets[listener].plain)
        return puppet_keep(place, accept4(sockets[listener].fd, NULL, NULL, SOCK_CLOEXEC), true);
    int error = puppet_keep(place, idc_accept(sockets[listener].fd, &peer), false);
    if (!error)
        say(command, " domid=%u port=%u uid=%u type=%u service=%s", peer.domid, peer.port, peer.uid,
            peer.type, peer.service);
    return error;
}

static int connect_unix(struct command *command)
{
    struct sockaddr_un address;
    int fd = unix_socket(command, &address);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
        return puppet_keep(place_of(command, 2), fd, true);
    return errno;
}

/* The rest of a connect that doesn't wait: waits after all. */
static int puppet_finish(int fd)
{
    struct pollfd pollfd = {.fd = fd, .events = POLLOUT};
    int flags = fcntl(fd, F_GETFL);
    if (poll(&pollfd, 1, -1) < 0 || idc_connect_finish(fd) < 0 ||
        fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) < 0)
        return errno;
    return 0;
}

static int run_connect(struct command *command)
{
    struct idc_options options = IDC_OPTIONS_INIT;
    struct idc_addr own = {0}, peer = {0};
    const char *name = text_of(command, "name", NULL);
    uint32_t domid = (uint32_t)number_of(command, "domid", 0);
    if (text_of(command, "unix", NULL))
        return connect_unix(command);
    options.type = type_of(command);
    options.timeout_ms = (int)number_of(command, "timeout", 0);
    options.nonblocking = (int)number_of(command, "nowait", 0);
    options.peer_timeout_ms = (int)number_of(command, "hang", 0);
    options.wait = (int)number_of(command, "wait", 0);
    const char *domain = text_of(command, "domain", NULL);
    int fd = domain ? idc_connect_to(domain, name ? name : text_of(command, "port", ""), &options)
             : name ? idc_connect_name_with(domid, name, &options)
                    : idc_connect_with(domid, (uint32_t)number_of(command, "port", 0), &options);
    int error = puppet_keep(place_of(command, 2), fd, false);
    if (!error && options.nonblocking)
        error = puppet_finish(fd);
    if (!error && idc_getsockname(fd, &own) == 0 && idc_getpeername(fd, &peer) == 0)
        say(command, " lport=%u domid=%u port=%u", own.port, peer.domid, peer.port);
    return error;
}

/* A connect that fails need not be kept, and can be repeated: how often it ended with which error.
 */
static int run_storm(struct command *command)
{
    struct idc_options options = IDC_OPTIONS_INIT;
    long long count = number_of(command, "count", 1), connected = 0;
    int error = 0;
    for (long long i = 0; i < count; i++) {
        int fd = idc_connect_with((uint32_t)number_of(command, "domid", 0),
                                  (uint32_t)number_of(command, "port", 0), &options);
        if (fd >= 0) {
            connected++;
            idc_disconnect(fd);
        } else {
            error = errno;
        }
    }
    say(command, " connected=%lld refused=%lld last=%s", connected, count - connected,
        error ? strerrorname_np(error) : "0");
    return 0;
}

/* ---- ending sockets ---- */

static int take_out(int place)
{
    int fd = sockets[place].fd;
    sockets[place].fd = -1;
    return fd;
}

static int run_close(struct command *command)
{
    return close(take_out(place_of(command, 2))) ? errno : 0;
}

static int run_unlisten(struct command *command)
{
    return idc_unlisten(take_out(place_of(command, 2))) ? errno : 0;
}

static int run_shutdown(struct command *command)
{
    const char *how = text_of(command, "how", "w");
    int number = strcmp(how, "w") == 0 ? SHUT_WR : strcmp(how, "r") == 0 ? SHUT_RD : SHUT_RDWR;
    return shutdown(sockets[place_of(command, 2)].fd, number) ? errno : 0;
}

/* ---- data ---- */

static ssize_t send_some(const struct command *command, int place, const void *buf, size_t length)
{
    int flags = MSG_NOSIGNAL | (number_of(command, "nonblock", 0) ? MSG_DONTWAIT : 0) |
                (number_of(command, "oob", 0) ? MSG_OOB : 0);
    if (sockets[place].plain || flags != MSG_NOSIGNAL || number_of(command, "raw", 0))
        return send(sockets[place].fd, buf, length, flags);
    return idc_send(sockets[place].fd, buf, length);
}

static ssize_t recv_some(const struct command *command, int place, void *buf, size_t length)
{
    int flags = number_of(command, "nonblock", 0) ? MSG_DONTWAIT : 0;
    if (sockets[place].plain || flags || number_of(command, "raw", 0))
        return recv(sockets[place].fd, buf, length, flags);
    return idc_recv(sockets[place].fd, buf, length);
}

/* idc_recv_with: peek, trunc, waitall; and what it tells besides. */
static ssize_t recv_with(struct command *command, int place, void *buf, size_t max)
{
    size_t length;
    int flags = (number_of(command, "peek", 0) ? MSG_PEEK : 0) |
                (number_of(command, "trunc", 0) ? MSG_TRUNC : 0) |
                (number_of(command, "waitall", 0) ? MSG_WAITALL : 0);
    ssize_t n = idc_recv_with(sockets[place].fd, buf, max, flags, &length);
    if (n >= 0)
        say(command, " length=%zu end=%d", length == IDC_END ? 0 : length, length == IDC_END);
    return n;
}

static bool is_stream(int place)
{
    int type = 0;
    getsockopt(sockets[place].fd, SOL_SOCKET, SO_TYPE, &type, &(socklen_t){sizeof(type)});
    return type == SOCK_STREAM;
}

/* len bytes of the pattern: on a stream bit by bit, on a seqpacket connection as one message. */
static int run_send(struct command *command)
{
    int place = place_of(command, 2), error = 0;
    uint64_t seed = (uint64_t)number_of(command, "seed", 0),
             offset = (uint64_t)number_of(command, "offset", 0);
    size_t length = (size_t)number_of(command, "len", 1), done = 0;
    size_t room = is_stream(place) && length > PART ? PART : length;
    uint8_t *buf = malloc(room + 1);
    struct hash hash = {0};
    do {
        size_t part = length - done < room ? length - done : room;
        pattern_fill(seed, offset + done, buf, part);
        ssize_t n = send_some(command, place, buf, part);
        if (n < 0) {
            error = errno;
        } else {
            hash_add(&hash, buf, (size_t)n);
            done += (size_t)n;
        }
    } while (!error && done < length);
    free(buf);
    say(command, " n=%zu hash=%016llx", done, (unsigned long long)hash_value(&hash));
    return error;
}

/* Many small writes, until one would block or all are done. */
static int run_burst(struct command *command)
{
    int place = place_of(command, 2), error = 0;
    long long count = number_of(command, "count", 1), done = 0;
    size_t length = (size_t)number_of(command, "len", 1);
    uint64_t seed = (uint64_t)number_of(command, "seed", 0);
    uint8_t *buf = malloc(length + 1);
    while (!error && done < count) {
        pattern_fill(seed, (uint64_t)done * length, buf, length);
        if (send_some(command, place, buf, length) < 0)
            error = errno;
        else
            done++;
    }
    free(buf);
    say(command, " count=%lld blocked=%d", done, error == EAGAIN);
    return error == EAGAIN ? 0 : error;
}

/* Sends len bytes of zeros with count descriptors beside them. */
static int run_stray(struct command *command)
{
    static char zeros[PART];
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(4 * sizeof(int))];
    } control = {0};
    const int fds[] = {STDERR_FILENO, STDERR_FILENO, STDERR_FILENO, STDERR_FILENO};
    size_t size = (size_t)number_of(command, "count", 1) * sizeof(int);
    struct iovec bytes = {zeros, (size_t)number_of(command, "len", 1)};
    struct msghdr message = {.msg_iov = &bytes,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = CMSG_SPACE(size)};
    control.header = (struct cmsghdr){
        .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(size)};
    memcpy(CMSG_DATA(&control.header), fds, size);
    return sendmsg(sockets[place_of(command, 2)].fd, &message, MSG_NOSIGNAL) < 0 ? errno : 0;
}

/* ---- descriptors, which pass within a domain ---- */

union puppet_control {
    struct cmsghdr header;
    char space[CMSG_SPACE(sizeof(int))];
};

/* Sends the descriptor of a second place over that of the first one, and closes it here. */
static int run_pass(struct command *command)
{
    union puppet_control control = {.header = {.cmsg_level = SOL_SOCKET,
                                               .cmsg_type = SCM_RIGHTS,
                                               .cmsg_len = CMSG_LEN(sizeof(int))}};
    char zero = 0;
    struct iovec byte = {&zero, 1};
    struct msghdr message = {.msg_iov = &byte,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};
    int fd = sockets[place_of(command, 3)].fd;
    memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
    if (sendmsg(sockets[place_of(command, 2)].fd, &message, MSG_NOSIGNAL) < 0)
        return errno;
    close(take_out(place_of(command, 3)));
    return 0;
}

/* The other side of it. ENODATA: no descriptor came. */
static int run_take(struct command *command)
{
    union puppet_control control;
    char zero;
    struct iovec byte = {&zero, 1};
    struct msghdr message = {.msg_iov = &byte,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};
    int fd;
    ssize_t n = recvmsg(sockets[place_of(command, 2)].fd, &message, MSG_CMSG_CLOEXEC);
    if (n < 0)
        return errno;
    const struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (!header || header->cmsg_type != SCM_RIGHTS)
        return ENODATA;
    memcpy(&fd, CMSG_DATA(header), sizeof(fd));
    return puppet_keep(place_of(command, 3), fd, false);
}

/* Sets an option of the level SOL_SOCKET to a number. */
static int run_option(struct command *command)
{
    int fd = sockets[place_of(command, 2)].fd, value = (int)number_of(command, "value", 1);
    int name = (int)number_of(command, "name", 0);
    return setsockopt(fd, SOL_SOCKET, name, &value, sizeof(value)) < 0 ? errno : 0;
}

/* Messages of len bytes by idc_send, until nothing was taken for `quiet` milliseconds, or count of
 * them are sent. poll=1: the socket does not block, and is polled. sndbuf: SO_SNDBUF. */
static int run_press(struct command *command)
{
    int fd = sockets[place_of(command, 2)].fd, error = 0, sndbuf = 0;
    int quiet = (int)number_of(command, "quiet", 1000);
    bool polls = number_of(command, "poll", 0) != 0;
    long long count = number_of(command, "count", 1), done = 0;
    size_t length = (size_t)number_of(command, "len", 1);
    const struct timeval limit = {quiet / 1000, quiet % 1000 * 1000};
    uint8_t *buf = malloc(length);
    sndbuf = (int)number_of(command, "sndbuf", 0);
    if (sndbuf > 0)
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &sndbuf, sizeof(sndbuf));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    fcntl(fd, F_SETFL, polls ? O_NONBLOCK : 0);
    while (!error && done < count) {
        struct pollfd pollfd = {.fd = fd, .events = POLLOUT};
        pattern_fill(0, (uint64_t)done * length, buf, length);
        if (polls && poll(&pollfd, 1, quiet) == 0)
            error = EAGAIN;
        else if (idc_send(fd, buf, length) == (ssize_t)length)
            done++;
        else if (!polls || errno != EAGAIN)
            error = errno;
    }
    fcntl(fd, F_SETFL, 0);
    free(buf);
    say(command, " count=%lld blocked=%d", done, error == EAGAIN);
    return error == EAGAIN ? 0 : error;
}

/* len bytes by one of the calls of feed.h, with SO_SNDBUF set before. */
static int run_feed(struct command *command)
{
    size_t length = (size_t)number_of(command, "len", 1), done = 0;
    struct feed feed = {.how = text_of(command, "how", "write"),
                        .seed = (uint64_t)number_of(command, "seed", 0),
                        .length = length,
                        .block = (size_t)number_of(command, "block", (long long)length),
                        .sndbuf = (int)number_of(command, "sndbuf", 0),
                        .poll = number_of(command, "poll", 0) != 0};
    int error = feed_socket(sockets[place_of(command, 2)].fd, &feed, &done);
    say(command, " n=%zu", done);
    return error;
}

/* One receive call. */
static int run_recv(struct command *command)
{
    size_t max = (size_t)number_of(command, "max", 65536);
    uint8_t *buf = malloc(max + 1);
    int place = place_of(command, 2);
    ssize_t n = number_of(command, "with", 0) ? recv_with(command, place, buf, max)
                                              : recv_some(command, place, buf, max);
    int error = n < 0 ? errno : 0;
    if (n > (ssize_t)max) /* trunc */
        n = (ssize_t)max;
    if (n >= 0) {
        bool good = pattern_check((uint64_t)number_of(command, "seed", 0),
                                  (uint64_t)number_of(command, "offset", 0), buf, (size_t)n) < 0;
        say(command, " n=%zd good=%d", n, good);
        say_bytes(command, buf, (size_t)n < 64 ? (size_t)n : 64);
    }
    free(buf);
    return error;
}

/* Reads len bytes (default: to the end) and checks each against the pattern. EBADMSG: one is wrong.
 * count: how many calls returned data, which on a seqpacket connection are messages. */
static int run_check(struct command *command)
{
    int place = place_of(command, 2), error = 0;
    long long left = number_of(command, "len", -1), count = 0;
    uint64_t seed = (uint64_t)number_of(command, "seed", 0),
             at = (uint64_t)number_of(command, "offset", 0), begin = at;
    size_t room = (size_t)number_of(command, "max", 65536);
    uint8_t *buf = malloc(room);
    struct hash hash = {0};
    ssize_t n = 1;
    while (!error && n > 0 && left != 0) {
        n = recv_some(command, place, buf, left < 0 || (size_t)left > room ? room : (size_t)left);
        if (n < 0)
            error = errno;
        else if (pattern_check(seed, at, buf, (size_t)n) >= 0)
            error = EBADMSG;
        if (n <= 0 || error)
            break;
        hash_add(&hash, buf, (size_t)n);
        at += (uint64_t)n;
        count++;
        left -= left > 0 ? n : 0;
    }
    free(buf);
    say(command, " n=%llu count=%lld end=%d hash=%016llx", (unsigned long long)(at - begin), count,
        n == 0, (unsigned long long)hash_value(&hash));
    return error;
}

/* ---- questions ---- */

static int run_poll(struct command *command)
{
    struct pollfd pollfd = {.fd = sockets[place_of(command, 2)].fd,
                            .events = POLLIN | POLLOUT | POLLRDHUP};
    const char *want = text_of(command, "events", NULL);
    if (want)
        pollfd.events = strcmp(want, "in") == 0    ? POLLIN
                        : strcmp(want, "out") == 0 ? POLLOUT
                                                   : POLLRDHUP;
    if (poll(&pollfd, 1, (int)number_of(command, "timeout", 0)) < 0)
        return errno;
    say(command, " in=%d out=%d hup=%d err=%d rdhup=%d", !!(pollfd.revents & POLLIN),
        !!(pollfd.revents & POLLOUT), !!(pollfd.revents & POLLHUP), !!(pollfd.revents & POLLERR),
        !!(pollfd.revents & POLLRDHUP));
    return 0;
}

static int run_names(struct command *command)
{
    struct idc_addr own, peer;
    int fd = sockets[place_of(command, 2)].fd;
    if (idc_getsockname(fd, &own) < 0 || idc_getpeername(fd, &peer) < 0)
        return errno;
    say(command, " own_domid=%u own_port=%u peer_domid=%u peer_port=%u peer_uid=%u", own.domid,
        own.port, peer.domid, peer.port, peer.uid);
    return 0;
}

/* What was sent and not taken out of the socket yet, with what the kernel counts besides. */
static int run_queued(struct command *command)
{
    int queued = 0;
    if (ioctl(sockets[place_of(command, 2)].fd, SIOCOUTQ, &queued) < 0)
        return errno;
    say(command, " n=%d", queued);
    return 0;
}

/* The whole process becomes somebody else: for good, or with for_now=1 as long as it likes. */
static int run_become(struct command *command)
{
    uid_t uid = (uid_t)number_of(command, "uid", (uid_t)-1);
    gid_t gid = (gid_t)number_of(command, "gid", (gid_t)-1);
    bool for_now = number_of(command, "for_now", 0) != 0;
    uid_t kept_uid = for_now ? (uid_t)-1 : uid;
    gid_t kept_gid = for_now ? (gid_t)-1 : gid;
    if (setresgid(kept_gid, gid, kept_gid) < 0 || setresuid(kept_uid, uid, kept_uid) < 0)
        return errno;
    return 0;
}

/* How long the peer may hang. */
static int run_allow(struct command *command)
{
    int fd = sockets[place_of(command, 2)].fd;
    return idc_peer_timeout(fd, (int)number_of(command, "hang", 0)) < 0 ? errno : 0;
}

/* ---- lines ---- */

static const struct verb verbs[] = {
    {"listen", false, run_listen},    {"accept", false, run_accept},
    {"connect", false, run_connect},  {"storm", false, run_storm},
    {"close", true, run_close},       {"unlisten", false, run_unlisten},
    {"shutdown", true, run_shutdown}, {"send", false, run_send},
    {"burst", false, run_burst},      {"recv", false, run_recv},
    {"check", false, run_check},      {"poll", false, run_poll},
    {"names", true, run_names},       {"queued", true, run_queued},
    {"feed", false, run_feed},        {"press", false, run_press},
    {"option", true, run_option},     {"stray", true, run_stray},
    {"pass", false, run_pass},        {"take", false, run_take},
    {"become", true, run_become},     {"allow", false, run_allow},
};

static const struct verb *find_verb(const char *name)
{
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
        if (strcmp(verbs[i].name, name) == 0)
            return &verbs[i];
    fprintf(stderr, "puppet: no such verb: %s\n", name);
    exit(2);
}

static void *carry_out(void *arg)
{
    struct command *command = arg;
    clock_gettime(CLOCK_MONOTONIC, &command->start);
    puppet_answer(command, find_verb(command->words[1])->run(command));
    free(command->line);
    free(command);
    return NULL;
}

static void puppet_start(struct command *command)
{
    pthread_attr_t attributes;
    pthread_t thread;
    if (find_verb(command->words[1])->inline_run) {
        carry_out(command);
        return;
    }
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, 256 * 1024);
    int error = pthread_create(&thread, &attributes, carry_out, command);
    pthread_attr_destroy(&attributes);
    if (error) {
        fprintf(stderr, "puppet: pthread_create: %s\n", strerror(error));
        exit(1);
    }
}

int main(void)
{
    char *line = NULL;
    size_t room = 0;
    pattern_init();
    while (getline(&line, &room, stdin) > 0) {
        struct command *command = calloc(1, sizeof(*command));
        char *rest = NULL;
        command->line = strdup(line);
        char *word = strtok_r(command->line, " \n", &rest);
        for (; word && command->count < WORDS; word = strtok_r(NULL, " \n", &rest))
            command->words[command->count++] = word;
        if (command->count < 2)
            exit(2);
        puppet_start(command);
    }
    _exit(0); /* threads may be blocked */
}
