/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * rpc_line.c - theory of operation
 *
 * A line is one upgraded RPC connection. A thread that makes a call has a line for itself, from the
 * first byte it sends to the last byte of the answer. So answers need no sorting out, and closing
 * the line cancels the call. Between calls a few lines stay open, idle, in a pool; a burst of calls
 * opens as many as it needs.
 *
 * Exactly once. An idle line may be dead, when the daemon was restarted. Then the send fails with
 * nothing sent, and the next line is tried, in the end a new one. Once bytes were sent, a call is
 * never repeated. A line is kept only if nothing came beyond the answer, so the next bytes belong
 * to the next call.
 *
 * A new line sends its upgrade request and first message in one write, and reads both answers as
 * they come: one round trip. A message with a descriptor waits for the upgrade, because the
 * descriptor would be lost before it.
 *
 * Programs that close descriptors. A program that closes all descriptors (to become a daemon)
 * closes idle lines too, and may get their numbers for files of its own. So before a line is used
 * or closed, its descriptor is compared with what it was.
 *
 * Change of user. For link_mgr, a line's caller is who opened it, as long as the line lives. A
 * daemon that has become an ordinary user must not go on as root. So an idle line is used only by
 * who has opened it, and the next call closes the idle lines of others. Only the effective uid and
 * gid are compared, which takes two system calls. Groups would be a third, and a program that gives
 * them up changes its uid too.
 *
 * Fork. All lines are on one list, also those that a thread is using, and a child closes its
 * copies. Otherwise the daemon would not see the parent die, and two processes would mix their
 * calls.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "common/handover.h"
#include "libidc/internal.h"

#define DEFAULT_PATH "/run/idc/rpc.sock"
#define IDLE_MAX 8
#define DAEMONS_MAX 8
#define ANSWER_MAX (256u * 1024 * 1024)
#define RESPONSE_MAX 1024 /* the head of the HTTP response to an upgrade */
#define REFUSAL_MAX 200   /* what is shown of the reason in a refusal */
#define REFUSAL_MS 1000   /* how long we wait for that reason, once the refusal has begun to come */

struct libidc_line {
    LIST_ENTRY(libidc_line) entry;
    int fd;
    uint64_t cookie; /* identifies fd's socket: no other socket ever has it */
    uid_t uid;       /* who has opened it: effective ids */
    gid_t gid;
    bool idle;
    int limit_ms;        /* of the call that uses it; -1: none */
    int64_t deadline_ms; /* ... or -1 as long as it has not waited a second time */
    int timeout_ms;      /* the socket's SO_RCVTIMEO; 0: none */
    bool interruptible;  /* the call, by a signal */
    struct sockaddr_un address;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static LIST_HEAD(, libidc_line) lines = LIST_HEAD_INITIALIZER(lines);
static int idle_count;

/* The daemons that were called. A path is never freed: they are few, and other threads may be
 * reading them. */
static struct {
    char *path;
    int pid; /* of the daemon that served this path last */
} daemons[DAEMONS_MAX];

/* New lines get numbers from here on, if there are any. Never 0, 1 or 2: a program that was started
 * without one of them would write its output, or what a peer sends, into its own line. */
static int lowest_fd = STDERR_FILENO + 1;

void libidc_line_lowest_fd(int fd)
{
    lowest_fd = fd;
}

/* ---- descriptors ---- */

/* Asked before each call; it costs half as much as fstat. */
uint64_t libidc_cookie_of(int fd)
{
    uint64_t cookie = 0;
    socklen_t len = sizeof(cookie);
    return getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len) == 0 ? cookie : 0;
}

static bool still_ours(const struct libidc_line *c)
{
    return libidc_cookie_of(c->fd) == c->cookie;
}

static void close_line(const struct libidc_line *c)
{
    if (still_ours(c))
        close(c->fd);
}

static int open_socket(uint64_t *cookie)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int higher = fd >= 0 && fd < lowest_fd ? fcntl(fd, F_DUPFD_CLOEXEC, lowest_fd) : -1;
    if (higher >= 0) {
        close(fd);
        fd = higher;
    }
    *cookie = fd >= 0 ? libidc_cookie_of(fd) : 0;
    return fd;
}

/* ---- fork ---- */

