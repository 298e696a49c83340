/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * channel.h - channels of the local platform.
 *
 * Theory of operation
 *
 * A channel is shared memory (shared.h), two eventfds, and the socket over which these were handed
 * over. Each side makes the eventfd on which it is told and gives it to the other; it is the
 * channel's descriptor (local_channel_fd) from the beginning. The hand-over, on the offering
 * domain's socket `.link-D` (SOCK_SEQPACKET):
 *
 *     attaching side -> struct channel_hello, and its eventfd
 *     offering side  -> struct channel_reply, and if its status is 0 the memory and its eventfd
 *     attaching side -> struct channel_ack, having set cli_live
 *
 * The attaching side is OPEN when it sent the ack, the offering side when it got it. The socket
 * then carries nothing more. It stays open, in the platform's epoll set, so that the kernel reports
 * the peer's end, however that came. Anything else that happens on it ends the channel. A change of
 * state on the socket is passed on by a write to the own eventfd. So the owner of the channel has
 * only one descriptor to look at.
 *
 * Cost: a notification is one system call for the sender (write) and one for the receiver, besides
 * its epoll_wait (read, in local_channel_poll). Death and closing cost nothing while they don't
 * happen.
 *
 * Trust: memory from a peer is checked before it is mapped, so it can neither raise SIGBUS nor have
 * a wrong size. A process of the same user that holds the other end of an eventfd could make it
 * blocking. But it could as well stop this process by a signal. That is the limit of the local
 * platform (docs/xenstore.md).
 */
#ifndef IDC_LOCAL_CHANNEL_H
#define IDC_LOCAL_CHANNEL_H

#include "common/ring.h"
#include "link_mgr/platform/local/local.h"

#define CHANNEL_MAGIC "IDClocal"
#define CHANNEL_VERSION 1u

struct channel_hello {
    char magic[8];
    uint32_t version;
    int32_t domid;                    /* the sender's */
    char path[PLATFORM_PATH_MAX + 1]; /* base path of the offer */
};
struct channel_reply {
    char magic[8];
    uint32_t version;
    /* 0, ENOENT: there is no such offer to this domid; EPROTO: unknown version */
    int32_t status;
};
struct channel_ack {
    char magic[8];
};

/* As in platform.h. */
int local_channel_offer(struct platform *platform, int peer, const char *path, size_t ring_size,
                        struct channel **channel);
int local_channel_attach(struct platform *platform, int peer, const char *path,
                         struct channel **channel);
int local_channel_fd(struct channel *channel);
enum channel_state local_channel_poll(struct channel *channel);
void local_channel_rings(struct channel *channel, struct ring_pair *rings);
void local_channel_notify(struct channel *channel);
void local_channel_close(struct channel *channel);

/* The offer to peer at path that nobody has attached to yet, or NULL. */
struct channel *local_channel_find_offer(struct platform *platform, int peer, const char *path);
/* Hands the offer over to the peer at the other end of socket, which is notified by eventfd. Takes
 * both over if it returns 0. */
int local_channel_hand_over(struct channel *channel, int socket, int eventfd);
/* Its socket is readable. */
void local_channel_socket_event(struct source *source);

#endif
