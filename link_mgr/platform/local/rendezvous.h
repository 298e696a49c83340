/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * rendezvous.h - the socket `.link-D` in the store's directory. There an attaching domain asks for
 * the channel that was offered to it (channel.h has the messages).
 *
 * Nothing waits for a caller. A caller that says nothing keeps one of CALLERS_MAX places until it
 * hangs up. When newer callers need a place, we hang up on the oldest. An honest caller speaks at
 * once, so it is served before others can push it out. When the process has no descriptor left, we
 * hang up on callers; in the queue they would keep the socket readable for ever.
 */
#ifndef IDC_LOCAL_RENDEZVOUS_H
#define IDC_LOCAL_RENDEZVOUS_H

#include "link_mgr/platform/local/local.h"

#define RENDEZVOUS_NAME_MAX 16 /* ".link-32751" */

/* Name of a domain's socket in the store's directory. */
void local_rendezvous_name(int domid, char name[RENDEZVOUS_NAME_MAX]);

/* Listens, replacing the socket of a link_mgr that is gone. -EADDRINUSE: somebody listens there, or
 * what is there cannot be removed. Call local_rendezvous_close even after a failure. */
int local_rendezvous_open(struct platform *platform);
/* Stops listening, hangs up on the callers and removes the socket. */
void local_rendezvous_close(struct platform *platform);

void local_rendezvous_accept(struct platform *platform);
void local_rendezvous_caller_event(struct platform *platform, struct source *source);

/* Connects to the domain's socket without waiting. A descriptor or a negative errno. */
int local_rendezvous_connect(const struct store_local *store, int domid);

/* Every link_mgr listens on its socket for as long as it runs. One that does not accept, because it
 * is stopped or the machine is busy, still listens. */
enum platform_presence local_rendezvous_presence(const struct store_local *store, int domid);

/* Is it an eventfd, and does it not block? A peer could send anything, and writing to a full pipe
 * would block. */
bool local_rendezvous_is_eventfd(int fd);

#endif