static void before_fork(void)
{
    pthread_mutex_lock(&lock);
}

static void after_fork_in_parent(void)
{
    pthread_mutex_unlock(&lock);
}

/* We leave the memory of a line that another thread was using alone, because that thread does not
 * exist here. */
static void after_fork_in_child(void)
{
    struct libidc_line *c;
    while ((c = LIST_FIRST(&lines)) != NULL) {
        LIST_REMOVE(c, entry);
        close_line(c);
        if (c->idle)
            free(c);
    }
    idle_count = 0;
    pthread_mutex_unlock(&lock);
}

static void line_initialise(void)
{
    pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

/* ---- paths ---- */

const char *libidc_socket_path(const char *option)
{
    const char *path = option != NULL ? option : secure_getenv("IDC_SOCKET");
    return path != NULL && path[0] != '\0' ? path : DEFAULT_PATH;
}

static int peer_pid(int fd)
{
    struct ucred peer = {.pid = -1};
    socklen_t len = sizeof(peer);
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 ? peer.pid : -1;
}

static void remember_daemon(const char *path, int pid)
{
    int at = 0;
    pthread_mutex_lock(&lock);
    while (at < DAEMONS_MAX && daemons[at].path != NULL && strcmp(daemons[at].path, path) != 0)
        at++;
    if (at < DAEMONS_MAX && daemons[at].path == NULL)
        daemons[at].path = strdup(path);
    if (at < DAEMONS_MAX)
        daemons[at].pid = pid;
    pthread_mutex_unlock(&lock);
}

/* The kernel knows which process made a socket pair. That does not help if we made it ourselves (a
 * nonblocking connect), or if a process inherited it and has made no call yet. Then there is an
 * answer only if there is only one candidate. */
const char *libidc_path_of_maker(int fd)
{
    const char *path = NULL;
    int count = 0, pid = peer_pid(fd);
    pthread_mutex_lock(&lock);
    for (; count < DAEMONS_MAX && daemons[count].path != NULL; count++)
        if (daemons[count].pid == pid)
            path = daemons[count].path;
    if (path == NULL && count == 1 && pid == getpid())
        path = daemons[0].path;
    pthread_mutex_unlock(&lock);
    return count == 0 ? libidc_socket_path(NULL) : path;
}

bool libidc_maker_is_gone(int fd)
{
    int pid = peer_pid(fd);
    return pid > 0 && kill(pid, 0) < 0 && errno == ESRCH;
}

/* ---- time ---- */

int64_t libidc_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void line_begin(struct libidc_line *c, int wait_ms)
{
    bool forever = wait_ms == LIBIDC_WAIT_FOREVER;
    c->interruptible = !forever && (wait_ms & LIBIDC_INTERRUPTIBLE);
    c->limit_ms = forever ? -1 : wait_ms & LIBIDC_WAIT_MAX;
    c->deadline_ms = -1;
}

/* A fault of the program's own does not happen while it waits. Sanitizers and some languages have
 * handlers for these. */
static bool is_for_faults(int number)
{
    return number == SIGSEGV || number == SIGBUS || number == SIGFPE || number == SIGILL ||
           number == SIGTRAP || number == SIGSYS;
}

/* The kernel restarts no call that has a time limit, and no call tells which handler ran. */
static bool all_handlers_restart(void)
{
    for (int number = 1; number < NSIG; number++) {
        struct sigaction action;
        if (!is_for_faults(number) && sigaction(number, NULL, &action) == 0 &&
            action.sa_handler != SIG_DFL && action.sa_handler != SIG_IGN &&
            !(action.sa_flags & SA_RESTART))
            return false;
    }
    return true;
}

static bool line_ends_by_signal(const struct libidc_line *c)
{
    return c->interruptible && !all_handlers_restart();
}

/* Called before an operation that could block. Without a limit the operation may block, and the
 * kernel then knows what to do about signals. The limit begins here: reading the clock for each
 * call would be one more system call in a PV guest. */
static int line_await(struct libidc_line *c, short events)
{
    struct pollfd p = {.fd = c->fd, .events = events};
    if (c->limit_ms < 0)
        return 0;
    if (c->deadline_ms < 0)
        c->deadline_ms = libidc_now_ms() + c->limit_ms;
    for (;;) {
        int64_t left = c->deadline_ms - libidc_now_ms();
        int ready = poll(&p, 1, left > 0 ? (int)left : 0);
        if (ready > 0)
            return 0;
        if (ready == 0)
            return -ETIMEDOUT;
        if (errno != EINTR || line_ends_by_signal(c))
            return -errno;
    }
}

/* ---- bytes ---- */

/* A message to send: a header and a document, and descriptors that go with the first byte. */
struct message {
    const char *bytes;
    size_t len;
    const int *fds;
    int fd_count;
};

/* Sends all of it. If it fails, *sent says how much went out. There is nearly always room, so it
 * waits only when the kernel says that there is none. */
static int send_all(struct libidc_line *c, const struct message *m, size_t *sent)
{
    int flags = c->limit_ms < 0 ? 0 : MSG_DONTWAIT;
    for (*sent = 0; *sent < m->len;) {
        int count = *sent == 0 ? m->fd_count : 0;
        ssize_t n = handover_send(c->fd, m->bytes + *sent, m->len - *sent, m->fds, count, flags);
        if (n == -EAGAIN)
            n = line_await(c, POLLOUT);
        if (n < 0)
            return (int)n;
        *sent += (size_t)n;
    }
    return 0;
}

/* The kernel limits a call's first wait for its answer, which is nearly always the only one. The
 * socket keeps the limit for the next call. */
static bool line_set_timeout(struct libidc_line *c)
{
    int limit_ms = c->limit_ms < 0 ? 0 : c->limit_ms;
    struct timeval time = {.tv_sec = limit_ms / 1000, .tv_usec = limit_ms % 1000 * 1000};
    if (c->timeout_ms == limit_ms)
        return true;
    if (setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof(time)) < 0)
        return false;
    c->timeout_ms = limit_ms;
    return true;
}

