/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * opener.h - opens what an end (end.h) names: connects, listens and accepts, starts a command,
 * makes a pty. One opener belongs to one end of one channel, and lasts as long as that.
 *
 * Nothing waits for the other side: a connect goes on in the background, and opener_finish tells
 * how it ended. Two things may hold the process up for a while. A name of a host in tcp:HOST is
 * looked up when the opener is made. And a link_mgr that hangs is waited for, two seconds by a
 * connect and ten by a listen.
 *
 * Functions return 0 or a negative errno. why then says it in words.
 */
#ifndef IDC_CHANNELS_OPENER_H
#define IDC_CHANNELS_OPENER_H

#include <errno.h>
#include <sys/types.h>

#include "channels/end.h"
#include "channels/side.h"

#define OPENER_WHY_MAX 1280 /* all that libidc says */

struct opener;

struct opener_settings {
    const char *link_mgr; /* path of its RPC socket, or NULL: the usual one */
    mode_t mode;          /* unix-listen: who may connect; 0: as umask says */
    /* exec: a command has ended. It may be called after its side was closed, but not after
     * child_forget with this context. May be NULL. */
    void (*ended)(void *context);
    void *context;
};

/* NULL: why says what is wrong. The end and the settings are copied; link_mgr is not. */
struct opener *opener_new(const struct end *end, const struct opener_settings *settings,
                          char why[OPENER_WHY_MAX]);
/* Stops listening, and takes away what was made in the file system. */
void opener_free(struct opener *opener);
const struct end *opener_end(const struct opener *opener);

/*
 * Opens a new side. port is the one that stands for "*". -EINPROGRESS: the side is being connected.
 * When it polls writable, opener_finish returns how that ended, or -EINPROGRESS again. After
 * -EAGAIN of opener_finish, the caller closes the side and calls opener_open with an attempt
 * counted one higher: the host has another address. -EAGAIN of opener_open: its queue is full, and
 * the caller tries again in a while.
 */
int opener_open(struct opener *opener, uint32_t port, unsigned attempt, struct side *side,
                char why[OPENER_WHY_MAX]);
int opener_finish(struct opener *opener, unsigned attempt, const struct side *side,
                  char why[OPENER_WHY_MAX]);

/* Listens. The descriptor polls readable when somebody waits. */
int opener_listen(struct opener *opener, int *listener, char why[OPENER_WHY_MAX]);
/* Would other's next connection come to listening, which listens? Then a channel of both would be
 * its own client. It is found out for Unix sockets, whatever way their paths are written, and for
 * the addresses of TCP. */
bool opener_reaches(const struct opener *other, const struct opener *listening);
/* Takes the next one. -EAGAIN: nobody waits. OPENER_LOST: nobody can come now, as why says, until
 * OPENER_FOUND; the listener stays the same. Other errors: the listener is no more. */
#define OPENER_LOST (-ENOTCONN)
#define OPENER_FOUND (-EISCONN)
int opener_accept(struct opener *opener, int listener, struct side *side, char why[OPENER_WHY_MAX]);
void opener_unlisten(struct opener *opener, int listener);

/* file: opens the file anew, since another program has renamed it. */
int opener_reopen(struct opener *opener, char why[OPENER_WHY_MAX]);

#endif
