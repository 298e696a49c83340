/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_af_unix_facts.c - what IDC relies on in the kernel beyond what manual pages promise. Plain
 * sockets, none of IDC's code, no library but the C library: so it runs on any kernel, in a Xen
 * guest for example (tests/xen/run --program build/unit/test_af_unix_facts g1=test_af_unix_facts).
 *
 * Each fact has a name, a function, and the files that rely on it. When a kernel is different, the
 * line says which fact has changed, and whose theory must be read again. The last line is
 * "N passed, N failed, N skipped".
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/sockios.h>
#include <linux/unix_diag.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

enum verdict { HOLDS, CHANGED, NOT_HERE };

/* A fact's function returns at the first thing that is not as it should be. */
#define EXPECT(what)                                                                               \
    do {                                                                                           \
        if (!(what)) {                                                                             \
            printf("        line %d: not so: %s (errno: %s)\n", __LINE__, #what, strerror(errno)); \
            return CHANGED;                                                                        \
        }                                                                                          \
    } while (0)

static char bytes[512 * 1024], read_bytes[512 * 1024];

static void facts_pair(int type, int fds[2])
{
    if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds) < 0) {
        perror("socketpair");
        exit(2);
    }
}

static ssize_t facts_put(int fd, const void *from, size_t len)
{
    return send(fd, from, len, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static ssize_t facts_take(int fd, void *to, size_t len)
{
    return recv(fd, to, len, MSG_DONTWAIT);
}

static bool is_reset(int fd)
{
    return facts_take(fd, read_bytes, 100) == -1 && errno == ECONNRESET;
}

static int option_of(int fd, int name)
{
    int value = -1;
    socklen_t len = sizeof(value);
    return getsockopt(fd, SOL_SOCKET, name, &value, &len) < 0 ? -1 : value;
}

/* What the kernel charges to the sender for bytes that are not read yet. */
static uint32_t charge_of(int fd)
{
    uint32_t numbers[SK_MEMINFO_VARS] = {0};
    socklen_t len = sizeof(numbers);
    return getsockopt(fd, SOL_SOCKET, SO_MEMINFO, numbers, &len) < 0
               ? UINT32_MAX
               : numbers[SK_MEMINFO_WMEM_ALLOC];
}

static bool facts_poll(int fd, short what)
{
    struct pollfd pollfd = {.fd = fd, .events = what};
    return poll(&pollfd, 1, 0) == 1 && (pollfd.revents & what) == what;
}

static int watch_edges(int fd, uint32_t events)
{
    int set = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = events | EPOLLET};
    if (set < 0 || epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) < 0)
        exit(2);
    return set;
}

/* The events that have come since the last call. */
static uint32_t edges_since(int set)
{
    struct epoll_event event = {.events = 0};
    return epoll_wait(set, &event, 1, 0) == 1 ? event.events : 0;
}

/* Sends bytes with descriptors. */
static ssize_t put_fds(int fd, const char *text, const int *fds, size_t count)
{
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(4 * sizeof(int))];
    } control = {.room = {0}};
    struct iovec span = {(void *)(uintptr_t)text, strlen(text)};
    struct msghdr message = {.msg_iov = &span,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = CMSG_SPACE(count * sizeof(int))};
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(head), fds, count * sizeof(int));
    return sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* Receives into read_bytes, and up to 4 descriptors into fds; *flags are msg_flags. */
static ssize_t take_fds(int fd, int *fds, size_t *count, int *flags)
{
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(4 * sizeof(int))];
    } control;
    struct iovec span = {read_bytes, sizeof(read_bytes)};
    struct msghdr message = {.msg_iov = &span,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};
    ssize_t n = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    *count = 0;
    *flags = message.msg_flags;
    const struct cmsghdr *head = n >= 0 ? CMSG_FIRSTHDR(&message) : NULL;
    if (head != NULL && head->cmsg_type == SCM_RIGHTS) {
        *count = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        memcpy(fds, CMSG_DATA(head), *count * sizeof(int));
    }
    return n;
}

static bool same_file(int one, int other)
{
    struct stat a, b;
    return fstat(one, &a) == 0 && fstat(other, &b) == 0 && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino;
}

/* ---- end and reset ---- */

