/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * notify.h - tells systemd (Type=notify) how a service is. It names a Unix datagram socket in
 * NOTIFY_SOCKET and reads words from it, see sd_notify(3). libsystemd would do the same with one
 * more library in every guest.
 */
#ifndef IDC_NOTIFY_H
#define IDC_NOTIFY_H

/* 0, also if nobody wants to be told, or a negative errno. */
int notify_send(const char *words);

#endif