/* One read, at least one byte; fd as handover_recv's, for one descriptor (NULL: none). */
static ssize_t line_recv(struct libidc_line *c, void *to, size_t len, int *fd)
{
    int count = fd != NULL && *fd < 0 ? 1 : 0;
    bool first = c->deadline_ms < 0 && c->limit_ms != 0 && line_set_timeout(c);
    int error = first ? 0 : line_await(c, POLLIN);
    ssize_t n = error < 0 ? error : handover_recv(c->fd, to, len, fd, &count, 0);
    if (first && n == -EINTR && c->limit_ms > 0 && !line_ends_by_signal(c)) {
        count = fd != NULL && *fd < 0 ? 1 : 0;
        error = line_await(c, POLLIN);
        n = error < 0 ? error : handover_recv(c->fd, to, len, fd, &count, 0);
    }
    if (n == -EAGAIN)
        return -ETIMEDOUT;
    return n == 0 ? -ECONNRESET : n;
}

/* Reads exactly len bytes; the descriptor that comes with them, if fd is not NULL. */
static int recv_all(struct libidc_line *c, void *to, size_t len, int *fd)
{
    char *bytes = to;
    for (size_t have = 0; have < len;) {
        ssize_t n = line_recv(c, bytes + have, len - have, fd);
        if (n < 0)
            return (int)n;
        have += (size_t)n;
    }
    return 0;
}

/* The first part of an answer: its header, and room for a short document. */
struct beginning {
    size_t have;
    char bytes[512];
};

#define STATUS_LENGTH (sizeof("HTTP/1.1 101 ") - 1)

/* Says what the status at the beginning of the response means. */
static int judge_response(const char *head)
{
    if (strncmp(head, "HTTP/1.1 101 ", STATUS_LENGTH) == 0)
        return 0;
    if (strncmp(head, "HTTP/1.1 426 ", STATUS_LENGTH) == 0)
        return -EPROTONOSUPPORT;
    return strncmp(head, "HTTP/1.1 503 ", STATUS_LENGTH) == 0 ? -ENOBUFS : -EPROTO;
}

/* The head of the HTTP response, byte-exact: what follows it may have a descriptor, which a read of
 * both would lose. */
