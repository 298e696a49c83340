/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The queue of connections between a listener and its program; acceptor.h has the theory. */
#include "link_mgr/program/acceptor.h"

#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/queue.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/guard.h"
#include "common/handover.h"
#include "link_mgr/base/closer.h"
#include "link_mgr/base/log.h"
#include "link_mgr/base/numbers.h"
#include "link_mgr/base/timer.h"
#include "link_mgr/program/endpoint.h"

/* A connection that the program has not taken yet. Those that were sent come first. */
struct waiting {
    struct acceptor *acceptor;
    struct conn *conn; /* NULL: it is within the domain, or has ended meanwhile */
    void **ticket;     /* whoever keeps a pointer to this */
    int fd;            /* the program's end; -1 once sent */
    uint32_t number;   /* of the message, once sent */
    bool marked;       /* within the domain */
    bool awaited;      /* something depends on when it is taken */
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
    int life;          /* its program keeps the listener; -1: it does not */
    bool life_guarded; /* as guarded, of life */
    uint64_t serial;   /* in the name of fd */
    bool guarded;      /* no descriptors can come with answers (common/guard.h) */
    bool listening;    /* wakes up for answers */
    struct event retry;
    TAILQ_HEAD(waiting_list, waiting) queue;
    int underway;
    int awaited;        /* how many of the queue are */
    int offers;         /* since the last look */
    uint32_t sent;      /* the number of the last message */
    uint32_t answered;  /* messages up to this one have been taken */
    unsigned overtaken; /* how many of those may still be answered */
};

/* A program may have sent descriptors into the end of a connection within the domain. */
static void waiting_close(struct waiting *waiting)
{
    if (waiting->marked)
        closer_close(waiting->fd, waiting->peer.uid);
    else
        close(waiting->fd);
    waiting->fd = -1;
}

static void waiting_free(struct waiting *waiting)
{
    struct acceptor *acceptor = waiting->acceptor;
    TAILQ_REMOVE(&acceptor->queue, waiting, list);
    acceptor->listener->waiting--;
    acceptor->awaited -= waiting->awaited;
    if (waiting->marked)
        quota_give(acceptor->all->users, waiting->peer.uid, USER_UNACCEPTED, 1);
    if (waiting->ticket)
        *waiting->ticket = NULL;
    free(waiting);
}

static void acceptor_drop(struct waiting *waiting)
{
    if (waiting->fd >= 0)
        waiting_close(waiting);
    else
        waiting->acceptor->underway--;
    waiting_free(waiting);
}

void acceptor_conn_ended(void *ticket)
{
    struct waiting *waiting = ticket;
    waiting->conn = NULL;
    waiting->ticket = NULL;
}

static uint32_t acceptor_next_number(uint32_t number)
{
    return number == UINT32_MAX ? 1 : number + 1;
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
        waiting->number = acceptor_next_number(acceptor->sent);
        handover_encode_waiting(
            message, &(struct handover_waiting){waiting->peer, waiting->marked, waiting->number});
        sent = handover_send(acceptor->fd, message, sizeof(message), &waiting->fd, 1, MSG_DONTWAIT);
        if (sent < 0 && sent != -EAGAIN && sent != -EPIPE)
            timer_set(&acceptor->retry, RETRY_MS);
        if (sent < 0)
            return sent == -EPIPE ? -EPIPE : 0;
        waiting_close(waiting);
        acceptor->sent = waiting->number;
        acceptor->underway++;
    }
    return 0;
}

/* The first of the messages that were sent has left the socket. pid: of the program that took it;
 * 0: not known. */
static void acceptor_take_first(struct acceptor *acceptor, int pid)
{
    struct waiting *first = TAILQ_FIRST(&acceptor->queue);
    if (first->conn) {
        if (pid > 0)
            first->conn->pid = pid;
        conn_taken(first->conn);
        if (first->conn->ep)
            endpoint_taken(first->conn->ep);
    }
    acceptor->listener->accepted++;
    acceptor->answered = first->number;
    acceptor_drop(first);
}