static enum verdict unread_at_close_resets(int type)
{
    int s[2];
    facts_pair(type, s);
    EXPECT(facts_put(s[0], "x", 1) == 1);
    close(s[1]);
    EXPECT(is_reset(s[0]));
    EXPECT(facts_take(s[0], read_bytes, 1) == 0); /* once */
    EXPECT(facts_put(s[0], "x", 1) == -1 && errno == EPIPE);
    facts_pair(type, s);
    EXPECT(facts_put(s[0], "x", 1) == 1);
    EXPECT(facts_take(s[1], read_bytes, 1) == 1);
    close(s[1]);
    EXPECT(facts_take(s[0], read_bytes, 1) == 0);
    return HOLDS;
}

static enum verdict stream_unread_at_close_resets(void)
{
    return unread_at_close_resets(SOCK_STREAM);
}

static enum verdict message_unread_at_close_resets(void)
{
    return unread_at_close_resets(SOCK_SEQPACKET);
}

static enum verdict unread_at_kill_resets(void)
{
    int s[2], status;
    facts_pair(SOCK_STREAM, s);
    EXPECT(facts_put(s[0], "x", 1) == 1);
    pid_t child = fork();
    if (child == 0) {
        close(s[0]);
        for (;;)
            pause();
    }
    close(s[1]);
    EXPECT(child > 0 && facts_take(s[0], read_bytes, 1) == -1 && errno == EAGAIN);
    kill(child, SIGKILL);
    EXPECT(waitpid(child, &status, 0) == child);
    EXPECT(is_reset(s[0]));
    return HOLDS;
}

static enum verdict stream_gives_bytes_before_reset(void)
{
    int s[2];
    facts_pair(SOCK_STREAM, s);
    EXPECT(facts_put(s[0], "held", 4) == 4 && facts_put(s[1], "last", 4) == 4);
    close(s[1]);
    EXPECT(facts_take(s[0], read_bytes, 100) == 4);
    EXPECT(is_reset(s[0]));
    return HOLDS;
}

static enum verdict seqpacket_tells_reset_before_messages(void)
{
    int s[2];
    facts_pair(SOCK_SEQPACKET, s);
    EXPECT(facts_put(s[0], "held", 4) == 4 && facts_put(s[1], "last", 4) == 4);
    close(s[1]);
    EXPECT(is_reset(s[0]));
    EXPECT(facts_take(s[0], read_bytes, 100) == 4);
    EXPECT(facts_take(s[0], read_bytes, 100) == 0);
    return HOLDS;
}

static enum verdict messages_come_before_end(void)
{
    int s[2];
    facts_pair(SOCK_SEQPACKET, s);
    EXPECT(facts_put(s[1], "one", 3) == 3 && facts_put(s[1], "", 0) == 0 &&
           facts_put(s[1], "two", 3) == 3);
    shutdown(s[1], SHUT_WR);
    EXPECT(facts_take(s[0], read_bytes, 100) == 3);
    EXPECT(facts_take(s[0], read_bytes, 100) == 0); /* the empty one; the end looks the same */
    EXPECT(facts_take(s[0], read_bytes, 100) == 3);
    EXPECT(facts_take(s[0], read_bytes, 100) == 0 && facts_take(s[0], read_bytes, 100) == 0);
    return HOLDS;
}

static enum verdict shut_reader_breaks_the_pipe(void)
{
    int s[2];
    facts_pair(SOCK_STREAM, s);
    EXPECT(facts_put(s[0], "x", 1) == 1);
    shutdown(s[1], SHUT_RD);
    EXPECT(facts_put(s[0], "x", 1) == -1 && errno == EPIPE);
    EXPECT(facts_put(s[1], "y", 1) == 1 && facts_take(s[0], read_bytes, 100) == 1);
    return HOLDS;
}

/* ---- looking ---- */

static enum verdict peek_offset_follows(int type)
{
    int s[2], zero = 0;
    facts_pair(type, s);
    EXPECT(setsockopt(s[0], SOL_SOCKET, SO_PEEK_OFF, &zero, sizeof(zero)) == 0);
    EXPECT(facts_put(s[1], "abcdef", 6) == 6);
    EXPECT(recv(s[0], read_bytes, 2, MSG_PEEK | MSG_DONTWAIT) == 2 && read_bytes[0] == 'a');
    EXPECT(recv(s[0], read_bytes, 2, MSG_PEEK | MSG_DONTWAIT) == 2 && read_bytes[0] == 'c');
    EXPECT(option_of(s[0], SO_PEEK_OFF) == 4);
    return HOLDS;
}