static int recv_response(struct libidc_line *c)
{
    char head[RESPONSE_MAX + 1];
    for (;;) {
        int error = line_await(c, POLLIN);
        ssize_t n = error < 0 ? error : recv(c->fd, head, RESPONSE_MAX, MSG_PEEK);
        if (n < 0)
            return error < 0 ? error : -errno;
        head[n] = '\0';
        const char *end = strstr(head, "\r\n\r\n");
        if (n == 0)
            return -ECONNRESET;
        error = (size_t)n >= STATUS_LENGTH ? judge_response(head) : 0;
        if (error < 0)
            return error;
        if (end != NULL)
            return recv_all(c, head, (size_t)(end + 4 - head), NULL);
        if (n == RESPONSE_MAX)
            return -EPROTO;
        /* Peeking again at once would spin; a head in several pieces is rare enough for a short
         * sleep. */
        poll(NULL, 0, 1);
    }
}

/* ---- a refusal ---- */

/* Reads a refusal up to the end of the first line of its text, and returns where the text begins.
 * NULL: none came. */
static const char *recv_refusal(struct libidc_line *c, char *response, size_t size)
{
    const char *end = NULL;
    size_t have = 0;
    line_begin(c, REFUSAL_MS);
    while (have < size - 1 && (end == NULL || strchr(end + 4, '\n') == NULL)) {
        int error = line_await(c, POLLIN);
        ssize_t n = error < 0 ? error : recv(c->fd, response + have, size - 1 - have, MSG_DONTWAIT);
        if (n <= 0)
            break;
        have += (size_t)n;
        response[have] = '\0';
        end = strstr(response, "\r\n\r\n");
    }
    return end != NULL ? end + 4 : NULL;
}

/* The first line of the reason that link_mgr gives in a refusal, for a terminal; "": it gives none.
 * We end the sentence ourselves. */
static void line_read_reason(struct libidc_line *c, char reason[REFUSAL_MAX])
{
    char response[RESPONSE_MAX + REFUSAL_MAX];
    const char *text = recv_refusal(c, response, sizeof(response));
    size_t len = 0;
    for (; text != NULL && len < REFUSAL_MAX - 1 && text[len] != '\0' && text[len] != '\n'; len++)
        reason[len] = text[len] >= ' ' && text[len] <= '~' ? text[len] : '?';
    if (len > 0 && reason[len - 1] == '.')
        len--;
    reason[len] = '\0';
}

/* ---- opening and closing ---- */

static void unlink_line(struct libidc_line *c)
{
    pthread_mutex_lock(&lock);
    LIST_REMOVE(c, entry);
    /* this is done under the lock, so that a fork does not close somebody else's descriptor of that
     * number */
    close_line(c);
    pthread_mutex_unlock(&lock);
    free(c);
}

/* Makes a line that is not connected yet, but is on the list. */
static struct libidc_line *new_line(const char *path)
{
    struct libidc_line *c = calloc(1, sizeof(*c));
    if (c == NULL || strlen(path) >= sizeof(c->address.sun_path)) {
        errno = c == NULL ? ENOMEM : ENAMETOOLONG;
        free(c);
        return NULL;
    }
    c->uid = geteuid();
    c->gid = getegid();
    c->address.sun_family = AF_UNIX;
    strcpy(c->address.sun_path, path);
    pthread_once(&once, line_initialise);
    pthread_mutex_lock(&lock);
    c->fd = open_socket(&c->cookie);
    if (c->fd >= 0)
        LIST_INSERT_HEAD(&lines, c, entry);
    pthread_mutex_unlock(&lock);
    if (c->fd >= 0)
        return c;
    free(c);
    return NULL;
}

/* connect(2) of a Unix socket waits only while the backlog is full; SO_SNDTIMEO bounds that. */
static int connect_line(struct libidc_line *c, int wait_ms)
{
    int limit_ms = wait_ms & LIBIDC_WAIT_MAX;
    struct timeval time = {.tv_sec = limit_ms / 1000, .tv_usec = limit_ms % 1000 * 1000};
    if (wait_ms != LIBIDC_WAIT_FOREVER)
        setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof(time));
    if (connect(c->fd, (const struct sockaddr *)&c->address, sizeof(c->address)) < 0)
        return errno == EAGAIN ? -ETIMEDOUT : -errno;
    time = (struct timeval){0};
    if (wait_ms != LIBIDC_WAIT_FOREVER)
        setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof(time));
    remember_daemon(c->address.sun_path, peer_pid(c->fd));
    return 0;
}