/* Is number that of a message which was sent, and is not known to be taken? */
static bool acceptor_awaits(const struct acceptor *acceptor, uint32_t number)
{
    const struct waiting *waiting;
    TAILQ_FOREACH (waiting, &acceptor->queue, list) {
        if (waiting->fd >= 0)
            return false;
        if (waiting->number == number)
            return true;
    }
    return false;
}

/* The program with that pid has taken the message of that number. False: this answers nothing. */
static bool acceptor_answer(struct acceptor *acceptor, uint32_t number, int pid)
{
    int32_t before = (int32_t)(acceptor->answered - number);
    if (acceptor_awaits(acceptor, number)) {
        for (;; acceptor->overtaken++) {
            bool last = TAILQ_FIRST(&acceptor->queue)->number == number;
            acceptor_take_first(acceptor, last ? pid : 0);
            if (last)
                return true;
        }
    }
    if (number == 0 || before < 0 || acceptor->overtaken == 0)
        return false;
    acceptor->overtaken--;
    return true;
}

/* The number in what has come; 0: that is no answer. */
static uint32_t acceptor_number_in(const struct mmsghdr *message)
{
    return message->msg_hdr.msg_flags & MSG_TRUNC
               ? 0
               : handover_taken_number(message->msg_hdr.msg_iov->iov_base, message->msg_len);
}

/* The pid of the program that sent the message, which the kernel vouches for. 0: not known, or it
 * is link_mgr itself, which has taken the connection for a client of RPC. */
static int acceptor_pid_in(const struct acceptor *acceptor, struct mmsghdr *message)
{
    struct msghdr *header = &message->msg_hdr;
    struct ucred sender;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c != NULL; c = CMSG_NXTHDR(header, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_CREDENTIALS ||
            c->cmsg_len < CMSG_LEN(sizeof(sender)))
            continue;
        memcpy(&sender, CMSG_DATA(c), sizeof(sender));
        return sender.pid == acceptor->all->pid ? 0 : sender.pid;
    }
    return 0;
}

/* Closes the descriptors that came. Returns how many messages are before the first one that had
 * some, even if link_mgr had no number left for them. */
static int acceptor_take_foreign(struct mmsghdr *messages, int count)
{
    int first = count;
    for (int i = count - 1; i >= 0; i--) {
        struct msghdr *message = &messages[i].msg_hdr;
        if (handover_take_fds(message, NULL, 0) > 0 || (message->msg_flags & MSG_CTRUNC))
            first = i;
    }
    return first;
}

/* Reads answers, in one go, and no more than could be honest: a program that sends answers without
 * end must not keep the loop. In a stream one answer follows the other, so each has exactly its
 * room. False: the program has closed its end, or sent something that is no answer. Answers that
 * are left make another event. */
static bool acceptor_read(struct acceptor *acceptor, unsigned most)
{
    static uint8_t controls[ACCEPTOR_UNDERWAY + 1][HANDOVER_CONTROL_SIZE]
        __attribute__((aligned(__alignof__(struct cmsghdr)))); /* one acceptor reads at a time */
    uint8_t answers[ACCEPTOR_UNDERWAY + 1][HANDOVER_TAKEN_SIZE] = {{0}};
    struct iovec spans[ACCEPTOR_UNDERWAY + 1];
    struct mmsghdr messages[ACCEPTOR_UNDERWAY + 1];
    for (unsigned i = 0; i < most; i++) {
        spans[i] = (struct iovec){answers[i], sizeof(answers[i])};
        messages[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &spans[i], .msg_iovlen = 1}};
        messages[i].msg_hdr.msg_control = controls[i];
        messages[i].msg_hdr.msg_controllen =
            acceptor->guarded ? CMSG_SPACE(sizeof(struct ucred)) : sizeof(controls[i]);
    }
    int came = recvmmsg(acceptor->fd, messages, most, MSG_DONTWAIT | MSG_CMSG_CLOEXEC, NULL);
    if (came < 0)
        return errno != ECONNRESET;
    closer_charge(acceptor->listener->uid);
    int good = acceptor->guarded ? came : acceptor_take_foreign(messages, came);
    for (int i = 0; i < good; i++) {
        if (messages[i].msg_len == 0)
            return false;
        uint32_t number = acceptor_number_in(&messages[i]);
        if (!acceptor_answer(acceptor, number, acceptor_pid_in(acceptor, &messages[i])) &&
            (number == 0 || acceptor->life < 0)) {
            log_limited(LOG_WARNING,
                        "the listener on port %u is ended: its program answers what it was not "
                        "asked, or has a libidc of another version",
                        acceptor->listener->port);
            return false;
        }
    }
    if (good < came)
        log_limited(LOG_WARNING, "the listener on port %u is ended: its program sent descriptors",
                    acceptor->listener->port);
    return good == came;
}

