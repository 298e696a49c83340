/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * keep.c - theory of operation
 *
 * Listeners that outlive their link_mgr (option keep). idc.h has the contract.
 *
 * The library makes the socket pair of such a listener. The near end is the program's listener, and
 * stays the same for ever. The far end goes to link_mgr, and the library keeps a copy. So when
 * link_mgr ends, nothing happens to the listener, and the copy can be given to the next one. With
 * the answer link_mgr sends another descriptor, the *life*. It hangs up when link_mgr has ended, or
 * no longer has this listener for another reason, such as new rules. libidc registers it anew then.
 *
 * Programs wait in poll, in epoll, or in idc_accept, and not one of them can be told to call us at
 * the right moment. So a thread of our own waits for the lives, one for all listeners of the
 * process. It begins with the first of them, and blocks all signals.
 *
 * When the program has closed the near end, the far end shows it, here and in link_mgr. By
 * idc_unlisten it is only shut down. Then link_mgr frees port and name, and closes its far end and
 * the life. We close the last far end after that, and idc_unlisten sees it.
 *
 * What has to be told is a note (common/handover.h), sent to the near end as link_mgr would send a
 * connection. It is told once for each reason. That link_mgr is away, or has no room, is told only
 * to our own tools (libidc_listen_told), which show their state. So is that all is well again.
 *
 * Locks. `lock` is for the list, and for what the thread changes in it while a fork may come. It is
 * not held during a call to link_mgr, since a fork takes the lines' lock too. Only the thread
 * frees a record.
 *
 * Fork. A child has no thread. It closes its copies, so that the listener belongs to the parent,
 * and ends with it and link_mgr. A child that keeps a listener of its own gets a thread of its own.
 *
 * Programs that close descriptors. Such a program may get our numbers for files of its own. So each
 * is compared with what it was before it is used (see rpc_line.c). What it has closed cannot be
 * taken out of the thread's set any more. The kernel goes on telling of it as long as somebody has
 * that socket, such as link_mgr, also when the record is freed. So an event has the serial number
 * of a record, which is looked for, and each change is told only once (EPOLLET).
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/handover.h"
#include "libidc/internal.h"

#define PAUSE_FIRST_MS 10
#define PAUSE_MAX_MS 500

/* A descriptor that is ours as long as its socket is the same. */
struct held {
    int fd; /* -1: none */
    uint64_t cookie;
};

struct kept {
    LIST_ENTRY(kept) entry;
    uint64_t serial; /* never used again */
    struct held far_end, life;
    bool registered; /* and the life is watched */
    struct libidc_listen listen;
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
    char name[IDC_SERVICE_MAX + 1];
    bool over; /* the program has closed it, or shut it down */
    int said;  /* the error that was told; 0: none */
    int pause_ms;
    int64_t next_ms; /* when it is tried again */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static LIST_HEAD(, kept) all = LIST_HEAD_INITIALIZER(all);
static uint64_t last_serial;
static int watch = -1; /* the thread's epoll set; -1: there is no thread */

/* ---- descriptors ---- */

static struct held hold_fd(int fd)
{
    int higher =
        fd >= 0 && fd <= STDERR_FILENO ? fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1) : -1;
    if (higher >= 0) {
        close(fd);
        fd = higher;
    }
    return (struct held){.fd = fd, .cookie = fd >= 0 ? libidc_cookie_of(fd) : 0};
}

static bool is_held(const struct held *held)
{
    return held->fd >= 0 && libidc_cookie_of(held->fd) == held->cookie;
}

static void let_go(struct held *held)
{
    if (is_held(held))
        close(held->fd);
    held->fd = -1;
}

/* The set forgets a socket by itself only when nobody has it any more. link_mgr may still have a
 * far end, and a child that has not called exec yet a life. */
static void drop_held(struct held *held)
{
    if (is_held(held))
        epoll_ctl(watch, EPOLL_CTL_DEL, held->fd, NULL);
    let_go(held);
}

static short look_at(const struct held *held)
{
    struct pollfd p = {.fd = held->fd, .events = POLLRDHUP};
    if (!is_held(held))
        return POLLHUP;
    return poll(&p, 1, 0) > 0 ? p.revents : 0;
}

static int watch_for_end(const struct kept *kept, const struct held *held)
{
    struct epoll_event event = {.events = EPOLLRDHUP | EPOLLET, .data.u64 = kept->serial};
    return epoll_ctl(watch, EPOLL_CTL_ADD, held->fd, &event) < 0 ? -errno : 0;
}

/* ---- registering ---- */