static enum verdict stream_peek_offset(void)
{
    int s[2], zero = 0;
    EXPECT(peek_offset_follows(SOCK_STREAM) == HOLDS);
    facts_pair(SOCK_STREAM, s);
    EXPECT(setsockopt(s[0], SOL_SOCKET, SO_PEEK_OFF, &zero, sizeof(zero)) == 0);
    EXPECT(facts_put(s[1], "abc", 3) == 3 && facts_put(s[1], "def", 3) == 3);
    EXPECT(recv(s[0], read_bytes, 4, MSG_PEEK | MSG_DONTWAIT) == 4);
    EXPECT(facts_take(s[0], read_bytes, 3) == 3); /* reading moves it back */
    EXPECT(option_of(s[0], SO_PEEK_OFF) == 1);
    EXPECT(recv(s[0], read_bytes, 9, MSG_PEEK | MSG_DONTWAIT) == 2 && read_bytes[0] == 'e');
    EXPECT(recv(s[0], read_bytes, 9, MSG_PEEK | MSG_DONTWAIT) == -1 && errno == EAGAIN);
    EXPECT(facts_put(s[1], "g", 1) == 1);
    EXPECT(recv(s[0], read_bytes, 9, MSG_PEEK | MSG_DONTWAIT) == 1 && read_bytes[0] == 'g');
    return HOLDS;
}

static enum verdict message_peek_offset(void)
{
    return peek_offset_follows(SOCK_SEQPACKET);
}

static enum verdict message_length_is_seen(void)
{
    int s[2];
    facts_pair(SOCK_SEQPACKET, s);
    EXPECT(facts_put(s[1], bytes, 5000) == 5000 && facts_put(s[1], bytes, 7) == 7);
    EXPECT(recv(s[0], read_bytes, 10, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT) == 5000);
    EXPECT(recv(s[0], read_bytes, 10, MSG_TRUNC | MSG_DONTWAIT) == 5000);
    EXPECT(recv(s[0], read_bytes, 10, MSG_TRUNC | MSG_DONTWAIT) == 7);
    return HOLDS;
}

static enum verdict stream_lengths_are_told(void)
{
    int s[2], queued = 0;
    facts_pair(SOCK_STREAM, s);
    EXPECT(facts_put(s[1], bytes, 5000) == 5000 && facts_put(s[1], bytes, 7) == 7);
    EXPECT(ioctl(s[0], SIOCINQ, &queued) == 0 && queued == 5007);
    EXPECT(ioctl(s[1], SIOCOUTQ, &queued) == 0 && queued > 0);
    EXPECT(facts_take(s[0], read_bytes, 6000) == 5007); /* one read takes all that there is */
    EXPECT(ioctl(s[1], SIOCOUTQ, &queued) == 0 && queued == 0);
    return HOLDS;
}

static enum verdict urgent_bytes_stay_in_their_place(void)
{
    int s[2], one = 1, zero = 0;
    facts_pair(SOCK_STREAM, s);
    EXPECT(setsockopt(s[0], SOL_SOCKET, SO_OOBINLINE, &one, sizeof(one)) == 0);
    EXPECT(setsockopt(s[0], SOL_SOCKET, SO_PEEK_OFF, &zero, sizeof(zero)) == 0);
    EXPECT(facts_put(s[1], "ab", 2) == 2);
    if (send(s[1], "!", 1, MSG_OOB | MSG_DONTWAIT) < 0)
        return errno == EOPNOTSUPP ? NOT_HERE : CHANGED;
    EXPECT(facts_put(s[1], "cd", 2) == 2);
    size_t have = 0;
    for (ssize_t n; (n = recv(s[0], read_bytes + have, 9, MSG_PEEK | MSG_DONTWAIT)) > 0;)
        have += (size_t)n;
    EXPECT(have == 5 && memcmp(read_bytes, "ab!cd", 5) == 0);
    have = 0;
    for (ssize_t n; (n = facts_take(s[0], read_bytes + have, 9)) > 0;)
        have += (size_t)n;
    EXPECT(have == 5 && memcmp(read_bytes, "ab!cd", 5) == 0);
    return HOLDS;
}

