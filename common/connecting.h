/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * connecting.h - a connect that does not wait (docs/rpc.md, "Connecting without waiting"). The
 * program makes a socket pair and gives the far end to link_mgr. Here is what the two ends tell
 * each other while link_mgr is still connecting.
 *
 * The near end must not poll writable before the attempt has ended. So it is filled with messages
 * of zeros, the filler, and a message of a single 1 behind them. Its send buffer may be made small
 * first, so that little filler is enough. When the connection is there, the far end gets its name
 * (handover_bind), and then the filler is taken out. When the attempt fails, the far end gets a
 * name that tells why, and is closed. Names outlive the sockets that had them. So the near end can
 * be asked for the outcome at any time, in any process.
 */
#ifndef IDC_CONNECTING_H
#define IDC_CONNECTING_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONNECTING_WHY_MAX 94 /* with the final NUL */
#define CONNECTING_NONE (-EBADFD)

/* ---- near end ---- */

/* Fills the near end; needs both ends. 0 or negative errno. */
int connecting_fill(int near_end, int far_end);
/* Fills it only so far that it does not poll writable. What the program sends meanwhile goes to the
 * connection, if one comes about. In return the send buffer stays as it is, and nothing has to be
 * settled later. 0 or negative errno. */
int connecting_fill_roughly(int near_end);
/* 0: connected; -EINPROGRESS: under way; CONNECTING_NONE: not a connection of ours. Any other value
 * is the error that ended the attempt, and why explains it. */
int connecting_outcome(int near_end, char why[CONNECTING_WHY_MAX]);
/* Fills it with little, for a caller that waits until the attempt has ended: the send buffer is
 * small meanwhile. *size gets the size that it had, for connecting_widen to restore; 0: it was not
 * changed. 0 or negative errno. */
int connecting_fill_little(int near_end, int *size);
void connecting_widen(int near_end, int size);
/* Gives the send buffer of a connected end the size that it had (0: the usual size), if it is still
 * the small one. */
void connecting_settle(int near_end, int size);

/* ---- far end ---- */

/* Takes the filler out, except the last message, which stays unread so that the connection can
 * still be reset. A second call changes nothing. 0, -EINVAL: what is there is not the filler, or
 * -EPERM: descriptors came with it. */
int connecting_drain(int far_end);
/* Names the far end after a failed attempt; close it next. If why is too long, it loses what stands
 * before its first colon. If that is not enough, it loses its end, and "..." shows that. 0 or
 * negative errno. */
int connecting_fail(int far_end, int error, const char *why);

/* ---- both ---- */

/* The number of a failed attempt whose explanation has lost its end, by which link_mgr knows all of
 * it (idc.reason). 0: there is none, or it is whole. is_far: end is the far one. */
uint64_t connecting_cut_number(int end, bool is_far);

#endif
