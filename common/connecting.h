/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * connecting.h - a connect that does not wait: what the two ends of the program's own socket pair
 * tell each other while link_mgr, which got the far end, is still at it (docs/rpc.md, "Connecting
 * without waiting").
 *
 * The near end must not poll writable before the attempt has ended. So it is filled with messages
 * of zeros, the filler, behind which a message of a single 1 is put: with its send buffer made
 * small, so that little is enough, or with the buffer that it has. When the connection is there the
 * far end gets its name (handover_bind), and then the filler is taken out. When the attempt fails
 * the far end gets a name that tells why, and is closed. Names outlive the sockets that had them,
 * so the near end can be asked for the outcome at any time, in any process.
 */
#ifndef IDC_CONNECTING_H
#define IDC_CONNECTING_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>

#define CONNECTING_WHY_MAX 94 /* with the final NUL */
#define CONNECTING_NONE (-EBADFD)

/* ---- near end ---- */

/* Fills it; needs both ends. 0 or negative errno. */
int connecting_fill(int near_end, int far_end);
/* Fills it only so far that it does not poll writable: what is sent meanwhile goes to the
 * connection, if there will be one. In return the send buffer stays as it is, and nothing is to be
 * settled later. 0 or negative errno. */
int connecting_fill_roughly(int near_end);
/* 0: connected; -EINPROGRESS; CONNECTING_NONE: not a descriptor of ours; else the error that ended
 * the attempt, why with it, which is neither of these two. */
int connecting_outcome(int near_end, char why[CONNECTING_WHY_MAX]);
/* The same with little, for who waits until the attempt has ended: the send buffer is small
 * meanwhile. *size is then what it was, to be given back by connecting_widen; 0: it has stayed as
 * it is. 0 or negative errno. */
int connecting_fill_little(int near_end, int *size);
void connecting_widen(int near_end, int size);
/* Gives the send buffer of a connected end the size that it had, 0: the usual one, if it is still
 * the small one. */
void connecting_settle(int near_end, int size);

/* ---- far end ---- */

/* Takes the filler out, all but the last message, which is left unread so that the connection can
 * still be reset. Done again, it changes nothing. 0, or -EINVAL: that is no filler. */
int connecting_drain(int far_end);
/* Names the far end after a failed attempt; close it next. A why that is too long loses what stands
 * before its first colon, and only then its end, which "..." shows. 0 or negative errno. */
int connecting_fail(int far_end, int error, const char *why);

#endif