/* ---- events ---- */

static enum verdict each_arrival_is_an_event(void)
{
    int s[2];
    facts_pair(SOCK_STREAM, s);
    int set = watch_edges(s[0], EPOLLIN | EPOLLRDHUP);
    EXPECT(facts_put(s[1], "a", 1) == 1 && (edges_since(set) & EPOLLIN) && edges_since(set) == 0);
    EXPECT(facts_put(s[1], "b", 1) == 1 &&
           (edges_since(set) & EPOLLIN)); /* though nothing was read */
    EXPECT(recv(s[0], read_bytes, 9, MSG_PEEK | MSG_DONTWAIT) == 2 && edges_since(set) == 0);
    shutdown(s[1], SHUT_WR);
    uint32_t events = edges_since(set);
    EXPECT((events & EPOLLRDHUP) && !(events & EPOLLHUP)); /* though bytes remain */
    close(s[1]);
    EXPECT(edges_since(set) & EPOLLHUP);
    return HOLDS;
}

static enum verdict a_reset_is_an_error_event(void)
{
    int s[2];
    facts_pair(SOCK_STREAM, s);
    EXPECT(facts_put(s[0], "x", 1) == 1);
    int set = watch_edges(s[0], EPOLLIN | EPOLLRDHUP);
    close(s[1]);
    uint32_t events = edges_since(set);
    EXPECT((events & EPOLLERR) && (events & EPOLLHUP) && (events & EPOLLRDHUP));
    return HOLDS;
}

/* ---- room ---- */

static enum verdict buffers_are_doubled(void)
{
    int s[2], size = 1;
    facts_pair(SOCK_STREAM, s);
    EXPECT(setsockopt(s[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)) == 0);
    EXPECT(option_of(s[0], SO_SNDBUF) == 4608); /* the least: a quarter is 1152 */
    size = 8192;
    EXPECT(setsockopt(s[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)) == 0);
    EXPECT(option_of(s[0], SO_SNDBUF) == 16384);
    size = 192;
    EXPECT(facts_put(s[0], bytes, (size_t)size) == size && charge_of(s[0]) <= 1152);
    return HOLDS;
}

static enum verdict writable_up_to_a_quarter(void)
{
    int s[2];
    facts_pair(SOCK_STREAM, s);
    uint32_t buffer = (uint32_t)option_of(s[0], SO_SNDBUF), last = 0;
    int set = watch_edges(s[0], EPOLLOUT);
    EXPECT(edges_since(set) & EPOLLOUT);
    for (int i = 0; i < 200; i++) {
        EXPECT(facts_put(s[0], bytes, 1) == 1);
        last = charge_of(s[0]);
        EXPECT(facts_poll(s[0], POLLOUT) == (4 * last <= buffer));
    }
    EXPECT(4 * last > buffer && edges_since(set) == 0);
    while (4 * charge_of(s[0]) > buffer) { /* no event before that */
        EXPECT(edges_since(set) == 0);
        EXPECT(facts_take(s[1], read_bytes, 1) == 1);
    }
    EXPECT(edges_since(set) & EPOLLOUT);
    return HOLDS;
}

static enum verdict blocks_are_charged_whole(void)
{
    int s[2];
    facts_pair(SOCK_STREAM, s);
    EXPECT(facts_put(s[0], bytes, 8192) == 8192);
    uint32_t charge = charge_of(s[0]);
    EXPECT(charge >= 8192);
    EXPECT(facts_take(s[1], read_bytes, 8191) == 8191 && charge_of(s[0]) == charge);
    EXPECT(facts_take(s[1], read_bytes, 1) == 1 && charge_of(s[0]) == 0);
    return HOLDS;
}