/* Nothing is wrong with the listener, and it will pass. */
static bool is_lack(int error)
{
    return error == ENOENT || error == ECONNREFUSED || error == ECONNRESET || error == ETIMEDOUT ||
           error == ENOBUFS || error == EMFILE || error == ENFILE || error == ENOMEM;
}

static void kept_tell(struct kept *kept, int error, const char *text)
{
    struct handover_note note = {.error = error, .quiet = error == 0 || is_lack(error)};
    if (error == kept->said || (note.quiet && !kept->listen.told))
        return;
    kept->said = error;
    strncpy(note.text, text, HANDOVER_NOTE_TEXT);
    if (is_held(&kept->far_end))
        handover_send_note(kept->far_end.fd, &note);
}

static void kept_pause(struct kept *kept)
{
    kept->next_ms = libidc_now_ms() + kept->pause_ms;
    kept->pause_ms = kept->pause_ms < PAUSE_MAX_MS / 2 ? 2 * kept->pause_ms : PAUSE_MAX_MS;
}

/* 0, or -1 with errno and the thread's text. */
static int kept_register(struct kept *kept)
{
    int life = -1;
    if (kept->life.fd < 0) {
        if (libidc_listen_call(kept->path, &kept->listen, kept->far_end.fd, &life) < 0)
            return -1;
        pthread_mutex_lock(&lock);
        kept->life = hold_fd(life);
        pthread_mutex_unlock(&lock);
    }
    int error = watch_for_end(kept, &kept->life);
    if (error < 0)
        return libidc_fail(-error, "cannot watch link_mgr: %s", strerror(-error));
    kept->registered = true;
    return 0;
}

/* Returns the errno. */
static int kept_try(struct kept *kept)
{
    int error = kept_register(kept) < 0 ? errno : 0;
    kept_tell(kept, error, error != 0 ? idc_last_error() : "");
    if (error != 0) {
        kept_pause(kept);
        return error;
    }
    kept->said = 0;
    kept->pause_ms = PAUSE_FIRST_MS;
    return 0;
}

/* ---- the thread ---- */

static void kept_free(struct kept *kept)
{
    LIST_REMOVE(kept, entry);
    drop_held(&kept->life);
    drop_held(&kept->far_end);
    free(kept);
}

static struct kept *kept_find(uint64_t serial)
{
    struct kept *kept;
    LIST_FOREACH (kept, &all, entry)
        if (kept->serial == serial)
            return kept;
    return NULL;
}

/* Something has ended: link_mgr's part, the program's part, or both. */
static void kept_ended(struct kept *kept)
{
    kept->over = kept->over || look_at(&kept->far_end) != 0;
    if (kept->registered && look_at(&kept->life) != 0) {
        drop_held(&kept->life);
        kept->registered = false;
        kept->next_ms = libidc_now_ms();
    }
    if (kept->over && !kept->registered)
        kept_free(kept);
}

static void keep_event(uint64_t serial)
{
    pthread_mutex_lock(&lock);
    struct kept *kept = kept_find(serial);
    if (kept != NULL)
        kept_ended(kept);
    pthread_mutex_unlock(&lock);
}

static struct kept *next_due(int64_t now, int64_t *next_ms)
{
    struct kept *kept, *due = NULL;
    pthread_mutex_lock(&lock);
    LIST_FOREACH (kept, &all, entry) {
        if (kept->registered)
            continue;
        if (due == NULL && kept->next_ms <= now)
            due = kept;
        else if (*next_ms < 0 || kept->next_ms < *next_ms)
            *next_ms = kept->next_ms;
    }
    pthread_mutex_unlock(&lock);
    return due;
}

/* Where one call found no link_mgr, the others need not look now. */
static void put_off(const char *path, int64_t now, int error)
{
    struct kept *kept;
    pthread_mutex_lock(&lock);
    LIST_FOREACH (kept, &all, entry)
        if (!kept->registered && kept->next_ms <= now && strcmp(kept->path, path) == 0) {
            kept_pause(kept);
            kept_tell(kept, error, idc_last_error());
        }
    pthread_mutex_unlock(&lock);
}

/* Tries those whose time has come. Returns for how long there is nothing to do; -1: no limit. */
static int try_due(void)
{
    int64_t now = libidc_now_ms(), next_ms = -1;
    struct kept *kept;
    while (next_ms = -1, (kept = next_due(now, &next_ms)) != NULL) {
        int error = kept_try(kept);
        if (error != 0 && is_lack(error))
            put_off(kept->path, now, error);
    }
    int64_t left = next_ms - libidc_now_ms();
    if (next_ms < 0)
        return -1;
    return left > 0 ? (int)left : 0;
}

