/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ready.h - tells whoever started the daemon when it can be used, and when it ends.
 *
 * systemd is told by common/notify.h. Others pass a descriptor (--ready-fd) and read a newline from
 * it.
 */
#ifndef IDC_READY_H
#define IDC_READY_H

/* Called once, when the daemon serves programs. fd: that of --ready-fd, -1 if there is none; it is
 * closed. */
void ready_tell(int fd, int domid, const char *socket);
/* The daemon begins to end. */
void ready_tell_stopping(void);

#endif