/* The numbers of LAG_SURE, LAG_PIECES and LAG_BYTES. */
static enum verdict what_lags_leaves_a_quarter(void)
{
    int s[2];
    facts_pair(SOCK_STREAM, s);
    for (int i = 0; i < 64; i++)
        EXPECT(facts_put(s[0], bytes, 1) == 1);
    EXPECT(facts_poll(s[0], POLLOUT));
    facts_pair(SOCK_STREAM, s);
    for (int i = 0; i < 32; i++)
        EXPECT(facts_put(s[0], bytes, 12288 / 32) == 12288 / 32);
    EXPECT(facts_poll(s[0], POLLOUT));
    facts_pair(SOCK_STREAM, s);
    for (int i = 0; i < 31; i++)
        EXPECT(facts_put(s[0], bytes, 1) == 1);
    EXPECT(facts_put(s[0], bytes, 12288 - 31) == 12288 - 31);
    EXPECT(facts_poll(s[0], POLLOUT));
    return HOLDS;
}

/* HANDOVER_PLAIN_MAX in a buffer of HANDOVER_PLAIN_BUFFER. */
static enum verdict a_plain_message_has_room(void)
{
    int s[2], size = 166200;
    facts_pair(SOCK_SEQPACKET, s);
    EXPECT(setsockopt(s[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)) == 0);
    if (option_of(s[0], SO_SNDBUF) != 2 * size)
        return NOT_HERE; /* net.core.wmem_max is less */
    EXPECT(facts_put(s[0], bytes, 320 * 1024) == 320 * 1024);
    return HOLDS;
}

/* ---- descriptors ---- */

static enum verdict descriptors_keep_their_order(void)
{
    int s[2], pipes[2], other[2], fds[4], flags;
    size_t count;
    facts_pair(SOCK_STREAM, s);
    EXPECT(pipe2(pipes, O_CLOEXEC) == 0 && pipe2(other, O_CLOEXEC) == 0);
    EXPECT(facts_put(s[0], "a", 1) == 1 && put_fds(s[0], "b", (int[]){pipes[0], other[0]}, 2) == 1);
    EXPECT(put_fds(s[0], "c", (int[]){other[1]}, 1) == 1 && facts_put(s[0], "d", 1) == 1);
    ssize_t n = take_fds(s[1], fds, &count, &flags);
    if (n == 1 && count == 0) /* nothing that was sent before comes with it, either */
        n = 1 + take_fds(s[1], fds, &count, &flags);
    EXPECT(n == 2 && count == 2); /* no byte behind it comes with it */
    EXPECT(same_file(fds[0], pipes[0]) && same_file(fds[1], other[0]));
    EXPECT(take_fds(s[1], fds, &count, &flags) == 1 && count == 1 && same_file(fds[0], other[1]));
    EXPECT(take_fds(s[1], fds, &count, &flags) == 1 && count == 0 && read_bytes[0] == 'd');
    return HOLDS;
}

static enum verdict a_descriptor_ends_a_read(void)
{
    int s[2];
    facts_pair(SOCK_STREAM, s);
    struct iovec span = {read_bytes, 100};
    struct msghdr message = {.msg_iov = &span, .msg_iovlen = 1};
    EXPECT(put_fds(s[0], "a", &s[0], 1) == 1 && facts_put(s[0], "b", 1) == 1);
    EXPECT(recvmsg(s[1], &message, MSG_DONTWAIT) == 1 && (message.msg_flags & MSG_CTRUNC));
    EXPECT(recvmsg(s[1], &message, MSG_DONTWAIT) == 1 && !(message.msg_flags & MSG_CTRUNC));
    return HOLDS;
}

static enum verdict descriptors_under_way_live_and_die(void)
{
    int s[2], pipes[2], fds[4], flags;
    size_t count;
    facts_pair(SOCK_SEQPACKET, s);
    EXPECT(pipe2(pipes, O_CLOEXEC | O_NONBLOCK) == 0);
    EXPECT(put_fds(s[0], "a", &pipes[1], 1) == 1 && put_fds(s[0], "b", &pipes[1], 1) == 1);
    close(pipes[1]);
    EXPECT(take_fds(s[1], fds, &count, &flags) == 1 && count == 1);
    EXPECT(write(fds[0], "x", 1) == 1 && read(pipes[0], read_bytes, 9) == 1);
    close(fds[0]);
    EXPECT(read(pipes[0], read_bytes, 9) == -1 && errno == EAGAIN); /* one is under way */
    close(s[1]);
    EXPECT(facts_poll(pipes[0], POLLHUP)); /* and goes with the queue */
    return HOLDS;
}

