/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The queue of connections between a listener and its program; acceptor.h has the theory. */
#include "link_mgr/program/acceptor.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/handover.h"
#include "link_mgr/base/timer.h"

/* A connection that the program has not taken yet. Those that were sent come first. */
struct waiting {
    struct acceptor *acceptor;
    struct conn *conn; /* NULL: it is within the domain, or has ended meanwhile */
    void **ticket;     /* whoever keeps a pointer to this */
    int fd;            /* the program's end; -1 once sent */
    bool marked;       /* within the domain */
    struct idc_addr peer;
    TAILQ_ENTRY(waiting) list;
};

#define ACCEPTOR_EVENTS 64 /* looked at in one go */

/* After this time, whatever failed for lack of memory or descriptors is tried again, because no
 * event tells when there is some. */
#define RETRY_MS 20

struct acceptor {
    struct core *core;
    struct listener *listener;
    struct acceptors *all;
    int fd;
    uint64_t serial; /* in the name of fd */
    bool listening;  /* wakes up for answers */
    struct event retry;
    TAILQ_HEAD(waiting_list, waiting) queue;
    int underway;
};

static void acceptor_drop(struct waiting *waiting)
{
    struct acceptor *acceptor = waiting->acceptor;
    TAILQ_REMOVE(&acceptor->queue, waiting, list);
    acceptor->listener->waiting--;
    if (waiting->fd >= 0)
        close(waiting->fd);
    else
        acceptor->underway--;
    if (waiting->ticket)
        *waiting->ticket = NULL;
    free(waiting);
}

void acceptor_conn_ended(void *ticket)
{
    struct waiting *waiting = ticket;
    waiting->conn = NULL;
    waiting->ticket = NULL;
}

/* Sends connections while there is room. 0, or -EPIPE: the program takes no more. Other errors are
 * temporary: sending goes on when the program has taken some, or a little later. */
static int acceptor_flush(struct acceptor *acceptor)
{
    struct waiting *waiting;
    ssize_t sent;
    TAILQ_FOREACH (waiting, &acceptor->queue, list) {
        uint8_t message[HANDOVER_WAITING_SIZE];
        if (waiting->fd < 0)
            continue;
        if (acceptor->underway == ACCEPTOR_UNDERWAY)
            return 0;
        handover_encode_waiting(message, &waiting->peer, waiting->marked);
        sent = handover_send(acceptor->fd, message, sizeof(message), &waiting->fd, 1, MSG_DONTWAIT);
        if (sent < 0 && sent != -EAGAIN && sent != -EPIPE)
            timer_set(&acceptor->retry, RETRY_MS);
        if (sent < 0)
            return sent == -EPIPE ? -EPIPE : 0;
        close(waiting->fd);
        waiting->fd = -1;
        acceptor->underway++;
    }
    return 0;
}

/* The program has taken the first connection. */
static void take_first(struct acceptor *acceptor)
{
    struct waiting *first = TAILQ_FIRST(&acceptor->queue);
    if (!first || first->fd >= 0)
        return; /* an answer to nothing */
    if (first->conn)
        conn_taken(first->conn);
    acceptor->listener->accepted++;
    acceptor_drop(first);
}

/* Reads the answers that have come, but no more than could be honest: a program that sends answers
 * to nothing without end must not keep the loop. False: the program has closed its end, or sent
 * rubbish. Answers that are left make another event. */
static bool read_answers(struct acceptor *acceptor)
{
    char answer = HANDOVER_TAKEN;
    ssize_t n = 1;
    int none = 0;
    for (int i = 0; i <= ACCEPTOR_UNDERWAY && n == 1 && answer == HANDOVER_TAKEN; i++) {
        n = handover_recv(acceptor->fd, &answer, 1, NULL, &none, MSG_DONTWAIT);
        if (n == 1 && answer == HANDOVER_TAKEN)
            take_first(acceptor);
    }
    return n < 0 ? n != -ECONNRESET : n == 1 && answer == HANDOVER_TAKEN;
}

/* Reads, in one go, as many answers as can have come. An event reports an end, or something that is
 * not an answer. */
