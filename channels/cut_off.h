/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cut_off.h - why a connection was cut off, for messages: in link_mgr's words if it is one of IDC.
 *
 * The kernel says "Connection reset by peer", whatever the cause. link_mgr knows whether the other
 * program, a new rule or a lost link has ended it. All connections of the process wait for its
 * answer. So it is asked ten times in a second at most, and not for ten seconds after an answer
 * that took long or did not come. The kernel's words are told otherwise.
 */
#ifndef IDC_CHANNELS_CUT_OFF_H
#define IDC_CHANNELS_CUT_OFF_H

#include <stddef.h>

#define CUT_OFF_TEXT_MAX 256

/* Why using fd has failed with error, an errno. fd may be of any kind, and is still open. */
void cut_off_text(int fd, int error, char text[CUT_OFF_TEXT_MAX]);

#endif