#ifndef SO_PASSPIDFD
#define SO_PASSPIDFD 76
#endif
#ifndef SCM_PIDFD
#define SCM_PIDFD 4
#endif
/* Whoever asks for them at an end gets one with each read, and must close it. */
static enum verdict pidfds_come_beside_descriptors(void)
{
    int s[2], one = 1, fd = -1;
    union {
        struct cmsghdr align;
        char room[1024];
    } control;
    struct iovec span = {read_bytes, 100};
    struct msghdr message = {.msg_iov = &span,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};
    facts_pair(SOCK_STREAM, s);
    if (setsockopt(s[1], SOL_SOCKET, SO_PASSPIDFD, &one, sizeof(one)) < 0)
        return errno == ENOPROTOOPT ? NOT_HERE : CHANGED;
    EXPECT(put_fds(s[0], "a", &s[0], 1) == 1 && recvmsg(s[1], &message, MSG_DONTWAIT) == 1);
    bool rights = false;
    for (struct cmsghdr *head = CMSG_FIRSTHDR(&message); head; head = CMSG_NXTHDR(&message, head)) {
        rights |= head->cmsg_type == SCM_RIGHTS;
        if (head->cmsg_type == SCM_PIDFD)
            memcpy(&fd, CMSG_DATA(head), sizeof(fd));
    }
    EXPECT(rights && fd >= 0);
    return HOLDS;
}

/* ---- names and owners ---- */

static enum verdict an_end_of_a_pair_can_have_a_name(void)
{
    int s[2];
    struct sockaddr_un name = {.sun_family = AF_UNIX}, seen;
    socklen_t len = sizeof(seen);
    facts_pair(SOCK_STREAM, s);
    snprintf(name.sun_path + 1, sizeof(name.sun_path) - 1, "test-af-unix-facts-%d", getpid());
    EXPECT(bind(s[0], (struct sockaddr *)&name, sizeof(name)) == 0);
    EXPECT(getpeername(s[1], (struct sockaddr *)&seen, &len) == 0 && len == sizeof(name));
    EXPECT(memcmp(&seen, &name, sizeof(name)) == 0);
    int other = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    close(s[0]);
    EXPECT(bind(other, (struct sockaddr *)&name, sizeof(name)) == 0); /* released */
    return HOLDS;
}