/* The members of which group may use this socket? /etc/group is read without NSS, which a program
 * that is linked statically does not have. */
static void group_of_socket(const char *path, char *name, size_t size)
{
    struct stat status;
    struct group group, *found;
    char line[4096];
    snprintf(name, size, "of that socket");
    FILE *groups = stat(path, &status) == 0 ? fopen("/etc/group", "re") : NULL;
    if (groups == NULL)
        return;
    while (fgetgrent_r(groups, &group, line, sizeof(line), &found) == 0)
        if (group.gr_gid == status.st_gid)
            snprintf(name, size, "%s", group.gr_name);
    fclose(groups);
}

static int fail_to_open(const char *path, int error)
{
    char group[64];
    switch (error) {
    case ENOENT:
    case ECONNREFUSED:
        return libidc_fail(
            error,
            "no link_mgr serves %s: is it running? (--socket or IDC_SOCKET names another one)",
            path);
    case EACCES:
        group_of_socket(path, group, sizeof(group));
        return libidc_fail(error, "no permission for %s: you need to be root or in the group %s",
                           path, group);
    case EPROTONOSUPPORT:
        return libidc_fail(EPROTO,
                           "link_mgr at %s is of another version than this program's libidc: "
                           "restart the older one",
                           path);
    case EPROTO:
        return libidc_fail(error, "the program that serves %s is not link_mgr", path);
    case ETIMEDOUT:
        return libidc_fail(error, "link_mgr at %s does not answer", path);
    default:
        return libidc_fail(error, "link_mgr at %s: %s", path, strerror(error));
    }
}

/* link_mgr has no room for this line, and perhaps says of what. */
static int fail_refused(const char *path, const char *reason)
{
    if (reason[0] == '\0')
        return libidc_fail(ENOBUFS, "link_mgr at %s refuses new connections; its log says why",
                           path);
    return libidc_fail(ENOBUFS, "link_mgr at %s: %s", path, reason);
}

static const char upgrade_request[] = "GET / HTTP/1.1\r\nHost: idc\r\n"
                                      "Connection: Upgrade\r\nUpgrade: idc-rpc/3\r\n\r\n";

/* Upgrades, and sends the message, in one write if it has no descriptors. */
static int start_line(struct libidc_line *c, const struct message *m)
{
    const size_t request_len = sizeof(upgrade_request) - 1;
    struct message first = {.len = request_len + (m->fd_count == 0 ? m->len : 0)};
    size_t sent;
    char *bytes = malloc(first.len);
    if (bytes == NULL)
        return -ENOMEM;
    memcpy(bytes, upgrade_request, request_len);
    memcpy(bytes + request_len, m->bytes, first.len - request_len);
    first.bytes = bytes;
    int error = send_all(c, &first, &sent);
    free(bytes);
    if ((error == -EPIPE || error == -ECONNRESET) && recv_response(c) == -ENOBUFS)
        error = -ENOBUFS; /* it was refused before it could ask, or while it asked */
    if (error == 0)
        error = recv_response(c);
    if (error == 0 && m->fd_count > 0)
        error = send_all(c, m, &sent);
    return error;
}

/* ---- the pool ---- */

/* Closes the idle lines of who this thread is no more. We hold the lock. */
static void drop_lines_of_others(uid_t uid, gid_t gid)
{
    struct libidc_line *c, *next;
    for (c = LIST_FIRST(&lines); c != NULL; c = next) {
        next = LIST_NEXT(c, entry);
        if (!c->idle || (c->uid == uid && c->gid == gid))
            continue;
        LIST_REMOVE(c, entry);
        close_line(c);
        free(c);
        idle_count--;
    }
}

static struct libidc_line *take_idle(const char *path)
{
    struct libidc_line *c;
    pthread_mutex_lock(&lock);
    if (idle_count > 0)
        drop_lines_of_others(geteuid(), getegid());
    LIST_FOREACH (c, &lines, entry)
        if (c->idle && strcmp(c->address.sun_path, path) == 0)
            break;
    if (c != NULL) {
        c->idle = false;
        idle_count--;
    }
    pthread_mutex_unlock(&lock);
    return c;
}

