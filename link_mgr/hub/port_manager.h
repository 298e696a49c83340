/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * port_manager.h - port 1, the connection manager: a service of the daemon itself, for `idc ping`
 * and `idc services`.
 *
 * Requests are lines of at most PORT_MANAGER_LINE bytes. The answer to "PING text" is "PONG text".
 * The answer to "SERVICES" is a line for each listener to which the caller may connect, and an
 * empty line. The lines are "PORT TYPE NAME", with "-" for no name. The answer to anything else is
 * "ERROR what". It is an ordinary program behind an ordinary listener, except that it runs in the
 * daemon. While a caller doesn't read its answers, nothing is read from it.
 */
#ifndef IDC_PORT_MANAGER_H
#define IDC_PORT_MANAGER_H

#include <event2/event.h>

#include "link_mgr/core/core.h"

#define PORT_MANAGER_LINE 256
#define PORT_MANAGER_CLIENTS 64      /* connections at a time; more wait in the backlog */
#define PORT_MANAGER_IDLE_SECONDS 60 /* then a silent one is closed */

struct port_manager;

/* Serves the listener whose program's end is fd (taken over). */
struct port_manager *port_manager_new(struct event_base *base, struct core *core, int fd);
void port_manager_free(struct port_manager *manager);

#endif