static enum verdict a_pair_knows_its_maker(void)
{
    int s[2], status;
    struct ucred peer = {.pid = 0};
    socklen_t len = sizeof(peer);
    facts_pair(SOCK_STREAM, s);
    pid_t child = fork();
    if (child == 0) /* the number stays that of the maker, whoever holds the end */
        _exit(getsockopt(s[1], SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0 || peer.pid != getppid());
    EXPECT(child > 0 && waitpid(child, &status, 0) == child && status == 0);
    return HOLDS;
}

/* ---- the kernel's answers about sockets ---- */

static ssize_t diag_ask(int diag, ino_t inode, char *answer, size_t room)
{
    struct {
        struct nlmsghdr header;
        struct unix_diag_req body;
    } question = {
        .header = {.nlmsg_len = sizeof(question),
                   .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                   .nlmsg_flags = NLM_F_REQUEST},
        .body = {.sdiag_family = AF_UNIX,
                 .udiag_states = UINT32_MAX,
                 .udiag_ino = (uint32_t)inode,
                 .udiag_show = UDIAG_SHOW_PEER | UDIAG_SHOW_MEMINFO,
                 .udiag_cookie = {UINT32_MAX, UINT32_MAX}},
    };
    if (send(diag, &question, sizeof(question), 0) < 0)
        return -1;
    return recv(diag, answer, room, MSG_DONTWAIT); /* it is there when send returns */
}

static enum verdict the_kernel_tells_about_the_peer(void)
{
    int s[2], found = 0;
    struct stat ours, theirs;
    union {
        struct nlmsghdr header;
        char room[1024];
    } answer;
    facts_pair(SOCK_STREAM, s);
    int diag = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    EXPECT(fstat(s[0], &ours) == 0 && fstat(s[1], &theirs) == 0 &&
           facts_put(s[0], bytes, 100) == 100);
    ssize_t n = diag < 0 ? -1 : diag_ask(diag, ours.st_ino, answer.room, sizeof(answer));
    if (n < 0 || answer.header.nlmsg_type == NLMSG_ERROR)
        return NOT_HERE; /* without unix_diag endpoint_room.c guesses */
    struct rtattr *attribute =
        (void *)((char *)NLMSG_DATA(&answer.header) + NLMSG_ALIGN(sizeof(struct unix_diag_msg)));
    long left = (long)NLMSG_PAYLOAD(&answer.header, sizeof(struct unix_diag_msg));
    for (; RTA_OK(attribute, left); attribute = RTA_NEXT(attribute, left)) {
        uint32_t numbers[SK_MEMINFO_VARS] = {0};
        memcpy(numbers, RTA_DATA(attribute),
               RTA_PAYLOAD(attribute) < sizeof(numbers) ? RTA_PAYLOAD(attribute) : sizeof(numbers));
        if (attribute->rta_type == UNIX_DIAG_PEER)
            found += numbers[0] == (uint32_t)theirs.st_ino;
        if (attribute->rta_type == UNIX_DIAG_MEMINFO)
            found += numbers[SK_MEMINFO_WMEM_ALLOC] == charge_of(s[0]) &&
                     numbers[SK_MEMINFO_SNDBUF] == (uint32_t)option_of(s[0], SO_SNDBUF);
    }
    EXPECT(found == 2);
    return HOLDS;
}

/* ---- memory and files ---- */

static enum verdict a_sealed_memfd_never_changes(void)
{
    int fd = memfd_create("facts", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    EXPECT(fd >= 0 && write(fd, bytes, 8192) == 8192);
    void *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    EXPECT(map != MAP_FAILED);
    EXPECT(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) == -1 && errno == EBUSY); /* it can be written to */
    munmap(map, 4096);
    EXPECT(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) == 0);
    EXPECT(pwrite(fd, "x", 1, 0) == -1 && errno == EPERM);
    EXPECT(ftruncate(fd, 1) == -1 && errno == EPERM && ftruncate(fd, 9999) == -1);
    EXPECT(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED);
    EXPECT(fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE) == -1);
    return HOLDS;
}

/* Counts the events that a read brings, and gives the mask of the last one. */
static int inotify_events(int fd, uint32_t *mask)
{
    union {
        struct inotify_event event;
        char room[4096];
    } buffer;
    int count = 0;
    ssize_t n = read(fd, &buffer, sizeof(buffer));
    for (ssize_t at = 0; at < n; count++) {
        struct inotify_event event;
        memcpy(&event, buffer.room + at, sizeof(event));
        *mask = event.mask;
        at += (ssize_t)(sizeof(event) + event.len);
    }
    return count;
}

