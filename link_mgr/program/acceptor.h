/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * acceptor.h - the program's side of a listener: connections on their way from the core to a
 * program that accepts.
 *
 * Theory of operation
 *
 * The program has one end of a SOCK_SEQPACKET pair, the daemon the other. If the program has made
 * the pair, as libidc-vsock does, it may be a SOCK_STREAM pair. Each connection goes over as a
 * message with its descriptor. At most ACCEPTOR_UNDERWAY messages are in the socket, since the
 * kernel bounds the descriptors under way. The rest wait here.
 *
 * The messages have numbers, and the program answers each one that it took with its number. A
 * connection counts against the backlog until its message has left the socket, even if it was reset
 * meanwhile. So a peer that connects and resets can't pile up descriptors here. The socket keeps
 * the order. So an answer shows that all messages before that one were taken too, even if the
 * program that took one of them was killed before it answered, or answers later. If the socket is
 * empty, all messages were taken. That is looked at when the backlog is full, because then no later
 * answer would come. Whatever was taken belongs to the program that took it. It ends with that
 * program, and not with the listener.
 *
 * Whoever took a message may answer once, also later. Any other answer is an answer to nothing. It
 * ends the listener, as does a message that is no answer, or has descriptors. A program with an
 * older libidc, which answers without a number, ends its listener so, and accepts nothing.
 *
 * The kernel puts the sender's pid beside each answer (SO_PASSCRED). So the pid of the program that
 * took a connection is known without another call. Until then, and if that program was killed
 * before it answered, or was overtaken by another's answer, the connection has the pid of the
 * program that began to listen.
 *
 * An answer does not wake a sleeping daemon unless something depends on it (as data do that came
 * before the connection was taken). Answers are read some
 * at a time, when the state is asked for, and when the listener ends. libevent cannot watch for the
 * end only, because it would not report an error. So acceptors have an epoll set of their own,
 * whose descriptor is one event of the loop.
 *
 * A program may keep its listener beyond this link_mgr (libidc/keep.c). Then it has made the pair,
 * and has a copy of our end too, which it gives to the next link_mgr. So closing our end would tell
 * it nothing. The pair that we have made remains as its *life*: when our end of that is closed, the
 * program knows that it is no longer registered. What the last link_mgr had sent may still be in
 * the socket, and be answered. So the numbers begin anywhere, and an answer to nothing is ignored.
 *
 * A connection within the domain takes a descriptor here, or one of those that the kernel lets
 * link_mgr have under way. So until it is taken, it counts for the user who connects
 * (USER_UNACCEPTED). A user with half of what it may have makes the daemon wait for answers.
 *
 * When the last copy of the program's end is closed, or the end is shut down, the listener is gone.
 * The connections that it had not taken are then reset. The event for this may come late, so
 * whoever is about to rely on a listener looks first (acceptor_is_gone). The kernel shows no event
 * when the program has shut its end down for reading only: the next message fails, and ends it.
 */
#ifndef IDC_ACCEPTOR_H
#define IDC_ACCEPTOR_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdint.h>

#include "link_mgr/base/users.h"
#include "link_mgr/core/core.h"

#define ACCEPTOR_UNDERWAY 64
#define ACCEPTOR_LOOK 16 /* from so many on, it is looked whether the program has taken some */

struct acceptor;

/* What all acceptors share. */
struct acceptors {
    struct quota *users;
    int epoll;
    int pid; /* our own */
    struct event event;
};

/* 0 or negative errno. acceptors_end is called after the last acceptor has ended. */
int acceptors_init(struct acceptors *all, struct event_base *base, struct quota *users);
void acceptors_end(struct acceptors *all);

/* Takes over listener: the acceptor becomes its owner, and ends it with core_unlisten. 0 and the
 * program's end, or negative errno. */
int acceptor_new(struct acceptors *all, struct core *core, struct listener *listener,
                 uint64_t serial, struct acceptor **acceptor, int *program_fd);
void acceptor_free(struct acceptor *acceptor);
/* Makes the other end of fd the program's end from now on; fd is taken over. The queue must be
 * empty. 0, or negative errno and nothing was changed. */
int acceptor_move(struct acceptor *acceptor, int fd, uint64_t serial);
/* As acceptor_move, for a new acceptor whose program keeps a copy of fd. The program's end of
 * acceptor_new becomes that of the life. */
int acceptor_keep(struct acceptor *acceptor, int fd, uint64_t serial);
/* Is fd, a descriptor that a program has shown, the program's end of it? */
bool acceptor_has_end(const struct acceptor *acceptor, int fd);

/* Offers a connection to the program, and takes program_fd over. conn is NULL for one within the
 * domain. The caller gives *ticket to acceptor_conn_ended if conn ends before the program takes it;
 * once the program has taken it, *ticket is NULL. 0 or negative errno (nothing was taken over);
 * -EPIPE: the program has shut the listener down; -EDQUOT: the user that connects within the domain
 * has too many that are not taken. */
int acceptor_offer(struct acceptor *acceptor, struct conn *conn, int program_fd,
                   const struct idc_addr *peer, void **ticket);
/* May this user offer one more connection within the domain? */
bool acceptor_has_room(struct acceptor *acceptor, uint32_t uid);
void acceptor_conn_ended(void *ticket);
/* Something depends on when the program takes that one. */
void acceptor_await(void *ticket);

/* Brings the listener's counts up to date. */
void acceptor_look(struct acceptor *acceptor);
/* Has the program closed it or shut it down, without our having noticed yet? */
bool acceptor_is_gone(const struct acceptor *acceptor);
/* Would acceptor_offer send at once, and so return -EPIPE if the listener is gone? */
bool acceptor_offers_at_once(const struct acceptor *acceptor);

#endif