/* If nothing of what was sent is in the socket any more, all of it was taken, though not all has
 * been answered. A program may have been killed before it answered. A socket whose other end was
 * closed is empty too. The kernel says first that it was closed, so we ask for that afterwards. */
static void acceptor_take_unanswered(struct acceptor *acceptor)
{
    int there;
    if (acceptor->underway == 0 || ioctl(acceptor->fd, SIOCOUTQ, &there) < 0 || there > 0 ||
        acceptor_is_gone(acceptor))
        return;
    while (acceptor->underway > 0) {
        acceptor_take_first(acceptor, 0);
        acceptor->overtaken++;
    }
}

/* The shutdown makes an event, which ends the listener. */
void acceptor_look(struct acceptor *acceptor)
{
    acceptor->offers = 0;
    if (acceptor->underway > 0 && !acceptor_read(acceptor, (unsigned)acceptor->underway))
        shutdown(acceptor->fd, SHUT_RDWR);
    acceptor_take_unanswered(acceptor);
}

/* We wait for answers only when something depends on them: data that wait until their connection is
 * taken, connections that could not be sent yet, or that have to be refused because the backlog is
 * full. Where descriptors can come, we always do. One of them may be the program's own end, which
 * would live for ever in the queue. */
static void choose_events(struct acceptor *acceptor)
{
    const struct listener *listener = acceptor->listener;
    bool listening = !acceptor->guarded || listener->waiting > acceptor->underway ||
                     acceptor->awaited > 0 || listener->waiting >= listener->backlog;
    struct epoll_event event = {.events = listening ? EPOLLIN | EPOLLRDHUP : EPOLLRDHUP,
                                .data.ptr = acceptor};
    if (listening == acceptor->listening)
        return;
    if (epoll_ctl(acceptor->all->epoll, EPOLL_CTL_MOD, acceptor->fd, &event) == 0)
        acceptor->listening = listening;
    else
        timer_set(&acceptor->retry, RETRY_MS);
}

void acceptor_await(void *ticket)
{
    struct waiting *waiting = ticket;
    if (waiting->awaited)
        return;
    waiting->awaited = true;
    waiting->acceptor->awaited++;
    choose_events(waiting->acceptor);
}

static void on_retry(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    acceptor_flush(arg);
    choose_events(arg);
}