static enum verdict inotify_joins_what_is_the_same(void)
{
    char directory[] = "/tmp/facts-XXXXXX", one[64], two[64];
    uint32_t mask = 0;
    int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    EXPECT(mkdtemp(directory) != NULL);
    snprintf(one, sizeof(one), "%s/one", directory);
    snprintf(two, sizeof(two), "%s/two", directory);
    int watch = inotify_add_watch(fd, directory, IN_MOVED_TO | IN_CLOSE_WRITE | IN_DELETE);
    for (int i = 0; i < 3; i++)
        close(open(one, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    int joined = inotify_events(fd, &mask);
    bool renamed = rename(one, two) == 0 && inotify_events(fd, &mask) == 1 && (mask & IN_MOVED_TO);
    unlink(one);
    unlink(two);
    rmdir(directory);
    EXPECT(watch >= 0 && joined == 1 && renamed);
    return HOLDS;
}

static enum verdict an_eventfd_adds_up(void)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int set = watch_edges(fd, EPOLLIN);
    uint64_t number = 1;
    EXPECT(write(fd, &number, sizeof(number)) == 8 && edges_since(set) == EPOLLIN &&
           edges_since(set) == 0);
    EXPECT(write(fd, &number, sizeof(number)) == 8 && edges_since(set) == EPOLLIN);
    EXPECT(read(fd, &number, sizeof(number)) == 8 && number == 2);
    EXPECT(read(fd, &number, sizeof(number)) == -1 && errno == EAGAIN);
    number = UINT64_MAX - 1;
    EXPECT(write(fd, &number, sizeof(number)) == 8);
    number = 1;
    EXPECT(write(fd, &number, sizeof(number)) == -1 && errno == EAGAIN && facts_poll(fd, POLLIN));
    return HOLDS;
}

static const struct fact {
    const char *name;
    enum verdict (*check)(void);
    const char *files;
} facts[] = {
#define FACT(name, files)  \
    {                      \
#name, name, files \
    }
    FACT(stream_unread_at_close_resets, "link_mgr/program/endpoint.h, common/handover.h"),
    FACT(message_unread_at_close_resets, "link_mgr/program/endpoint.h"),
    FACT(unread_at_kill_resets, "link_mgr/program/endpoint.h"),
    FACT(stream_gives_bytes_before_reset, "link_mgr/program/endpoint_stream.c, libidc/io.c"),
    FACT(seqpacket_tells_reset_before_messages, "link_mgr/program/endpoint_message.c"),
    FACT(messages_come_before_end, "common/handover.c"),
    FACT(shut_reader_breaks_the_pipe, "link_mgr/program/endpoint.c"),
    FACT(stream_peek_offset, "link_mgr/program/endpoint_stream.c"),
    FACT(message_peek_offset, "link_mgr/program/endpoint_message.c"),
    FACT(message_length_is_seen, "link_mgr/program/endpoint_message.c"),
    FACT(stream_lengths_are_told, "link_mgr/program/endpoint_stream.c, link_mgr/rpc/delivery.c"),
    FACT(urgent_bytes_stay_in_their_place, "link_mgr/program/endpoint.h"),
    FACT(each_arrival_is_an_event, "link_mgr/program/endpoint.h, link_mgr/program/acceptor.c"),
    FACT(a_reset_is_an_error_event, "link_mgr/program/endpoint.h"),
    FACT(buffers_are_doubled, "link_mgr/program/endpoint_room.c, common/connecting.c"),
    FACT(writable_up_to_a_quarter, "link_mgr/program/endpoint_room.c, common/front.c"),
    FACT(blocks_are_charged_whole, "link_mgr/program/endpoint_room.c"),
    FACT(what_lags_leaves_a_quarter, "link_mgr/program/endpoint_stream.c"),
    FACT(a_plain_message_has_room, "common/handover.h"),
    FACT(descriptors_keep_their_order, "common/handover.c, link_mgr/rpc/transport_upgraded.c"),
    FACT(a_descriptor_ends_a_read, "link_mgr/program/endpoint.h"),
    FACT(descriptors_under_way_live_and_die, "link_mgr/program/acceptor.h"),
    FACT(pidfds_come_beside_descriptors, "common/handover.c"),
    FACT(an_end_of_a_pair_can_have_a_name, "common/handover.c, link_mgr/platform/local/local.c"),
    FACT(a_pair_knows_its_maker, "libidc/rpc_line.c"),
    FACT(the_kernel_tells_about_the_peer, "link_mgr/base/unix_diag.c"),
    FACT(a_sealed_memfd_never_changes, "common/handover.c, link_mgr/platform/local/shared.c"),
    FACT(inotify_joins_what_is_the_same, "link_mgr/platform/local/watch.c"),
    FACT(an_eventfd_adds_up, "link_mgr/platform/local/channel.c"),
};

int main(void)
{
    struct utsname kernel;
    int counts[3] = {0};
    setvbuf(stdout, NULL, _IOLBF, 0);
    uname(&kernel);
    printf("Linux %s, %s\n", kernel.release, kernel.machine);
    for (size_t i = 0; i < sizeof(facts) / sizeof(facts[0]); i++) {
        alarm(60);
        errno = 0;
        enum verdict verdict = facts[i].check();
        counts[verdict]++;
        if (verdict == CHANGED)
            printf("FAILED  %s is not true of this kernel; %s relies on it\n", facts[i].name,
                   facts[i].files);
        else
            printf("%-7s %s\n", verdict == HOLDS ? "ok" : "skipped", facts[i].name);
    }
    printf("%d passed, %d failed, %d skipped\n", counts[HOLDS], counts[CHANGED], counts[NOT_HERE]);
    return counts[CHANGED] != 0;
}