void acceptor_look(struct acceptor *acceptor)
{
    char answers[ACCEPTOR_UNDERWAY];
    struct iovec spans[ACCEPTOR_UNDERWAY];
    struct mmsghdr messages[ACCEPTOR_UNDERWAY];
    unsigned most = (unsigned)acceptor->underway;
    if (most == 0)
        return;
    for (unsigned i = 0; i < most; i++) {
        spans[i] = (struct iovec){&answers[i], 1};
        messages[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &spans[i], .msg_iovlen = 1}};
    }
    int came = recvmmsg(acceptor->fd, messages, most, MSG_DONTWAIT, NULL);
    for (int i = 0; i < came && messages[i].msg_len == 1 && answers[i] == HANDOVER_TAKEN; i++)
        take_first(acceptor);
}

/* We wait for answers only when something depends on them: connections that could not be sent yet,
 * or that have to be refused because the backlog is full. */
static void choose_events(struct acceptor *acceptor)
{
    const struct listener *listener = acceptor->listener;
    bool listening =
        listener->waiting > acceptor->underway || listener->waiting >= listener->backlog;
    struct epoll_event event = {.events = listening ? EPOLLIN | EPOLLRDHUP : EPOLLRDHUP,
                                .data.ptr = acceptor};
    if (listening == acceptor->listening)
        return;
    if (epoll_ctl(acceptor->all->epoll, EPOLL_CTL_MOD, acceptor->fd, &event) == 0)
        acceptor->listening = listening;
    else
        timer_set(&acceptor->retry, RETRY_MS);
}

static void on_retry(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    acceptor_flush(arg);
    choose_events(arg);
}

static void on_event(struct acceptor *acceptor)
{
    if (!read_answers(acceptor)) {
        acceptor_free(acceptor);
        return;
    }
    acceptor_flush(acceptor);
    choose_events(acceptor);
}

/* Asks for one event at a time, since the first may end other acceptors. */
static void on_events(evutil_socket_t epoll, short what, void *arg)
{
    struct epoll_event event;
    (void)what, (void)arg;
    for (int i = 0; i < ACCEPTOR_EVENTS && epoll_wait(epoll, &event, 1, 0) == 1; i++)
        on_event(event.data.ptr);
}

int acceptors_init(struct acceptors *all, struct event_base *base)
{
    all->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (all->epoll < 0)
        return -errno;
    event_assign(&all->event, base, all->epoll, EV_READ | EV_PERSIST, on_events, NULL);
    return event_add(&all->event, NULL) == 0 ? 0 : -ENOMEM;
}

void acceptors_end(struct acceptors *all)
{
    if (all->epoll < 0)
        return;
    event_del(&all->event);
    close(all->epoll);
}

/* Names fd, the daemon's end, and watches it. 0 or negative errno. */
static int acceptor_serve(struct acceptor *acceptor, int fd, uint64_t serial)
{
    struct epoll_event event = {.events = EPOLLRDHUP, .data.ptr = acceptor};
    const struct listener *listener = acceptor->listener;
    struct handover_name name = {
        .serial = serial, .listener = true, .local_only = listener->local_only};
    name.local = (struct idc_addr){
        .domid = (uint32_t)acceptor->core->domid, .port = listener->port, .type = listener->type};
    strcpy(name.local.service, listener->name);
    int error = handover_bind(fd, &name);
    if (!error && epoll_ctl(acceptor->all->epoll, EPOLL_CTL_ADD, fd, &event) < 0)
        error = -errno;
    return error;
}

/* A program may have kept a copy of an end that was its own once: closing alone would not end the
 * watch. */
static void close_end(struct acceptor *acceptor)
{
    epoll_ctl(acceptor->all->epoll, EPOLL_CTL_DEL, acceptor->fd, NULL);
    close(acceptor->fd);
}