static void on_event(struct acceptor *acceptor)
{
    if (!acceptor_read(acceptor, ACCEPTOR_UNDERWAY + 1)) {
        shutdown(acceptor->fd, SHUT_RDWR); /* nobody may keep this one */
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

int acceptors_init(struct acceptors *all, struct event_base *base, struct quota *users)
{
    all->users = users;
    all->pid = getpid();
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
    if (error == -EINVAL && handover_is_named(fd))
        error = 0; /* by the link_mgr before us */
    /* the kernel says with each answer who sent it; without that, fewer pids are known */
    setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &(int){1}, sizeof(int));
    if (!error && epoll_ctl(acceptor->all->epoll, EPOLL_CTL_ADD, fd, &event) < 0)
        error = -errno;
    return error;
}

/* A program may have kept a copy of an end that was its own once: closing alone would not end the
 * watch. */
static void close_end(struct acceptor *acceptor)
{
    epoll_ctl(acceptor->all->epoll, EPOLL_CTL_DEL, acceptor->fd, NULL);
    if (acceptor->guarded)
        close(acceptor->fd);
    else
        closer_close(acceptor->fd, acceptor->listener->uid);
}

static void close_life(struct acceptor *acceptor)
{
    if (acceptor->life < 0)
        return;
    if (acceptor->life_guarded)
        close(acceptor->life);
    else
        closer_close(acceptor->life, acceptor->listener->uid);
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
    numbers_note(fds[1]);
    *new = (struct acceptor){
        .core = core, .listener = listener, .all = all, .fd = fds[0], .life = -1, .serial = serial};
    TAILQ_INIT(&new->queue);
    evtimer_assign(&new->retry, event_get_base(&all->event), on_retry, new);
    int error = acceptor_serve(new, fds[0], serial);
    if (error) {
        close(fds[0]);
        close(fds[1]);
        free(new);
        return error;
    }
    new->guarded = guard_begin(fds[0]);
    choose_events(new);
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
    acceptor->guarded = false; /* programs have had it */
    acceptor->listening = false;
    choose_events(acceptor);
    return 0;
}

int acceptor_keep(struct acceptor *acceptor, int fd, uint64_t serial)
{
    uint32_t number = 0;
    int error = acceptor_serve(acceptor, fd, serial);
    if (error)
        return error;
    if (getrandom(&number, sizeof(number), GRND_NONBLOCK) < 0)
        return -errno;
    epoll_ctl(acceptor->all->epoll, EPOLL_CTL_DEL, acceptor->fd, NULL);
    acceptor->life = acceptor->fd;
    acceptor->life_guarded = acceptor->guarded;
    acceptor->fd = fd;
    acceptor->serial = serial;
    acceptor->sent = acceptor->answered = number;
    acceptor->guarded = false; /* programs have it */
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
    /* connections that the program has taken do not end with the listener */
    acceptor_read(acceptor, ACCEPTOR_UNDERWAY + 1);
    while ((waiting = TAILQ_FIRST(&acceptor->queue)))
        acceptor_drop(waiting);
    /* An unread answer, or one that comes now, must not become a reset: that would hide our close
     * from the program. */
    if (acceptor->life < 0)
        shutdown(acceptor->fd, SHUT_RDWR);
    close_end(acceptor);
    close_life(acceptor);
    core_unlisten(acceptor->core, listener);
    event_del(&acceptor->retry);
    free(acceptor);
}

/* The program has shut the listener down, and has not got this connection, which stays the
 * caller's. The shutdown of our end makes an event, which ends the listener. */
static void acceptor_withdraw(struct acceptor *acceptor, struct waiting *waiting)
{
    shutdown(acceptor->fd, SHUT_RDWR);
    waiting_free(waiting);
}

/* Those that were taken, unnoticed, make room first. */
bool acceptor_has_room(struct acceptor *acceptor, uint32_t uid)
{
    const struct quota *users = acceptor->all->users;
    if (!quota_may_take(users, uid, USER_UNACCEPTED, 1))
        acceptor_look(acceptor);
    return quota_may_take(users, uid, USER_UNACCEPTED, 1);
}

static bool acceptor_has_many(const struct acceptor *acceptor, uint32_t uid)
{
    const struct quota *users = acceptor->all->users;
    return quota_held(users, uid, USER_UNACCEPTED) >= users->limits[USER_UNACCEPTED].each / 2;
}

int acceptor_offer(struct acceptor *acceptor, struct conn *conn, int program_fd,
                   const struct idc_addr *peer, void **ticket)
{
    if (!conn && !quota_take(acceptor->all->users, peer->uid, USER_UNACCEPTED, 1))
        return -EDQUOT;
    struct waiting *waiting = malloc(sizeof(*waiting));
    if (!waiting) {
        if (!conn)
            quota_give(acceptor->all->users, peer->uid, USER_UNACCEPTED, 1);
        return -ENOMEM;
    }
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
    acceptor->offers++;
    if ((acceptor->underway >= ACCEPTOR_LOOK && acceptor->offers >= ACCEPTOR_LOOK) ||
        acceptor->listener->waiting >= acceptor->listener->backlog)
        acceptor_look(acceptor);
    if (acceptor_flush(acceptor) == -EPIPE) {
        acceptor_withdraw(acceptor, waiting);
        return -EPIPE;
    }
    if (!conn && acceptor_has_many(acceptor, peer->uid))
        acceptor_await(waiting);
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