/* One event at a time, since a record may be freed by the first of two. */
static void *keep_run(void *argument)
{
    struct epoll_event event;
    int set = *(int *)argument, got;
    free(argument);
    while ((got = epoll_wait(set, &event, 1, try_due())) >= 0 || errno == EINTR)
        if (got == 1)
            keep_event(event.data.u64);
    return NULL; /* the program has closed the set, and with it all its listeners */
}

static int keep_start(void)
{
    pthread_attr_t attributes;
    pthread_t thread;
    sigset_t every, before;
    int *argument = malloc(sizeof(*argument));
    int set = epoll_create1(EPOLL_CLOEXEC), error;
    int higher = set >= 0 ? fcntl(set, F_DUPFD_CLOEXEC, STDERR_FILENO + 1) : -1;
    if (set >= 0)
        close(set);
    if (argument == NULL || higher < 0) {
        error = argument == NULL ? ENOMEM : errno;
        free(argument);
        return -error;
    }
    watch = *argument = higher;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    sigfillset(&every);
    pthread_sigmask(SIG_SETMASK, &every, &before);
    error = pthread_create(&thread, &attributes, keep_run, argument);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    if (error == 0)
        return 0;
    free(argument);
    close(watch);
    watch = -1;
    return -error;
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

static void after_fork_in_child(void)
{
    struct kept *kept;
    while ((kept = LIST_FIRST(&all)) != NULL) {
        LIST_REMOVE(kept, entry);
        let_go(&kept->life);
        let_go(&kept->far_end);
        free(kept);
    }
    if (watch >= 0)
        close(watch);
    watch = -1;
    pthread_mutex_unlock(&lock);
}

static void keep_initialise(void)
{
    pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

/* ---- a new listener ---- */

static struct kept *kept_new(const char *path, const struct libidc_listen *listen, int far_end)
{
    struct kept *kept = calloc(1, sizeof(*kept));
    if (kept == NULL)
        return NULL;
    *kept = (struct kept){.far_end = hold_fd(far_end),
                          .life = {.fd = -1},
                          .listen = *listen,
                          .pause_ms = PAUSE_FIRST_MS};
    strncpy(kept->path, path, sizeof(kept->path) - 1);
    if (listen->service != NULL) {
        strncpy(kept->name, listen->service, sizeof(kept->name) - 1);
        kept->listen.service = kept->name;
    }
    return kept;
}

/* A port that was picked alone is the listener's from now on. */
static void kept_fix_port(struct kept *kept, int listener)
{
    struct handover_name name;
    if (kept->listen.port == IDC_PORT_ANY && kept->listen.service == NULL &&
        handover_name(listener, &name) == 0)
        kept->listen.port = name.local.port;
}

/* Before link_mgr is asked: what can fail here, fails now. As long as the caller has the near end,
 * no event comes of it. */
static int kept_prepare(struct kept *kept)
{
    pthread_mutex_lock(&lock);
    int error = watch < 0 ? keep_start() : 0;
    kept->serial = ++last_serial;
    if (error == 0)
        error = watch_for_end(kept, &kept->far_end);
    pthread_mutex_unlock(&lock);
    return error < 0 ? libidc_fail(-error, "cannot keep a listener: %s", strerror(-error)) : 0;
}

/* Registers it, and leaves it to the thread. */
static int kept_begin(struct kept *kept, int listener)
{
    int life = -1;
    if (libidc_listen_call(kept->path, &kept->listen, kept->far_end.fd, &life) < 0)
        return -1;
    kept_fix_port(kept, listener);
    pthread_mutex_lock(&lock);
    kept->life = hold_fd(life);
    int error = watch_for_end(kept, &kept->life);
    if (error == 0) {
        kept->registered = true;
        LIST_INSERT_HEAD(&all, kept, entry);
    }
    pthread_mutex_unlock(&lock);
    return error < 0 ? libidc_fail(-error, "cannot keep a listener: %s", strerror(-error)) : 0;
}

int libidc_keep(const char *path, const struct libidc_listen *listen)
{
    int pair[2];
    pthread_once(&once, keep_initialise);
    if (strlen(path) >= sizeof(((struct kept *)0)->path))
        return libidc_fail(ENAMETOOLONG, "the path %s is too long", path);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return libidc_fail(errno, "socketpair: %s", strerror(errno));
    struct kept *kept = kept_new(path, listen, pair[1]);
    if (kept == NULL) {
        close(pair[0]);
        close(pair[1]);
        return libidc_fail(ENOMEM, "out of memory");
    }
    if (kept_prepare(kept) == 0 && kept_begin(kept, pair[0]) == 0)
        return pair[0];
    int error = errno;
    drop_held(&kept->life);
    drop_held(&kept->far_end); /* before its near end: nothing may be told of it */
    close(pair[0]);
    free(kept);
    errno = error;
    return -1;
}