/* NULL and errno 0: no idle line was usable. NULL and errno set: the call failed on the way. */
static struct libidc_line *send_over_idle(const char *path, const struct message *m, int wait_ms)
{
    struct libidc_line *c;
    while ((c = take_idle(path)) != NULL) {
        size_t sent = 0;
        line_begin(c, wait_ms);
        int error = still_ours(c) ? send_all(c, m, &sent) : -ECONNRESET;
        if (error == 0)
            return c;
        unlink_line(c);
        if (sent > 0 || (error != -EPIPE && error != -ECONNRESET)) {
            errno = -error;
            return NULL;
        }
    }
    errno = 0;
    return NULL;
}

static int send_over_fresh(const char *path, const struct message *m, int wait_ms,
                           struct libidc_line **line)
{
    struct libidc_line *c = new_line(path);
    if (c == NULL)
        return libidc_fail(errno, "cannot open a socket to %s: %s", path, strerror(errno));
    line_begin(c, wait_ms);
    int error = connect_line(c, wait_ms);
    if (error == 0)
        error = start_line(c, m);
    if (error == 0) {
        *line = c;
        return 0;
    }
    char reason[REFUSAL_MAX] = "";
    if (error == -ENOBUFS)
        line_read_reason(c, reason);
    unlink_line(c);
    return error == -ENOBUFS ? fail_refused(path, reason) : fail_to_open(path, -error);
}

int libidc_line_send(const char *path, const void *message, size_t len, const int *fds,
                     int fd_count, int wait_ms, struct libidc_line **line)
{
    const struct message m = {message, len, fds, fd_count};
    *line = send_over_idle(path, &m, wait_ms);
    if (*line != NULL)
        return 0;
    return errno != 0 ? fail_to_open(path, errno) : send_over_fresh(path, &m, wait_ms, line);
}

static int fail_to_recv(const char *path, int error)
{
    if (error == ECONNRESET)
        return libidc_fail(error, "link_mgr ended during the call");
    if (error == ETIMEDOUT)
        return libidc_fail(error, "link_mgr at %s has taken the call, and does not answer", path);
    return libidc_fail(error, "no answer from link_mgr: %s", strerror(error));
}

/* Header, and as much of the document as comes with it, in one read: the daemon sends nothing else
 * until the next call. */
static int recv_begin(struct libidc_line *c, struct beginning *begin, int *fd)
{
    while (begin->have < LIBIDC_HEADER_SIZE) {
        ssize_t n =
            line_recv(c, begin->bytes + begin->have, sizeof(begin->bytes) - begin->have, fd);
        if (n < 0)
            return (int)n;
        begin->have += (size_t)n;
    }
    return 0;
}

static int recv_document(struct libidc_line *c, char **document, size_t *len, int *fd)
{
    struct beginning begin = {.have = 0};
    uint32_t size;
    int error = recv_begin(c, &begin, fd);
    if (error < 0)
        return error;
    memcpy(&size, begin.bytes, sizeof(size));
    *len = le32toh(size);
    size_t have = begin.have - LIBIDC_HEADER_SIZE;
    if (*len == 0 || *len > ANSWER_MAX || have > *len)
        return -EPROTO;
    *document = malloc(*len + 1);
    if (*document == NULL)
        return -ENOMEM;
    memcpy(*document, begin.bytes + LIBIDC_HEADER_SIZE, have);
    (*document)[*len] = '\0';
    return recv_all(c, *document + have, *len - have, NULL);
}

int libidc_line_recv(struct libidc_line *line, int wait_ms, char **document, size_t *len, int *fd)
{
    line_begin(line, wait_ms);
    *fd = -1;
    *document = NULL;
    int error = recv_document(line, document, len, fd);
    if (error == 0)
        return 0;
    free(*document);
    if (*fd >= 0)
        close(*fd);
    return fail_to_recv(line->address.sun_path, -error);
}

void libidc_line_give_back(struct libidc_line *line, bool good)
{
    pthread_mutex_lock(&lock);
    bool keep = good && idle_count < IDLE_MAX;
    if (keep) {
        line->idle = true;
        idle_count++;
    }
    pthread_mutex_unlock(&lock);
    if (!keep)
        unlink_line(line);
}