int acceptor_new(struct acceptors *all, struct core *core, struct listener *listener,
                 uint64_t serial, struct acceptor **acceptor, int *program_fd)
{
    int fds[2];
    struct acceptor *new = calloc(1, sizeof(*new));
    if (!new)
        return -ENOMEM;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0) {
        free(new);
        return -errno;
    }
    *new = (struct acceptor){
        .core = core, .listener = listener, .all = all, .fd = fds[0], .serial = serial};
    TAILQ_INIT(&new->queue);
    evtimer_assign(&new->retry, event_get_base(&all->event), on_retry, new);
    int error = acceptor_serve(new, fds[0], serial);
    if (error) {
        close(fds[0]);
        close(fds[1]);
        free(new);
        return error;
    }
    listener->owner = new;
    *acceptor = new;
    *program_fd = fds[1];
    return 0;
}

int acceptor_move(struct acceptor *acceptor, int fd, uint64_t serial)
{
    int error = acceptor_serve(acceptor, fd, serial);
    if (error)
        return error;
    close_end(acceptor);
    acceptor->fd = fd;
    acceptor->serial = serial;
    acceptor->listening = false;
    choose_events(acceptor);
    return 0;
}

/* The serial identifies the listener. The maker's pid shows that it is one of ours, because names
 * can be forged in another network namespace. */
bool acceptor_has_end(const struct acceptor *acceptor, int fd)
{
    struct handover_name name;
    struct ucred maker;
    socklen_t len = sizeof(maker);
    return handover_name(fd, &name) == 0 && name.listener && name.serial == acceptor->serial &&
           getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &maker, &len) == 0 && maker.pid == getpid();
}

void acceptor_free(struct acceptor *acceptor)
{
    struct waiting *waiting;
    struct listener *listener = acceptor->listener;
    read_answers(
        acceptor); /* connections that the program has taken do not end with the listener */
    while ((waiting = TAILQ_FIRST(&acceptor->queue)))
        acceptor_drop(waiting);
    /* An unread answer, or one that comes now, must not become a reset: that would hide our close
     * from the program. */
    shutdown(acceptor->fd, SHUT_RDWR);
    close_end(acceptor);
    core_unlisten(acceptor->core, listener);
    event_del(&acceptor->retry);
    free(acceptor);
}

/* The program has shut the listener down, and has not got this connection, which stays the
 * caller's. The shutdown of our end makes an event, which ends the listener. */
static void acceptor_withdraw(struct acceptor *acceptor, struct waiting *waiting)
{
    shutdown(acceptor->fd, SHUT_RDWR);
    TAILQ_REMOVE(&acceptor->queue, waiting, list);
    acceptor->listener->waiting--;
    if (waiting->ticket)
        *waiting->ticket = NULL;
    free(waiting);
}

int acceptor_offer(struct acceptor *acceptor, struct conn *conn, int program_fd,
                   const struct idc_addr *peer, void **ticket)
{
    struct waiting *waiting = malloc(sizeof(*waiting));
    if (!waiting)
        return -ENOMEM;
    *waiting = (struct waiting){.acceptor = acceptor,
                                .conn = conn,
                                .ticket = ticket,
                                .fd = program_fd,
                                .marked = !conn,
                                .peer = *peer};
    if (ticket)
        *ticket = waiting;
    TAILQ_INSERT_TAIL(&acceptor->queue, waiting, list);
    acceptor->listener->waiting++;
    if (acceptor->underway >= ACCEPTOR_LOOK ||
        acceptor->listener->waiting >= acceptor->listener->backlog)
        acceptor_look(acceptor);
    if (acceptor_flush(acceptor) == -EPIPE) {
        acceptor_withdraw(acceptor, waiting);
        return -EPIPE;
    }
    choose_events(acceptor);
    return 0;
}

bool acceptor_is_gone(const struct acceptor *acceptor)
{
    struct pollfd pollfd = {.fd = acceptor->fd, .events = POLLRDHUP};
    return poll(&pollfd, 1, 0) > 0;
}

bool acceptor_offers_at_once(const struct acceptor *acceptor)
{
    const struct waiting *last = TAILQ_LAST(&acceptor->queue, waiting_list);
    return acceptor->underway < ACCEPTOR_UNDERWAY && (!last || last->fd < 0);
}
